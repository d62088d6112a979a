"""Git repositories in the box that tests deploy programs from."""

import os
import subprocess
from pathlib import Path

from tests.lab import containers
from tests.lab.lab import Lab

# It lives long enough to be seen running at each try.
DIES = "import time\n\ntime.sleep(1)\nraise SystemExit({message!r})\n\n\n"
MAIN = 'if __name__ == "__main__":'


def dying(source: str, message: str) -> str:
    """The program, ending with the message a second after its start."""
    return replaced(source, MAIN, DIES.format(message=message) + MAIN)


def replaced(source: str, old: str, new: str) -> str:
    """The source with `old`, which it must have, replaced."""
    assert old in source, f"no {old!r} to replace"
    return source.replace(old, new)


def publish(lab: Lab, folder: Path, name: str, versions: list[dict[str, str]]) -> list[str]:
    """Make a repository in `folder` of this machine and put it into the box as /srv/`name`.git, readable for all.

    Each version is {path: text} of the files that its commit writes. Returns the commits.
    """
    environment = os.environ | {
        **{f"GIT_{who}_{what}": "lab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        **{f"GIT_{who}_DATE": "2026-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(files: dict[str, str]) -> str:
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        git("add", *files)
        git("commit", "--quiet", "--message", name)
        return git("rev-parse", "HEAD")

    git("init", "--quiet", "--initial-branch", "main")
    commits = [commit(files) for files in versions]
    git("clone", "--quiet", "--bare", ".", "bare.git")
    bare = folder / "bare.git"
    there = f"/srv/{name}.git"
    files = [
        containers.File(f"{there}/{one.relative_to(bare)}", one.read_bytes())
        for one in sorted(bare.rglob("*"))
        if one.is_file()
    ]
    lab.exec(["rm", "-rf", there])
    # git knows a repository by these folders, which may be empty.
    lab.exec(["mkdir", "-p", f"{there}/refs/heads", f"{there}/objects"])
    containers.put(lab.box, *files)
    return commits
