"""What is a second Letta on the host, or uses the data or the names of ours."""

from collections.abc import Iterator

from deploys.finding import Finding, Severity
from facts.fitness import HostState
from files.lettabox import neighbours
from inventory.schema import Settings

# Findings of this kind lose agents; each has its own id.
IDS = {
    "container": "duplicate-container",
    "process": "duplicate-process",
    "data": "duplicate-data",
    "name": "duplicate-name",
}


def findings(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    """What is a second Letta on the host and is not acknowledged; what could not be looked into."""
    for one in neighbours.find(now.seen, settings.acknowledged):
        acknowledge = f"; or let it stay: `acknowledged: [{one.key!r}]` in the settings" if one.key else ""
        yield Finding(
            name,
            IDS[one.kind],
            f"{one.where}: {one.what}",
            f"look: {one.look}; stop it: {one.stop}{acknowledge}",
            f"{one.since}, by {one.started_by}",
        )
    for hidden in neighbours.unseen(now.seen):
        yield Finding(
            name,
            "duplicate-unseen",
            f"{hidden.what} could not be looked into",
            f"look there for a Letta server: {hidden.look}",
            severity=Severity.WARNING,
        )
    for one in neighbours.void(now.seen, settings.acknowledged):
        yield Finding(
            name,
            "acknowledged-void",
            f"settings.acknowledged names {one}, which is not there any more, or has changed",
            "remove it from the settings",
            severity=Severity.WARNING,
        )
