"""What was found out about files, kept over restarts: one sqlite file, made anew when it cannot be read."""

import dataclasses
import json
import logging
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from lettabox.studio.probe import Probe

VERSION = 1  # of what is looked for in a file; with another one all files are probed anew
TABLE = "create table probes (path blob primary key, size integer, mtime_ns integer, looked_ns integer, found text)"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Known:
    """What a file was like when it was probed."""

    size: int
    mtime_ns: int
    looked_ns: int  # when, since 1970
    found: Probe


class Store:
    """Probes by path. Nothing here ever raises: without the store, files are just probed again after a restart."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._database: sqlite3.Connection | None = None

    def load(self) -> dict[str, Known]:
        if self._path is None:
            return {}
        try:
            return self._opened()
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            self._set_aside(error)
        try:
            return self._opened()
        except sqlite3.Error as error:
            self._give_up(error)
            return {}

    def _opened(self) -> dict[str, Known]:
        self._database = sqlite3.connect(self._path, check_same_thread=False, isolation_level=None)
        # The loss of the last probes in a crash costs nothing.
        self._database.execute("pragma journal_mode = wal")
        self._database.execute("pragma synchronous = off")
        if self._database.execute("pragma user_version").fetchone() != (VERSION,):
            self._database.executescript(
                f"begin; drop table if exists probes; {TABLE}; pragma user_version = {VERSION}; commit"
            )
        rows = self._database.execute("select path, size, mtime_ns, looked_ns, found from probes")
        return {
            os.fsdecode(path): Known(size, mtime_ns, looked_ns, Probe(**json.loads(found)))
            for path, size, mtime_ns, looked_ns, found in rows
        }

    def keep(self, probed: dict[str, Known], gone: Iterable[str]) -> None:
        """Write down what is new, and forget what is gone."""
        if self._database is None:
            return
        rows = [
            (os.fsencode(path), one.size, one.mtime_ns, one.looked_ns, json.dumps(dataclasses.asdict(one.found)))
            for path, one in probed.items()
        ]
        try:
            self._database.execute("begin")
            self._database.executemany("delete from probes where path = ?", [(os.fsencode(path),) for path in gone])
            self._database.executemany("insert or replace into probes values (?, ?, ?, ?, ?)", rows)
            self._database.execute("commit")
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None

    def _set_aside(self, error: Exception) -> None:
        aside = self._path.with_name(f"{self._path.name}.unreadable")
        log.warning("%s cannot be read (%s): it is now %s, and the videos are probed anew", self._path, error, aside)
        self.close()
        for suffix in ("-wal", "-shm"):  # they belong to the file that goes
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        try:
            self._path.replace(aside)
        except OSError as failed:
            log.warning("%s cannot be set aside: %s", self._path, failed)

    def _give_up(self, error: Exception) -> None:
        log.warning("%s cannot be used (%s): what is found out is kept until the service ends", self._path, error)
        self.close()
