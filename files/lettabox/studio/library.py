"""The videos below one output folder."""

import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from lettabox.studio import walk
from lettabox.studio.probe import Probe, probe
from lettabox.studio.store import Known, Store
from lettabox.studio.video import Video
from lettabox.studio.walk import SETTLED, Seen, Walk

NOT_YET = Probe(False, "it has not been looked at yet")
PROBING = 2  # at once
BATCH = 50  # probes that are written down together
log = logging.getLogger(__name__)


class Library:
    """The videos of a box, as they are now; what was found out about one is kept in `store`, over restarts too.

    All methods block, and may be called from several threads at once.
    """

    def __init__(self, box: str, folder: Path, store: Path | None = None) -> None:
        self._box, self._folder = box, folder
        self._store = Store(store)
        self._walking = threading.Lock()
        self._walk = Walk(folder)
        self._probing = threading.Semaphore(PROBING)
        # All below belongs to this lock; its waiters are told of every end of a probe.
        self._changed = threading.Condition()
        self._walks = 0  # that have begun
        self._found: list[Seen] = []  # newest first
        self._seen: dict[str, Seen] = {}  # the same by path
        self._known: dict[str, Known] = self._store.load()
        self._todo: dict[str, Seen] = {}  # to be probed, newest first
        self._doing: set[str] = set()
        self._restless: set[str] = set()  # not ready yet, so they may be being written
        self._unwritten: dict[str, Known] = {}
        self._made: dict[str, tuple[Seen, Known | None, Video]] = {}  # by path, and of what
        self._videos: tuple[Video, ...] | None = ()  # None: to be put together anew

    def videos(self, wait: float | None = None) -> Sequence[Video]:
        """All videos, newest first; whole ones and those that are none yet. A missing folder has none.

        New files are probed first, for at most `wait` seconds; those left are not ready and say so, and are probed by
        the next calls. As long as nothing changes it is the same sequence. Raises OSError where the folder cannot be
        read.
        """
        until = time.monotonic() + wait if wait is not None else None
        self._look()
        self._probe_new(until)
        with self._changed:
            if self._videos is None:
                self._videos = tuple(self._video(seen) for seen in self._seen.values())
            return self._videos

    def resolve(self, below: str) -> Path:
        """The path of a video by its path below the folder. Raises LookupError for everything that is none."""
        os.close(walk.opened(self._folder, below))
        return self._folder / below

    @contextmanager
    def opened(self, below: str) -> Iterator[Path]:
        """A path that stays that of this very file, whatever happens in the folder meanwhile. Raises as resolve().

        It says nothing of the file's name.
        """
        number = walk.opened(self._folder, below)
        try:
            yield Path(f"/proc/self/fd/{number}")
        finally:
            os.close(number)

    def close(self) -> None:
        """Write down what was found out. Calls that are still on their way may end with an error."""
        with self._changed:
            self._write_down()
            self._store.close()

    # What is there

    def _look(self) -> None:
        """Walk through the folder, or wait for a walk that began after this was called."""
        with self._changed:
            before = self._walks
        with self._walking:
            with self._changed:
                if self._walks > before:
                    return
                self._walks += 1
                restless = self._restless.copy()
            found = self._walk.look(restless)
            with self._changed:
                self._take(found)

    def _take(self, found: list[Seen]) -> None:
        if found is self._found:  # mostly
            again = {path: self._seen[path] for path in self._restless - self._doing if self._is_unsettled(path)}
            self._todo = again | self._todo if again else self._todo
            return
        self._found, self._seen, self._videos = found, {one.below: one for one in found}, None
        for path in self._made.keys() - self._seen.keys():
            del self._made[path]
        if gone := self._known.keys() - self._seen.keys():
            for path in gone:
                del self._known[path]
                self._unwritten.pop(path, None)
            self._store.keep({}, gone)
        unknown = {path: one for path, one in self._seen.items() if _unknown(one, self._known.get(path))}
        self._todo = {path: one for path, one in unknown.items() if path not in self._doing}
        self._restless = {path for path in self._seen if path in unknown or not self._known[path].found.ready}

    def _is_unsettled(self, path: str) -> bool:
        known = self._known.get(path)
        return known is not None and _unsettled(known)

    # What it is

    def _probe_new(self, until: float | None) -> None:
        """Probe what is to be probed, together with other callers; return when none is left, or it is late."""
        while self._todo and self._turn(until):
            try:
                with self._changed:
                    if not self._todo:
                        break
                    path = next(iter(self._todo))
                    seen = self._todo.pop(path)
                    self._doing.add(path)
                self._learn(seen)
            finally:
                self._probing.release()
        with self._changed:
            self._changed.wait_for(lambda: not self._doing, None if until is None else max(0, until - time.monotonic()))
            self._write_down()

    def _turn(self, until: float | None) -> bool:
        """Whether it is this caller's turn to probe before it is late; it must be given back."""
        if until is None:
            return self._probing.acquire()
        left = until - time.monotonic()
        return left > 0 and self._probing.acquire(timeout=left)

    def _learn(self, seen: Seen) -> None:
        known = None
        try:
            known = self._probed(seen)
        finally:
            with self._changed:
                self._doing.discard(seen.below)
                if known and seen.below in self._seen:
                    self._known[seen.below] = self._unwritten[seen.below] = known
                    (self._restless.discard if known.found.ready else self._restless.add)(seen.below)
                    self._videos = None
                    if len(self._unwritten) >= BATCH:
                        self._write_down()
                self._changed.notify_all()

    def _probed(self, seen: Seen) -> Known:
        now = time.time_ns()
        try:
            with self.opened(seen.below) as path:
                status = path.stat()
                found = probe(path)
                return Known(status.st_size, status.st_mtime_ns, now, found)
        except LookupError:
            problem = "it cannot be opened"
        except OSError as error:
            problem = f"it cannot be read: {error.strerror or error}"
        except Exception:
            # One odd file must not hide all the others.
            log.exception("%s cannot be probed", self._folder / seen.below)
            problem = "it cannot be probed; the studio's log says why"
        # That may pass without a change of the file: as if looked at when it was written, so it is looked at again.
        return Known(seen.size, seen.mtime_ns, seen.mtime_ns, Probe(False, problem))

    def _write_down(self) -> None:
        if self._unwritten:
            self._store.keep(self._unwritten, ())
            self._unwritten = {}

    def _video(self, seen: Seen) -> Video:
        known = self._known.get(seen.below)
        made = self._made.get(seen.below)
        if made and made[0] == seen and made[1] is known:
            return made[2]
        found = known.found if known and _same(seen, known) else NOT_YET
        video = Video(
            path=f"{self._box}/{seen.below}",
            name=seen.below.rpartition("/")[2],
            box=self._box,
            size=seen.size,
            time=seen.mtime_ns / 1e9,
            mtime_ns=seen.mtime_ns,
            **asdict(found),
        )
        self._made[seen.below] = (seen, known, video)
        return video


def _same(seen: Seen, known: Known) -> bool:
    return (seen.size, seen.mtime_ns) == (known.size, known.mtime_ns)


def _unknown(seen: Seen, known: Known | None) -> bool:
    """Whether a file is to be probed: it is new or changed, or was looked at while it was still being written."""
    return known is None or not _same(seen, known) or _unsettled(known)


def _unsettled(known: Known) -> bool:
    return not known.found.ready and 0 <= known.looked_ns - known.mtime_ns < SETTLED
