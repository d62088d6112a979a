#!/bin/sh
# Put the Letta server into /app, from its sdist on the package index: sh build.sh SHA256_OF_THE_SDIST
# One script in one layer, so that no build tool and no cache stays in the image.
set -eu
work=$(mktemp -d)
export HOME="$work" UV_CACHE_DIR="$work/uv" UV_NO_PROGRESS=1 UV_LINK_MODE=hardlink
export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

# psycopg2 has no wheel in the lock.
apt-get update
apt-get install -y --no-install-recommends gcc libc6-dev python3-dev

python3 -m venv "$work/tools"
tools="$work/tools/bin"
"$tools/pip" install --quiet --no-cache-dir uv==0.13.8

# pip checks the hash before it opens the archive.
echo "letta==$LETTA_VERSION --hash=sha256:$1" > "$work/sdist.txt"
"$tools/pip" download --quiet --no-cache-dir --no-deps --no-binary letta --require-hashes \
    --requirement "$work/sdist.txt" --dest "$work/sdist"
tar -xzf "$work/sdist/letta-$LETTA_VERSION.tar.gz" -C /app --strip-components=1 --no-same-owner

# The lock names the public index; through an exported list with hashes the machine's own index serves as well.
index=$("$tools/pip" config list | sed -n "s/^global\.index-url='\(.*\)'$/\1/p")
if [ -n "$index" ]; then
    export UV_DEFAULT_INDEX="$index"
fi
"$tools/uv" export --quiet --frozen --no-dev --extra postgres --extra redis --extra server \
    --no-emit-project --output-file "$work/requirements.txt"
"$tools/uv" venv --quiet --python /usr/bin/python3 /app/.venv
export VIRTUAL_ENV=/app/.venv
"$tools/uv" pip install --quiet --require-hashes --requirement "$work/requirements.txt"
"$tools/uv" pip install --quiet --no-deps --editable /app

mkdir -p /etc/otel /docker-entrypoint-initdb.d
cp otel/otel-collector-config-file.yaml /etc/otel/config-file.yaml
cp otel/otel-collector-config-clickhouse.yaml /etc/otel/config-clickhouse.yaml
cp otel/otel-collector-config-signoz.yaml /etc/otel/config-signoz.yaml
cp init.sql /docker-entrypoint-initdb.d/
chmod 755 letta/server/startup.sh

# Compile now what the server imports: each new container would do it again, for seconds.
/app/.venv/bin/python -c 'import letta.server.rest_api.app, letta.main' > "$work/import.log" 2>&1 || {
    cat "$work/import.log"
    exit 1
}
apt-get purge -y --auto-remove gcc libc6-dev python3-dev
rm -rf "$work" /var/lib/apt/lists/*
