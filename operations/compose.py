"""A Compose project: its images present, its services up and healthy, and untouched when nothing differs."""

from collections.abc import Generator
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation
from pyinfra.api.operation import OperationMeta
from pyinfra.api.state import StateStage
from pyinfra.connectors.util import CommandOutput

from facts.compose import ComposeProject, Project


class LoudCommand(StringCommand):
    """A command that takes minutes: what it says is printed as it comes, whatever the verbosity."""

    def execute(self, state: Any, host: Any, connector_arguments: Any) -> tuple[bool, CommandOutput]:
        connector_arguments.update(self.connector_arguments)
        done, _ = host.run_shell_command(self, print_output=True, print_input=state.print_input, **connector_arguments)
        return done, CommandOutput([])  # pyinfra would print the output of a failure again


@operation()
def up(
    directory: str, project: str, command: str, wanted: dict[str, str], built: str, files: OperationMeta
) -> Generator[StringCommand, None, None]:
    """Run `command` on the host when an image is missing, a service differs from the project or is not healthy, or
    the last start was cut off.

    The images are those in `wanted`, {name: digest or "" for that of its first pull}, and `built` on them.
    `files` is the operation that writes the project: while changes are only being detected,
    its coming change counts as a difference.
    """
    now = host.get_fact(ComposeProject, directory=directory, project=project)
    coming = state.current_stage == StateStage.Prepare and files.will_change
    missing = _missing(now, wanted, built) if now else []
    if now and not (missing or now.differing or now.orphans or now.cut_off or coming):
        host.noop(f"{len(now.wanted)} services are as they should be")
        return
    if state.config.DIFF and now:
        for what, names in (("get the image", missing), ("start or recreate", now.differing)):
            if names:
                host.log(f"Will {what} {', '.join(names)}", logger.info)
        if now.cut_off:
            host.log("Will complete a start that was cut off or failed", logger.info)
    yield LoudCommand(command)


def _missing(now: Project, wanted: dict[str, str], built: str) -> list[str]:
    """Images that do not exist, or are not known to be the wanted ones."""
    return [
        name
        for name, digest in wanted.items()
        if name not in now.images
        or not now.images[name].recorded
        or (digest and digest not in now.images[name].digests)
    ] + ([built] if built not in now.images else [])
