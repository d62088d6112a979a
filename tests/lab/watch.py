"""Watchers that sample while something else runs."""

import contextlib
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path


@contextlib.contextmanager
def _thread(work):
    """Call `work` again and again in a thread until the block ends."""
    end = threading.Event()
    failed = []

    def loop():
        try:
            while not end.is_set():
                work()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()
    if failed:
        raise failed[0]


@contextlib.contextmanager
def arguments_seen():
    """The argument lists of every process of this machine, its containers' included, while the block runs."""
    seen: set[str] = set()

    def look():
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                # A process that ended between the two calls.
                with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                    seen.add(Path("/proc", entry, "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))

    with _thread(look):
        yield seen


@dataclass
class Modes:
    looks: int = 0
    files: int = 0
    open: list[str] = field(default_factory=list)


@contextlib.contextmanager
def secrets_never_open(lab):
    """What others could do with the folder of secrets of the lab's box, looked at without a pause."""
    folder = Path("/proc", str(lab.pid), "root/etc/lettabox/secrets")
    modes = Modes()

    def look():
        with contextlib.suppress(FileNotFoundError):
            modes.looks += 1
            if folder.stat().st_mode & 0o077:
                modes.open.append(str(folder))
            entries = list(os.scandir(folder))
            modes.files = max(modes.files, len(entries))
            for entry in entries:
                # A file that got its final name between the two calls.
                with contextlib.suppress(FileNotFoundError):
                    if entry.stat().st_mode & 0o077:
                        modes.open.append(entry.name)

    with _thread(look):
        yield modes


@contextlib.contextmanager
def commands_over_ssh(lab):
    """What the box's own sshd counts while the block runs: a list that gets a line for each command or SFTP session."""
    setting = "/etc/ssh/sshd_config.d/lab-count.conf"
    cursor = "/run/lab-count"

    def run(command):
        code, said = lab.exec(command)
        assert code == 0, f"{command}: {said}"
        return said

    seen: list[str] = []
    run(f"echo LogLevel VERBOSE > {setting} && systemctl reload ssh")
    run(f"journalctl --sync && journalctl -q --cursor-file={cursor} > /dev/null")
    try:
        yield seen
        seen += re.findall(
            r"Starting session: .*", run(f"journalctl --sync && journalctl -q -o cat --cursor-file={cursor}")
        )
    finally:
        run(f"rm {setting} {cursor} && systemctl reload ssh")
