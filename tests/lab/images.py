"""Images named by their content: what is there already is only inspected, never built again."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

from docker.errors import APIError, ImageNotFound

from tests.lab import engine
from tests.lab.report import LabError, step, tail

HERE = Path(__file__).parent / "images"
PREFIX = "lettabox-lab"


def exists(client, tag: str) -> bool:
    try:
        client.images.get(tag)
    except ImageNotFound:
        return False
    return True


def content_tag(name: str, *parts: object) -> str:
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
    return f"{PREFIX}/{name}-{digest[:16]}" if ":" in name else f"{PREFIX}/{name}:{digest[:16]}"


def build(name: str, base: str, folder: str | None = None, files: dict[str, bytes] | None = None) -> str:
    """Build images/<folder> on `base` as lettabox-lab/<name>:<content hash>; return that tag.

    `files` join the context, or are all of it: what is only known at run time, or lies elsewhere in the repository.
    """
    client = engine.connect()
    try:
        context = _context(HERE / (folder or name), files or {})
        listing = [(path, mode, hashlib.sha256(data).hexdigest()) for path, (mode, data) in sorted(context.items())]
        tag = content_tag(name, listing, client.images.get(base).id)
        if not exists(client, tag):
            with step(f"build {name}"):
                _build(client, tag, base, context)
        return tag
    finally:
        client.close()


def _context(folder: Path, files: dict[str, bytes]) -> dict[str, tuple[int, bytes]]:
    context = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            context[str(path.relative_to(folder))] = (mode, path.read_bytes())
    return context | {path: (0o644, data) for path, data in files.items()}


def _build(client, tag: str, base: str, context: dict[str, tuple[int, bytes]]) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for path, (mode, data) in context.items():
            entry = tarfile.TarInfo(path)
            entry.mode, entry.size = mode, len(data)
            archive.addfile(entry, io.BytesIO(data))
    packed.seek(0)
    log = ""
    try:
        for line in client.api.build(
            fileobj=packed,
            custom_context=True,
            tag=tag,
            buildargs={"BASE": base},
            labels={"lettabox.lab.image": tag},
            rm=True,
            forcerm=True,
            decode=True,
        ):
            log += line.get("stream", "")
            if "error" in line:
                raise LabError(f"building {tag} failed: {line['error']}\n{tail(log)}")
    except APIError as error:
        raise LabError(f"building {tag} failed: {error}\n{tail(log)}") from error
