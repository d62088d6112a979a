"""The crew as a folder, sent as one tar: every agent by Letta's own export, and beside it what that leaves out.

Facts about Letta 0.16.8 that shape this, all seen on the real server:
- An .af file has the messages that are in context and no others, no archival memory, no tags and ids of blocks, no
  compaction settings, no group's turns. The file of an agent with a sleeptime agent holds both, and their group.
- The API tells messages in a form of its own, from which they cannot be made again; so those that are no longer in
  context are read from the database. Of archival memory it tells each passage's embedding too, 4096 numbers.
"""

import json
import shutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from lettabox import crew_af, crew_folder, crew_record, database, paths
from lettabox.api import Api, Refused
from lettabox.errors import LettaboxError

PREFIX, OLD = "crew-export-", 86_400  # seconds; nobody works at such a folder any more
POLL = 2  # seconds between two looks at whether an agent is still at work
ATTEMPTS = 3  # at a crew that changes while it is read
PAGE = 500  # rows of the database at once

BLOCK = ("label", "value", "description", "limit", "read_only", "tags", "metadata", "hidden")

NEVER = [
    "values of secrets: of agents (their names are in the .af files), of tools' variables, of model providers",
    "embeddings: they are made anew from the texts, by the embedding model of the new box",
    "ids: agents, blocks, messages and passages get new ones",
    "runs, steps and their token counts; files and folders attached to agents; conversations beside the main one",
    "rendered videos and their ledger: they belong to the studio",
]


class Moved(Exception):
    """The crew changed while it was read."""


def export(out: IO[bytes], wait: int, anyway: bool, made_by: str) -> None:
    """Write the crew as a tar to `out`, and say on stderr what goes on.

    Waits up to `wait` seconds for agents that are at work; with `anyway` it takes them as they are then. Raises
    LettaboxError, with nothing written.
    """
    api = Api()
    found = agents(api)
    _settle(api, found, wait, anyway)
    for old in paths.STATE.glob(f"{PREFIX}*"):  # of exports that were killed
        if time.time() - old.stat().st_mtime > OLD:
            shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=paths.STATE, prefix=PREFIX) as name:
        folder = Path(name)
        for attempt in range(ATTEMPTS):
            try:
                manifest = _attempt(api, found, folder / str(attempt), made_by, anyway)
                break
            except Moved:
                _say("the crew changed while it was read; reading it again")
        else:
            raise LettaboxError(
                f"nothing was exported: the crew changed while it was read, {ATTEMPTS} times; leave it alone, and again"
            )
        try:
            crew_folder.pack(folder / str(attempt), list(manifest["files"]), out)
            out.flush()
        except BrokenPipeError:
            raise LettaboxError("nothing was exported: nobody takes it any more") from None


def _attempt(api: Api, found: dict, folder: Path, made_by: str, anyway: bool) -> dict[str, Any]:
    try:
        return _write(api, found, folder, made_by, anyway)
    except OSError as error:
        raise LettaboxError(f"nothing was exported: {error}; it is put together in {paths.STATE}") from None


def agents(api: Api) -> dict[str, dict[str, Any]]:
    """{role: agent} of the crew. Raises LettaboxError where there is none, or one of the record is gone."""
    try:
        record = crew_record.read()
    except ValueError as error:
        raise LettaboxError(f"nothing was exported: {error}; `make crew` writes it anew") from None
    if not record.agents:
        raise LettaboxError("nothing was exported: this box has no crew; `make crew` sets one up")
    found = {}
    for role, id_ in record.agents.items():
        try:
            found[role] = api.get(f"/v1/agents/{id_}", timeout=60)
        except Refused as error:
            if error.status != 404:
                raise
            raise LettaboxError(
                f"nothing was exported: agent {role} ({id_}) is gone; `make crew` makes it anew, then export again"
            ) from None
    return found


def _settle(api: Api, found: dict[str, dict[str, Any]], wait: int, anyway: bool) -> None:
    """Wait until no agent is at work. Raises LettaboxError when one still is, unless `anyway`."""
    end = time.monotonic() + wait
    told: set[str] = set()
    while True:
        runs = {role: api.get("/v1/runs/", agent_id=one["id"], active="true", limit=1) for role, one in found.items()}
        busy = {role: active[0]["id"] for role, active in runs.items() if active}
        if not busy:
            return
        names = ", ".join(f"{role} ({run})" for role, run in busy.items())
        if time.monotonic() >= end:
            if anyway:
                return _say(f"WARNING: taken while at work: {names}")
            raise LettaboxError(
                f"nothing was exported: at work after {wait} s: {names}; half a turn cannot be gone on with elsewhere. "
                "WAIT=600 waits longer; a run that will never end: ANYWAY=1 takes the agent as it is"
            )
        if set(busy) - told:
            _say(f"waiting up to {wait} s for {names}")
            told |= set(busy)
        time.sleep(POLL)


