"""Somebody's repository at a pinned commit: fetched and built as the user of the service that runs it.

Releases lie beside each other, one folder each; a mark beside a folder says that it is complete.
"""

import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lettabox import files, paths
from lettabox.errors import FAILED, LettaboxError

LOG_LINES = 20
LONGEST = 1800  # seconds a fetch or a build may take
PYTHON = "/usr/bin/python3"  # the system's, whatever else is there
TIMED_OUT = 124  # exit code of timeout(1)


@dataclass(frozen=True)
class Owner:
    label: str  # what messages call the service
    user: str
    home: str


def complete(top: Path, release: str, made_with: str = "") -> bool:
    """Whether a release is there, whole, and made with this."""
    mark = _mark(top, release)
    return mark.is_file() and mark.read_text() == made_with and (top / release).is_dir()


def finish(top: Path, release: str, made_with: str = "") -> None:
    """Mark a release as complete."""
    files.write(_mark(top, release), made_with)


def _mark(top: Path, release: str) -> Path:
    return top / f"{release}.complete"


def python() -> str:
    """The version of the system's Python, such as 3.13, which a virtual environment is bound to."""
    return Path(PYTHON).resolve().name.removeprefix("python")


def begin(owner: Owner, folder: Path) -> None:
    """Have an empty folder of the owner's, whatever was there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755, parents=True)
    shutil.chown(folder, owner.user, owner.user)


def fetch(owner: Owner, folder: Path, url: str, revision: str) -> None:
    """Check out a commit in `folder`. Raises LettaboxError when it cannot be had from there."""
    print(f"{owner.label}: fetching {revision[:12]} from {url}", flush=True)
    git = ["git", "-c", "advice.detachedHead=false", "-C", str(folder)]
    what = f"revision {revision} cannot be had from {url}; it must be pushed there, and be readable for {owner.user}"
    run(owner, [*git, "init", "--quiet"], folder, what)
    try:
        run(owner, [*git, "fetch", "--quiet", "--depth", "1", url, revision], folder, what)
    except LettaboxError:
        # Not every server gives a single commit: all branches and tags then.
        run(owner, [*git, "fetch", "--quiet", url, "+refs/heads/*:refs/remotes/it/*", "--tags"], folder, what)
    run(owner, [*git, "checkout", "--quiet", "--detach", revision], folder, what)


def run(
    owner: Owner,
    command: list[str],
    folder: Path,
    what: str,
    tell: Callable[[str], str] | None = None,
    longest: int = LONGEST,
    environment: dict[str, str] | None = None,
) -> None:
    """Run a command as the owner in `folder`, without secrets; `tell` makes of a line what is printed, or "".

    Raises LettaboxError with `what` and the command's last lines, also after `longest` seconds.
    """
    # A repository on this box may belong to somebody else, which git refuses unless its system's settings allow it.
    settings = paths.RUN / "gitconfig"
    files.write(settings, "[include]\n\tpath = /etc/gitconfig\n[safe]\n\tdirectory = *\n")
    passed = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or name == "LANG"}
    usual = {
        "HOME": owner.home,
        "USER": owner.user,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "GIT_CONFIG_SYSTEM": str(settings),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
    }
    last: deque[str] = deque(maxlen=LOG_LINES)
    # Programs end what the command has started: the one after so long, the other when this process was killed.
    ended_with_us = ["setpriv", "--pdeathsig", "TERM", "timeout", "--kill-after=10", str(longest)]
    with subprocess.Popen(
        [*ended_with_us, *command],
        cwd=folder,
        env=passed | usual | (environment or {}),
        user=owner.user,
        group=owner.user,
        extra_groups=[],
        umask=0o022,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as running:
        for line in running.stdout:
            last.append(line.rstrip())
            if tell and (text := tell(last[-1])):
                print(f"{owner.label}: {text}", flush=True)
    if running.returncode:
        ended = f"not done after {longest} s" if running.returncode == TIMED_OUT else f"exit code {running.returncode}"
        said = "\n".join(f"    {line}" for line in last)
        raise LettaboxError(f"{owner.label}: {what}\n  {ended}, it said last:\n{said}", FAILED)


def forget_others(top: Path, release: str) -> None:
    """Keep this release and the newest other one, for a way back without a build."""
    marks = sorted(top.glob("*.complete"), key=lambda path: path.stat().st_mtime)
    keep = {release, *[path.stem for path in marks if path.stem != release][-1:]}
    for path in top.iterdir():
        if path.name.removesuffix(".complete") not in keep:
            path.unlink() if path.is_file() else shutil.rmtree(path)
