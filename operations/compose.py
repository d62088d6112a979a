"""A Compose project: up, healthy, and untouched when nothing differs."""

from collections.abc import Generator

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import StateStage

from facts.compose import ComposeProject


@operation()
def up(directory: str, project: str, command: str, files: OperationMeta) -> Generator[StringCommand, None, None]:
    """Run `command` on the host when a service differs from the project or is not healthy.

    `files` is the operation that writes the project: while changes are only being
    detected, its coming change counts as a difference.
    """
    now = host.get_fact(ComposeProject, directory=directory, project=project)
    coming = state.current_stage == StateStage.Prepare and files.will_change
    if now and not now.differing and not now.orphans and not coming:
        host.noop(f"{len(now.wanted)} services are as they should be")
        return
    if state.config.DIFF and now and now.differing:
        host.log(f"Will start or recreate {', '.join(now.differing)}", logger.info)
    yield StringCommand(command)
