"""The agents' tools in Letta."""

from collections.abc import Generator
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation

from facts.box_state import BoxState
from operations.compose import LoudCommand
from operations.providers import COMMAND


@operation()
def installed(sources: dict[str, str], url: str) -> Generator[StringCommand, None, None]:
    """Have these tools {name: digest of its source} in Letta, and the studio's `url` and token in their environment."""
    now = host.get_fact(BoxState, module="studio_tools_state") or {"tools": {}, "url": None, "token": False}
    reasons, foreign = _differences(now, sources, url)
    if foreign:
        host.log(f"Tools of others have these names and are left alone: {', '.join(foreign)}", logger.warning)
    if not reasons:
        host.noop(f"Letta has the {len(sources)} tools of the studio")
        return
    if state.config.DIFF:
        host.log(f"Will set: {', '.join(reasons)}", logger.info)
    yield LoudCommand(f"{COMMAND} studio tools")


def _differences(now: dict[str, Any], sources: dict[str, str], url: str) -> tuple[list[str], list[str]]:
    """(What is not as it should be, tools of others with our names)."""
    foreign = [name for name in sources if name in now["tools"] and not now["tools"][name]["ours"]]
    wrong = [
        f"tool {name}"
        for name, source in sources.items()
        if name not in foreign and now["tools"].get(name, {}).get("source") != source
    ]
    if now["url"] != url:
        wrong.append("the studio's address")
    if not now["token"]:
        wrong.append("the studio's token")
    return wrong, foreign
