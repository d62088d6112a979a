"""The fake router as a repository in the box, with the commits that the tests deploy."""

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab import containers
from tests.lab.lab import Lab

URL = "file:///srv/router.git"
SOURCE = Path(__file__).with_name("fake_router.py")
MAIN = 'if __name__ == "__main__":'
# It lives long enough to be seen running at each try.
DIES = "import time\n\ntime.sleep(1)\nraise SystemExit('the login has expired: run the login again')\n\n\n"


@dataclass(frozen=True)
class Commits:
    first: str
    second: str  # says version 2
    dying: str  # ends with a message a second after its start


def publish(lab: Lab, folder: Path) -> Commits:
    """Make the repository in `folder` of this machine and put it into the box, as root's and readable for all."""
    environment = os.environ | {
        **{f"GIT_{who}_{what}": "lab" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        **{f"GIT_{who}_DATE": "2026-01-01T00:00:00Z" for who in ("AUTHOR", "COMMITTER")},
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_SYSTEM": os.devnull,
    }

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=folder, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(text: str) -> str:
        (folder / "router.py").write_text(text)
        git("add", "router.py")
        git("commit", "--quiet", "--message", "router")
        return git("rev-parse", "HEAD")

    source = SOURCE.read_text()
    git("init", "--quiet", "--initial-branch", "main")
    second = source.replace('VERSION = "1"', 'VERSION = "2"')
    assert second != source
    commits = Commits(commit(source), commit(second), commit(source.replace(MAIN, DIES + MAIN)))
    git("clone", "--quiet", "--bare", ".", "bare.git")
    bare = folder / "bare.git"
    files = [
        containers.File(f"/srv/router.git/{one.relative_to(bare)}", one.read_bytes())
        for one in sorted(bare.rglob("*"))
        if one.is_file()
    ]
    lab.exec(["rm", "-rf", "/srv/router.git"])
    # git knows a repository by these folders, which may be empty.
    lab.exec(["mkdir", "-p", "/srv/router.git/refs/heads", "/srv/router.git/objects"])
    containers.put(lab.box, *files)
    return commits
