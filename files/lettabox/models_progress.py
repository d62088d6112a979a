"""How far a download is: for the journal, and for whoever asks meanwhile."""

import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lettabox import files, paths

EVERY = 1.0  # seconds between two records
LINE = 30.0  # seconds between two lines of the journal
WINDOW = 10.0  # seconds that the rate is taken over


def record_file() -> Path:
    return paths.MODELS_STATE / "progress.json"


def read() -> dict[str, Any]:
    """The last record: {"name", "doing", "have", "rate", "failed": {name: why}}; empty before the first."""
    try:
        return json.loads(record_file().read_text())
    except (FileNotFoundError, ValueError):
        return {}


def gb(size: float) -> str:
    """A number of bytes for people."""
    for unit, bytes_ in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size:.0f} B"


class Progress:
    """The record of one run."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self.clock = clock
        self.failed: dict[str, str] = {}
        self.name = self.doing = ""
        self.have = self.size = 0
        self._seen: deque[tuple[float, int]] = deque()
        self._written = self._said = 0.0

    def begin(self, name: str, doing: str, size: int) -> None:
        """The next thing: `doing` a file of `size` bytes."""
        self.name, self.doing, self.size, self.have = name, doing, size, 0
        self._seen.clear()
        self._said = self.clock()
        self.write()

    def tell(self, have: int) -> None:
        """There are `have` bytes now; written about once a second."""
        now = self.clock()
        if have < self.have or not self._seen:
            self._seen.clear()
            self._seen.append((now, have))
        self.have = have
        if now - self._written < EVERY:
            return
        self._seen.append((now, have))
        while len(self._seen) > 2 and now - self._seen[0][0] > WINDOW:
            self._seen.popleft()
        self.write()
        if now - self._said >= LINE:
            self._said = now
            share = 100 * have / self.size
            print(f"models: {self.name}: {gb(have)} of {gb(self.size)} ({share:.0f} %), {gb(self.rate)}/s", flush=True)

    @property
    def rate(self) -> float:
        """Bytes a second, lately."""
        if len(self._seen) < 2:
            return 0.0
        (first, begun), (last, have) = self._seen[0], self._seen[-1]
        return (have - begun) / (last - first) if last > first else 0.0

    def wait(self, why: str, seconds: float) -> None:
        """Say why it does not go on, and sleep."""
        print(f"models: {self.name}: {why}; next try in {seconds:.0f} s", flush=True)
        doing, self.doing = self.doing, f"waiting, as {why}"
        self.write()
        time.sleep(seconds)
        self.doing = doing
        self._seen.clear()

    def fail(self, name: str, why: str) -> None:
        print(f"models: {name}: {why}", flush=True)
        self.failed[name] = why
        self.write()

    def end(self) -> None:
        self.name = self.doing = ""
        self.have = self.size = 0
        self.write()

    def write(self) -> None:
        record = {
            "name": self.name,
            "doing": self.doing,
            "have": self.have,
            "rate": round(self.rate) if self.doing == "downloading" else 0,
            "failed": self.failed,
            "updated": round(self.clock(), 1),
        }
        files.write(record_file(), json.dumps(record) + "\n")
        self._written = self.clock()
