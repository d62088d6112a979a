"""Questions to Letta's database, asked by psql inside its container: no password leaves it."""

import json
import subprocess
from typing import Any

from lettabox.errors import LettaboxError

# A question must not wait for ever behind somebody's lock.
TIMEOUT = "60s"


def run(statement: str) -> str:
    """Run SQL and return what psql printed, without headers. Raises LettaboxError with what Postgres said.

    Tables are found by the database's own search_path: where Letta's image made it, they are in the schema `letta`.
    """
    done = subprocess.run(
        ["docker", "exec", "-i", "letta-postgres", "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-U", "letta", "letta"],
        input=f"SET statement_timeout = '{TIMEOUT}';\nSET client_min_messages = warning;\n{statement}",
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise LettaboxError(f"letta-postgres could not be asked: {done.stderr.strip()}")
    return done.stdout


def rows(query: str) -> list[dict[str, Any]]:
    """Return the rows of one query, by column."""
    return json.loads(run(f"SELECT coalesce(json_agg(found), '[]') FROM ({query}) found;"))


def columns(tables: list[str]) -> dict[str, set[str]]:
    """Return {table: its columns} for those of `tables` that exist; a release of Letta may have fewer of both."""
    names = ", ".join(f"'{one}'" for one in tables)
    found = rows(
        "SELECT name, json_agg(attname) AS columns "
        f"FROM unnest(ARRAY[{names}]) name JOIN pg_attribute ON attrelid = to_regclass(name) "
        "WHERE attnum > 0 AND NOT attisdropped GROUP BY name"
    )
    return {one["name"]: set(one["columns"]) for one in found}
