"""What of the crew in Letta differs from what is wanted: a deploy says it, and the box does it.

Only structure is compared. What agents learn (values of blocks, messages, archival memory) is no part of it, and
what a person adds (further tools, blocks, tags, other settings) is never a difference.

The standard library alone, and nothing of lettabox: both sides import it.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

SLEEPTIME = "-sleeptime"  # ends the role of an agent that works in the background of another one
# Ends a sleeptime agent's turn, which must call a tool in each step.
LAST_TOOL = "memory_finish_edits"

# Kinds of changes, in the order in which they are made.
CHOOSE, FINISH, TOOL, CREATE_BLOCK, SET_BLOCK, CREATE_AGENT, SET_AGENT, DETACH_BLOCK, ATTACH_BLOCK, ATTACH_TOOL = (
    "tell which one it is",
    "complete it",
    "install the tool",
    "create the block",
    "set the block's",
    "create the agent",
    "set",
    "detach the block",
    "attach the block",
    "attach the tool",
)
GROUP, FREQUENCY, SWITCH, RECORD, VARIABLE = (
    "group it with its sleeptime agent",
    "set how often its sleeptime agent works",
    "switch sleeptime on",
    "record",
    "tell the tools",
)


@dataclass(frozen=True)
class Change:
    """One difference: what is to be done, to whom, to which part of it, and why."""

    kind: str
    whom: str  # a role, a block's label or a tool's name
    item: str = ""  # what of it: a field, a label, a tool
    why: str = ""

    def __str__(self) -> str:
        what = f"{self.kind} {self.item}".strip()
        return f"{self.whom}: {what}{f' ({self.why})' if self.why else ''}"


def digest(text: str | None) -> str:
    """By what long texts are compared."""
    return hashlib.sha256((text or "").encode()).hexdigest()[:32]


def members(wanted: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """{role: what the agent is to be} of a document, the sleeptime agents among them, each after its main agent."""
    found = {}
    for role, one in wanted["agents"].items():
        found[role] = one
        if one.get("sleeptime"):
            found[role + SLEEPTIME] = one["sleeptime"]
    return found


def variable(agents: dict[str, str], blocks: dict[str, str]) -> str:
    """What every tool gets to know of them, as text."""
    return json.dumps({"agents": agents, "blocks": blocks}, sort_keys=True)


def window(want: dict[str, Any], now: dict[str, Any]) -> int:
    """Tokens that an agent is to have: what is wanted, or what its model can take where that is less."""
    return min(want["context_window"], now["model_window"] or want["context_window"])


def differences(wanted: dict[str, Any], observed: dict[str, Any], sources: dict[str, str]) -> list[Change]:
    """Every change that `observed` (of crew_state) needs to be `wanted` (the document), in the order to be made.

    `sources`: {name: digest} of the crew's own tools.
    """
    found = [
        Change(CHOOSE, role, why=f"{len(ids)} agents have its tag: {', '.join(ids)}")
        for role, ids in observed["twice"].items()
    ]
    if observed["cut_off"]:
        found.append(Change(FINISH, "crew", why="an earlier run was cut off"))
    found += _tools(observed, sources)
    for label, want in wanted["blocks"].items():
        found += _block(label, want, observed["blocks"].get(label))
    everybody = members(wanted)
    for role, want in everybody.items():
        found += _agent(role, want, observed["agents"].get(role), observed["blocks"])
    for role, want in wanted["agents"].items():
        if want.get("sleeptime"):
            found += _sleeptime(role, want["sleeptime"], observed["agents"])
    return [*found, *_known(everybody, wanted, observed)]


def notes(wanted: dict[str, Any], observed: dict[str, Any], sources: dict[str, str]) -> list[str]:
    """What is left as it is, and somebody should know."""
    said = []
    if gone := sorted(set(observed["agents"]) - set(members(wanted))):
        said.append(f"no longer in crew.yml; left: agents {', '.join(gone)}")
    if gone := sorted(set(observed["blocks"]) - set(wanted["blocks"])):
        said.append(f"no longer in crew.yml; left: blocks {', '.join(gone)}")
    said += [
        f"ANOTHER TOOL has the name {name}, left alone; rename or delete it in Letta, then: make crew"
        for name, row in observed["tools"].items()
        if name in sources and not row["ours"]
    ]
    said += [f"{role}: {text}" for role, text in observed["others"].items()]
    for role, want in wanted["agents"].items():
        group = (observed["agents"].get(role) or {}).get("group")
        if not want.get("sleeptime") or not group:
            continue
        ours = observed["agents"].get(role + SLEEPTIME, {}).get("id")
        if group["type"] != "sleeptime":
            said.append(
                f"{role}: it manages the group {group['id']} of type {group['type']}, and Letta takes one group an "
                f"agent: it runs without {role + SLEEPTIME}; delete that group in Letta, then: make crew"
            )
        elif more := [one for one in group["members"] if one != ours]:
            said.append(f"{role}: its group has further members, left: {', '.join(more)}")
    for label, want in wanted["blocks"].items():
        now = observed["blocks"].get(label)
        if now and now["length"] > want["limit"]:
            said.append(
                f"block {label}: holds {now['length']} characters and may have {want['limit']}; nothing of it is cut, "
                "have an agent tidy it"
            )
    return said


def _tools(observed: dict[str, Any], sources: dict[str, str]) -> Iterator[Change]:
    for name, source in sources.items():
        now = observed["tools"].get(name)
        if now is None:
            yield Change(TOOL, name, why="it is not in Letta")
        elif now["ours"] and now["source"] != source:
            yield Change(TOOL, name, why="its source is another")


def _block(label: str, want: dict[str, Any], now: dict[str, Any] | None) -> Iterator[Change]:
    if now is None:
        yield Change(CREATE_BLOCK, label)
        return
    if now["description"] != digest(want["description"]):
        yield Change(SET_BLOCK, label, "description")
    for field in ("limit", "read_only"):
        if now[field] != want[field]:
            yield Change(SET_BLOCK, label, field, f"{now[field]} -> {want[field]}")
    if not now["tagged"]:
        yield Change(SET_BLOCK, label, "tags", "its tag was removed")


def _agent(
    role: str, want: dict[str, Any], now: dict[str, Any] | None, blocks: dict[str, dict[str, Any]]
) -> Iterator[Change]:
    if now is None:
        yield Change(CREATE_AGENT, role)
        return
    for field in ("system", "description"):
        if now[field] != digest(want[field]):
            yield Change(SET_AGENT, role, field)
    for field in ("model", "embedding", "autoclear"):
        if now[field] != want[field]:
            yield Change(SET_AGENT, role, field, f"{now[field]} -> {want[field]}")
    if now["model"] == want["model"] and now["window"] != window(want, now):
        yield Change(SET_AGENT, role, "context window", f"{now['window']} -> {window(want, now)}")
    if not now["tagged"]:
        yield Change(SET_AGENT, role, "tags", "its tag was removed")
    if LAST_TOOL in want["tools"] and role.endswith(SLEEPTIME) and not now["ends"]:
        yield Change(SET_AGENT, role, "tool rules", f"{LAST_TOOL} does not end its turn")
    for label in want["blocks"]:
        ours, there = blocks.get(label, {}).get("id"), now["blocks"].get(label)
        if there and there != ours:
            yield Change(DETACH_BLOCK, role, label, f"{there} is another block of that label; it stays in Letta")
        if not there or there != ours:
            yield Change(ATTACH_BLOCK, role, label)
    for name in want["tools"]:
        if name not in now["tools"]:
            yield Change(ATTACH_TOOL, role, name)


def _sleeptime(role: str, want: dict[str, Any], agents: dict[str, dict[str, Any]]) -> Iterator[Change]:
    main, other = agents.get(role), agents.get(role + SLEEPTIME)
    group = main and main["group"]
    if group and group["type"] != "sleeptime":
        return  # `notes` tells it
    if not (group and other and other["id"] in group["members"]):
        yield Change(GROUP, role, why=f"{role + SLEEPTIME} does not work for it")
    elif group["frequency"] != want["frequency"]:
        yield Change(FREQUENCY, role, why=f"every {group['frequency']} turns -> every {want['frequency']}")
    if not (main and main["sleeptime"]):
        yield Change(SWITCH, role)


def _known(everybody: dict[str, Any], wanted: dict[str, Any], observed: dict[str, Any]) -> Iterator[Change]:
    """Whether the record and the tools know the agents and blocks there are."""
    agents = {role: one["id"] for role, one in observed["agents"].items()}
    blocks = {label: one["id"] for label, one in observed["blocks"].items()}
    complete = set(everybody) <= set(agents) and set(wanted["blocks"]) <= set(blocks)
    if not complete or observed["record"] != {"agents": agents, "blocks": blocks}:
        yield Change(RECORD, "crew", "which agents and blocks there are")
    if not complete or observed["variable"] != variable(agents, blocks):
        yield Change(VARIABLE, "crew", "which agents and blocks there are")
