"""The workflow that makes videos: made on the host from what the host's ComfyUI says, and only anew when needed."""

from collections.abc import Generator

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation

from facts.box_state import BoxState
from operations.compose import LoudCommand
from operations.providers import COMMAND

OWN = "/etc/lettabox/workflow.json"


@operation()
def deployed(made_from: str, own: bool) -> Generator[StringCommand, None, None]:
    """Have the workflow that is made from what hashes to `made_from`; `own`: from the operator's file on the host."""
    now = host.get_fact(BoxState, module="workflow_state") or {"made_from": "", "own": False}
    stale = now["own"] and not own
    if now["made_from"] == made_from and not stale:
        host.noop("the workflow is as it should be")
        return
    if state.config.DIFF:
        host.log("Will make the workflow anew, as it or what it is made from differs", logger.info)
    if stale:
        yield StringCommand(f"rm -f {OWN}")
    yield LoudCommand(f"{COMMAND} workflow deploy")
