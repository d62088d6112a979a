"""A crew from a folder that an export made: checked first, created under a mark, and the crew once all of it is there.

Facts about Letta 0.16.8 that shape this, all seen on the real server:
- Its import makes new agents with the messages it is given, in their order and with their times, whether they are in
  context or not. It is not one transaction, and goes on when its caller is gone.
- Tools of the same name are written over, unless it is told not to; then an agent gets the one that is there.
- A group that begins anew has its sleeptime agent look at the first 50 messages of the whole history at its next turn.
  No API sets how far it is, so that is written to the database.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import IO, Any

from lettabox import (
    crew_af,
    crew_apply,
    crew_folder,
    crew_record,
    crew_tool_source,
    crew_unfinished,
    database,
    letta_tools,
    paths,
    studio_tool_source,
    tool_list,
)
from lettabox.api import Api, Refused
from lettabox.crew_unfinished import MARK
from lettabox.errors import FAILED, OK, USAGE, LettaboxError

PREFIX = "crew-import-"
BATCH, CHARACTERS = 50, 100_000  # passages that are embedded with one request, and the characters in them
OURS = {*studio_tool_source.NAMES, *crew_tool_source.NAMES}  # never from a folder


def import_(source: IO[bytes]) -> int:
    """Restore the crew that comes as a line {"document": the crew to have, or null} and a tar; return an exit code.

    Raises LettaboxError: with nothing changed when the folder is not whole or a crew is here already; otherwise what
    was created until then is marked, and the next import removes it.
    """
    for left in paths.STATE.glob(f"{PREFIX}*"):
        shutil.rmtree(left)  # of an import that was killed; whoever imports has the box's lock
    with tempfile.TemporaryDirectory(dir=paths.STATE, prefix=PREFIX) as name:
        try:
            document = json.loads(source.readline(crew_folder.LARGEST))["document"]
            document = document and crew_apply.parsed(json.dumps(document))
            crew_folder.unpack(source, Path(name))
            crew = crew_af.read(Path(name))
        except crew_folder.Damaged as error:
            raise LettaboxError(f"nothing was imported: {error}") from None
        except OSError as error:
            raise LettaboxError(f"nothing was imported: {error}; what comes is kept in {paths.STATE}") from None
        except (ValueError, TypeError, LookupError):
            raise LettaboxError("this reads what `make crew-import` sends", USAGE) from None
        return _import(Api(), crew, document)


def undo() -> None:
    """Remove what an import that was cut off left, and nothing else."""
    api, record = Api(), _record()
    found = crew_unfinished.find(api)
    if not found:
        print("no unfinished import is here")
    elif crew_unfinished.finished(found, record):
        crew_unfinished.finish(api, found, record)
        print("that import was done but for its marks, which are gone now; the crew is complete")
    else:
        crew_unfinished.remove(api, found)


def _import(api: Api, crew: crew_af.Crew, document: dict[str, Any] | None) -> int:
    found, record = crew_unfinished.find(api), _record()
    if crew_unfinished.finished(found, record):
        crew_unfinished.finish(api, found, record)
        print("the import before was cut off when all was there; it is complete now", flush=True)
        return _converge(api, record, document)
    _refuse(api, found, record)
    if document:
        crew_apply.check(api, document, crew_apply.look())
    models = _models(api, crew, document)
    if found:
        crew_unfinished.remove(api, found)
    made, count = crew.manifest, len(crew.agents)
    print(f"importing {count} agents, exported {made.get('made')} from Letta {made.get('letta')}", flush=True)
    record = _create(api, crew, models)
    crew_record.write(record)  # from here on it is the crew
    # An import that was killed may have left Letta at work on what it had asked for.
    crew_unfinished.finish(api, crew_unfinished.find(api), record)
    for line in made.get("not_in_it") or []:
        print(f"not carried: {line}")
    return _converge(api, record, document)


def _record() -> crew_record.Record:
    try:
        return crew_record.read()
    except ValueError as error:
        raise LettaboxError(f"nothing was imported: {error}; move it away, if no crew is here") from None


def _refuse(api: Api, found: crew_unfinished.Found, record: crew_record.Record) -> None:
    """Raises LettaboxError when the box has a crew."""
    there = {
        one["name"]: one["id"]
        for one in api.all("/v1/agents/", tags=crew_record.TAG, show_hidden_agents="true", include_relationships="tags")
    }
    for role, id_ in record.agents.items():
        try:
            api.get(f"/v1/agents/{id_}", include_relationships="tags")
            there[role] = id_
        except Refused as error:
            if error.status != 404:
                raise
    there |= {f"block {one['label']}": one["id"] for one in api.all("/v1/blocks/", tags=crew_record.TAG)}
    if there:
        names = ", ".join(f"{name} ({id_})" for name, id_ in sorted(there.items()))
        left = f"; an unfinished import is here too ({found}): make crew-import UNDO=1 removes that" if found else ""
        raise LettaboxError(
            f"nothing was imported: this box has a crew: {names}; export it if it is wanted, then delete these, "
            f"as docs/crew_move.md shows{left}"
        )


def _models(api: Api, crew: crew_af.Crew, document: dict[str, Any] | None) -> dict[str, tuple[str, str]]:
    """{role: (model, embedding)}, by handles this server has. Raises LettaboxError where it has none."""
    chat = {one["handle"] for one in api.get("/v1/models/", timeout=60)}
    embedding = {one["handle"] for one in api.get("/v1/models/embedding", timeout=60)}
    found = {}
    for role, agent in crew.agents.items():
        model, embeds = agent.beside["model"], agent.beside["embedding"]
        found[role] = (
            _handle(role, "model", model, chat, document),
            _handle(role, "embedding", embeds, embedding, document) if embeds else "",
        )
    return found


def _handle(role: str, kind: str, wanted: str, there: set[str], document: dict[str, Any] | None) -> str:
    if wanted in there:
        return wanted
    instead = _declared(document, role).get(kind, "")
    if instead in there:
        print(f"{role}: {kind} {instead}, as this server has no {wanted}", flush=True)
        return instead
    also = f", and no {instead} either" if instead else ""
    raise LettaboxError(
        f"nothing was imported: {role} has {kind} {wanted}, this server has none such{also}; set settings.crew.{kind} "
        f"to one it has: {', '.join(sorted(there)[:20]) or 'none (`make letta-providers`)'}"
    )


def _declared(document: dict[str, Any] | None, role: str) -> dict[str, Any]:
    """What the document says of a role; of one that it does not know, what it says of its first agent."""
    agents = (document or {}).get("agents") or {}
    main, _, rest = role.rpartition("-")
    if rest == "sleeptime" and main in agents and agents[main].get("sleeptime"):
        return agents[main]["sleeptime"]
    return agents.get(role) or next(iter(agents.values()), {})


def _create(api: Api, crew: crew_af.Crew, models: dict[str, tuple[str, str]]) -> crew_record.Record:
    """Create all of it under the mark; return what the record will be. Raises LettaboxError."""
    tools = _tools(api, crew)
    record, blocks = crew_record.Record(), {role: [] for role in crew.agents}
    for one in crew.blocks:
        kept = {key: one.get(key) for key in ("label", "value", "description", "limit", "read_only", "metadata")}
        id_ = api.call("POST", "/v1/blocks/", {**kept, "tags": _marked(one.get("tags") or [])})["id"]
        for role in one["agents"]:
            blocks[role].append(id_)
        if one["of_record"]:
            record.blocks[one["label"]] = id_
    print(f"{len(crew.blocks)} blocks", flush=True)
    for role, agent in crew.agents.items():
        record.agents[role] = _agent(api, agent, models[role], tools, blocks[role])
    for role, agent in crew.agents.items():
        if told := agent.beside.get("sleeptime"):
            _sleeptime(api, agent, record.agents[role], told, record)
    for id_ in record.agents.values():
        # The prompt in context is the one of the old box; this writes the blocks and the size of the memories into it.
        api.call("POST", f"/v1/agents/{id_}/recompile")
    return record


def _marked(tags: list[str]) -> list[str]:
    """Tags of something that is not finished: its own, without those by which a crew is known."""
    return [MARK, *(tag for tag in tags if tag.partition(":")[0] != crew_record.TAG and tag != MARK)]


def _tools(api: Api, crew: crew_af.Crew) -> set[str]:
    """Names of the tools that the agents can have; the folder's own are created where the server has none so named."""
    wanted = sorted({name for agent in crew.agents.values() for name in agent.beside["tools"]})
    if own := [name for name in wanted if name in crew_tool_source.NAMES]:
        letta_tools.install(api, crew_record.TAG, {name: crew_tool_source.source(name) for name in own}, "make crew")
    rows = {row["name"]: row for row in api.call("GET", "/v1/tools/", **tool_list.named(wanted))} if wanted else {}
    new = []
    for name in wanted:
        tool = crew.tools.get(name)
        if name in rows:
            if tool and name not in OURS and tool["source_code"] != rows[name]["source_code"]:
                print(f"tool {name}: left out; this server has another one so named, which the agents get", flush=True)
        elif name in OURS:
            print(f"tool {name}: not here yet; `make studio-tools`, then `make crew` gives it to them", flush=True)
        elif tool is None:
            print(f"tool {name}: left out; this server has none, and in the folder is no source of it", flush=True)
        else:
            new.append({**tool, "tags": _marked(tool.get("tags") or [])})
    if new:
        for tool in new:
            print(f"tool {tool['name']}: created from the folder", flush=True)
        _send(api, "tools", crew_af.tools_document(new), {})
    return set(rows) | {tool["name"] for tool in new}


