"""The folder of an exported crew: what lies in it, that it is whole, and how it travels as a tar.

    manifest.json            of what version it is, when it was made, and size and SHA-256 of every other file
    crew.json                what an .af file has no place for, by role and by block
    agents/ROLE.af           each agent, by Letta's own export
    archival/ROLE.jsonl      its archival memory, a passage a line
    messages/ROLE.jsonl      its messages that are no longer in context, one a line

Standard library alone: the laptop's side checks a folder with it before it sends it, the box's after it came.
"""

import hashlib
import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

FORMAT = 1
MANIFEST, CREW = "manifest.json", "crew.json"
ROLE = r"[a-z][a-z0-9_-]{0,63}"
NAME = re.compile(rf"crew\.json|agents/{ROLE}\.af|(?:archival|messages)/{ROLE}\.jsonl")
FOLDERS = ("agents", "archival", "messages")
# Letta takes an agent with its messages as one document, which it and we hold in memory more than once.
LARGEST, WHOLE, MANY = 256 << 20, 2 << 30, 1000  # bytes of a file, bytes of all, files
CHUNK = 1 << 20


class Damaged(Exception):
    """A folder, or a tar of one, that is not what an export made; says in which way."""


def entry(path: Path) -> dict[str, Any]:
    """What the manifest says of a file."""
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def check(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder that is whole. Raises Damaged with the first thing that is wrong."""
    manifest = read_manifest(folder)
    for name, told in manifest["files"].items():
        path = folder / name
        if path.is_symlink() or not path.is_file():
            raise Damaged(f"{name} is missing, or is no plain file")
        found = entry(path)
        for key in ("size", "sha256"):
            if found[key] != told[key]:
                raise Damaged(f"{name} was changed since the export: its {key} is {found[key]} and not {told[key]}")
    return manifest


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, of which every part is as it must be; the files are not looked at. Raises Damaged."""
    manifest = document(folder, MANIFEST)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise Damaged(f"{MANIFEST} is not the manifest of an exported crew")
    if manifest.get("format") != FORMAT:
        raise Damaged(
            f"{MANIFEST}: format {manifest.get('format')!r:.20} is not {FORMAT}, which this lettabox reads; "
            "use the lettabox that made it, or a newer one"
        )
    # These are printed: a terminal must get no commands from a folder.
    notes = manifest.get("not_in_it")
    if not isinstance(notes, list) or not all(map(plain, (*notes, manifest.get("made"), manifest.get("letta")))):
        raise Damaged(f"{MANIFEST}: made, letta and not_in_it are no plain texts")
    files = manifest["files"]
    if len(files) > MANY:
        raise Damaged(f"{MANIFEST} names {len(files)} files; {MANY} are the most")
    for name, told in files.items():
        if not NAME.fullmatch(name):
            raise Damaged(f"{MANIFEST} names {name!r:.80}, which is no file of an exported crew")
        size = told.get("size") if isinstance(told, dict) else None
        if type(size) is not int or size < 0 or not isinstance(told.get("sha256"), str):
            raise Damaged(f"{MANIFEST}: {name} has no size and sha256")
        if size > LARGEST:
            raise Damaged(f"{name} has {size >> 20} MiB; {LARGEST >> 20} are the most")
    if CREW not in files or not any(name.startswith("agents/") for name in files):
        raise Damaged(f"{MANIFEST} names no {CREW}, or no agent")
    if sum(told["size"] for told in files.values()) > WHOLE:
        raise Damaged(f"its files have more than {WHOLE >> 30} GiB together")
    return manifest


def plain(value: Any) -> bool:
    """Whether it is a line of text that a terminal shows as it is."""
    return isinstance(value, str) and len(value) <= 2000 and value.isprintable()


def document(folder: Path, name: str) -> Any:
    """A JSON file of the folder. Raises Damaged."""
    path = folder / name
    try:
        if path.stat().st_size > LARGEST:
            raise Damaged(f"{name} has more than {LARGEST >> 20} MiB")
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise Damaged(f"{name} is missing") from None
    except (ValueError, RecursionError) as error:
        raise Damaged(f"{name} is not JSON ({error})") from None


def lines(folder: Path, name: str) -> Iterator[dict[str, Any]]:
    """The objects of a .jsonl file of the folder, one after the other. Raises Damaged."""
    with (folder / name).open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise Damaged(f"{name}, line {number} is not JSON ({error})") from None
            if not isinstance(row, dict):
                raise Damaged(f"{name}, line {number} is not an object")
            yield row


def pack(folder: Path, names: list[str], out: IO[bytes]) -> None:
    """Write the manifest and these files as a tar, without who they belong to and when they were made."""
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name in (MANIFEST, *names):
            path = folder / name
            one = tarfile.TarInfo(name)
            one.size, one.mode = path.stat().st_size, 0o600
            with path.open("rb") as file:
                tar.addfile(one, file)


def unpack(source: IO[bytes], folder: Path) -> None:
    """Write the files of a tar to `folder`, which is there and empty; the files get mode 0600. Raises Damaged.

    Not by tarfile's own extraction and its filter: nothing is taken from the tar but content, for names that an
    export has, so that no path, link, device, owner or mode in it can do anything.
    """
    for name in FOLDERS:
        (folder / name).mkdir(mode=0o700)
    size = 0
    try:
        with tarfile.open(fileobj=source, mode="r|") as tar:
            for number, member in enumerate(tar, 1):
                if not member.isreg() or not (member.name == MANIFEST or NAME.fullmatch(member.name)):
                    raise Damaged(f"the tar has {member.name!r:.80}, which is no file of an exported crew")
                size += member.size
                if number > MANY + 1 or member.size > LARGEST or size > WHOLE:
                    raise Damaged(f"the tar is larger than an exported crew may be ({member.name})")
                _write(tar.extractfile(member), folder / member.name)
    except (tarfile.TarError, EOFError) as error:
        raise Damaged(f"the tar was cut short, or is none ({error})") from None


def _write(source: IO[bytes], path: Path) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise Damaged(f"the tar has {path.name} twice") from None
    with os.fdopen(handle, "wb") as file:
        while chunk := source.read(CHUNK):
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())
