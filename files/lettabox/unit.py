"""One systemd unit of ours: what it is, the switch to another file of it, and whether that comes up.

The unit's file names the release, so replacing that file is the switch from one release to another, and putting the
old file back is the way back. Facts use this too: only the standard library.
"""

import os
import shlex
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lettabox import files
from lettabox.errors import UNHEALTHY, LettaboxError

LOG_LINES = 20
# A unit that ended this often since its start will not come by waiting longer.
CRASHES = 2


@dataclass(frozen=True)
class Unit:
    label: str  # what messages call it
    service: str
    path: Path  # of its file


def show(service: str, *properties: str) -> dict[str, str]:
    """Properties of a unit, as systemd has them."""
    words = [f"--property={name}" for name in properties]
    said = subprocess.run(["systemctl", "show", service, *words], capture_output=True, text=True, check=True).stdout
    return dict(line.split("=", 1) for line in said.splitlines())


def command(text: str) -> list[str]:
    """The program and its arguments that a unit's file starts."""
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    return shlex.split(line.removeprefix("ExecStart="))


def switch(one: Unit, contents: dict[Path, str | None]) -> None:
    """Put files in their place, the unit's own among them (None: no such file), and start the unit with them."""
    for path, text in contents.items():
        if text is None:
            path.unlink(missing_ok=True)
        else:
            files.write(path, text, mode=0o644 if path == one.path else 0o600)
    run(["systemctl", "daemon-reload"])
    run(["systemctl", "enable", "--quiet", one.service])
    run(["systemctl", "restart", one.service])


def remove(one: Unit, *others: Path) -> None:
    """Stop the unit for good, and remove its file and these."""
    if one.path.is_file():
        run(["systemctl", "disable", "--now", one.service])
    for path in (one.path, *others):
        path.unlink(missing_ok=True)
    run(["systemctl", "daemon-reload"])


def until_healthy(one: Unit, health: Callable[[], str], timeout: float) -> None:
    """Return when the unit is up and `health` says "", and not why not.

    Raises LettaboxError with its last log lines when it ends again and again, or after `timeout` seconds.
    """
    began, deadline = time.time(), time.monotonic() + timeout
    restarts, end = int(show(one.service, "NRestarts")["NRestarts"]), ""
    while True:
        now = show(one.service, "ActiveState", "SubState", "NRestarts", "ExecMainCode", "ExecMainStatus", "MainPID")
        # A start begins to count anew, which may come after the first look.
        restarts = min(restarts, int(now["NRestarts"]))
        ended = int(now["NRestarts"]) - restarts
        # How it ended is told only until it is started again.
        if now["MainPID"] == "0":
            end = _end(now)
        why = health() if now["ActiveState"] == "active" else f"the unit is {now['SubState']}"
        # Whoever answers must be the unit: another program may hold the port.
        if not why and ended == 0:
            return
        if ended >= CRASHES or now["ActiveState"] == "failed":
            raise failure(one, f"ends by itself{end}", began)
        if time.monotonic() > deadline:
            raise failure(one, f"not healthy after {timeout} s: {why or 'restarting'}", began)
        time.sleep(0.2)


def _end(now: dict[str, str]) -> str:
    # ExecMainCode is the kernel's CLD_EXITED, CLD_KILLED or CLD_DUMPED; 0 as long as nothing has ended.
    code, status = int(now["ExecMainCode"]), now["ExecMainStatus"]
    how = {os.CLD_EXITED: "exit code", os.CLD_KILLED: "killed by signal", os.CLD_DUMPED: "dumped core on signal"}
    return f", {how[code]} {status}" if code else ""


def failure(one: Unit, what: str, since: float) -> LettaboxError:
    """What is wrong with the unit, and its last log lines since then."""
    log = ["journalctl", "-q", "--no-pager", "-o", "cat", "-n", str(LOG_LINES)]
    log += ["-u", one.service, f"--since=@{since:.0f}"]
    said = subprocess.run(log, capture_output=True, text=True, errors="replace").stdout
    lines = "\n".join(f"    {line}" for line in said.splitlines())
    return LettaboxError(f"{one.label}: {what}\n  last log lines of {one.service}:\n{lines}", UNHEALTHY)


def run(command: list[str]) -> None:
    """Run a command that says nothing when all is well. Raises LettaboxError with what it said."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LettaboxError(f"{' '.join(command)}: {done.stderr.strip()}")
