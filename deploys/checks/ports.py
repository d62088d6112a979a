"""Ports that we need and somebody else has."""

from deploys.finding import Finding
from facts.fitness import HostState
from files.lettabox import neighbours


def blind(name: str, now: HostState) -> list[Finding]:
    """The finding of a host that cannot tell who listens."""
    if now.seen.ss:
        return []
    return [Finding(name, "ports", "cannot see who listens where: there is no ss", "apt-get install iproute2")]


def taken(name: str, other: neighbours.Duplicate, setting: str) -> Finding:
    """The finding of a port that another program has."""
    return Finding(
        name,
        "port",
        other.what,
        f"look: {other.look}; stop it: {other.stop}; or set {setting} to a free one",
        f"{other.where}, {other.since}, by {other.started_by}",
    )
