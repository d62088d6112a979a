"""What ComfyUI on this box is.

Run by every deploy as a fact, with the system's Python: only the standard library.
"""

import hashlib
import json
from typing import Any

from lettabox import checkout, paths
from lettabox.unit import command, show

SERVICE = "comfyui.service"


def applied() -> str:
    """A hash of all that the unit is started with."""
    unit = paths.COMFYUI_UNIT
    return hashlib.sha256(unit.read_bytes() if unit.is_file() else b"").hexdigest()


def recorded() -> dict[str, str]:
    """{"applied": hash of the unit's file, "release": its release}, as last found healthy; {} before that."""
    try:
        found = json.loads(paths.COMFYUI_APPLIED.read_text())
        return {"applied": str(found["applied"]), "release": str(found["release"])}
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return {}


def state() -> dict[str, Any]:
    """{"unit": hash of the unit's file or None, "good": it runs as it was last found healthy, "release": that one}."""
    now, last = show(SERVICE, "ActiveState", "UnitFileState"), recorded()
    runs = now["ActiveState"] == "active" and now["UnitFileState"] == "enabled"
    whole = bool(last) and checkout.complete(paths.COMFYUI, last["release"], checkout.python())
    return {
        "unit": applied() if paths.COMFYUI_UNIT.is_file() else None,
        "good": runs and whole and last["applied"] == applied(),
        "release": last.get("release", ""),
    }


def port(unit: str) -> int:
    """The port that a unit's file has it listen on."""
    words = command(unit)
    return int(words[words.index("--port") + 1])


def device(unit: str) -> str:
    """The kind of device that a unit's file makes it compute with, as ComfyUI calls it."""
    return "cpu" if "--cpu" in command(unit) else "cuda"


if __name__ == "__main__":
    print(json.dumps(state()))
