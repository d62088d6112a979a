"""Which of the wanted models are on this box, by what was found when they were verified.

Run by every deploy as a fact, with the system's Python: only the standard library.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from lettabox import files, models_progress, paths, secrets, unit

SERVICE = "comfyui-models.service"
UNIT = Path("/etc/systemd/system") / SERVICE
TOKEN = "models-token"  # name of the secret

Model = dict[str, Any]


def told() -> dict[str, Any]:
    """{"endpoint": the hub, "files": [models]} as the last deploy wrote it; no files before the first one."""
    try:
        return json.loads(paths.MODELS_WANTED.read_text())
    except FileNotFoundError:
        return {"endpoint": "", "files": []}


def locked(one: Model) -> bool:
    """Whether all is known that a download is checked by."""
    return bool(one["revision"] and one["sha256"] and one["size"])


def relative(one: Model) -> str:
    """Where a model lands, below models/."""
    return f"{one['folder']}/{one['file'].rpartition('/')[2]}"


def place(one: Model) -> Path:
    return paths.MODELS / relative(one)


def part(one: Model) -> Path:
    """Where a model is until it is complete and verified; the hash keeps one version's bytes from another's."""
    there = place(one)
    return there.with_name(f"{there.name}.{one['sha256'][:12]}.part")


def length(path: Path) -> int:
    """Bytes of a file; 0 where there is none."""
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return 0


def to_come(one: Model) -> int:
    """Bytes of a missing model that are still to be fetched."""
    kept = length(part(one))
    return one["size"] - (kept if kept <= one["size"] else 0)


# --- stamps ------------------------------------------------------------------------------------------------


def _stamps_file() -> Path:
    return paths.MODELS_STATE / "stamps.json"


def stamps() -> dict[str, dict[str, Any]]:
    """{path below models/: {"size", "mtime_ns", "sha256"}} of every file that was hashed."""
    try:
        return json.loads(_stamps_file().read_text())
    except (FileNotFoundError, ValueError):
        return {}  # then everything is hashed anew


def stamp(one: Model, sha256: str) -> None:
    """Remember the hash of the file in a model's place as it is now, so that nobody hashes it again."""
    now = place(one).stat()
    known = stamps() | {relative(one): {"size": now.st_size, "mtime_ns": now.st_mtime_ns, "sha256": sha256}}
    files.write(_stamps_file(), json.dumps(known, indent=1) + "\n")


def hash_of(one: Model, known: dict[str, dict[str, Any]]) -> str | None:
    """The hash of the file in a model's place; "" where it is to be found out, None where there is no file."""
    try:
        now = place(one).stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    seen = known.get(relative(one), {})
    same = (seen.get("size"), seen.get("mtime_ns")) == (now.st_size, now.st_mtime_ns)
    return seen["sha256"] if same else ""


def missing() -> list[Model]:
    """The models that are locked and not known to be there, the small ones first."""
    known = stamps()
    wanted = [one for one in told()["files"] if locked(one) and hash_of(one, known) != one["sha256"]]
    return sorted(wanted, key=lambda one: one["size"])


# --- the unit ----------------------------------------------------------------------------------------------


def running(active: str) -> bool:
    """Whether the download runs, or waits until it is started again."""
    return active in ("active", "activating", "reloading", "deactivating")


def applied() -> str:
    """A hash of all that the download is started with."""
    return hashlib.sha256(f"{_sha256(UNIT)} {_sha256(paths.MODELS_WANTED)}".encode()).hexdigest()


def state() -> dict[str, Any]:
    """What a deploy compares: hashes of unit and list, whether it was started with them, and what is missing."""
    now = unit.show(SERVICE, "ActiveState", "UnitFileState")
    try:
        started_with = json.loads(paths.MODELS_APPLIED.read_text())["applied"]
    except (FileNotFoundError, ValueError, LookupError):
        started_with = None
    lacking = missing()
    return {
        "unit": _sha256(UNIT),
        "wanted": _sha256(paths.MODELS_WANTED),
        "ready": now["UnitFileState"] == "enabled" and started_with == applied(),
        "running": running(now["ActiveState"]),
        "missing": [one["name"] for one in lacking],
        "to_come": sum(map(to_come, lacking)),
        "rate": models_progress.read().get("rate", 0),
        "keys": secrets.fingerprints(TOKEN),
    }


def _sha256(path: Path) -> str | None:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None


if __name__ == "__main__":
    print(json.dumps(state()))
