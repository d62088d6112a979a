"""The models of ComfyUI: a download that runs by itself until all are there, or none."""

from collections.abc import Generator
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation
from pyinfra.api.state import StateStage

from facts.box_state import BoxState
from facts.paths import Paths
from operations.compose import LoudCommand
from operations.providers import COMMAND, changed_secrets, store

UNIT = "/etc/systemd/system/comfyui-models.service"
SECRET = "models-token"
GB, MB = 1000**3, 1000**2
NOTHING = {"unit": None, "wanted": None, "ready": False, "running": False, "missing": [], "keys": {}}


@operation()
def started(wanted: str, unit: str, token: str) -> Generator[StringCommand, None, None]:
    """Have the download at work while something is missing, by a list and a unit of these hashes.

    `token` names the operator's variable with a token of the hub; "" for none, and the box forgets the one it has.
    """
    now = host.get_fact(BoxState, module="models_state") or NOTHING
    news = changed_secrets({SECRET: token}, now["keys"]) if token else {}
    why = difference(now, wanted, unit, token, bool(news))
    if not why:
        if now["missing"] and state.current_stage == StateStage.Execute:
            rest = f"{now['to_come'] / GB:.1f} GB to come, {now['rate'] / MB:.1f} MB/s; make models-status"
            host.log(f"The models are downloading: {', '.join(now['missing'])}; {rest}", logger.info)
        host.noop("the models are downloading" if now["missing"] else "the models are there")
        return
    if state.config.DIFF:
        host.log(f"Will start the download: {why}", logger.info)
    if news:
        yield store(news)
    yield LoudCommand(f"{COMMAND} models deploy")


def difference(now: dict[str, Any], wanted: str, unit: str, token: str, new_token: bool) -> str:
    """Why the download is to be started, with what the host says of it `now`; "" where it is as it should be."""
    if now["wanted"] != wanted:
        return "the list of the models differs"
    if now["unit"] != unit:
        return "its unit differs"
    if new_token or (now["keys"] and not token):
        return "its token differs"
    if not now["ready"]:
        return "it was not started with this list and this unit"
    if now["missing"] and not now["running"]:
        return f"there is no {', '.join(now['missing'])}"
    return ""


@operation()
def absent() -> Generator[StringCommand, None, None]:
    """Have no download on the host; what was downloaded stays."""
    if not host.get_fact(Paths, paths=[UNIT]):
        host.noop("no models are wanted")
        return
    yield StringCommand(f"{COMMAND} models remove")
