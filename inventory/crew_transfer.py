"""Carry the crew between a box and a folder: `python -m inventory.crew_transfer export crew-2026-01-15`.

The bytes go through OpenSSH as one tar, as those of inventory/transfer.py do; the box side is `lettabox crew`.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from deploys import layout
from deploys.revision import checked_out
from files.lettabox import crew_folder
from inventory import crew
from inventory.load import SettingsError, find, load
from inventory.remote import INTERRUPTED, UNREACHABLE, USAGE, argv, describe, pick
from inventory.schema import Host, Inventory
from inventory.transfer import FAILED, Progress, running


def export(host: Host, folder: Path, options: list[str]) -> int:
    """Write the box's crew to `folder`, which appears when it is complete; return an exit code."""
    _new(folder)
    made_by = ["--made-by", made_by] if (made_by := checked_out()) else []
    command = argv(host, ["lettabox", "crew", "export", *made_by, *options], tty=False)
    part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".part"))  # created 0700
    try:
        with running(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as ssh:
            broken = ""
            try:
                crew_folder.unpack(ssh.stdout, part)
                ssh.stdout.read()  # the filling after a tar's end
            except crew_folder.Damaged as error:
                broken = str(error)
                ssh.stdout.close()
            code = ssh.wait()
        if code:
            return code  # the box has said why
        if not broken:
            try:
                manifest = crew_folder.check(part)
            except crew_folder.Damaged as error:
                broken = str(error)
        if broken:
            print(f"nothing was exported: what came from the box is damaged: {broken}; again", file=sys.stderr)
            return FAILED
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    _tell(folder, manifest)
    return 0


def _new(folder: Path) -> None:
    """Raises SettingsError unless `folder` can be made."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise SettingsError(f"DIR={folder} is no folder; name one that is not there yet")
    if folder.exists() and any(folder.iterdir()):
        raise SettingsError(f"DIR={folder} is not empty; name a new folder")
    if not folder.parent.is_dir():
        raise SettingsError(f"DIR={folder}: there is no folder {folder.parent}")


def _tell(folder: Path, manifest: dict[str, Any]) -> None:
    counts = ", ".join(f"{count} {what}" for what, count in manifest["counts"].items())
    size = sum(one["size"] for one in manifest["files"].values())
    print(f"exported {folder}: {counts} ({size / 1e6:.1f} MB), from Letta {manifest['letta']}")
    print("not in it:")
    for line in manifest["not_in_it"]:
        print(f"  {line}")


def send(host: Host, folder: Path, inventory: Inventory) -> int:
    """Have the box restore the crew of `folder`; return an exit code."""
    if not folder.is_dir():
        raise SettingsError(f"DIR={folder} is no folder; name one that `make crew-export` wrote")
    try:
        manifest = crew_folder.check(folder)
    except crew_folder.Damaged as error:
        raise SettingsError(f"DIR={folder}: nothing was imported: {error}") from None
    document = crew.document(inventory) if inventory.settings.crew.model else None
    with (
        Progress(f"importing {folder}").shown(),
        running(argv(host, ["lettabox", "crew", "import"], tty=False), stdin=subprocess.PIPE) as ssh,
    ):
        with suppress(BrokenPipeError):  # the box wants no more of it, and says why
            _send(folder, manifest, document, ssh.stdin)
        return ssh.wait()


def _send(folder: Path, manifest: dict[str, Any], document: dict[str, Any] | None, out: IO[bytes]) -> None:
    try:
        out.write(json.dumps({"document": document}).encode() + b"\n")
        crew_folder.pack(folder, list(manifest["files"]), out)
    finally:
        out.close()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m inventory.crew_transfer", description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("export", "import", "undo"))
    parser.add_argument("folder", type=Path, help="of an undo nothing, but it must be given")
    parser.add_argument("--host")
    parser.add_argument("--wait", type=int, help="seconds that the export waits for agents at work")
    parser.add_argument("--anyway", action="store_true", help="export agents that are still at work then as they are")
    parser.exit_on_error = False
    try:
        given = parser.parse_args()
        if given.folder == Path() and given.verb != "undo":
            raise SettingsError(f"name the folder: make crew-{given.verb} DIR=crew-2026-01-15")
        inventory = load(path := find())
        name = pick(inventory, "letta", given.host)
        host = inventory.hosts[name]
        print(describe(name, host, path), file=sys.stderr)
        code = subprocess.run(
            argv(host, ["test", "-x", layout.COMMAND], tty=False), stdin=subprocess.DEVNULL
        ).returncode
        if code == 1:
            raise SettingsError(f"{name} has no command lettabox yet: `make deploy` first")
        if code == 0:
            code = _run(given, host, inventory)
    except (SettingsError, argparse.ArgumentError) as error:
        print(error, file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        print(f"crew-{given.verb} {given.folder}: {error}", file=sys.stderr)
        return FAILED
    if code == 255:  # ssh's own; it has said why
        print(f"{name} cannot be reached over SSH, or was lost (see the line above)", file=sys.stderr)
        return UNREACHABLE
    return code


def _run(given: argparse.Namespace, host: Host, inventory: Inventory) -> int:
    folder = Path(os.path.abspath(given.folder))
    if given.verb == "export":
        options = ["--wait", str(given.wait)] if given.wait is not None else []
        return export(host, folder, [*options, *(["--anyway"] if given.anyway else [])])
    if given.verb == "import":
        return send(host, folder, inventory)
    return subprocess.run(argv(host, ["lettabox", "crew", "import", "--undo"], tty=False)).returncode


if __name__ == "__main__":
    sys.exit(main())
