"""Bring the crew in Letta to what is wanted: what is missing is created, what differs is changed, the rest is left.

It may be killed at any point, and the next run repairs: what is created is found again by its tag, the record is
written after each creation, and a file says that a run has begun until all of it is done.

Facts about Letta 0.16.8 that shape this, all seen on the real server:
- An agent that is created with enable_sleeptime and cannot be given its sleeptime agent answers 500 and exists. So the
  sleeptime agent and the group come first, and the switch last: with a group there it makes no agent of its own.
- A PATCH of the system prompt, or of the blocks, leaves the prompt that is in use as it was; POST recompile makes it.
- The route that attaches a block also attaches it to the members of the agent's group, strangers too; a PATCH of
  block_ids does not. It leaves out, without a word, a block whose label is on the agent until then.
"""

import http.client
import json
import time
from collections.abc import Iterable
from typing import Any

from lettabox import (
    crew_memory,
    crew_plan,
    crew_record,
    crew_state,
    crew_tool_source,
    files,
    letta_tools,
    paths,
    tool_list,
)
from lettabox.api import Api, Refused
from lettabox.crew_plan import SLEEPTIME, Change
from lettabox.crew_record import TAG, VARIABLE, Record
from lettabox.errors import OK, UNHEALTHY, USAGE, LettaboxError

AGAIN = "make crew"
ROUNDS = 3  # of looking and changing; the second finds nothing to do, unless something was half-made
LATE = 10  # seconds after which what a killed run asked Letta for is there, or will not be
CREATE = 120  # seconds that Letta may take for one
SHOWN = 10


def stored() -> dict[str, Any]:
    """The document that the box was last given. Raises LettaboxError when there is none."""
    try:
        return parsed(paths.CREW_WANTED.read_text(), str(paths.CREW_WANTED))
    except FileNotFoundError:
        raise LettaboxError(
            f"no crew was set up: there is no {paths.CREW_WANTED}; set settings.crew.model, then: make deploy", USAGE
        ) from None


def parsed(text: str, source: str = "standard input") -> dict[str, Any]:
    """The document in a text. Raises LettaboxError when it is none."""
    try:
        document = json.loads(text)
        fields = ("system", "model", "embedding", "context_window", "blocks", "tools", "autoclear")
        if all({*fields} <= set(one) for one in crew_plan.members(document).values()) and "blocks" in document:
            return document
    except (ValueError, LookupError, TypeError, AttributeError):
        pass
    raise LettaboxError(f"{source} holds no crew; send one with: {AGAIN}", USAGE)


def look() -> dict[str, Any]:
    """The crew as it is. Raises LettaboxError when Letta cannot be asked, or the record cannot be read."""
    try:
        return crew_state.look()
    except (OSError, http.client.HTTPException, crew_state.Silent, LookupError, TypeError) as error:
        why = str(error) or type(error).__name__
        raise LettaboxError(f"Letta cannot be asked for the crew: {why} (see: make letta-status)", UNHEALTHY) from None
    except ValueError as error:
        raise LettaboxError(
            f"{error}; remove that file, and agents and blocks are found again by their tags: {AGAIN}"
        ) from None


def plan(document: dict[str, Any]) -> None:
    """Print what apply would change, and change nothing. Raises LettaboxError for what it would refuse."""
    now = look()
    changes = crew_plan.differences(document, now, crew_tool_source.digests())
    if changes:
        check(Api(), document, now)
    for line in [*map(str, changes), *crew_plan.notes(document, now, crew_tool_source.digests())]:
        print(line)
    print(f"{_counted(document)}, {_changes(len(changes), ' to make')}")


def apply(document: dict[str, Any], deploying: bool = False) -> int:
    """Converge, and print one line for each change; return OK, or UNHEALTHY when embeddings do not work.

    `deploying`: that is a warning then. Raises LettaboxError, before any change, for a handle or a tool that is not
    there, and for two agents that could both be meant; afterwards where Letta refuses.
    """
    return _Run(document).converge(deploying)


def _counted(document: dict[str, Any]) -> str:
    return f"crew: {len(crew_plan.members(document))} agents, {len(document['blocks'])} blocks"


