"""Copies of ComfyUI's database: `python -m lettabox.comfyui_database save NAME` or `restore NAME`.

Run as ComfyUI's own user, who owns all of it: what that user made of the folders is nothing for root to follow.
Only the standard library.
"""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from lettabox import paths

DATABASE = paths.COMFYUI_DATA / "user/comfyui.db"
COPIES = paths.COMFYUI_DATA / "backups"
KEPT = 5


def save(name: str) -> Path:
    """Copy the database, in use or not, and forget all but the newest copies; their names begin with the time."""
    COPIES.mkdir(mode=0o750, exist_ok=True)
    copy, new = COPIES / name, COPIES / f"{name}.new"
    new.unlink(missing_ok=True)
    existing = f"{DATABASE.as_uri()}?mode=rw"  # never a new, empty one
    with closing(sqlite3.connect(existing, uri=True)) as there, closing(sqlite3.connect(new)) as here:
        there.backup(here)
    os.replace(new, copy)
    for old in sorted(COPIES.glob("*.db"))[:-KEPT]:
        old.unlink()
    return copy


def restore(name: str) -> None:
    """Put a copy in the place of the database, which nobody may be using."""
    new = DATABASE.with_name(f"{DATABASE.name}.new")
    new.unlink(missing_ok=True)
    with closing(sqlite3.connect(COPIES / name)) as there, closing(sqlite3.connect(new)) as here:
        there.backup(here)
    # What was not yet written into the old one belongs to the old one.
    for left in ("-wal", "-shm", "-journal"):
        DATABASE.with_name(f"{DATABASE.name}{left}").unlink(missing_ok=True)
    os.replace(new, DATABASE)


if __name__ == "__main__":
    {"save": save, "restore": restore}[sys.argv[1]](sys.argv[2])
