"""What modules of the box side say of themselves: one JSON object, or nothing where they cannot tell yet."""

import json
import shlex
from typing import Any

from pyinfra.api import FactBase


class BoxState(FactBase[dict[str, Any] | None]):
    """The object that `python3 -m lettabox.MODULE` prints; None before the first deploy, or without an answer."""

    def command(self, module: str) -> str:
        # The system's Python: such a module needs the standard library alone, and starts in a moment.
        return f"cd / && PYTHONPATH=/opt/lettabox/src python3 -B -m lettabox.{shlex.quote(module)} 2>/dev/null; :"

    def process(self, output: list[str]) -> dict[str, Any] | None:
        try:
            found = json.loads("\n".join(output))
        except ValueError:
            return None  # of an older release, which the same deploy replaces
        return found if isinstance(found, dict) else None
