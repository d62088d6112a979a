"""The folder of an exported crew of two, for tests to damage."""

import copy
import json
from pathlib import Path
from typing import Any

from lettabox import crew_folder

TIME = "2026-01-15T10:00:07.123456+00:00"
ROLES = ("director", "director-sleeptime")


def message(id_: str, role: str, text: str) -> dict[str, Any]:
    return {"id": id_, "role": role, "content": [{"type": "text", "text": text}], "created_at": TIME}


def af(role: str) -> dict[str, Any]:
    messages = [
        message("message-0", "system", "compiled"),
        message("message-1", "user", "a summary"),
        message("message-2", "user", "the newest"),
    ]
    agent = {
        "id": "agent-0",
        "name": role,
        "system": f"You are {role}.",
        "agent_type": "letta_v1_agent",
        "in_context_message_ids": ["message-0", "message-1", "message-2"],
        "messages": messages,
    }
    tool = {
        "id": "tool-0",
        "name": "shout",
        "tool_type": "custom",
        "source_code": "def shout(): ...",
        "json_schema": {},
    }
    return {"agents": [agent], "groups": [], "blocks": [], "tools": [tool], "mcp_servers": []}


def beside(role: str) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": role,
        "tags": ["lettabox-crew", f"lettabox-crew:{role}", "mine"],
        "tools": ["shout", "conversation_search"],
        "model": "openai-proxy/gpt-4o",
        "model_settings": {"context_window": 30000},
        "embedding": "lab/embedding",
        "compaction_settings": {"mode": "all"},
        "hidden": None,
        # The summary was written last and stands before what it leaves.
        "places": [0, 4, 3],
    }
    if role == "director":
        sleeptime = {
            "agents": ["director-sleeptime"],
            "description": "keeps",
            "frequency": 5,
            "turns": 2,
            "processed": 1,
        }
        told["sleeptime"] = sleeptime
    return told


def crew() -> dict[str, Any]:
    block = {"label": "user_style", "value": "COLORS: blue", "description": "d", "limit": 500, "read_only": True}
    block |= {"tags": [], "metadata": {}, "agents": list(ROLES), "of_record": True}
    return {"agents": {role: beside(role) for role in ROLES}, "blocks": [block]}


def content() -> dict[str, Any]:
    """{name: what is in it} of all files but the manifest; lines of .jsonl files as a list."""
    files: dict[str, Any] = {"crew.json": crew()}
    for role in ROLES:
        files[f"agents/{role}.af"] = af(role)
        rows = [{"place": place, **message("", "user", f"older {place}")} for place in (1, 2)]
        files[f"messages/{role}.jsonl"] = [{key: row[key] for key in row if key != "id"} for row in rows]
        files[f"archival/{role}.jsonl"] = [{"text": "a fox 🦊", "tags": ["b", "a"], "created_at": TIME, "metadata": {}}]
    return copy.deepcopy(files)


def write(folder: Path, files: dict[str, Any] | None = None, **manifest: Any) -> Path:
    """Write a folder whose manifest fits; `files` as `content` has them, texts as they are."""
    for name in crew_folder.FOLDERS:
        (folder / name).mkdir(parents=True)
    for name, what in (content() if files is None else files).items():
        lines = [json.dumps(row) + "\n" for row in what] if isinstance(what, list) else [json.dumps(what)]
        (folder / name).write_text(what if isinstance(what, str) else "".join(lines))
    seal(folder, **manifest)
    return folder


def seal(folder: Path, **manifest: Any) -> None:
    """Write the manifest of what lies there."""
    names = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    told = {
        "format": 1,
        "letta": "0.16.8",
        "made": "2026-01-15T10:00:07+00:00",
        "counts": {"agents": 2},
        "not_in_it": ["secrets"],
        "files": {name: crew_folder.entry(folder / name) for name in names if name != "manifest.json"},
    }
    (folder / "manifest.json").write_text(json.dumps(told | manifest))
