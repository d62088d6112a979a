#!/bin/sh
# The published image has Postgres' entrypoint here; the lab's databases are containers of their own.
exec "$@"
