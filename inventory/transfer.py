"""Carry the stack's images between a box and a file: `python -m inventory.transfer save letta-images.tar.zst`.

The bytes go through OpenSSH, without a terminal and a piece at a time; the box side is `lettabox image`.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from deploys import layout
from inventory.load import SettingsError, find, load
from inventory.remote import INTERRUPTED, UNREACHABLE, USAGE, argv, describe, pick
from inventory.schema import Host

FAILED = 1
CHUNK = 1 << 20
EVERY = 5  # seconds between two lines of progress
COMPRESSIONS = {".tar": "none", ".tar.gz": "gz", ".tar.zst": "zst"}


class Progress:
    """What went through so far, on stderr now and then."""

    def __init__(self, what: str, whole: int = 0) -> None:
        self.what, self.whole, self.done = what, whole, 0
        self.began = time.monotonic()

    @contextmanager
    def shown(self) -> Iterator["Progress"]:
        end = threading.Event()

        def show() -> None:
            while not end.wait(EVERY):
                print(self, file=sys.stderr, flush=True)

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            end.set()
            thread.join()

    def __str__(self) -> str:
        of = f" of {self.whole / 1e6:.0f}" if self.whole else ""
        return f"{self.what}: {self.done / 1e6:.0f}{of} MB ({time.monotonic() - self.began:.0f} s)"


def copy(source: IO[bytes], target: IO[bytes], progress: Progress) -> str:
    """Copy to the end; return the SHA-256 of what went through, in hex."""
    seen = hashlib.sha256()
    while chunk := source.read(CHUNK):
        target.write(chunk)
        seen.update(chunk)
        progress.done += len(chunk)
    return seen.hexdigest()


def save(host: Host, path: Path) -> int:
    """Write the box's images to `path`, which appears when it is complete; return an exit code."""
    compression = next((how for suffix, how in COMPRESSIONS.items() if path.name.endswith(suffix)), None)
    if compression is None:
        raise SettingsError(f"FILE={path}: name it *{', *'.join(COMPRESSIONS)}; the ending says how it is compressed")
    if path.exists():
        raise SettingsError(f"FILE={path} exists already; remove it or name another")
    if not path.parent.is_dir():
        raise SettingsError(f"FILE={path}: there is no folder {path.parent}")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    command = argv(host, ["lettabox", "image", "save", "--compression", compression], tty=False)
    try:
        with (
            part.open("xb") as file,
            Progress(f"saving to {path}").shown() as progress,
            running(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as ssh,
        ):
            seen = copy(ssh.stdout, file, progress)
            code = ssh.wait()
            os.fsync(file.fileno())
        if code == 0:
            part.rename(path)
            print(f"saved {path}: {progress.done / 1e6:.0f} MB, SHA-256 {seen}")
        return code
    finally:
        part.unlink(missing_ok=True)


def send(host: Host, path: Path, sha256: str) -> int:
    """Have the box check and load the images in `path`; return an exit code."""
    try:
        file = path.open("rb")
        size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise SettingsError(f"FILE={path}: {error.strerror}; name a file that `make image-save` wrote") from None
    words = ["lettabox", "image", "load", "--size", str(size), *(["--sha256", sha256] if sha256 else [])]
    with (
        file,
        Progress(f"sending {path}", size).shown() as progress,
        running(argv(host, words, tty=False), stdin=subprocess.PIPE) as ssh,
    ):
        try:
            copy(file, ssh.stdin, progress)
            ssh.stdin.close()
            print(f"sent {path}: {progress.done / 1e6:.0f} MB", file=sys.stderr, flush=True)
        except BrokenPipeError:
            pass  # the box wants no more of it, and says why
        progress.what = f"{path} is checked and loaded by the box"
        return ssh.wait()


@contextmanager
def running(command: list[str], **streams: int) -> Iterator[subprocess.Popen]:
    """A process that is ended with the block, however that ends."""
    process = subprocess.Popen(command, **streams)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inventory.transfer", description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("save", "load"))
    parser.add_argument("file", type=Path, help="FILE.tar, FILE.tar.gz or FILE.tar.zst")
    parser.add_argument("--host")
    parser.add_argument("--sha256", default="", help="load only a file with this hash, as printed when it was saved")
    parser.exit_on_error = False
    try:
        given = parser.parse_args()
        if given.file == Path():
            raise SettingsError(f"name the file: make image-{given.verb} FILE=letta-images.tar.zst")
        inventory = load(path := find())
        name = pick(inventory, "letta", given.host)
        host = inventory.hosts[name]
        print(describe(name, host, path), file=sys.stderr)
        code = subprocess.run(
            argv(host, ["test", "-x", layout.COMMAND], tty=False), stdin=subprocess.DEVNULL
        ).returncode
        if code == 1:
            raise SettingsError(
                f"{name} has no command lettabox yet: `make deploy` first, which installs it and the Docker engine "
                "and, where no registry is reached, stops at the images; then load them, and deploy again"
            )
        if code == 0:
            code = save(host, given.file) if given.verb == "save" else send(host, given.file, given.sha256)
    except (SettingsError, argparse.ArgumentError) as error:
        print(error, file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        print(f"{given.verb} {given.file}: {error}", file=sys.stderr)
        return FAILED
    if code == 255:  # ssh's own; it has said why
        print(f"{name} cannot be reached over SSH, or was lost (see the line above)", file=sys.stderr)
        return UNREACHABLE
    return code


if __name__ == "__main__":
    sys.exit(main())
