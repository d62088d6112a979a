"""The studio's units on the host: running as their files say, or not there."""

from collections.abc import Generator
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation

from facts.box_state import BoxState
from operations.compose import LoudCommand
from operations.providers import COMMAND

NOTHING: dict[str, Any] = {"units": [], "good": [], "secrets": {}, "link": {}}


@operation()
def running(units: list[str]) -> Generator[StringCommand, None, None]:
    """Have these units run with what their files and secrets are now."""
    now = host.get_fact(BoxState, module="studio_state") or NOTHING
    wrong = [name for name in units if name not in now["good"]]
    if not wrong:
        host.noop(f"{', '.join(units)} run")
        return
    if state.config.DIFF:
        host.log(f"Will start {', '.join(wrong)}: new, not running, or made of something else", logger.info)
    yield LoudCommand(f"{COMMAND} studio deploy {' '.join(units)}")


@operation()
def absent(units: list[str]) -> Generator[StringCommand, None, None]:
    """Have none of these units on the host; videos, jobs and secrets stay."""
    now = host.get_fact(BoxState, module="studio_state") or NOTHING
    there = [name for name in units if name in now["units"]]
    if not there:
        host.noop("they are not there")
        return
    yield StringCommand(f"{COMMAND} studio remove {' '.join(units)}")
