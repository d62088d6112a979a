"""The models of a host with a GPU: whether they can be downloaded at all."""

from collections.abc import Iterator

from deploys.checks import letta
from deploys.finding import Finding, Severity
from facts.fitness import HostState
from inventory.schema import Model, Settings

SECRET = "models-token"


def findings(name: str, now: HostState, settings: Settings, models: dict[str, Model]) -> Iterator[Finding]:
    """Models that are not locked, and a token that nobody has."""
    told = settings.models
    if told.token and models:
        yield from letta.keys(name, now, [("the hub of the models", SECRET, told.token)])
    unlocked = [label for label, one in models.items() if not one.locked]
    if unlocked:
        yield Finding(
            name,
            "models-unlocked",
            f"not locked, so not downloaded: {', '.join(unlocked)}",
            "run make models-lock where the hub can be reached, or leave them out of settings.models",
            cause="neither the settings nor models.lock.json beside them say their revision, size and hash",
            severity=Severity.WARNING,
        )
