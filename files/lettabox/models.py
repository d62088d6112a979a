"""The files of the models: downloaded by a unit of their own, checked, and looked at.

What is there stays: a file is only ever replaced by one that was verified, and none is removed.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lettabox import fetch, models_state, paths, unit
from lettabox.errors import FAILED, OK, UNHEALTHY, USAGE, LettaboxError
from lettabox.files import write
from lettabox.models_progress import Progress, gb, read
from lettabox.models_state import SERVICE, TOKEN, UNIT, Model
from lettabox.settings import settings

USER = "comfyui"
SPARE = 10**9  # bytes that stay free
PIECE = 2**20


# --- what a deploy asks for --------------------------------------------------------------------------------


def deploy() -> None:
    """Start the download of what is missing and return at once; ComfyUI's step has made the user and the folders.

    Raises LettaboxError when the unit does not start.
    """
    if not settings()["models"]["token"]:
        (paths.SECRETS / TOKEN).unlink(missing_ok=True)
    unit.run(["systemctl", "daemon-reload"])
    unit.run(["systemctl", "enable", "--quiet", SERVICE])
    files = models_state.told()["files"]
    if unlocked := [one["name"] for one in files if not models_state.locked(one)]:
        print(f"models: not locked, so not downloaded: {', '.join(unlocked)}", flush=True)
        print("models: run `make models-lock` where the hub can be reached, and deploy again", flush=True)
    # Also where nothing is missing: then it ends at once, and is no failed unit any more if it was one.
    unit.run(["systemctl", "restart", "--no-block", SERVICE])
    write(paths.MODELS_APPLIED, json.dumps({"applied": models_state.applied()}) + "\n")
    missing = models_state.missing()
    if not missing:
        print(f"models: {len(files) - len(unlocked)} of {len(files)} are there", flush=True)
        return
    names, size = ", ".join(one["name"] for one in missing), sum(map(models_state.to_come, missing))
    print(f"models: downloading in the background: {names}; {gb(size)} to come", flush=True)
    print("models: watch it with `make models-status`; this deploy does not wait for it", flush=True)


def remove() -> None:
    """Stop downloads for good. The files stay."""
    if UNIT.is_file():
        unit.run(["systemctl", "disable", "--now", "--quiet", SERVICE])
    for path in (UNIT, paths.MODELS_WANTED, paths.MODELS_APPLIED, paths.SECRETS / TOKEN):
        path.unlink(missing_ok=True)
    unit.run(["systemctl", "daemon-reload"])


# --- the download ------------------------------------------------------------------------------------------


def download(token: str) -> int:
    """Have every locked model there, verified; return the exit code. `token` is one of the hub, or "".

    0: all that are locked are there. 1: some are not, and trying again does not help. 2: the hub did not give some of
    them now.
    """
    if os.geteuid() == 0:
        raise LettaboxError(
            f"the files must belong to {USER}: systemctl start {SERVICE}, or sudo -u {USER} lettabox models download",
            USAGE,
        )
    with _alone():
        return _download(Progress(), fetch.Source(models_state.told()["endpoint"], token))


@contextmanager
def _alone() -> Iterator[None]:
    with open(paths.MODELS_STATE / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LettaboxError(f"another download is at work: systemctl status {SERVICE}", FAILED) from None
        yield


def _download(progress: Progress, source: fetch.Source) -> int:
    files = models_state.told()["files"]
    unlocked = [one for one in files if not models_state.locked(one)]
    later = False
    for one in unlocked:
        progress.fail(one["name"], "not locked, so not downloaded; run `make models-lock` and deploy again")
    missing = [one for one in models_state.missing() if not _adopt(one, progress)]
    if missing and (full := _too_full(missing)):
        for one in missing:
            progress.fail(one["name"], full)
        missing = []
    for one in missing:
        try:
            _fetch(one, source, progress)
        except fetch.Refused as error:
            progress.fail(one["name"], str(error))
        except fetch.Unreachable as error:
            progress.fail(one["name"], f"{error}; it is tried again")
            later = True
    progress.end()
    failed = len(progress.failed)
    print(f"models: {len(files) - failed} of {len(files)} are there", flush=True)
    return UNHEALTHY if later else FAILED if failed > len(unlocked) else OK


def _adopt(one: Model, progress: Progress) -> bool:
    """Whether the file in its place is the right one, which is found out once."""
    place = models_state.place(one)
    if models_state.hash_of(one, models_state.stamps()) != "" or models_state.length(place) != one["size"]:
        return False
    progress.begin(one["name"], "checking", one["size"])
    digest, have = hashlib.sha256(), 0
    with place.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
            have += len(piece)
            progress.tell(have)
    models_state.stamp(one, digest.hexdigest())
    return digest.hexdigest() == one["sha256"]


def _fetch(one: Model, source: fetch.Source, progress: Progress) -> None:
    place, part = models_state.place(one), models_state.part(one)
    place.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    for stray in place.parent.glob(f"{place.name}.*.part"):
        if stray != part:
            stray.unlink()  # of another version
    if full := _too_full([one]):
        raise fetch.Refused(full)
    progress.begin(one["name"], "downloading", one["size"])
    print(f"models: {one['name']}: {gb(models_state.to_come(one))} to come, into {place}", flush=True)
    fetch.get(source, one, part, progress.tell, progress.wait)
    _sync(part)
    os.replace(part, place)
    _sync(place.parent)
    models_state.stamp(one, one["sha256"])
    print(f"models: {one['name']}: there, and verified", flush=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _too_full(missing: list[Model]) -> str:
    """Why the models have no room, with what stays free; "" when they have."""
    needed: dict[int, tuple[Path, int]] = {}
    for one in missing:
        folder = models_state.place(one).parent
        while not folder.is_dir():
            folder = folder.parent
        device = folder.stat().st_dev
        there, sum_ = needed.get(device, (folder, 0))
        needed[device] = (there, sum_ + models_state.to_come(one))
    for folder, size in needed.values():
        free = shutil.disk_usage(folder).free
        if free < size + SPARE:
            return (
                f"the disk of {folder} is too full: {gb(free)} free, needed are {gb(size)} and {gb(SPARE)} that stay "
                f"free; make room (du -xh --max-depth=3 {folder} | sort -h | tail), and deploy again"
            )
    return ""


# --- what there is -----------------------------------------------------------------------------------------


def status(as_json: bool) -> int:
    """Print where every model stands; return 0 when all are there, 2 while the download runs, else 1."""
    files, known, record = models_state.told()["files"], models_state.stamps(), read()
    active = models_state.running(unit.show(SERVICE, "ActiveState")["ActiveState"])
    rows = [_row(one, known, record, active) for one in files]
    code = OK if all(one["state"] == "there" for one in rows) else UNHEALTHY if active else FAILED
    left = sum(one["size"] - one["have"] for one in rows)
    rate = record.get("rate", 0) if active and record.get("name") else 0
    document = {
        "code": code,
        "running": active,
        "left": left,
        "rate": rate,
        "eta_s": round(left / rate) if rate else None,
        "files": rows,
    }
    print(json.dumps(document, indent=1) if as_json else "\n".join(_table(document)))
    return code


def _row(one: Model, known: dict[str, Any], record: dict[str, Any], active: bool) -> dict[str, Any]:
    path, size = models_state.relative(one), one["size"]
    row = {"name": one["name"], "path": path, "size": size, "have": 0, "state": "missing", "why": ""}
    if not models_state.locked(one):
        return row | {"state": "not locked", "why": "run `make models-lock` and deploy again"}
    found = models_state.hash_of(one, known)
    if found == one["sha256"]:
        return row | {"state": "there", "have": size}
    row["have"] = size - models_state.to_come(one)
    if active and record.get("name") == one["name"]:
        doing, _, why = record["doing"].partition(", as ")
        return row | {"state": doing, "why": why}
    if why := record.get("failed", {}).get(one["name"]):
        return row | {"state": "failed", "why": why}
    if active:
        return row | {"state": "waiting"}
    return row | ({"state": "not verified", "why": f"systemctl start {SERVICE}"} if found == "" else {})


def _table(document: dict[str, Any]) -> Iterator[str]:
    rows = document["files"]
    if not rows:
        yield "no models are declared for this box"
        return
    width = max(len(one["name"]) for one in rows)
    yield f"{'model':<{width}}  {'state':<12}  {'there':>9}  {'of':>9}  where"
    for one in rows:
        have, size = (gb(one[key]) if one["size"] else "-" for key in ("have", "size"))
        yield f"{one['name']:<{width}}  {one['state']:<12}  {have:>9}  {size:>9}  {paths.MODELS}/{one['path']}"
    if why := [f"{one['name']}: {one['why']}" for one in rows if one["why"]]:
        yield ""
        yield from why
    yield ""
    there = sum(one["state"] == "there" for one in rows)
    line = f"{there} of {len(rows)} are there"
    if document["left"]:
        line += f", {gb(document['left'])} to come"
    if document["eta_s"] is not None:
        minutes = document["eta_s"] / 60
        line += f", {gb(document['rate'])}/s, done in about {minutes:.0f} min"
    elif not document["running"] and there < len(rows):
        line += "; nothing is downloading"
    yield line
