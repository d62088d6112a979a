"""The switches of the simulator: how long a render takes, and what goes wrong in it."""

import math
import os
from dataclasses import dataclass

FAULTS = ("none", "hang", "cuda", "oom", "crash", "partial")
LONGEST = 86400


class SwitchError(Exception):
    """A switch that cannot be set so; the message says what it can be."""


class RenderError(Exception):
    """A failure of the GPU, under the name that PyTorch gives it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Switches:
    """Set by PUT /simulator; poisoned stays until the process ends, as a broken CUDA context does."""

    render_seconds: float = 0.0
    fault: str = "none"
    poisoned: bool = False

    def set(self, wanted: object) -> None:
        """Take over some of {"render_seconds": number, "fault": name}, or nothing of it. Raises SwitchError."""
        if not isinstance(wanted, dict) or not wanted or wanted.keys() - {"render_seconds", "fault"}:
            raise SwitchError('send {"render_seconds": number, "fault": name}, or one of the two')
        seconds = wanted.get("render_seconds", self.render_seconds)
        number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
        if not number or not math.isfinite(seconds) or not 0 <= seconds <= LONGEST:
            raise SwitchError(f"render_seconds is {seconds!r}; it is a number from 0 to {LONGEST}")
        fault = wanted.get("fault", self.fault)
        if fault not in FAULTS:
            raise SwitchError(f"fault is {fault!r}; it is one of {', '.join(FAULTS)}")
        self.render_seconds, self.fault = float(seconds), fault

    def shown(self) -> dict:
        return {"render_seconds": self.render_seconds, "fault": self.fault, "poisoned": self.poisoned}

    def fail(self) -> None:
        """What the GPU does to a job that needs it. Raises RenderError when it is broken or full."""
        if self.poisoned or self.fault == "cuda":
            self.poisoned = True
            raise RenderError(
                "torch.AcceleratorError",
                "CUDA error: an illegal memory access was encountered (lettabox render simulator)\n",
            )
        if self.fault == "oom":
            raise RenderError(
                "torch.OutOfMemoryError",
                "Allocation on device 0 would exceed allowed memory. (lettabox render simulator)\n",
            )

    def free(self) -> None:
        """Memory was freed: what was full is no longer."""
        if self.fault == "oom":
            self.fault = "none"


def from_environment() -> Switches:
    """What LETTABOX_SIMULATOR_RENDER_SECONDS and _FAULT say. Raises SwitchError."""
    switches = Switches()
    seconds = os.environ.get("LETTABOX_SIMULATOR_RENDER_SECONDS", "0")
    try:
        number = float(seconds)
    except ValueError as error:
        raise SwitchError(f"LETTABOX_SIMULATOR_RENDER_SECONDS is {seconds!r}; it is a number") from error
    switches.set({"render_seconds": number, "fault": os.environ.get("LETTABOX_SIMULATOR_FAULT", "none")})
    return switches
