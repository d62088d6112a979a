"""What of an exported crew is given to Letta: only what is named here, whatever else its files hold.

The folder comes from somewhere. In an .af file an agent names its model's address, tools bring their source and
servers of tools their command line; Letta's import takes all of that, and writes over tools of the same name. So the
agents are described to it anew, with the models and tools of the box they come to, and with no blocks: copies of the
shared ones would be made, one for each file.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from lettabox import crew_folder
from lettabox.crew_folder import Damaged

AGENT = (
    "description",
    "system",
    "agent_type",
    "tool_rules",
    "response_format",
    "timezone",
    "metadata",
    "message_buffer_autoclear",
    "max_files_open",
    "per_file_view_window_char_limit",
)
# What is a setting of the model and not the model itself: that one is known by its handle.
MODEL_SETTINGS = (
    "context_window",
    "temperature",
    "max_tokens",
    "enable_reasoner",
    "reasoning_effort",
    "max_reasoning_tokens",
    "frequency_penalty",
    "verbosity",
    "parallel_tool_calls",
    "put_inner_thoughts_in_kwargs",
    "strict",
)
MESSAGE = (
    "role",
    "content",
    "name",
    "model",
    "tool_calls",
    "tool_call_id",
    "tool_returns",
    "created_at",
    "approve",
    "denial_reason",
    "approvals",
)
TOOL = (
    "id",
    "name",
    "tool_type",
    "description",
    "source_type",
    "source_code",
    "json_schema",
    "args_json_schema",
    "return_char_limit",
    "pip_requirements",
    "npm_requirements",
    "default_requires_approval",
    "enable_parallel_execution",
    "tags",
)


@dataclass
class Agent:
    """One agent of the folder."""

    role: str
    given: dict[str, Any]  # of its .af file, what is given to Letta
    beside: dict[str, Any]  # of crew.json
    context: list[tuple[int, dict[str, Any]]]  # (place among all its messages, message), as they are in context
    folder: Path

    @property
    def model_settings(self) -> dict[str, Any]:
        """How the model is asked: nothing that says which one, or where it is."""
        told = self.beside.get("model_settings") or {}
        return {key: told[key] for key in MODEL_SETTINGS if key in told}

    def messages(self) -> tuple[list[dict[str, Any]], list[str]]:
        """All its messages, oldest first, and the ids of those in context, in their order there. Raises Damaged."""
        placed = dict(self.context)
        name = f"messages/{self.role}.jsonl"
        for number, row in enumerate(crew_folder.lines(self.folder, name), 1):
            place = row.get("place")
            if type(place) is not int or place in placed:
                raise Damaged(f"{name}, line {number}: place {place!r:.40} is no number, or is taken")
            placed[place] = _message(row, f"{name}, line {number}")
        ids = {place: f"message-{number}" for number, place in enumerate(sorted(placed))}
        return (
            [{"id": ids[place], **placed[place]} for place in sorted(placed)],
            [ids[place] for place, _ in self.context],
        )

    def passages(self) -> list[dict[str, Any]]:
        """Its archival memory, oldest first. Raises Damaged."""
        name, found = f"archival/{self.role}.jsonl", []
        for number, row in enumerate(crew_folder.lines(self.folder, name), 1):
            where = f"{name}, line {number}"
            _must(isinstance(row.get("text"), str) and row["text"], f"{where} has no text")
            tags = row.get("tags") or []
            _must(isinstance(tags, list) and all(isinstance(one, str) for one in tags), f"{where}: tags are texts")
            _time(row.get("created_at"), where)
            metadata = row.get("metadata") if isinstance(row.get("metadata"), dict) else {}
            found.append({"text": row["text"], "tags": tags, "created_at": row["created_at"], "metadata": metadata})
        return found


@dataclass
class Crew:
    """A folder that is understood."""

    manifest: dict[str, Any]
    agents: dict[str, Agent]
    blocks: list[dict[str, Any]]
    tools: dict[str, dict[str, Any]] = field(default_factory=dict)  # those with a source of their own, by name


def read(folder: Path) -> Crew:
    """The crew of a folder, all of it looked at. Raises Damaged with the first thing that is wrong."""
    manifest = crew_folder.check(folder)
    told = crew_folder.document(folder, crew_folder.CREW)
    _must(
        isinstance(told, dict) and isinstance(told.get("agents"), dict) and isinstance(told.get("blocks"), list),
        "crew.json has no agents and blocks",
    )
    for role in told["agents"]:
        for name in (f"agents/{role}.af", f"archival/{role}.jsonl", f"messages/{role}.jsonl"):
            _must(name in manifest["files"], f"crew.json tells of {role!r:.80}, and {name:.90} is not in the manifest")
    crew = Crew(manifest, {}, [_block(one, told["agents"]) for one in told["blocks"]])
    for role, beside in told["agents"].items():
        crew.agents[role] = _agent(folder, role, beside, told["agents"], crew.tools)
    for agent in crew.agents.values():
        agent.messages()  # all lines of both are understood before anything is changed
        agent.passages()
    labels = [one["label"] for one in crew.blocks if one["of_record"]]
    _must(len(labels) == len(set(labels)), "crew.json: two blocks of the record have one label")
    return crew


def import_document(agent: Agent, name: str, tags: list[str], tools: list[str]) -> dict[str, Any]:
    """What Letta's import gets for one agent; the model is told beside it. `tools` are names the server has."""
    messages, context = agent.messages()
    one = {
        **agent.given,
        "id": "agent-0",
        "name": name,
        "tags": tags,
        "tools": tools,
        "include_base_tools": False,
        "include_multi_agent_tools": False,
        "include_base_tool_rules": False,
        "include_default_source": False,
        "compaction_settings": agent.beside.get("compaction_settings"),
        "hidden": agent.beside.get("hidden"),
        "in_context_message_ids": context,
        "messages": [{"agent_id": "agent-0", **message} for message in messages],
    }
    return _document(agents=[one])


