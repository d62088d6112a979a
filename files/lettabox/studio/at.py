"""Which frame of a video is wanted: at a time, by its number, the first, the middle, the last, or several even ones."""

import math
from dataclasses import dataclass

MOST = 64  # of evenly spaced ones


@dataclass(frozen=True)
class At:
    """One frame, named in one of these ways. Make one with the functions below, which say what is wrong."""

    time: float | None = None  # seconds from the start: the frame that a player shows then
    index: int | None = None  # from 0, in the order of showing
    share: float | None = None  # of the way from the first frame (0) to the last (1)


FIRST, MIDDLE, LAST = At(index=0), At(share=0.5), At(share=1.0)
NAMED = {"first": FIRST, "middle": MIDDLE, "last": LAST}


def at_time(seconds: float) -> At:
    """Raises ValueError for what no video has; whether this one has it turns out when it is looked at."""
    if not math.isfinite(seconds) or seconds < 0:
        raise ValueError(f"{seconds} is no time in a video: it is to be 0 or more seconds")
    return At(time=float(seconds))


def at_index(index: int) -> At:
    if index < 0:
        raise ValueError(f"{index} is no number of a frame: they count from 0; the last one is at=last")
    return At(index=index)


def evenly(count: int) -> list[At]:
    """`count` frames, as far apart as they can be: with two or more, the first and the last are among them."""
    if not 1 <= count <= MOST:
        raise ValueError(f"{count} frames cannot be asked for at once: 1 to {MOST}")
    if count == 1:
        return [MIDDLE]
    return [At(share=number / (count - 1)) for number in range(count)]
