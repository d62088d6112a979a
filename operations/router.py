"""The LLM router on the host: a release that runs as its unit's file says, or none."""

from collections.abc import Generator

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation

from facts.box_state import BoxState
from facts.paths import Paths
from operations.compose import LoudCommand
from operations.providers import COMMAND, changed_secrets, store

UNIT = "/etc/systemd/system/lettabox-router.service"


@operation()
def running(release: str, unit: str, secrets: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Run `release`, with a unit's file of the hash `unit` and the secret variables {name: operator's variable}."""
    now = host.get_fact(BoxState, module="router_state") or {"unit": None, "good": False, "keys": {}}
    news = changed_secrets({f"router-{name}": variable for name, variable in secrets.items()}, now["keys"])
    if now["good"] and now["unit"] == unit and not news:
        host.noop("the router runs")
        return
    if state.config.DIFF:
        why = "its unit differs" if now["unit"] != unit else "a secret differs" if news else "it does not run well"
        host.log(f"Will start the router's release {release}: {why}", logger.info)
    if news:
        yield store(news)
    yield LoudCommand(f"{COMMAND} router deploy {release}")


@operation()
def absent() -> Generator[StringCommand, None, None]:
    """Have no router's unit on the host."""
    if not host.get_fact(Paths, paths=[UNIT]):
        host.noop("there is no router")
        return
    yield StringCommand(f"{COMMAND} router remove")
