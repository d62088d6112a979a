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
# Tools are clients of this server: Letta's own for messages between agents, and yours if they use letta-client.
# Compose sets LETTA_BASE_URL to this container; without it letta-client sends the key to api.letta.com.
LETTA_API_KEY=$LETTA_SERVER_PASSWORD
# A proxy, of the settings or of Docker's own configuration, must not get these calls.
NO_PROXY="${NO_PROXY:-${no_proxy:-}},127.0.0.1,localhost"
NO_PROXY=${NO_PROXY#,}
no_proxy=$NO_PROXY
export LETTA_SERVER_PASSWORD LETTA_ENCRYPTION_KEY LETTA_PG_URI LETTA_API_KEY NO_PROXY no_proxy

exec "$@"
