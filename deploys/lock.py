"""One deploy at a time: every host of the run is locked before it is looked at, and stays so until the run ends.

The lock is held on the host by a process at the other end of an SSH channel (lock.sh), so it ends with this process,
with its connection, or some time after this machine fell silent.
"""

import getpass
import os
import shlex
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex
from typing import Any

import gevent
from gevent.event import Event
from paramiko import SSHException
from pyinfra import inventory, logger, state
from pyinfra.api import Host, StringCommand
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.state import BaseStateCallback, State

from deploys.revision import checked_out
from deploys.sources import ROOT

WAIT = 60  # seconds for another deploy to end; the variable LETTABOX_WAIT says otherwise
WORK = 900  # seconds for what a dead deploy left running
BEAT = 15  # seconds between two signs of life
DEAD = 60  # seconds of silence after which the host frees the lock
READING = 900  # the same while somebody may read the table of changes: pyinfra waits for Enter and does nothing else
SCRIPT = (Path(__file__).parent / "lock.sh").read_text()
FOLDER = "/run/lettabox"


class Refused(PyinfraError):
    """Another one is at work, or a host cannot be locked; no host was changed."""


class Lost(PyinfraError):
    """A host's lock is gone while the run goes on."""


def take() -> None:
    """Lock every host of this run, or none. Does nothing in a run that only looks.

    deploy.py runs once for each host at the same time, so the first caller takes all and the others wait.
    Raises Refused when somebody else has one of them and keeps it for longer than LETTABOX_WAIT seconds. A host that
    cannot be locked for another reason is left to the preflight, which knows better why, and to `require`.
    """
    if "job" not in _run:
        hosts = [one for one in inventory.get_active_hosts() if one.data.get("changes")]
        _run["job"] = gevent.spawn(_refusal, hosts)
    if refusal := _run["job"].get():
        raise Refused(refusal)


def require() -> None:
    """Raise Refused unless every host of this run is locked; for after the preflight."""
    failed = [f"{name}: {one.trouble}" for name, one in sorted(_locks.items()) if one.trouble]
    if failed:
        raise Refused("nothing was changed on any host; not locked\n" + "\n".join(failed))


def fenced(host: Host, command: Any) -> Any:
    """`command` so that on the host it begins only while this run has the lock, and is waited for by the next run."""
    one = _locks.get(host.name)
    if one is None:
        return command
    return StringCommand(
        f"exec 8>>{FOLDER}/work.lock && flock -s 8 && grep -qsx token={one.token} {FOLDER}/deploy || "
        "{ echo 'stopped: this deploy no longer has the lock of the host; deploy again' >&2; exit 75; };",
        f"export LETTABOX_DEPLOY={one.token};",
        command,
    )


_run: dict[str, Any] = {}
_locks: dict[str, "_Lock"] = {}  # by name of the host


def _wait() -> float:
    told = os.environ.get("LETTABOX_WAIT", "")
    if told and not told.isdecimal():
        raise Refused(f"LETTABOX_WAIT={told}: not a number of seconds; 0 refuses at once, without it {WAIT} are waited")
    return int(told or WAIT)


def _refusal(hosts: list[Host]) -> str:
    """Lock all of `hosts`; "" when that is done, otherwise why not, with none of them locked.

    Nobody waits for one host while holding another, so two runs cannot wait for each other.
    """
    try:
        end = time.monotonic() + _wait()
    except Refused as error:
        return str(error)
    about = {
        "user": getpass.getuser(),
        "host": socket.gethostname(),
        "pid": str(os.getpid()),
        "doing": f"deploy of {ROOT} at {checked_out() or 'no commit'}",
    }
    first: list[Host] = []  # that one is waited for, with no other held
    while hosts:
        taken = {one.name: _Lock(one, about) for one in hosts}
        for one in first:
            taken[one.name].take(max(0.0, end - time.monotonic()))
        rest = [gevent.spawn(taken[one.name].take, 0.0) for one in hosts if one not in first]
        gevent.joinall(rest, raise_error=True)
        busy = [one for one in hosts if taken[one.name].holder is not None]
        if not busy:
            _locks.update(taken)
            state.add_callback_handler(_Guard())
            _run["beats"] = gevent.spawn(_beat)
            break
        for one in taken.values():
            one.release()
        own = {one.token: name for name, one in taken.items()}
        for one in busy:
            if same := own.get(taken[one.name].holder.get("token", "")):
                return (
                    f"nothing was changed on any host; {same} and {one.name} are one box; take one out of the inventory"
                )
        if time.monotonic() >= end or any("work" in taken[one.name].holder for one in busy):
            return _explained({one.name: taken[one.name].holder for one in busy})
        first = busy[:1]
        logger.info(f"    {_told(first[0].name, taken[first[0].name].holder)}; waiting for it")
    return ""


def _told(name: str, holder: dict[str, str]) -> str:
    """Who has a host's lock, in one line."""
    if "work" in holder:
        return f"{name}: what an earlier deploy left running has not ended in {WORK} s"
    if "token" not in holder:
        return f"{name}: somebody else has just begun to change it"
    minutes = (int(holder.get("now", 0)) - int(holder.get("began", 0))) / 60
    return (
        f"{name}: locked by {holder.get('user')} on {holder.get('host')} (from {holder.get('address') or 'there'}, "
        f"process {holder.get('pid')}) since {holder.get('since')}, {minutes:.0f} min: {holder.get('doing')}"
    )


