"""A fault that is made on the box for real, and what the preflight must say of it: exactly that and nothing else."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

import yaml

from tests.lab.environment_faults import meminfo


@dataclass(frozen=True)
class Fault:
    """One row of the fault table: shell commands, run as root on the box, and the expected report."""

    name: str
    make: str
    undo: str  # runs also when `make` failed half way
    ids: list[str]  # of all findings, in any order
    words: tuple[str, ...] = ()  # each must be in the report
    severity: str = "fatal"
    settings: dict = field(default_factory=dict)  # changes to the inventory's settings, as for Laptop.inventory
    gpu: bool = False  # whether the box is in group gpu too; it has plenty of memory then

    def __str__(self) -> str:
        return self.name


def findings(laptop, inventory=None) -> list[dict]:
    """What `make -s preflight JSON=1` reports."""
    done = laptop.make("-s", "preflight", "JSON=1", inventory=inventory)
    assert done.code in (0, 2), done.text  # make's 2 stands for any failure
    found = json.loads(done.out)["findings"]
    assert (done.code == 0) is not any(one["severity"] == "fatal" for one in found), done.text
    return found


PLENTY = Fault("plenty of memory", **meminfo(128_000, 100_000), ids=[])


@contextmanager
def made(box, fault: Fault) -> Iterator[None]:
    """The fault, for as long as the block lasts."""
    try:
        box.check(fault.make)
        yield
    finally:
        box.check(fault.undo)


def expect(laptop, box, fault: Fault) -> list[dict]:
    """Make the fault, look, and compare. Returns the findings."""
    inventory = laptop.inventory(**fault.settings) if fault.settings or fault.gpu else None
    if inventory and fault.gpu:
        content = yaml.safe_load(inventory.read_text())
        content["groups"]["gpu"] = list(content["groups"]["letta"])
        content["settings"].setdefault("models", {})["set"] = "none"  # which are not locked, and that is a finding
        inventory = laptop.write(content)
    with made(box, PLENTY) if fault.gpu else nullcontext(), made(box, fault):
        found = findings(laptop, inventory)
    text = json.dumps(found, indent=1)
    assert sorted(one["id"] for one in found) == sorted(fault.ids), text
    assert {one["severity"] for one in found} <= {fault.severity}, text
    report = "\n".join(f"{one['what']}\n{one['cause']}\n{one['fix']}" for one in found)
    for word in fault.words:
        assert word in report, f"{word!r} is not in:\n{report}"
    return found