def _agent(api: Api, agent: crew_af.Agent, models: tuple[str, str], tools: set[str], blocks: list[str]) -> str:
    model, embedding = models
    have = [name for name in agent.beside["tools"] if name in tools]
    document = crew_af.import_document(agent, agent.beside["name"], _marked(agent.beside["tags"]), have)
    fields = {"model": model, **({"embedding": embedding} if embedding else {})}
    (id_,) = _send(api, f"agent {agent.role}", document, fields)["agent_ids"]
    config = api.get(f"/v1/agents/{id_}", timeout=60)["llm_config"] | agent.model_settings
    # With a tool that asks for approval comes a rule, which the agent has already.
    rules = agent.given.get("tool_rules", [])
    api.patch(f"/v1/agents/{id_}", {"llm_config": config, "tool_rules": rules, "block_ids": blocks})
    passages = agent.passages()
    _archive(api, id_, passages, bool(embedding))
    messages = document["agents"][0]["messages"]
    counted = database.rows(
        f"SELECT (SELECT count(*) FROM messages WHERE agent_id = '{id_}' AND NOT is_deleted) AS messages, "
        "(SELECT count(*) FROM archival_passages JOIN archives_agents USING (archive_id) "
        f" WHERE agent_id = '{id_}' AND NOT archival_passages.is_deleted) AS passages"
    )[0]
    if counted != {"messages": len(messages), "passages": len(passages)}:
        raise LettaboxError(
            f"agent {agent.role}: of {len(messages)} messages and {len(passages)} passages Letta has {counted}; "
            "make crew-import again, which removes this first",
            FAILED,
        )
    print(f"agent {agent.role}: {len(messages)} messages, {len(passages)} passages of archival memory", flush=True)
    return id_


