"""Whether an image, and the encryption key, can read what the database holds: asked before the server is started.

One row with a type that the image does not know hides all agents, or stops the server. What an image accepts is
known to its own code alone, so the rows are read by that code (read_rows.py), in a container without a network.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

from lettabox import database, encryption_key, paths
from lettabox.errors import LettaboxError

NOT_DELETED = "WHERE NOT is_deleted"  # the others are filtered by Letta itself
# table -> the columns whose content depends on the release, and which rows count
# Source: letta/orm/ of 0.16.8, the columns with a type of their own or a list of accepted values.
TYPED: dict[str, tuple[list[str], str]] = {
    "agents": (
        [
            "agent_type",
            "llm_config",
            "embedding_config",
            "compaction_settings",
            "tool_rules",
            "response_format",
            "last_stop_reason",
        ],
        "",
    ),
    "conversations": (["agent_id", "model_settings"], "WHERE model_settings IS NOT NULL"),
    "providers": (["provider_type", "provider_category"], NOT_DELETED),
    "provider_models": (["model_type", "model_endpoint_type"], NOT_DELETED),
    "sources": (["embedding_config"], ""),
    "archives": (["embedding_config"], ""),
    "archival_passages": (["embedding_config"], ""),
    "source_passages": (["embedding_config"], ""),
}
# Those may have very many rows, and few different ones.
LARGE = ("archival_passages", "source_passages")
NAMES = ("id", "name", "handle")
# table -> what one row does that the image cannot read
HARM = {
    "agents": "one such row and Letta lists no agents at all",
    "conversations": "the conversations of this agent cannot be listed",
    "providers": "one such row and the server does not start",
    "provider_models": "one such row and Letta lists no models",
}
ELSEWHERE = "Letta cannot read these rows"
ENCRYPTED = {
    "agent_environment_variables": ["value_enc"],
    "sandbox_environment_variables": ["value_enc"],
    "providers": ["api_key_enc", "access_key_enc"],
    "mcp_server": ["token_enc", "custom_headers_enc"],
    "mcp_oauth": ["access_token_enc", "refresh_token_enc", "client_secret_enc", "authorization_code_enc"],
}
SAMPLE = 5  # values of each encrypted column; one takes some 50 ms to decrypt
# salt, nonce, tag and one byte, in base64: what is shorter was stored as it is (letta/helpers/crypto_utils.py)
SHORTEST = 60

PYTHON = "/app/.venv/bin/python"
PROGRAM = Path(__file__).with_name("read_rows.py")


def check(image: str, container: dict[str, Any] | None) -> None:
    """Raise LettaboxError unless `image` and the encryption key fit the database.

    `container` is the server's, as inspected, if there is one. Where the key is known to the database and the
    image is the container's already, nothing but the key is looked at.
    """
    key_is_known = encryption_key.check()
    same = container is not None and container["Config"]["Image"] == image
    if same and key_is_known:
        return
    rows = {} if same else typed_rows()
    encrypted = [] if key_is_known else encrypted_values()
    if not any(rows.values()) and not encrypted:
        return
    print(f"{image}: reading what the database holds", flush=True)
    answer = _ask(image, rows, encrypted)
    if encrypted and not answer["decrypted"]:
        raise LettaboxError(
            f"{paths.SECRETS / encryption_key.NAME} opens none of {len(encrypted)} encrypted values of the database: "
            "it is another key than the one they were stored with. Put the old one back from your backup (mode 600)"
        )
    if answer["unreadable"]:
        raise LettaboxError(
            f"image {image} cannot read what the database holds; the server was not touched:\n"
            + "\n".join(_explained(answer["unreadable"], rows))
        )


def explain(image: str) -> list[str]:
    """Return lines about the rows that `image` cannot read, and what to do about them; none if it can read all."""
    rows = typed_rows()
    return _explained(_ask(image, rows, [])["unreadable"], rows)


def typed_rows() -> dict[str, list[dict[str, Any]]]:
    """Return the rows that depend on the release, by table; empty before the first migration."""
    return {table: _read(table, there) for table, there in database.columns(list(TYPED)).items()}


def _read(table: str, there: set[str]) -> list[dict[str, Any]]:
    wanted, condition = TYPED[table]
    if table in LARGE:
        # A type of which there is no equality in Postgres, hence the text.
        found = database.rows(
            f"SELECT embedding_config::text AS text, min(id) AS id, count(*) AS count FROM {table} GROUP BY 1"
        )
        return [
            {"id": one["id"], "count": one["count"], "embedding_config": json.loads(one["text"] or "null")}
            for one in found
        ]
    names = ", ".join(one for one in [*NAMES, *wanted] if one in there)
    return database.rows(f"SELECT {names} FROM {table} {condition}")


def encrypted_values() -> list[str]:
    """Return some values of every column that Letta encrypts."""
    found = []
    for table, there in database.columns(list(ENCRYPTED)).items():
        for column in ENCRYPTED[table]:
            if column in there:
                query = f"SELECT {column} AS value FROM {table} WHERE length({column}) >= {SHORTEST} LIMIT {SAMPLE}"
                found += [one["value"] for one in database.rows(query)]
    return found


def _ask(image: str, rows: dict[str, Any], encrypted: list[str]) -> dict[str, Any]:
    command = ["docker", "run", "--rm", "--interactive", "--network", "none", "--entrypoint", PYTHON]
    command += ["--volume", f"{PROGRAM}:/read_rows.py:ro"]
    if encrypted:
        key = paths.SECRETS / encryption_key.NAME
        command += ["--volume", f"{key}:/run/secrets/{encryption_key.NAME}:ro"]
    done = subprocess.run(
        [*command, image, "/read_rows.py"],
        input=json.dumps({"rows": rows, "encrypted": encrypted}),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise LettaboxError(f"image {image} could not be asked what it can read: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])  # before it may be what Letta logs while it is imported


def _explained(unreadable: list[dict[str, Any]], rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    if not unreadable:
        return []
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for one in unreadable:
        groups.setdefault((one["table"], one["why"]), []).append(rows[one["table"]][one["row"]])
    lines = []
    for (table, why), found in groups.items():
        count = sum(one.get("count", 1) for one in found)
        names = ", ".join(str(one.get("name") or one.get("handle") or one["id"]) for one in found[:5])
        lines.append(f"  {table}, {count} of them ({names}{', …' if len(found) > 5 else ''}): {why}")
        lines.append(f"    {HARM.get(table, ELSEWHERE)}")
        lines += [f"    after a backup: {one}" for one in _changes(table, found)]
    lines.append(
        "  Keep the image that can read them: put settings.letta.image, its patches and settings.letta.endpoint_types "
        "back. Or name the types in settings.letta.endpoint_types. Or change the rows, as above: docs/operate.md"
    )
    return lines


def _changes(table: str, found: list[dict[str, Any]]) -> list[str]:
    """The statement for each type that would make these rows ones for an OpenAI-compatible model."""
    psql = 'docker exec letta-postgres psql -U letta -c "{}"'
    if table == "agents":
        types = sorted({(one.get("llm_config") or {}).get("model_endpoint_type") or "" for one in found} - {""})
        change = (
            "UPDATE agents SET llm_config = jsonb_set(llm_config::jsonb, '{{model_endpoint_type}}', to_jsonb('openai'::"
            "text))::json WHERE llm_config->>'model_endpoint_type' = '{}'"
        )
    elif table in ("providers", "provider_models"):
        column = "provider_type" if table == "providers" else "model_endpoint_type"
        types = sorted({one[column] for one in found})
        change = f"UPDATE {table} SET {column} = 'openai' WHERE {column} = '{{}}'"
    else:
        return []
    return [psql.format(change.format(one.replace("'", "''"))) for one in types]