def tools_document(tools: list[dict[str, Any]]) -> dict[str, Any]:
    """What Letta's import gets for tools alone."""
    return _document(tools=[{**tool, "id": f"tool-{number}"} for number, tool in enumerate(tools)])


def _document(**parts: list[dict[str, Any]]) -> dict[str, Any]:
    names = ("agents", "groups", "blocks", "files", "sources", "tools", "mcp_servers")
    return {name: parts.get(name, []) for name in names}


def _agent(folder: Path, role: str, beside: Any, roles: dict, tools: dict[str, dict[str, Any]]) -> Agent:
    name, where = f"agents/{role}.af", f"crew.json, {role}"
    _must(isinstance(beside, dict), f"{where} is not an object")
    for key, kind in (("name", str), ("model", str), ("embedding", str), ("tags", list), ("tools", list)):
        _must(isinstance(beside.get(key), kind), f"{where}: {key} is missing, or no {kind.__name__}")
    texts = [*beside["tags"], *beside["tools"], *(beside[key] for key in ("name", "model", "embedding"))]
    _must(all(map(crew_folder.plain, texts)), f"{where}: name, model, embedding, tags and tools are plain texts")
    _must(isinstance(beside.get("model_settings") or {}, dict), f"{where}: model_settings is no object")
    if (sleeptime := beside.get("sleeptime")) is not None:
        _sleeptime(sleeptime, where, roles)
    file = crew_folder.document(folder, name)
    agents = file.get("agents") if isinstance(file, dict) else None
    _must(isinstance(agents, list) and agents and isinstance(agents[0], dict), f"{name} is no agent file of Letta")
    one = agents[0]
    _must(isinstance(one.get("system"), str) and one["system"], f"{name}: the agent has no system prompt")
    rows, ids = one.get("messages"), one.get("in_context_message_ids")
    _must(isinstance(rows, list) and isinstance(ids, list), f"{name}: the agent has no messages")
    messages = {row.get("id"): row for row in rows if isinstance(row, dict)}
    _must(bool(ids) and all(isinstance(id_, str) and id_ in messages for id_ in ids), f"{name}: a message is missing")
    _must(messages[ids[0]].get("role") == "system", f"{name}: its first message is not the system prompt")
    places = beside.get("places")
    _must(
        isinstance(places, list)
        and all(type(place) is int and place >= 0 for place in places)
        and len(set(places)) == len(places) == len(ids),
        f"{where}: places are not those of the messages in {name}",
    )
    context = [(place, _message(messages[id_], f"{name}, {id_}")) for place, id_ in zip(places, ids, strict=True)]
    for tool in file.get("tools") or []:
        _must(isinstance(tool, dict) and isinstance(tool.get("name"), str), f"{name}: a tool has no name")
        if tool.get("tool_type") == "custom" and isinstance(tool.get("source_code"), str):
            _must(isinstance(tool.get("json_schema"), dict), f"{name}: tool {tool['name']:.80} has no schema")
            tools.setdefault(tool["name"], {key: tool[key] for key in TOOL if tool.get(key) is not None})
    return Agent(role, {key: one[key] for key in AGENT if one.get(key) is not None}, beside, context, folder)


def _sleeptime(told: Any, where: str, roles: dict) -> None:
    _must(
        isinstance(told, dict)
        and isinstance(told.get("agents"), list)
        and all(role in roles for role in told["agents"])
        and isinstance(told.get("description"), str),
        f"{where}: sleeptime names no agents of the crew",
    )
    for key, least in (("frequency", 1), ("turns", -1), ("processed", 0)):
        value = told.get(key)
        held = value is None or (type(value) is int and least <= value < 10**9)
        _must(held, f"{where}: sleeptime.{key}: {value!r:.40} is no such number")


def _block(one: Any, roles: dict) -> dict[str, Any]:
    _must(isinstance(one, dict), "crew.json: a block is not an object")
    where = f"crew.json, block {one.get('label')!r:.80}"
    for key, kind in (("label", str), ("value", str), ("limit", int), ("agents", list), ("of_record", bool)):
        _must(isinstance(one.get(key), kind), f"{where}: {key} is missing, or no {kind.__name__}")
    _must(all(isinstance(role, str) and role in roles for role in one["agents"]), f"{where}: has unknown agents")
    return one


def _message(row: dict[str, Any], where: str) -> dict[str, Any]:
    _must(isinstance(row.get("role"), str), f"{where} has no role")
    _must(isinstance(row.get("content"), list | str | None), f"{where}: its content is no text")
    _time(row.get("created_at"), where)
    return {key: row.get(key) for key in MESSAGE} | {"content": row.get("content") or []}


def _time(value: Any, where: str) -> None:
    try:
        datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Damaged(f"{where}: created_at {value!r:.40} is no time") from None


def _must(held: bool, otherwise: str) -> None:
    if not held:
        raise Damaged(otherwise)
