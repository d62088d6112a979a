#!/bin/sh
# The published image has Postgres' entrypoint here; with lettabox the databases are containers of their own.
exec "$@"
