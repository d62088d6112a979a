# What the image says of itself, as the published one does; one instruction a line. The lines from VOLUME to
# STOPSIGNAL are what that one inherits from its Postgres base.
WORKDIR /app
ENV LETTA_ENVIRONMENT=DEV LETTA_VERSION=${VERSION} VIRTUAL_ENV=/app/.venv LANG=C.UTF-8
ENV PATH=/app/.venv/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
VOLUME /var/lib/postgresql/data
ENV POSTGRES_USER=letta POSTGRES_PASSWORD=letta POSTGRES_DB=letta PGDATA=/var/lib/postgresql/data
STOPSIGNAL SIGINT
EXPOSE 8283 5432 6379 4317 4318
ENTRYPOINT ["/usr/local/bin/docker-entrypoint.sh"]
CMD ["./letta/server/startup.sh"]
LABEL org.opencontainers.image.version=${VERSION} lettabox.sdist=sha256:${SHA256}
