"""One at a time: a verb that changes things has the box's lock while it works, or is a part of the deploy that has it.

The lock, its folder and the file that tells who has it are those of deploys/lock.sh on the laptop's side.
"""

import fcntl
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from lettabox import files, paths
from lettabox.errors import BUSY, LettaboxError

WAIT = 2  # seconds; the end of a deploy reaches the box a moment after its operator sees it
WORK = 900  # seconds for what a dead deploy left running
_held: list[str] = []  # what this process has the lock for: a verb may call another


@contextmanager
def held(doing: str) -> Iterator[None]:
    """Have the box for oneself during the block; `doing` is what others are told.

    Raises LettaboxError, which names who has it instead.
    """
    if _held or _part_of_deploy():
        yield
        return
    paths.RUN.mkdir(mode=0o755, exist_ok=True)
    with _open("deploy.lock") as lock:
        if not (_take(lock, 0) or _take(lock, WAIT)):
            raise LettaboxError(f"not done: {_holder()}", BUSY)
        token = secrets.token_hex(8)
        files.write(paths.RUN / "deploy", _record(token, doing), mode=0o600)
        with _open("work.lock") as work:
            if not _take(work, 0):
                print("waiting for what a deploy that was cut off left running", flush=True)
                if not _take(work, WORK):
                    raise LettaboxError(
                        f"not done: what a deploy left running has not ended in {WORK} s; "
                        f"find it with: sudo fuser -v {paths.RUN}/work.lock",
                        BUSY,
                    )
        _held.append(doing)
        try:
            yield
        finally:
            _held.clear()
            files.write(paths.RUN / "deploy", "", mode=0o600)


def _open(name: str) -> IO[str]:
    return os.fdopen(os.open(paths.RUN / name, os.O_RDWR | os.O_CREAT, 0o600), "r+")


def _take(lock: IO[str], wait: int) -> bool:
    """Whether the lock was had within `wait` seconds."""
    if wait:
        # By a program: flock(2) itself has no limit. The lock belongs to the file that both have open.
        done = subprocess.run(["flock", "-w", str(wait), str(lock.fileno())], pass_fds=[lock.fileno()])
        return done.returncode == 0
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _told() -> dict[str, str]:
    """What is told of the holder; to be believed only while the lock is held."""
    try:
        lines = (paths.RUN / "deploy").read_text().splitlines()
    except FileNotFoundError:
        lines = []
    return dict(line.partition("=")[::2] for line in lines)


def _part_of_deploy() -> bool:
    """Whether a deploy calls this verb, which has the lock then. Raises LettaboxError when it lost it meanwhile."""
    token = os.environ.get("LETTABOX_DEPLOY")
    if token and token != _told().get("token"):
        raise LettaboxError("not done: this deploy no longer has the lock of the box; deploy again", BUSY)
    return bool(token)


def _record(token: str, doing: str) -> str:
    user = os.environ.get("SUDO_USER", "root")
    lines = {"token": token, "user": user, "host": os.uname().nodename, "pid": os.getpid(), "doing": doing}
    lines |= {"address": "", "holder": os.getpid(), "began": int(time.time()), "since": time.strftime("%F %T %Z")}
    return "".join(f"{key}={value}\n" for key, value in lines.items())


def _holder() -> str:
    told = _told()
    if "token" not in told:
        return "somebody else has just begun to change this box; try again"
    minutes = (time.time() - int(told["began"])) / 60
    return (
        f"this box is locked by {told['user']} on {told['host']} (from {told['address'] or 'there'}, process "
        f"{told['pid']}) since {told['since']}, {minutes:.0f} min: {told['doing']}\n"
        f"  next: wait until that is done; if it never will be: sudo kill {told['holder']}, and it stops before its "
        "next step"
    )