def _write(api: Api, found: dict, folder: Path, made_by: str, anyway: bool) -> dict[str, Any]:
    """Write the folder; return its manifest. Raises Moved when the crew changed meanwhile."""
    for name in ("", *crew_folder.FOLDERS):
        (folder / name).mkdir(mode=0o700)
    before = _fingerprint(found)
    record = crew_record.read()
    crew: dict[str, Any] = {"agents": {}, "blocks": _blocks(api, found, record)}
    counts = dict.fromkeys(("messages in context", "older messages", "archival passages"), 0)
    left = list(NEVER)
    for role, id_ in ((role, one["id"]) for role, one in found.items()):
        agent = api.get(f"/v1/agents/{id_}", timeout=60)
        file = api.get(f"/v1/agents/{id_}/export", timeout=600)
        context = agent["message_ids"] or []
        if len(file["agents"][0]["in_context_message_ids"]) != len(context):
            raise Moved
        order = _order(id_)
        if not set(context) <= set(order):
            raise Moved
        _json(folder / f"agents/{role}.af", file)
        older = _older(id_, set(context), order, folder / f"messages/{role}.jsonl")
        passages = _passages(id_, folder / f"archival/{role}.jsonl")
        crew["agents"][role] = _beside(agent, found, order)
        for key, count in zip(counts, (len(context), older, passages), strict=True):
            counts[key] += count
        left += _left(role, agent)
        _say(f"{role}: {len(context)} messages in context, {older} older ones, {passages} passages")
    if not anyway and _fingerprint(found) != before:
        raise Moved
    _json(folder / crew_folder.CREW, crew)
    _warn_of_secrets(folder)
    names = sorted(one.relative_to(folder).as_posix() for one in folder.rglob("*") if one.is_file())
    manifest = {
        "format": crew_folder.FORMAT,
        "lettabox": made_by,
        "letta": api.get("/v1/health/")["version"],
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "counts": {"agents": len(found), "blocks": len(crew["blocks"]), **counts},
        "not_in_it": left,
        "files": {name: crew_folder.entry(folder / name) for name in names},
    }
    _json(folder / crew_folder.MANIFEST, manifest)
    try:
        crew_folder.read_manifest(folder)
    except crew_folder.Damaged as error:
        raise LettaboxError(f"nothing was exported: no crew-import would take it: {error}") from None
    return manifest


def _fingerprint(found: dict[str, dict[str, Any]]) -> Any:
    """All that must not change while it is read."""
    ids = _quoted(one["id"] for one in found.values())
    blocks = f"(SELECT block_id FROM blocks_agents WHERE agent_id IN ({ids}))"
    archives = f"(SELECT archive_id FROM archives_agents WHERE agent_id IN ({ids}))"
    return database.rows(
        "SELECT "
        f"(SELECT json_agg(json_build_array(id, message_ids, md5(system)) ORDER BY id) FROM agents "
        f" WHERE id IN ({ids})) AS agents, "
        f"(SELECT json_agg(json_build_array(id, md5(value)) ORDER BY id) FROM block WHERE id IN {blocks}) AS blocks, "
        f"(SELECT json_build_array(count(*), max(sequence_id)) FROM messages WHERE agent_id IN ({ids})) AS messages, "
        f"(SELECT json_build_array(count(*), max(updated_at)) FROM archival_passages WHERE archive_id IN {archives}) "
        " AS passages"
    )


def _blocks(api: Api, found: dict, record: crew_record.Record) -> list[dict[str, Any]]:
    """Every block of the crew once, with the roles that have it and whether the record names it."""
    blocks: dict[str, dict[str, Any]] = {}
    of_record = set(record.blocks.values())
    wanted = of_record | {one["id"] for agent in found.values() for one in agent["blocks"]}
    for id_ in sorted(wanted):
        row = api.get(f"/v1/blocks/{id_}", timeout=60)
        roles = [role for role, agent in found.items() if id_ in {one["id"] for one in agent["blocks"]}]
        blocks[id_] = {key: row.get(key) for key in BLOCK} | {"agents": roles, "of_record": id_ in of_record}
        blocks[id_]["tags"] = sorted(row["tags"] or [])
    return sorted(blocks.values(), key=lambda one: (one["label"], one["agents"]))


