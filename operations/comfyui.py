"""ComfyUI on the host: a release that runs as its unit's file says."""

from collections.abc import Generator

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation

from facts.box_state import BoxState
from operations.compose import LoudCommand
from operations.providers import COMMAND


@operation()
def running(release: str, unit: str) -> Generator[StringCommand, None, None]:
    """Run `release`, with a unit's file of the hash `unit`."""
    now = host.get_fact(BoxState, module="comfyui_state") or {"unit": None, "good": False, "release": ""}
    if now["good"] and now["unit"] == unit:
        host.noop("ComfyUI runs")
        return
    if state.config.DIFF:
        why = "it does not run well" if now["unit"] == unit else "its unit differs"
        if now["release"] != release:
            why = f"{now['release'] or 'none'} is there"
        host.log(f"Will start ComfyUI's release {release}: {why}", logger.info)
    yield LoudCommand(f"{COMMAND} comfyui deploy {release}")
