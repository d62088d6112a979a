"""Put many files and directories on a host: one fact to compare, one command to change."""

import base64
import hashlib
import io
import posixpath
import shlex
import tarfile
from collections.abc import Generator
from dataclasses import dataclass
from functools import cached_property

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation
from pyinfra.operations.util.files import generate_color_diff

from facts.paths import Content, Paths, PathState


@dataclass(frozen=True)
class File:
    content: bytes
    mode: int = 0o644

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(frozen=True)
class Directory:
    mode: int = 0o755


NEW = ".lettabox-new"  # suffix of a file that has arrived and is not yet in its place


@operation()
def present(
    files: dict[str, File], directories: dict[str, Directory] | None = None, exact: tuple[str, ...] = ()
) -> Generator[StringCommand, None, None]:
    """Make files and directories what they should be, all owned by root.

    A file is replaced by a rename, with its final mode and owner from the first byte;
    the content travels on standard input. Below the directories named in `exact`,
    files that are not in `files` are removed.
    """
    directories = directories or {}
    now: dict[str, PathState] = host.get_fact(Paths, paths=[*directories, *files], trees=list(exact))
    folders = {
        path: want
        for path, want in directories.items()
        if now.get(path) != PathState("directory", want.mode, "root", "root", None)
    }
    changed = {
        path: want
        for path, want in files.items()
        if now.get(path) != PathState("file", want.mode, "root", "root", want.sha256)
    }
    below = tuple(f"{top}/" for top in exact)
    stale = [path for path in now if path.startswith(below) and path not in files and path not in directories]
    if not (folders or changed or stale):
        host.noop(f"{len(files)} files and {len(directories)} directories are as they should be")
        return
    if state.config.DIFF:
        for path, want in changed.items():
            _show(path, want, now.get(path))
        for path in stale:
            host.log(f"Will remove {path}", logger.info)
    script = ["set -e"]
    script += [f"install -d -o root -g root -m {want.mode:o} {shlex.quote(path)}" for path, want in folders.items()]
    if changed:
        script.append("base64 -d | tar -xzmpf - -C / --no-overwrite-dir")
    script += [f"mv -fT {shlex.quote(path + NEW)} {shlex.quote(path)}" for path in changed]
    script += [f"rm -f {shlex.quote(path)}" for path in stale]
    # An interrupted run may have left arrivals; they are never read, and the next run replaces them.
    yield StringCommand("; ".join(script), _stdin=base64.b64encode(_archive(changed)).decode())


def _archive(files: dict[str, File]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, want in files.items():
            entry = tarfile.TarInfo(posixpath.relpath(path + NEW, "/"))
            entry.size, entry.mode = len(want.content), want.mode
            entry.uname = entry.gname = "root"
            tar.addfile(entry, io.BytesIO(want.content))
    return out.getvalue()


def _show(path: str, want: File, now: PathState | None) -> None:
    if now and now.sha256 == want.sha256:
        host.log(f"Will set mode {want.mode:o} and owner root on {path}", logger.info)
        return
    try:
        after = want.content.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        host.log(f"Will write {path} ({len(want.content)} bytes)", logger.info)
        return
    before = (host.get_fact(Content, path=path) or "").splitlines(keepends=True) if now else []
    host.log(f"Will {'modify' if now else 'create'} {path}", logger.info)
    for line in generate_color_diff(before, after):
        logger.info("  %s", line.rstrip("\n"))