def _explained(busy: dict[str, dict[str, str]]) -> str:
    lines = ["nothing was changed on any host; one deploy at a time"]
    for name, holder in busy.items():
        lines.append(_told(name, holder))
        lines += [f"    left running: {line}" for line in holder.get("work", "").splitlines()]
        fix = "wait until it is done and deploy again; LETTABOX_WAIT=600 waits for up to 600 s"
        if holder.get("work"):
            fix = "wait until that has ended and deploy again, or end it on the host: sudo kill PID"
        elif "holder" in holder:
            fix += f"; if it never will be: sudo kill {holder['holder']} on {name}, and it stops before its next step"
        lines.append(f"    fix: {fix}")
    return "\n".join(lines)


class _Lock:
    """The lock of one host."""

    def __init__(self, host: Host, about: dict[str, str]) -> None:
        self.host = host
        self.about = about
        self.token = token_hex(8)
        self.holder: dict[str, str] | None = None  # who has it instead
        self.trouble = "it was never taken"  # "" while it is held
        self._channel: Any = None
        self._answered = Event()
        self._ended = Event()

    def take(self, wait: float) -> None:
        """Have the lock within `wait` seconds, or know why not: `holder` or `trouble`."""
        lines = [f"{key}={' '.join(value.split())}" for key, value in {"token": self.token, **self.about}.items()]
        sudo = "sudo -n " if self.host.data.get("_sudo") else ""
        # The client's address is told before sudo, which takes it out of the environment.
        run = f'exec {sudo}bash -c "$1" lettabox-lock "$2" "$3" "$4" "${{SSH_CONNECTION%% *}}" "$5"'
        numbers = [str(round(wait)), str(WORK), str(_patience())]
        command = shlex.join(["sh", "-c", run, "sh", SCRIPT, *numbers, "\n".join(lines)])
        try:
            self._channel = self.host.connector.client.get_transport().open_session()
            self._channel.exec_command(command)
        except (AttributeError, OSError, SSHException, EOFError) as error:
            self.trouble = f"no channel for the lock could be opened over SSH: {error}"
            return
        gevent.spawn(self._read)
        self._answered.wait()

    def _read(self) -> None:
        said = []
        try:
            lines = iter(self._channel.makefile("r"))
            for line in map(str.rstrip, lines):
                if line == "held":
                    self.trouble, self.holder = "", None
                    self._answered.set()
                elif line == "busy":
                    self.holder = dict(one.partition("=")[::2] for one in _block(lines))
                elif line == "work":
                    left = [one[:150] for one in _block(lines)] or ["a process that has ended meanwhile"]
                    self.holder = {"work": "\n".join(left)}
                    # The last one was begun last: the others are the shells around it.
                    logger.info(f"    {self.host.name}: waiting for what an earlier deploy left running: {left[-1]}")
                elif line == "refused":
                    break
                else:
                    said.append(line)
            said += self._channel.makefile_stderr("r").read().decode(errors="replace").splitlines()
        except (OSError, SSHException) as error:
            said.append(str(error))
        finally:
            why = " ".join(filter(None, said)) or "its process there ended, or the connection did"
            self.trouble = f"the lock is not held: {why}"
            self._answered.set()
            self._ended.set()

    def alive(self) -> None:
        """Tell the host that this run goes on."""
        if not self.trouble:
            try:
                self._channel.sendall(f"{_patience()}\n".encode())
            except (OSError, SSHException) as error:
                self.trouble = f"the lock is not held: {error}"

    def release(self) -> None:
        """Free the lock, and return when the host has done so."""
        if self._channel:
            try:
                self._channel.shutdown_write()
            except (OSError, EOFError, SSHException):
                return  # with the connection the lock is gone already
            self._ended.wait(timeout=10)


def _block(lines: Iterator[str]) -> Iterator[str]:
    for line in map(str.rstrip, lines):
        if line == ".":
            return
        yield line


def _patience() -> int:
    reading = not state.is_executing and any(one.data.asks for one in inventory)
    return READING if reading else DEAD


def _beat() -> None:
    while True:
        for one in _locks.values():
            one.alive()
        gevent.sleep(BEAT)


class _Guard(BaseStateCallback):
    """Stops the run before an operation on a host whose lock is gone."""

    def operation_start(self, state: State, op_hash: str) -> None:
        for host in state.inventory.get_active_hosts():
            self.operation_host_start(state, host, op_hash)

    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:
        # With --serial and --no-wait pyinfra calls only this one.
        gevent.sleep(0)  # what has arrived is read before it is asked
        one = _locks.get(host.name)
        if one and one.trouble:
            raise Lost(
                f"stopped before the next step on {host.name}: {one.trouble}\n"
                "    fix: deploy again; what is done stays done, and the rest follows"
            )

    def host_disconnect(self, state: State, host: Host) -> None:
        if one := _locks.pop(host.name, None):
            one.release()
