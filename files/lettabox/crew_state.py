"""What of the crew is in Letta, compared with what is wanted by crew_plan.

Run by every deploy as a fact, with the system's Python: only the standard library, a few requests over one connection.
Long texts are told by their digests.
"""

import http.client
import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from lettabox import crew_record, paths, secrets, tool_list
from lettabox.crew_plan import LAST_TOOL, digest
from lettabox.crew_record import TAG, VARIABLE
from lettabox.crew_tool_source import NAMES
from lettabox.crew_tool_source import digest as source_digest
from lettabox.errors import LettaboxError
from lettabox.settings import local

TIMEOUT = 20  # seconds
PAGE = 100
UNKNOWN_WINDOW = 30_000  # tokens that Letta assumes of a model it does not know
AGENT = {"include_relationships": ["tags", "tools", "memory", "multi_agent_group"]}


class Silent(Exception):
    """Letta does not answer as it should."""


class Reader:
    """Reads from Letta over one connection."""

    def __init__(self) -> None:
        letta = json.loads(paths.SETTINGS.read_text())["letta"]
        self._headers = {"Authorization": f"Bearer {secrets.read('letta_server_password')}"}
        self._connection = http.client.HTTPConnection(local(letta["bind"]), letta["port"], timeout=TIMEOUT)

    def get(self, path: str, **query: Any) -> Any:
        """The answer's JSON; None where there is no such thing."""
        self._connection.request("GET", f"{path}?{urlencode(query, doseq=True)}", headers=self._headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status == http.client.NOT_FOUND:
            return None
        if answer.status != http.client.OK:
            raise Silent(f"GET {path}: HTTP {answer.status} {text[:300].decode(errors='replace')}")
        return json.loads(text)

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Every element of a list, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            after = {"after": found[-1]["id"]} if found else {}
            page = self.get(path, limit=PAGE, order="asc", **after, **query)
            found += page
            if len(page) < PAGE:
                return found


def look() -> dict[str, Any]:
    """The crew as it is. Raises OSError, HTTPException, ValueError, KeyError, LettaboxError or Silent without Letta."""
    letta, record = Reader(), crew_record.read()
    tagged = letta.all("/v1/agents/", tags=TAG, match_all_tags="true", show_hidden_agents="true", **AGENT)
    agents, twice, others = _identified(record.agents, tagged, lambda id_: letta.get(f"/v1/agents/{id_}", **AGENT))
    tagged = letta.all("/v1/blocks/", tags=TAG, match_all_tags="true", show_hidden_blocks="true")
    blocks, twice_blocks, _ = _identified(record.blocks, tagged, lambda id_: letta.get(f"/v1/blocks/{id_}"))
    windows = _windows(letta, agents.values())
    tools = letta.get("/v1/tools/", **tool_list.named(NAMES))
    return {
        "cut_off": paths.CREW_STARTED.exists(),
        "agents": {role: _agent(role, row, windows) for role, row in agents.items()},
        "blocks": {label: _block(label, row) for label, row in blocks.items()},
        "tools": {
            row["name"]: {"ours": TAG in (row["tags"] or []), "source": source_digest(row["source_code"] or "")}
            for row in tools
        },
        "twice": twice | {f"block {label}": ids for label, ids in twice_blocks.items()},
        "others": others,
        "record": {"agents": record.agents, "blocks": record.blocks},
        "variable": _variable(letta),
    }


def state() -> dict[str, Any] | None:
    """The same; None before the first start, and where Letta does not answer."""
    try:
        return look()
    except (OSError, http.client.HTTPException, ValueError, KeyError, Silent, LettaboxError):
        return None


def _identified(
    known: dict[str, str], tagged: Iterable[dict[str, Any]], get: Any
) -> tuple[dict[str, dict[str, Any]], dict[str, list[str]], dict[str, str]]:
    """({name: row}, {name: ids} where it is not clear which, {name: of further ones}): by the record, then by tag."""
    rows = {row["id"]: row for row in tagged}
    claims: dict[str, list[str]] = {}
    for id_, row in rows.items():
        for tag in row["tags"] or []:
            if tag.startswith(f"{TAG}:"):
                claims.setdefault(tag.removeprefix(f"{TAG}:"), []).append(id_)
    found: dict[str, dict[str, Any]] = {}
    for name, id_ in known.items():
        row = rows.get(id_) or get(id_)
        if row is not None:
            found[name] = row
    taken = {row["id"] for row in found.values()}
    twice, others = {}, {}
    for name, ids in claims.items():
        free = [id_ for id_ in ids if id_ not in taken]
        if name in found:
            if free:
                others[name] = f"{', '.join(free)} has its tag too, and is left alone"
        elif len(free) > 1:
            twice[name] = free
        elif free:
            found[name] = rows[free[0]]
    return found, twice, others


def _agent(role: str, row: dict[str, Any], windows: dict[str, int]) -> dict[str, Any]:
    model, embedding, group = row["llm_config"], row["embedding_config"] or {}, row["multi_agent_group"]
    return {
        "id": row["id"],
        "system": digest(row["system"]),
        "description": digest(row["description"]),
        "model": model.get("handle"),
        "embedding": embedding.get("handle"),
        "window": model["context_window"],
        "model_window": windows.get(model.get("handle"), 0),
        "autoclear": bool(row["message_buffer_autoclear"]),
        "tagged": set(crew_record.tags(role)) <= set(row["tags"]),
        "tools": sorted(one["name"] for one in row["tools"]),
        "blocks": {one["label"]: one["id"] for one in row["memory"]["blocks"]},
        "ends": any(
            one["tool_name"] == LAST_TOOL and one["type"] == "exit_loop" for one in row["tool_rules"] or []
        ),
        "sleeptime": bool(row["enable_sleeptime"]),
        "group": group
        and {
            "id": group["id"],
            "type": group["manager_type"],
            "members": group["agent_ids"],
            "frequency": group["sleeptime_agent_frequency"],
        },
    }


def _block(label: str, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": row["id"],
        "description": digest(row["description"]),
        "limit": row["limit"],
        "read_only": row["read_only"],
        "length": len(row["value"]),
        "tagged": set(crew_record.tags(label)) <= set(row["tags"] or []),
    }


def _windows(letta: Reader, rows: Iterable[dict[str, Any]]) -> dict[str, int]:
    """{handle: tokens that the model can take}, for those of agents that have less than the settings say."""
    wanted = json.loads(paths.SETTINGS.read_text())["letta"]["context_window_limit"]
    smaller = [row["llm_config"] for row in rows if row["llm_config"]["context_window"] < wanted]
    found = {}
    for name in sorted({one.get("provider_name") or "" for one in smaller} - {""}):
        for model in letta.get("/v1/models/", provider_name=name):
            if model["max_context_window"] != UNKNOWN_WINDOW:
                found[model["handle"]] = model["max_context_window"]
    return found


def _variable(letta: Reader) -> str | None:
    for one in letta.get("/v1/sandbox-config/", sandbox_type="local"):
        for row in letta.get(f"/v1/sandbox-config/{one['id']}/environment-variable"):
            if row["key"] == VARIABLE:
                return row["value"]
    return None


if __name__ == "__main__":
    if (now := state()) is not None:
        print(json.dumps(now))
