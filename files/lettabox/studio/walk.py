"""The video files below a folder: never out of it, whatever lies there."""

import errno
import logging
import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from lettabox.studio.source import SUFFIXES

DEPTH = 16  # folders in folders
# A folder, or a file, can change again without a new time within one tick of the clock that files have.
SETTLED = 2_000_000_000  # nanoseconds
EVERY = 10_000_000_000  # nanoseconds after which a folder is read again in any case
log = logging.getLogger(__name__)
# What a name that is too long, or a part of a path that is a link, a file or a loop, gives.
NO_SUCH = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EACCES, errno.EINVAL)


class Seen(NamedTuple):
    """A file, as the folder has it now."""

    below: str  # its path below the folder
    size: int  # bytes
    mtime_ns: int


def is_video(name: str) -> bool:
    """Whether a file of this name is looked at."""
    return not name.startswith(".") and name.lower().endswith(SUFFIXES) and sane(name)


def sane(name: str) -> bool:
    """Whether a name can be told in JSON and in a URL: bytes that are no UTF-8 cannot."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass
class Folder:
    """What one folder had when it was read."""

    status: tuple[int, int, int]  # device, inode, mtime_ns
    read_ns: int  # when, since 1970
    files: dict[str, Seen]
    folders: list[str]  # paths below the outermost one

    def still_holds(self) -> bool:
        """Whether it need not be read again as long as its status is the same."""
        return self.read_ns - self.status[2] > SETTLED and 0 <= time.time_ns() - self.read_ns < EVERY


class Walk:
    """The video files below a folder, read anew where something has changed.

    A folder has a new time when a file comes, goes or gets another name. What is written into a file does not show
    there: `restless` files are looked at each time, others when their folder is read again after EVERY.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[str, Folder] = {}
        self._found: list[Seen] = []
        self._closed: set[str] = set()  # folders that cannot be read, and the log has it

    def look(self, restless: Iterable[str]) -> list[Seen]:
        """All video files, newest first; the same list as long as nothing changed. A missing folder has none.

        Names with a dot in front, symbolic links and names that are no UTF-8 are passed over; so is a folder below
        that cannot be read, which is logged. Raises OSError where the folder itself cannot be read.
        """
        read, before = {}, self._read
        waiting = [("", 0)]
        while waiting:
            below, depth = waiting.pop()
            folder = self._one(below)
            if folder is not None:
                read[below] = folder
                waiting += [(name, depth + 1) for name in folder.folders if depth < DEPTH]
        self._read = read
        moved = [below for below in restless if self._moved(below)]
        if moved or len(read) != len(before) or any(folder is not before.get(name) for name, folder in read.items()):
            found = [one for folder in read.values() for one in folder.files.values()]
            found.sort(key=lambda one: (-one.mtime_ns, one.below))
            if found != self._found:
                self._found = found
        return self._found

    def _one(self, below: str) -> Folder | None:
        """One folder, as it was read before or anew; None for one that is gone or cannot be read."""
        try:
            known, status = self._read.get(below), self._status(below)
            if known and known.status == status and known.still_holds():
                return known
            return self._anew(below)
        except FileNotFoundError:
            return None
        except OSError as error:
            if not below:
                raise
            if below not in self._closed:
                log.warning("%s is not looked into: %s", self._folder / below, error)
                self._closed.add(below)
            return None

    def _status(self, below: str) -> tuple[int, int, int]:
        # The outermost folder may be a link that the operator made.
        status = os.stat(self._folder / below, follow_symlinks=not below)
        return status.st_dev, status.st_ino, status.st_mtime_ns

    def _anew(self, below: str) -> Folder:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if below else 0)
        now, number = time.time_ns(), os.open(self._folder / below, flags)
        try:
            status = os.fstat(number)
            folder = Folder((status.st_dev, status.st_ino, status.st_mtime_ns), now, {}, [])
            with os.scandir(number) as entries:
                for entry in entries:
                    _add(folder, f"{below}/{entry.name}" if below else entry.name, entry)
        finally:
            os.close(number)
        return folder

    def _moved(self, below: str) -> bool:
        """Look at one file; whether it is not as it was."""
        folder = self._read.get(below.rpartition("/")[0])
        if folder is None or below not in folder.files:
            return False
        try:
            status = os.stat(self._folder / below, follow_symlinks=False)
        except OSError:
            return False  # gone just now: the next look at its folder tells
        seen = Seen(below, status.st_size, status.st_mtime_ns)
        if not stat.S_ISREG(status.st_mode) or seen == folder.files[below]:
            return False
        folder.files[below] = seen
        return True


def _add(folder: Folder, below: str, entry: os.DirEntry) -> None:
    if is_video(entry.name):
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # gone meanwhile
        if stat.S_ISREG(status.st_mode):
            folder.files[below] = Seen(below, status.st_size, status.st_mtime_ns)
            return
    if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False) and sane(entry.name):
        folder.folders.append(below)


def opened(folder: Path, below: str) -> int:
    """An open file descriptor of a video below a folder. Raises LookupError for everything that is none.

    Each part of the path is opened in the one before it and none may be a link, so that nothing that is changed in the
    folder meanwhile leads out of it.
    """
    *folders, name = parts = below.split("/")
    if not is_video(name) or "\0" in below or any(not part or part.startswith(".") or not sane(part) for part in parts):
        raise LookupError(f"{below!r} is no path of a video")
    common = os.O_RDONLY | os.O_CLOEXEC
    number = None
    try:
        number = os.open(folder, common | os.O_DIRECTORY)
        for part in folders:
            number = _step(number, part, common | os.O_NOFOLLOW | os.O_DIRECTORY)
        # A pipe would block.
        number = _step(number, name, common | os.O_NOFOLLOW | os.O_NONBLOCK)
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise LookupError(f"{below!r} is no file")
    except BaseException as error:
        if number is not None:
            os.close(number)
        if isinstance(error, OSError) and error.errno in NO_SUCH:
            raise LookupError(f"there is no video {below!r}") from None
        raise
    return number


def _step(number: int, part: str, flags: int) -> int:
    """Open `part` in the folder `number`, which is closed when that worked."""
    inner = os.open(part, flags, dir_fd=number)
    os.close(number)
    return inner
