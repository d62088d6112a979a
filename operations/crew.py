"""The crew in Letta."""

from collections.abc import Generator
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation

from facts.box_state import BoxState
from files.lettabox import crew_plan
from operations.compose import LoudCommand
from operations.providers import COMMAND


@operation()
def converged(document: dict[str, Any], sources: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Have the crew of `document`, which lies on the box by then, in Letta; its own tools have these digests."""
    now = host.get_fact(BoxState, module="crew_state")
    if now is not None:
        for line in crew_plan.notes(document, now, sources):
            host.log(line, logger.warning)
        changes = crew_plan.differences(document, now, sources)
        if not changes:
            agents, blocks = len(crew_plan.members(document)), len(document["blocks"])
            host.noop(f"{agents} agents and {blocks} blocks are as they should be")
            return
        if state.config.DIFF:
            for change in changes:
                host.log(f"Will make: {change}", logger.info)
    elif state.config.DIFF:
        host.log("Will look for the crew once Letta answers", logger.info)
    yield LoudCommand(f"{COMMAND} crew apply --stored --deploying")
