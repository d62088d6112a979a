"""Whether a file is a whole video, and what is in it."""

import os
from dataclasses import dataclass
from pathlib import Path

import av
import av.container

from lettabox import mp4
from lettabox.studio import matroska, mp4_tables, packed, source
from lettabox.studio.made_by import made_by

DURATION = 6 * 3600  # seconds; longer ones are not made here, and reading them through takes minutes
PACKETS = 2_000_000
SHORT = 0.5  # seconds that may be missing of what the file declares


@dataclass(frozen=True)
class Probe:
    """What is None is not known."""

    ready: bool
    problem: str = ""  # why it is not
    duration: float | None = None  # seconds
    fps: float | None = None
    frames: int | None = None
    width: int | None = None  # pixels, as shown
    height: int | None = None
    audio: bool | None = None
    prompt: str | None = None
    seed: int | None = None


def probe(path: Path, whole: bool = False) -> Probe:
    """Look into a file: every packet is read, and the first picture decoded.

    `whole` decodes all pictures, which finds most flipped bits, too, and takes up to a second for a clip of LTX's size.
    Never raises for what is in the file; raises OSError where it cannot be read.
    """
    try:
        with source.held(path) as (file, before):
            found = _looked_into(file, whole)
            grown = source.identity(os.stat(file)) != before
    except ValueError as error:  # not a file
        return Probe(False, str(error))
    return Probe(False, "it is being written") if grown else found


def _looked_into(file: Path, whole: bool) -> Probe:
    if source.kind(file) == source.MATROSKA:
        problem = matroska.problem(file)
    else:
        problem = mp4.problem(file) or mp4_tables.problem(file)
    if problem:
        return Probe(False, problem)
    try:
        with source.container(file) as opened:
            return _read(opened, whole)
    except source.ODD as error:
        return Probe(False, source.said(error))


def _read(opened: av.container.InputContainer, whole: bool) -> Probe:
    """Raises one of ODD for what keeps it from being played."""
    stream = source.picture_stream(opened)
    stream.codec_context.options = {"err_detect": "explode", "max_pixels": str(source.PIXELS)}
    declared = opened.duration / av.time_base if opened.duration else 0.0  # seconds
    if not 0 < declared <= DURATION:
        raise ValueError("it does not say how long it is" if declared <= 0 else f"it says it lasts {declared:.0f} s")
    check = packed.checker(stream.codec_context)
    first, count, end, begin = None, 0, 0.0, (opened.start_time or 0) / av.time_base
    for number, packet in enumerate(opened.demux()):
        if number > PACKETS:
            raise ValueError(f"it has more than {PACKETS} packets")
        if packet.is_corrupt:
            raise ValueError(f"its data at byte {packet.pos} is damaged")
        if packet.size and packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - begin)
        if packet.stream is not stream:
            continue
        if packet.pts is not None or packet.size:  # the one behind the last has neither
            check(packet)
            count += not packet.is_discard
        if whole or first is None:
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise ValueError("one of its pictures is damaged")
                first = first or frame
    if first is None:
        raise ValueError("it has no picture that can be decoded")
    fps = float(stream.average_rate) if stream.average_rate else count / declared
    if end < declared - max(SHORT, 2 / fps):
        raise ValueError(f"it says it lasts {declared:.1f} s and ends after {end:.1f} s")
    width, height = (first.height, first.width) if first.rotation % 180 else (first.width, first.height)
    prompt, seed = made_by(opened.metadata)
    return Probe(True, "", declared, fps, count, width, height, bool(opened.streams.audio), prompt, seed)
