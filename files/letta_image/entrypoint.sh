#!/bin/sh
# Turn the secrets mounted by Compose into the environment that Letta reads.
# As files they stay out of `docker inspect` and of the Compose project.
set -eu

secret() {
    if ! [ -s "/run/secrets/$1" ]; then
        echo "lettabox: secret $1 is not mounted at /run/secrets/$1; start the server with 'lettabox letta start'" >&2
        exit 1
    fi
    cat "/run/secrets/$1"
}

# Split into assignment and export: `export X=$(f)` would hide the failure of f.
pg_password=$(secret postgres_password)
LETTA_SERVER_PASSWORD=$(secret letta_server_password)
LETTA_ENCRYPTION_KEY=$(secret letta_encryption_key)
# Without this URI Letta starts an empty Postgres of its own inside the container.
LETTA_PG_URI="postgresql://letta:${pg_password}@letta-postgres:5432/letta"
export LETTA_SERVER_PASSWORD LETTA_ENCRYPTION_KEY LETTA_PG_URI

exec "$@"