def _send(api: Api, what: str, document: dict[str, Any], fields: dict[str, str]) -> Any:
    content = json.dumps(document).encode()
    fields = {"append_copy_suffix": "false", "override_existing_tools": "false", **fields}
    try:
        return api.upload("/v1/agents/import", "crew.af", content, fields)
    except Refused as error:
        raise LettaboxError(
            f"{what}: Letta does not take it: HTTP {error.status} {error.text}; what was created is marked as "
            "unfinished, make crew-import UNDO=1 removes it",
            FAILED,
        ) from None


def _archive(api: Api, agent: str, passages: list[dict[str, Any]], embedded: bool) -> None:
    """Put the passages into the agent's archive, which Letta makes with the first of them."""
    if not passages:
        return
    first = {key: passages[0][key] for key in ("text", "tags", "created_at")}
    (made,) = api.call("POST", f"/v1/agents/{agent}/archival-memory", first, timeout=300)
    path = f"/v1/archives/{made['archive_id']}/passages"
    batch: list[dict[str, Any]] = []
    for one in passages[1:]:
        if not embedded:  # Letta embeds what comes by many, and cannot without a model
            api.call("POST", path, one)
            continue
        if batch and (len(batch) == BATCH or sum(len(two["text"]) for two in (*batch, one)) > CHARACTERS):
            api.call("POST", f"{path}/batch", {"passages": batch}, timeout=300)
            batch = []
        batch.append(one)
    if batch:
        api.call("POST", f"{path}/batch", {"passages": batch}, timeout=300)


def _sleeptime(api: Api, agent: crew_af.Agent, id_: str, told: dict[str, Any], record: crew_record.Record) -> None:
    """Give an agent its sleeptime agents, and have them go on where they were."""
    manager = {"manager_type": "sleeptime", "manager_agent_id": id_}
    if told.get("frequency"):
        manager["sleeptime_agent_frequency"] = told["frequency"]
    members = [record.agents[role] for role in told["agents"]]
    body = {"agent_ids": members, "description": told["description"], "manager_config": manager}
    group = api.call("POST", "/v1/groups/", body)["id"]
    api.patch(f"/v1/agents/{id_}", {"enable_sleeptime": True})
    changes = [f"turns_counter = {told['turns']}"] if told.get("turns") is not None else []
    if (place := told.get("processed")) is not None:
        changes.append(
            f"last_processed_message_id = (SELECT id FROM messages WHERE agent_id = '{id_}' AND NOT is_deleted "
            f"ORDER BY sequence_id OFFSET {place} LIMIT 1)"
        )
    if changes:
        database.run(f"UPDATE groups SET {', '.join(changes)} WHERE id = '{group}';")


def _converge(api: Api, record: crew_record.Record, document: dict[str, Any] | None) -> int:
    """Make it the declared crew in all that is declared; return an exit code."""
    print(f"imported: {len(record.agents)} agents, {len(record.blocks)} shared blocks", flush=True)
    if document:
        try:
            return crew_apply.apply(document)
        except LettaboxError as error:
            again = "it is imported, and not yet as declared; correct that, then: make crew"
            raise LettaboxError(f"{error}\n  {again}", error.code) from None
    letta_tools.give(api, {crew_record.VARIABLE: crew_record.variable(record)})
    print("it is as it was exported; settings.crew.model is not set, so inventory/crew.yml was not looked at")
    return OK
