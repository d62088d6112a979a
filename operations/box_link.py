"""The SSH link between the host of Letta and GPU boxes of their own.

Each side has to know the other's public key. They meet here, on the operator's machine, while the run goes on: the
operations of a run come one after the other, each on all its hosts. Secrets go from box to box.
"""

import json
import shlex
from collections.abc import Generator
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation
from pyinfra.api.state import StateStage

from facts.box_state import BoxState
from operations.compose import LoudCommand
from operations.providers import COMMAND

_keys: dict[str, str] = {}  # of GPU boxes, by name, as they told them in this run
_letta: dict[str, Any] = {}  # what the host of Letta told: its keys, and which secrets it has


def _now() -> dict[str, Any]:
    return host.get_fact(BoxState, module="studio_state") or {"link": {}, "secrets": {}}


@operation()
def key_born() -> Generator[StringCommand, None, None]:
    """On a GPU box: have a key of its own."""
    there = _now()["link"].get("key", "")
    if there:
        _keys[host.name] = there
        host.noop("it has a key")
        return
    yield StringCommand(f"{COMMAND} studio link-key")
    if state.current_stage == StateStage.Execute:
        _keys[host.name] = _now()["link"].get("key", "")


@operation()
def admitted(options: dict[str, str]) -> Generator[StringCommand, None, None]:
    """On the host of Letta: let in these GPU boxes, {name: what their key may do}, and no others."""
    now = _now()
    there = dict(_named(line) for line in now["link"].get("authorized_keys", "").splitlines())
    wanted = {}
    for name, may in options.items():
        if key := _keys.get(name) or there.get(name, ""):
            kind, data = key.split()[:2]
            wanted[name] = f"{may} {kind} {data} {name}"
        elif state.current_stage == StateStage.Execute:
            host.log(f"{name} has told no key: it is not part of this run; deploy it too", logger.warning)
    text = "".join(f"{line}\n" for line in wanted.values())
    born = state.current_stage == StateStage.Prepare and len(wanted) < len(options)
    if now["link"].get("authorized_keys") != text or not now["link"].get("admits") or born:
        yield LoudCommand(f"{COMMAND} studio link-admit", _stdin=text)
        now = _now() if state.current_stage == StateStage.Execute else now
    else:
        host.noop(f"{len(wanted)} GPU boxes may come in")
    _letta.update(name=host.name, host_keys=now["link"].get("host_keys", []), secrets=now["secrets"])


def _named(line: str) -> tuple[str, str]:
    """(name of the box, its key) of a line of ours."""
    *_, kind, data, name = line.split(" ")
    return name, f"{kind} {data}"


@operation()
def closed() -> Generator[StringCommand, None, None]:
    """On the host of Letta: let no GPU box in, as there is none of its own."""
    if not _now()["link"].get("open"):
        host.noop("no GPU box may come in")
        return
    yield StringCommand(f"{COMMAND} studio link-close")


@operation()
def joined(letta: str, secrets: list[str]) -> Generator[StringCommand, None, None]:
    """On a GPU box: know the host of Letta, whose name is `letta`, and have these secrets of it."""
    now = _now()
    has = {name: now["secrets"].get(name) for name in secrets}
    known = [line.split(" ", 1)[1] for line in now["link"].get("known_hosts", "").splitlines()]
    # A run without the host of Letta has nothing to compare with.
    wanted = _letta or {"host_keys": known, "secrets": has}
    same = all(one and wanted["secrets"].get(name) == one for name, one in has.items())
    if known and known == wanted["host_keys"] and same:
        host.noop(f"it knows {letta} and has what it needs")
        return
    if not wanted["host_keys"] and state.current_stage == StateStage.Execute:
        why = f"{host.name} does not know {letta} yet: deploy both in one run, without --limit and HOST="
        yield StringCommand(f"echo {shlex.quote(why)} >&2; exit 1")
    told = {"letta": letta, "host_keys": wanted["host_keys"]}
    yield LoudCommand(f"{COMMAND} studio link-join", _stdin=json.dumps(told))