def _changes(count: int, more: str = "") -> str:
    return f"{count} change{'' if count == 1 else 's'}{more}" if count else "nothing to change"


# --- what is refused before anything is changed ----------------------------------------------------------------------


def check(api: Api, document: dict[str, Any], now: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{handle: model} of Letta's chat models. Raises LettaboxError for what cannot be converged."""
    wrong = [f"two could be {name}: {', '.join(ids)}" for name, ids in now["twice"].items()]
    if wrong:
        remedy = (
            f"delete the one that is not, or take its tag {TAG}:... away, or write the id of the one that is into "
            f"{paths.CREW_RECORD}; then: {AGAIN}"
        )
        raise LettaboxError(f"{'; '.join(wrong)}\n  next: {remedy}")
    models = {one["handle"]: one for one in api.get("/v1/models/", timeout=60)}
    embeddings = {one["handle"] for one in api.get("/v1/models/embedding", timeout=60)}
    _check_handles(document, "model", set(models), "those of OpenAI-compatible providers are openai-proxy/MODEL")
    _check_handles(document, "embedding", embeddings, "they are PROVIDER/MODEL, with the provider's own name")
    _check_tools(api, document)
    return models


def _check_handles(document: dict[str, Any], field: str, there: set[str], hint: str) -> None:
    for role, one in crew_plan.members(document).items():
        if one[field] not in there:
            known = sorted(there)
            named = ", ".join(known[:SHOWN]) + (f" and {len(known) - SHOWN} more" if len(known) > SHOWN else "")
            raise LettaboxError(
                f"{role}: Letta knows no {field} {one[field]!r}; there are: {named or 'none'}\n"
                f"  next: {hint}; correct settings.crew.{field} (or crew.yml), or set the provider up: "
                "make letta-providers"
            )


def _check_tools(api: Api, document: dict[str, Any]) -> None:
    users: dict[str, list[str]] = {}
    for role, one in crew_plan.members(document).items():
        for name in one["tools"]:
            users.setdefault(name, []).append(role)
    missing = sorted(set(users) - {*_tool_ids(api, users), *crew_tool_source.NAMES})
    if missing:
        named = "; ".join(f"{name} (for {', '.join(users[name])})" for name in missing)
        raise LettaboxError(
            f"Letta has no tool {named}\n  next: make studio-tools when it is one of the studio's, make letta-restart "
            f"when somebody deleted one of Letta's own, else correct its name in crew.yml; then: {AGAIN}"
        )


def _tool_ids(api: Api, names: Iterable[str]) -> dict[str, str]:
    """{name: id} of those that Letta has."""
    return {row["name"]: row["id"] for row in api.call("GET", "/v1/tools/", **tool_list.named(names))}


# --- the changes -----------------------------------------------------------------------------------------------------


class _Run:
    """One convergence to one document."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.everybody = crew_plan.members(document)
        self.sources = crew_tool_source.digests()
        self.api = Api()
        self.record = Record()
        self.models: dict[str, dict[str, Any]] = {}  # of Letta, by handle
        self.tools: dict[str, str] = {}  # ids by name
        self.before = _begun_before()
        self.stale: set[str] = set()  # roles whose prompt in use is to be made anew

    def converge(self, deploying: bool) -> int:
        now, made = look(), 0
        changes = crew_plan.differences(self.document, now, self.sources)
        if changes:
            self.models = check(self.api, self.document, now)
        files.write(paths.CREW_WANTED, json.dumps(self.document, indent=1) + "\n")
        notes = crew_plan.notes(self.document, now, self.sources)
        for _ in range(ROUNDS):
            if changes:
                made += len(changes)
                self._change(now, changes)
                now = look()
                changes = crew_plan.differences(self.document, now, self.sources)
        if changes:
            raise LettaboxError(f"Letta did not take all of it; still: {'; '.join(map(str, changes))}")
        print("\n".join([*notes, f"{_counted(self.document)}, {_changes(made)}"]))
        return self._embeddings(now, deploying)

    def _change(self, now: dict[str, Any], changes: list[Change]) -> None:
        """Make the changes, from what was seen."""
        self.record = Record(
            {role: one["id"] for role, one in now["agents"].items()},
            {label: one["id"] for label, one in now["blocks"].items()},
        )
        self.stale = set(now["agents"]) & set(self.everybody) if now["cut_off"] else set()
        self._begun()
        self.tools = self._install([one.whom for one in changes if one.kind == crew_plan.TOOL])
        by_kind: dict[str, dict[str, list[Change]]] = {}
        for one in changes:
            by_kind.setdefault(one.kind, {}).setdefault(one.whom, []).append(one)
        for label in by_kind.get(crew_plan.CREATE_BLOCK, {}):
            self._create_block(label)
        for label, those in by_kind.get(crew_plan.SET_BLOCK, {}).items():
            self._set_block(label, those)
        for role in by_kind.get(crew_plan.CREATE_AGENT, {}):
            self._create_agent(role)
        for role in self.everybody:
            self._set_agent(role, [one for one in changes if one.whom == role])
        for kind in (crew_plan.GROUP, crew_plan.FREQUENCY):
            for role in by_kind.get(kind, {}):
                self._group(role, now["agents"].get(role, {}).get("group"))
        for role in by_kind.get(crew_plan.SWITCH, {}):
            self._patch(role, {"enable_sleeptime": True, "system": self.everybody[role]["system"]}, "sleeptime on")
        for role in sorted(self.stale):
            self._recompile(role)
        crew_record.write(self.record)
        if crew_plan.VARIABLE in by_kind:
            letta_tools.give(self.api, {VARIABLE: crew_record.variable(self.record)})
        paths.CREW_STARTED.unlink()

    def _begun(self, creating: str = "") -> None:
        """Have it known that a run is under way, and what it is just asking Letta to create."""
        files.write(paths.CREW_STARTED, json.dumps({"creating": creating, "time": time.time()}) + "\n")

    def _install(self, names: list[str]) -> dict[str, str]:
        """{name: id} of the tools that agents are to have, once those of ours are there."""
        if names:
            letta_tools.install(self.api, TAG, {name: crew_tool_source.source(name) for name in names}, AGAIN)
        return _tool_ids(self.api, {name for one in self.everybody.values() for name in one["tools"]})

    # Creation

    def _create(self, path: str, name: str, body: dict[str, Any]) -> tuple[str, str]:
        """(id, what to say) of one that is made, or that is there already by its tag."""
        asked = self.before.get("time", 0) if self.before.get("creating") == name else 0
        if id_ := self._tagged(path, name, asked + LATE - time.time()):
            return id_, "found by its tag, it is completed"
        self._begun(name)
        try:
            return self.api.call("POST", path, body, timeout=CREATE)["id"], "created"
        except LettaboxError as error:
            # Letta may have made it all the same, or be about to.
            refused = isinstance(error, Refused) and error.status < http.client.INTERNAL_SERVER_ERROR
            if not refused and (id_ := self._tagged(path, name, 0 if isinstance(error, Refused) else LATE)):
                return id_, f"Letta answered with an error and made it all the same, it is completed ({error})"
            raise LettaboxError(f"{name} could not be created: {error}\n  next: {AGAIN}", error.code) from None

    def _tagged(self, path: str, name: str, seconds: float) -> str | None:
        """The id of the one with the tag of `name`, within so many seconds."""
        until = time.monotonic() + seconds
        while True:
            tags = crew_record.tags(name)
            found = self.api.call("GET", path, tags=tags, match_all_tags="true", limit=crew_state.PAGE)
            taken = {*self.record.agents.values(), *self.record.blocks.values()}
            if free := [row["id"] for row in found if row["id"] not in taken]:
                return free[0]
            if time.monotonic() > until:
                return None
            time.sleep(1)

    def _create_block(self, label: str) -> None:
        want = self.document["blocks"][label]
        known, now = label in crew_memory.LABELS, crew_memory.stamp()
        value = crew_memory.write(label, crew_memory.fresh(label, now), "", now) if known else ""
        body = {"label": label, "value": value, **want, "tags": crew_record.tags(label)}
        self.record.blocks[label], said = self._create("/v1/blocks/", label, body)
        self._keep()
        print(f"block {label}: {said}", flush=True)

    def _create_agent(self, role: str) -> None:
        want = self.everybody[role]
        behind = role.endswith(SLEEPTIME)
        body = {
            "name": role,
            "agent_type": "sleeptime_agent" if behind else "letta_v1_agent",
            "description": want["description"],
            "system": want["system"],
            "model": want["model"],
            "embedding": want["embedding"],
            "context_window_limit": self._window(want),
            "tags": crew_record.tags(role),
            "block_ids": [self.record.blocks[label] for label in want["blocks"]],
            "tool_ids": [self.tools[name] for name in want["tools"]],
            "message_buffer_autoclear": want["autoclear"],
            "initial_message_sequence": [],
            "include_base_tools": False,
            "include_base_tool_rules": behind,  # by them LAST_TOOL ends a turn
            "include_default_source": False,
            "include_multi_agent_tools": False,
        }
        self.record.agents[role], said = self._create("/v1/agents/", role, body)
        self._keep()
        print(f"{role}: {said}", flush=True)

    def _keep(self) -> None:
        crew_record.write(self.record)
        self._begun()

    # Setting right

    def _window(self, want: dict[str, Any]) -> int:
        most = self.models[want["model"]]["max_context_window"]
        return want["context_window"] if most == crew_state.UNKNOWN_WINDOW else min(want["context_window"], most)

    def _set_block(self, label: str, changes: list[Change]) -> None:
        id_, want = self.record.blocks[label], self.document["blocks"][label]
        body = {one.item: want[one.item] for one in changes if one.item != "tags"}
        if len(body) < len(changes):
            there = self.api.get(f"/v1/blocks/{id_}")["tags"] or []
            body["tags"] = sorted({*there, *crew_record.tags(label)})
        self.api.patch(f"/v1/blocks/{id_}", body)
        for one in changes:
            print(one, flush=True)

    def _set_agent(self, role: str, changes: list[Change]) -> None:
        want, body = self.everybody[role], {}
        items = {one.item for one in changes if one.kind == crew_plan.SET_AGENT}
        kinds = {one.kind for one in changes}
        for field in items & {"system", "description", "embedding"}:
            body[field] = want[field]
        if "autoclear" in items:
            body["message_buffer_autoclear"] = want["autoclear"]
        if not items and not kinds & {crew_plan.ATTACH_BLOCK, crew_plan.ATTACH_TOOL}:
            return
        row = self.api.get(f"/v1/agents/{self.record.agents[role]}", timeout=60, **crew_state.AGENT)
        if "model" in items:
            body |= self._model(want, row)
        elif "context window" in items:
            # Not context_window_limit: with it Letta makes the whole model configuration anew from the handle.
            body["llm_config"] = row["llm_config"] | {"context_window": self._window(want)}
        if "tags" in items:
            body["tags"] = sorted({*row["tags"], *crew_record.tags(role)})
        if "tool rules" in items:
            body["tool_rules"] = [*(row["tool_rules"] or []), {"tool_name": crew_plan.LAST_TOOL, "type": "exit_loop"}]
        if crew_plan.ATTACH_BLOCK in kinds:
            ours = {label: self.record.blocks[label] for label in want["blocks"]}
            kept = [one["id"] for one in row["memory"]["blocks"] if one["label"] not in ours]
            if crew_plan.DETACH_BLOCK in kinds:
                self.api.patch(f"/v1/agents/{self.record.agents[role]}", {"block_ids": kept})
            body["block_ids"] = [*kept, *ours.values()]
        if body:
            self.api.patch(f"/v1/agents/{self.record.agents[role]}", body)
        for one in changes:
            if one.kind == crew_plan.ATTACH_TOOL:
                path = f"/v1/agents/{self.record.agents[role]}/tools/attach/{self.tools[one.item]}"
                self.api.patch(path, {})
            if one.kind in (crew_plan.SET_AGENT, crew_plan.DETACH_BLOCK, crew_plan.ATTACH_BLOCK, crew_plan.ATTACH_TOOL):
                print(one, flush=True)
        if "system" in items or "block_ids" in body or "tool_rules" in body:
            self.stale.add(role)

    def _model(self, want: dict[str, Any], row: dict[str, Any]) -> dict[str, Any]:
        """The part of a PATCH that gives an agent its model, with what Letta adds by itself only on creation."""
        model = self.models[want["model"]]
        body = {"model": want["model"], "context_window_limit": self._window(want)}
        body["reasoning"] = bool(model["enable_reasoner"] or model["put_inner_thoughts_in_kwargs"])
        summaries = (row["compaction_settings"] or {}).get("model")
        if summaries == row["llm_config"].get("handle"):  # of its own model, and not chosen by anybody
            body["compaction_settings"] = {"model": want["model"]}
        return body

    def _patch(self, role: str, body: dict[str, Any], said: str) -> None:
        self.api.patch(f"/v1/agents/{self.record.agents[role]}", body)
        print(f"{role}: {said}", flush=True)

    def _group(self, role: str, group: dict[str, Any] | None) -> None:
        """Have the sleeptime agent work in the background of its main agent, as often as it is to."""
        frequency = self.everybody[role]["sleeptime"]["frequency"]
        main, other = self.record.agents[role], self.record.agents[role + SLEEPTIME]
        config = {"manager_type": "sleeptime", "manager_agent_id": main, "sleeptime_agent_frequency": frequency}
        # Looked at again: a run before may have made it just now.
        group = group or self.api.get(f"/v1/agents/{main}", timeout=60, **crew_state.AGENT)["multi_agent_group"]
        if not group:
            text = f"{role} and the agent that works in its background"
            body = {"agent_ids": [other], "description": text, "manager_config": config}
            self.api.call("POST", "/v1/groups/", body)
            print(f"{role}: group with {role + SLEEPTIME} created, every {frequency} turns", flush=True)
            return
        members = group.get("members", group.get("agent_ids"))
        body = {"manager_config": config}
        if other not in members:
            body["agent_ids"] = [*(one for one in members if self._exists(one)), other]
        self.api.patch(f"/v1/groups/{group['id']}", body)
        print(f"{role}: group with {role + SLEEPTIME} set right, every {frequency} turns", flush=True)

    def _exists(self, agent: str) -> bool:
        try:
            self.api.get(f"/v1/agents/{agent}", include_relationships="tags")
        except Refused as error:
            if error.status != http.client.NOT_FOUND:
                raise
            return False
        return True

    def _recompile(self, role: str) -> None:
        """Have the prompt in use made anew from the system prompt and the blocks."""
        try:
            self.api.call("POST", f"/v1/agents/{self.record.agents[role]}/recompile")
        except Refused as error:
            if error.status != http.client.NOT_FOUND:  # an agent without messages has no prompt in use
                raise

    # Embeddings

    def _embeddings(self, now: dict[str, Any], deploying: bool) -> int:
        """Whether each embedding endpoint answers: Letta says so only when something is searched or stored."""
        broken = broken_embeddings(self.api, now, self.everybody)
        for line in broken:
            print(f"WARNING: {line}", flush=True)
        return UNHEALTHY if broken and not deploying else OK


def _begun_before() -> dict[str, Any]:
    """What a run that was cut off was just asking Letta to create, and when; empty when none was."""
    try:
        return json.loads(paths.CREW_STARTED.read_text())
    except (FileNotFoundError, ValueError):
        return {}


def broken_embeddings(api: Api, now: dict[str, Any], roles: Any) -> list[str]:
    """A line about each embedding handle of these agents whose endpoint does not serve it."""
    users: dict[str, list[str]] = {}
    for role in roles:
        users.setdefault(now["agents"][role]["embedding"], []).append(role)
    lines = []
    for handle, those in users.items():
        id_ = now["agents"][those[0]]["id"]
        try:
            api.get(f"/v1/agents/{id_}/archival-memory/search", timeout=60, query="crew", top_k=1)
        except LettaboxError as error:
            config = api.get(f"/v1/agents/{id_}", include_relationships="tags")["embedding_config"] or {}
            lines.append(
                f"embedding {handle} at {config.get('embedding_endpoint')} does not work: {error}; until it does, "
                f"{', '.join(those)} can neither search nor add to archival memory; then: {AGAIN}"
            )
    return lines