def _beside(agent: dict[str, Any], found: dict, order: list[str]) -> dict[str, Any]:
    """What an .af file does not say of its agent."""
    config, places = agent["llm_config"], {id_: place for place, id_ in enumerate(order)}
    beside = {
        "name": agent["name"],
        "tags": sorted(agent["tags"]),
        "tools": sorted(one["name"] for one in agent["tools"]),
        "model": config.get("handle") or "",
        "model_settings": {key: config[key] for key in crew_af.MODEL_SETTINGS if config.get(key) is not None},
        "embedding": (agent["embedding_config"] or {}).get("handle") or "",
        "compaction_settings": agent.get("compaction_settings"),
        "hidden": agent.get("hidden"),
        # Where each message in context stands among all of the agent's, oldest first.
        "places": [places[id_] for id_ in agent["message_ids"] or []],
    }
    group = agent.get("multi_agent_group")
    if group and group["manager_type"] == "sleeptime" and group["manager_agent_id"] == agent["id"]:
        roles = {one["id"]: role for role, one in found.items()}
        beside["sleeptime"] = {
            "agents": [roles[id_] for id_ in group["agent_ids"] if id_ in roles],
            "description": group["description"],
            "frequency": group["sleeptime_agent_frequency"],
            "turns": group["turns_counter"],
            "processed": places.get(group["last_processed_message_id"]),
        }
    return beside


def _order(agent: str) -> list[str]:
    """Ids of all messages of the agent's main conversation, oldest first."""
    return [one["id"] for one in database.rows(f"SELECT id FROM {_messages(agent)} ORDER BY sequence_id")]


def _messages(agent: str) -> str:
    return f"messages WHERE agent_id = {_quoted([agent])} AND NOT is_deleted AND conversation_id IS NULL"


def _older(agent: str, context: set[str], order: list[str], path: Path) -> int:
    """Write the messages that are not in context; return how many."""
    older = [(place, id_) for place, id_ in enumerate(order) if id_ not in context]
    with path.open("x") as file:
        for start in range(0, len(older), PAGE):
            page = older[start : start + PAGE]
            rows = database.rows(
                "SELECT id, role, content, text, name, model, tool_calls, tool_call_id, tool_returns, created_at, "
                f"approve, denial_reason, approvals FROM messages WHERE id IN ({_quoted(id_ for _, id_ in page)})"
            )
            known = {row.pop("id"): row for row in rows}
            if len(known) != len(page):
                raise Moved
            for place, id_ in page:
                row = known[id_]
                text = row.pop("text")
                if not row["content"] and text:
                    row["content"] = [{"type": "text", "text": text}]
                file.write(json.dumps({"place": place, **row}, ensure_ascii=False) + "\n")
    return len(older)


def _passages(agent: str, path: Path) -> int:
    """Write what is in archival memory, oldest first; return how many passages."""
    count, after = 0, ""
    with path.open("x") as file:
        while True:
            rows = database.rows(
                "SELECT p.id, p.created_at, p.text, p.tags, p.metadata_ AS metadata FROM archival_passages p "
                f"JOIN archives_agents a ON a.archive_id = p.archive_id AND a.agent_id = {_quoted([agent])} "
                f"WHERE NOT p.is_deleted {after} ORDER BY p.created_at, p.id LIMIT {PAGE}"
            )
            for row in rows:
                passage = {key: row[key] for key in row if key != "id"} | {"tags": sorted(row["tags"] or [])}
                file.write(json.dumps(passage, ensure_ascii=False) + "\n")
            count += len(rows)
            if len(rows) < PAGE:
                return count
            last = rows[-1]
            after = f"AND (p.created_at, p.id) > ({_quoted([last['created_at']])}, {_quoted([last['id']])})"


def _left(role: str, agent: dict[str, Any]) -> list[str]:
    """What this agent has that no export carries."""
    left = []
    if names := [one["key"] for one in agent.get("secrets") or []]:
        left.append(f"{role}: its secrets must be given anew: {', '.join(names)}")
    if folders := [one["name"] for one in agent.get("sources") or []]:
        left.append(f"{role}: attach its folders again: {', '.join(folders)}")
    if agent.get("identity_ids"):
        left.append(f"{role}: attach its {len(agent['identity_ids'])} identities again")
    count = database.rows(
        f"SELECT count(*) AS n FROM messages WHERE agent_id = {_quoted([agent['id']])} AND NOT is_deleted "
        "AND conversation_id IS NOT NULL"
    )[0]["n"]
    if count:
        left.append(f"{role}: {count} messages of further conversations")
    return left


def _warn_of_secrets(folder: Path) -> None:
    """Say which files hold a secret of this box, which an agent must have been shown."""
    values = {
        path.name: value
        for path in paths.SECRETS.iterdir()
        if path.is_file() and len(value := path.read_bytes().strip()) >= 12
    }
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            text = path.read_bytes()
            if shown := [name for name, value in values.items() if value in text]:
                _say(
                    f"WARNING: {path.relative_to(folder)} holds the secret {', '.join(shown)} of this box, which an "
                    "agent was shown; keep the folder as you keep secrets, and replace that one"
                )


def _quoted(values: Any) -> str:
    """As SQL."""
    return ", ".join("'" + one.replace("'", "''") + "'" for one in values)


def _json(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _say(line: str) -> None:
    # stdout is the tar.
    print(line, file=sys.stderr, flush=True)
