"""The revision of this repository that a part of it comes from."""

import subprocess
from functools import cache

from deploys.sources import ROOT


@cache
def revision(path: str) -> str:
    """The last commit that touched `path`, with `-dirty` when it was changed since; "" where git cannot tell.

    Not the commit that is checked out: with that, every commit would make the same files look new.
    """
    commit = _git("log", "-1", "--format=%H", "--", path)
    changed = _git("status", "--porcelain", "--", path)
    if not commit or changed is None:
        return ""
    return f"{commit}-dirty" if changed else commit


@cache
def checked_out() -> str:
    """The commit that is checked out, in short, with `-dirty` when files differ; "" where git cannot tell."""
    return _git("describe", "--always", "--dirty", "--abbrev=12", "--exclude=*") or ""


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return None if done.returncode else done.stdout.strip()
