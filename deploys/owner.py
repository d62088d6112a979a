"""Whose a box is: one inventory deploys to it, and the mark it leaves there says which.

Two inventories that deploy to one box undo each other's settings, and their operators do not know of each other.
"""

import getpass
import hashlib
import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyinfra.api import Host

from deploys import layout
from deploys.finding import Finding

BUNDLE = "lettabox"


def ours(host: Host) -> dict[str, str]:
    """This inventory, as a mark without `since`."""
    return {
        "bundle": BUNDLE,
        "inventory": host.data.inventory_name,
        "file": str(Path(host.data.inventory_file).resolve()),
        "machine": socket.gethostname(),
        "operator": _operator(),
        "host": host.name,
    }


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return "unknown"


def same(mark: dict[str, Any], one: dict[str, str]) -> bool:
    """Whether both are the same inventory: by its name, or the same file of the same machine."""
    if mark.get("bundle") != one["bundle"]:
        return False
    named = bool(one["inventory"]) and mark.get("inventory") == one["inventory"]
    return named or all(mark.get(key) == one[key] for key in ("machine", "file"))


def wanted(mark: dict[str, Any] | None, one: dict[str, str]) -> dict[str, Any]:
    """The mark to leave: the one that is there while it is ours, whoever deploys; else a new one."""
    if mark and same(mark, one):
        # Its name may have been given or changed since; that is no new owner.
        return mark | {"inventory": one["inventory"] or mark.get("inventory", "")}
    return one | {"since": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")}


def token(mark: dict[str, Any]) -> str:
    """12 digits that stand for this owner since this time, for `takes_over`."""
    return hashlib.sha256(json.dumps(mark, sort_keys=True).encode()).hexdigest()[:12]


def findings(name: str, mark: dict[str, Any] | None, one: dict[str, str], takes_over: str) -> Iterator[Finding]:
    """A box that another inventory deploys to."""
    if mark is None or same(mark, one) or takes_over == token(mark):
        return
    if mark.get("bundle") == BUNDLE:
        fix = (
            "if both are one inventory, give both the same `name: ...` (it must be deployed from there once with it); "
        )
    else:
        fix = ""
    yield Finding(
        name,
        "owner",
        f"belongs to {told(mark)}, since {mark['since']}; this is {told(one)}",
        f"ask them, and deploy from there; {fix}to take it over, set `takes_over: {token(mark)}` at the top of the "
        "settings file",
        f"the mark {layout.OWNER} on the box; two inventories on one box would undo each other's settings",
    )


def told(one: dict[str, Any]) -> str:
    """An inventory for a reader."""
    name = f"the inventory {one['inventory']}" if one.get("inventory") else "an inventory without a name"
    bundle = "" if one.get("bundle") == BUNDLE else f" of the bundle {one.get('bundle')}"
    return f"{name}{bundle} ({one.get('operator')}@{one.get('machine')}:{one.get('file')}, host {one.get('host')})"
