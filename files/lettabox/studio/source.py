"""Open a video file for decoding: that very file, as one of two containers, and within limits.

libav guesses what a file is, and some of what it guesses (playlists, lists of files) makes it open other files. So the
container is told, and nothing but this file can be opened.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
import av.container

SUFFIXES = (".mp4", ".webm", ".mkv", ".mov")  # in lower case: what ComfyUI's nodes save that a player plays
MP4, MATROSKA = "mp4", "matroska"  # as libav calls them; the first one reads QuickTime, too
MATROSKA_HEAD = b"\x1a\x45\xdf\xa3"
PIXELS = 36_000_000  # of one picture: 8K has 33 million
OPTIONS = {"protocol_whitelist": "file", "max_pixels": str(PIXELS), "threads": "1"}
# av's own errors are of many kinds (some are OSErrors); these are what reading an odd file raises besides them.
ODD = (av.FFmpegError, ValueError, TypeError, ArithmeticError, LookupError, EOFError, MemoryError)


@dataclass(frozen=True)
class Identity:
    """Which file, and which content of it."""

    device: int
    inode: int
    size: int  # bytes
    mtime_ns: int


@contextmanager
def held(path: Path) -> Iterator[tuple[Path, Identity]]:
    """(a path that stays that of this file while it is held, what it is). Raises OSError; ValueError for no file."""
    # A pipe of that name would block the opening.
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield Path(f"/proc/self/fd/{number}"), identity(os.fstat(number))
    finally:
        os.close(number)


def identity(status: os.stat_result) -> Identity:
    if not stat.S_ISREG(status.st_mode):
        raise ValueError("it is no regular file")
    return Identity(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def kind(file: Path) -> str:
    """MP4 or MATROSKA: what a file is to be read as, whatever its name says."""
    with file.open("rb") as opened:
        return MATROSKA if opened.read(4) == MATROSKA_HEAD else MP4


def container(file: Path) -> av.container.InputContainer:
    """Open what held() gave. Raises one of ODD."""
    return av.open(str(file), format=kind(file), options=dict(OPTIONS), metadata_errors="replace")


def said(error: Exception) -> str:
    """One of ODD in words."""
    if isinstance(error, av.FFmpegError):
        return f"it cannot be read: {error.strerror or type(error).__name__}"
    return str(error) or f"it cannot be read: {type(error).__name__}"


def picture_stream(opened: av.container.InputContainer) -> av.video.stream.VideoStream:
    """The stream with the pictures, ready to be decoded. Raises ValueError where there is none within limits."""
    if not opened.streams.video:
        raise ValueError("it has no pictures")
    stream = opened.streams.video[0]
    context = stream.codec_context
    if context is None:
        raise ValueError("its pictures are in a form that is not known here")
    if context.width < 1 or context.height < 1 or context.width * context.height > PIXELS:
        raise ValueError(f"its pictures have {context.width}x{context.height} pixels")
    context.thread_count = 1  # how much of the CPU is used is decided by how many decode at once
    return stream
