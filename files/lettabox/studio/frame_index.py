"""When each frame of a video is shown, and from where it can be decoded: read once, without decoding."""

from array import array
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import av
import av.container

from lettabox.studio.at import At

# A time that was told in rounded seconds may be this much too early.
ROUNDED = 0.001  # seconds


class Beyond(Exception):
    """The video is shorter than that; the text is for the client."""

    def __init__(self, problem: str, duration: float, frames: int) -> None:
        super().__init__(problem)
        self.duration, self.frames = duration, frames  # seconds, and how many it has


@dataclass(frozen=True)
class FrameIndex:
    """All times are in the stream's own unit."""

    shown: array  # when each frame is shown, in that order
    keys: array  # when each key frame is shown, in that order
    start: int
    end: int
    unit: Fraction  # seconds

    @property
    def duration(self) -> float:
        return float((self.end - self.start) * self.unit)

    @property
    def size(self) -> int:
        """Bytes in memory, about."""
        return 8 * (len(self.shown) + len(self.keys))

    def time(self, number: int) -> float:
        """Seconds from the start of the video."""
        return float((self.shown[number] - self.start) * self.unit)

    def number(self, at: At) -> int:
        """Which frame is meant. Raises Beyond."""
        count = len(self.shown)
        if at.index is not None:
            if at.index >= count:
                raise self._beyond(f"there is no frame {at.index}")
            return at.index
        if at.share is not None:
            return round(at.share * (count - 1))
        if at.time > self.duration + ROUNDED:
            raise self._beyond(f"there is nothing at {at.time:g} s")
        ticks = self.start + (at.time + ROUNDED) / self.unit
        return max(0, bisect_right(self.shown, ticks) - 1)

    def _beyond(self, problem: str) -> Beyond:
        count = len(self.shown)
        return Beyond(
            f"{problem}: the video has {count} frames (0 to {count - 1}) in {self.duration:.3f} s; "
            "the last one is at=last",
            self.duration,
            count,
        )

    def number_at(self, pts: int | None) -> int | None:
        """The number of the frame that is shown at just this time."""
        if pts is None:
            return None
        number = bisect_right(self.shown, pts) - 1
        return number if number >= 0 and self.shown[number] == pts else None

    def key_before(self, number: int) -> int:
        """Which key frame the decoding of a frame begins with."""
        return max(0, bisect_right(self.keys, self.shown[number]) - 1)


def read(
    opened: av.container.InputContainer, stream: av.video.stream.VideoStream, check: Callable[[], None]
) -> FrameIndex:
    """Read all packets of a stream. Raises one of source.ODD, and what `check` raises, which is called all the time."""
    packets = []
    for packet in opened.demux(stream):
        check()
        if packet.pts is not None and not packet.is_discard:
            packets.append((packet.pts, packet.duration or 0, packet.is_keyframe))
    if not packets:
        raise ValueError("it has no pictures")
    packets.sort()
    unit = Fraction(stream.time_base)
    start = round(Fraction(opened.start_time or 0, av.time_base) / unit)
    end = packets[-1][0] + packets[-1][1]
    if opened.duration:  # there may be sound behind the last frame
        end = max(end, start + round(Fraction(opened.duration, av.time_base) / unit))
    return FrameIndex(
        array("q", [pts for pts, *_ in packets]),
        array("q", [pts for pts, _, key in packets if key] or [packets[0][0]]),
        min(start, packets[0][0]),
        end,
        unit,
    )
