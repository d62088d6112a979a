"""The files of an attempt: found, looked at frame by frame, removed."""

import threading
from dataclasses import dataclass
from pathlib import Path

import av

from lettabox import mp4

CLOCK = 2  # seconds by which a file may seem older than its attempt: file systems round
DECODERS = 2  # threads


class Unfit(Exception):
    """A file that is no video of this attempt; the message says why."""


class Vanished(Unfit):
    """A file that is not there."""


class Stopped(Exception):
    """The worker ends, and somebody else looks at the file."""


@dataclass(frozen=True)
class Made:
    """A whole video."""

    below: str  # its path below the output folder
    bytes: int
    frames: int
    width: int
    height: int


def look(folder: Path, below: str, prefix: str, began: float, stop: threading.Event) -> Made:
    """Decode every frame of a file of the attempt with this prefix, which began then (by this box's clock).

    Raises Unfit, and Stopped soon after `stop` is set.
    """
    file, start = folder / below, folder / prefix
    mine = file.parent == start.parent and file.name.startswith(f"{start.name}_")
    if not mine or file.is_symlink() or not file.resolve().is_relative_to(folder.resolve()):
        raise Unfit(f"{below} is no file of this attempt")
    try:
        told = file.stat()
        if told.st_mtime < began - CLOCK:
            # ComfyUI names the old file where it takes a job for one that it has done before.
            raise Unfit(f"{below} is older than the attempt")
        if file.suffix == ".mp4" and (problem := mp4.problem(file)):
            raise Unfit(f"{below} is not whole: {problem}")
        frames, width, height = _decoded(file, stop)
    except FileNotFoundError:
        raise Vanished(f"ComfyUI names {below}, and it is not there") from None
    except (OSError, av.FFmpegError, IndexError) as error:
        raise Unfit(f"{below} cannot be decoded: {error}") from None
    if not frames:
        raise Unfit(f"{below} has no frames")
    return Made(below, told.st_size, frames, width, height)


def _decoded(file: Path, stop: threading.Event) -> tuple[int, int, int]:
    """(Frames, width, height) of all that can be decoded."""
    frames = 0
    with av.open(str(file)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = DECODERS
        for _ in container.decode(stream):
            frames += 1
            if stop.is_set():
                raise Stopped
        return frames, stream.width, stream.height


def files(folder: Path, prefix: str) -> list[Path]:
    """All that an attempt has written, whole or not."""
    start = folder / prefix
    if not start.parent.is_dir():
        return []
    return sorted(one for one in start.parent.iterdir() if one.name.startswith(f"{start.name}_"))


def whole(folder: Path, prefix: str, began: float, stop: threading.Event) -> Made | None:
    """The video of an attempt that nobody can be asked about any more, if it is whole."""
    for file in files(folder, prefix):
        try:
            return look(folder, str(file.relative_to(folder)), prefix, began, stop)
        except Unfit:
            continue
    return None


def remove(folder: Path, prefix: str) -> list[str]:
    """Remove all that an attempt has written; the names."""
    gone = files(folder, prefix)
    for file in gone:
        file.unlink(missing_ok=True)
    return [file.name for file in gone]
