"""ComfyUI on this box: a pinned checkout with a virtual environment of its own, and one systemd unit.

Nothing but this box reaches it: it has no password, and whoever talks to it runs code.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import requests

from lettabox import checkout, comfyui_database, comfyui_state, files, lock, paths, unit
from lettabox.comfyui_state import SERVICE
from lettabox.errors import FAILED, OK, UNHEALTHY, USAGE, LettaboxError
from lettabox.settings import settings

OWNER = checkout.Owner("comfyui", "comfyui", str(paths.COMFYUI_DATA))
UNIT = unit.Unit("comfyui", SERVICE, paths.COMFYUI_UNIT)
INSTALL = 7200  # seconds that pip may take: gigabytes of PyTorch and CUDA
TRIAL = 600
LARGE = 20  # MB of a download that is worth a line


# --- a release -------------------------------------------------------------------------------------------------------


def deploy(release: str) -> None:
    """Get and install `release` beside the one that runs, switch to it, and return when it is healthy.

    Raises LettaboxError with the guilty command's or the unit's last lines; the release before runs on then, or again,
    with its database as it was.
    """
    told = settings()["comfyui"]
    unit.run(["systemd-sysusers", "lettabox-comfyui.conf"])
    unit.run(["systemd-tmpfiles", "--create", "lettabox-comfyui.conf"])
    _prepare(release, told)
    wanted = paths.COMFYUI_WANTED.read_text()
    before = UNIT.path.read_text() if UNIT.path.is_file() else None
    if before is not None and (jobs := _jobs(before)):
        print(f"comfyui: WARNING: it starts anew, and {jobs} are lost: they have to be sent again", flush=True)
    copy = ""
    try:
        if before is not None:
            # Stopped first: nothing is written between the copy and the end.
            unit.run(["systemctl", "stop", SERVICE])
            copy = _save_database(comfyui_state.recorded().get("release", "unknown"), release)
        print(f"comfyui: starting {release}", flush=True)
        unit.switch(UNIT, {UNIT.path: wanted})
        now = _until_healthy(wanted, told["start_timeout"])
    except LettaboxError as error:
        raise LettaboxError(f"{error}\n{_back(before, copy, told['start_timeout'])}", error.code) from None
    record = {"applied": comfyui_state.applied(), "release": release}
    files.write(paths.COMFYUI_APPLIED, json.dumps(record) + "\n")
    checkout.forget_others(paths.COMFYUI, release)
    print(f"comfyui: healthy: {_device(now)}, at {address(wanted)}", flush=True)


def _prepare(release: str, told: dict[str, Any]) -> None:
    """Have the release in its folder: ComfyUI/, venv/ and custom_nodes/."""
    folder = paths.COMFYUI / release
    if checkout.complete(paths.COMFYUI, release, checkout.python()):
        return
    began = time.monotonic()
    checkout.begin(OWNER, folder)
    code, nodes, scratch = folder / "ComfyUI", folder / "custom_nodes", folder / "tmp"
    for path in (code, nodes, scratch):
        checkout.begin(OWNER, path)
    checkout.fetch(OWNER, code, told["git"], told["revision"])
    requirements = [code / "requirements.txt"]
    for name, one in told["custom_nodes"].items():
        checkout.begin(OWNER, nodes / name)
        checkout.fetch(OWNER, nodes / name, one["git"], one["revision"])
        requirements.append(nodes / name / "requirements.txt")
    # ComfyUI looks for them below its base directory alone; this file names another folder, from where it lies.
    files.write(folder / "custom_nodes.yaml", "lettabox:\n  custom_nodes: custom_nodes\n")
    print(f"comfyui: installing its Python packages ({checkout.python()})", flush=True)
    checkout.run(OWNER, [checkout.PYTHON, "-m", "venv", "venv"], folder, "no virtual environment could be made")
    pip = ["venv/bin/python", "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    pip += ["--progress-bar", "off", "--constraint", str(paths.COMFYUI_CONSTRAINTS)]
    pip += [word for path in requirements if path.is_file() for word in ("--requirement", str(path))]
    what = f"its Python packages could not be installed as {paths.COMFYUI_CONSTRAINTS} has them"
    # The box's /tmp may be memory, and too small for what is downloaded.
    checkout.run(OWNER, pip, folder, what, _of_pip, INSTALL, {"TMPDIR": str(scratch)})
    _try(folder, scratch, told)
    shutil.rmtree(scratch)
    checkout.finish(paths.COMFYUI, release, checkout.python())
    print(f"comfyui: {release} is ready ({time.monotonic() - began:.0f} s)", flush=True)


def _of_pip(line: str) -> str:
    """What is worth telling of pip's words: the large downloads, and the last step."""
    found = re.search(r"Downloading (\S+) \((\d+)(?:\.\d+)? MB\)", line)
    if found and int(found[2]) >= LARGE:
        return f"downloading {found[1].rpartition('/')[2]}, {found[2]} MB"
    if line.startswith("Installing collected packages"):
        return f"unpacking {line.count(',') + 1} packages"
    return ""


def _try(folder: Path, scratch: Path, told: dict[str, Any]) -> None:
    """Start the release up to where it would listen, on the CPU and without data, while another one may be running.

    That its packages fit together is known then, and its bytecode is written: the service itself may not.
    """
    # ComfyUI lists this folder, whatever it is told to load.
    checkout.begin(OWNER, scratch / "custom_nodes")
    command = ["../venv/bin/python", "main.py", "--quick-test-for-ci", "--cpu", "--base-directory", str(scratch)]
    command += ["--database-url", "sqlite:///:memory:", "--disable-auto-launch", "--disable-api-nodes"]
    command += ["--disable-all-custom-nodes"]
    if told["custom_nodes"]:
        command += ["--whitelist-custom-nodes", *told["custom_nodes"]]
        command += ["--extra-model-paths-config", str(folder / "custom_nodes.yaml")]
    what = "it does not start with the packages that were installed"
    checkout.run(OWNER, command, folder / "ComfyUI", what, _of_trial, TRIAL)


def _of_trial(line: str) -> str:
    failed = re.search(r"\(IMPORT FAILED\): (\S+)", line)
    return f"WARNING: custom nodes {Path(failed[1]).name} cannot be imported, on the CPU at least" if failed else ""


# --- the database ----------------------------------------------------------------------------------------------------


def _save_database(old: str, release: str) -> str:
    """Copy the database before another release may change it; the copy's name, "" when none was needed."""
    if old == release or not comfyui_database.DATABASE.is_file():
        return ""
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{old}.db"
    _database("save", name)
    print(f"comfyui: its database is copied to {comfyui_database.COPIES / name}", flush=True)
    return name


def _database(verb: str, name: str) -> None:
    command = [checkout.PYTHON, "-B", "-m", "lettabox.comfyui_database", verb, name]
    what = f"cannot {verb} its database, with the copy {name}"
    source = {"PYTHONPATH": str(Path(__file__).parents[1])}
    checkout.run(OWNER, command, paths.COMFYUI_DATA, what, environment=source)


# --- the service -----------------------------------------------------------------------------------------------------


def start() -> None:
    """Start the service, if it does not run, and wait until it is healthy."""
    text = _deployed()
    unit.run(["systemctl", "start", SERVICE])
    now = _until_healthy(text, settings()["comfyui"]["start_timeout"])
    print(f"comfyui: healthy: {_device(now)}, at {address(text)}")


def stop(yes: bool) -> None:
    """Stop the service. Raises LettaboxError (usage) when that loses jobs and nobody can say whether it may."""
    _may_lose(_jobs(_deployed()), yes)
    with lock.held("lettabox comfyui stop"):  # only now: a question that nobody answers must not lock the box
        unit.run(["systemctl", "stop", SERVICE])


def restart(yes: bool) -> None:
    """Stop and start the service and wait until it is healthy; its queue is lost."""
    text = _deployed()
    _may_lose(_jobs(text), yes)
    with lock.held("lettabox comfyui restart"):
        unit.run(["systemctl", "restart", SERVICE])
        now = _until_healthy(text, settings()["comfyui"]["start_timeout"])
    print(f"comfyui: healthy: {_device(now)}, at {address(text)}")


def logs(follow: bool, tail: int) -> None:
    """Show the service's log."""
    command = ["journalctl", "--no-pager", "--output", "short-iso", "--lines", str(tail), "--unit", SERVICE]
    os.execvp(command[0], [*command, *(["--follow"] if follow else [])])


def status() -> int:
    """Print one screen; return OK, FAILED when stopped, or UNHEALTHY."""
    told, text = settings()["comfyui"], _deployed()
    now = unit.show(SERVICE, "ActiveState", "SubState", "NRestarts", "ActiveEnterTimestamp")
    rows, code = [], OK
    why = f"the unit is {now['SubState']}"
    if now["ActiveState"] == "active":
        try:
            seen = _ask(text, "/system_stats")
            why = _wrong_device(text, seen)
            version, vram = seen["system"]["comfyui_version"], seen["devices"][0]
            room = f"{vram['vram_free'] / 1e9:.1f} GB free of {vram['vram_total'] / 1e9:.1f} GB"
            rows += [("version", f"{version}, PyTorch {seen['system']['pytorch_version']}")]
            rows += [("device", f"{_device(seen)}, {room}"), ("queue", _jobs(text) or "empty")]
        except (LettaboxError, LookupError, TypeError) as error:
            why = f"{error}"
    if now["ActiveState"] in ("inactive", "failed"):
        verdict, code = "stopped (start it: make comfyui-start)", FAILED
    elif why:
        verdict, code = f"unhealthy: {why} (see: make comfyui-logs)", UNHEALTHY
    else:
        verdict = "healthy"
    release = comfyui_state.recorded().get("release", "none yet")
    rows = [("comfyui", verdict), *rows]
    rows += [("release", f"{release}, profile {told['profile']}")]
    rows += [("address", f"{address(text)}, on this box alone")]
    rows += [("service", f"{SERVICE}, since {now['ActiveEnterTimestamp'] or '-'}, restarted {now['NRestarts']} times")]
    print("\n".join(f"{key:<9}{value}" for key, value in rows))
    return code


def address(text: str) -> str:
    """Where ComfyUI answers, with a unit's file of this content."""
    return f"http://127.0.0.1:{comfyui_state.port(text)}"


def _deployed() -> str:
    """The content of the unit's file. Raises LettaboxError where there is none."""
    try:
        return UNIT.path.read_text()
    except FileNotFoundError:
        raise LettaboxError(
            "there is no ComfyUI on this box; put it into groups.gpu of the settings file and deploy (`make deploy`)"
        ) from None


def _back(before: str | None, copy: str, timeout: float) -> str:
    """Run what ran before, with its database; return a line that says how that went."""
    if before is None:
        unit.remove(UNIT)
        return "  there was no ComfyUI before, so none runs now; mend the cause and deploy again"
    try:
        unit.run(["systemctl", "stop", SERVICE])
        if copy:
            _database("restore", copy)
        unit.switch(UNIT, {UNIT.path: before})
        _until_healthy(before, timeout)
    except LettaboxError as error:
        return f"  and the one before is not healthy either:\n{error}"
    return "  the one before runs again; mend the cause and deploy again"


def _until_healthy(text: str, timeout: float) -> dict[str, Any]:
    """What /system_stats says, once the unit of this content answers there, with the device that it is to have."""
    began = time.time()
    seen: dict[str, Any] = {}

    def health() -> str:
        try:
            seen.update(_ask(text, "/system_stats"))
        except LettaboxError as error:
            return str(error)
        return _held_by_another(comfyui_state.port(text))

    unit.until_healthy(UNIT, health, timeout)
    if wrong := _wrong_device(text, seen):
        raise unit.failure(UNIT, wrong, began)
    return seen


def _held_by_another(port: int) -> str:
    """Who has the port instead of our service; "" when it is ours."""
    pid = unit.show(SERVICE, "MainPID")["MainPID"]
    said = subprocess.run(["ss", "-Hltnp", "sport", "=", f":{port}"], capture_output=True, text=True, check=True).stdout
    if re.search(rf"pid={pid}\b", said):
        return ""
    return f"port {port} is another program's: {' '.join(said.split()[5:]) or 'unknown'}"


def _wrong_device(text: str, seen: dict[str, Any]) -> str:
    """What is wrong with the device that ComfyUI computes with, and what to do; "" for the expected one."""
    wanted, found = comfyui_state.device(text), seen["devices"][0]["type"]
    if found == wanted:
        return ""
    profile = settings()["comfyui"]["profile"]
    advice = "set settings.comfyui.profile to cpu if this box has no GPU, and else look at `make preflight` for it"
    if wanted == "cpu":
        advice = "take --cpu out of settings.comfyui.flags, or the profile cpu out of settings.comfyui"
    return f"with profile {profile} it is to compute with {wanted}, and it does so with {_device(seen)}; {advice}"


def _device(seen: dict[str, Any]) -> str:
    one = seen["devices"][0]
    return one["type"] if one["name"] == one["type"] else f"{one['type']}, {one['name']}"


def _jobs(text: str) -> str:
    """How many jobs run and wait, such as "1 running and 2 waiting jobs"; "" for none, or where nobody answers."""
    if unit.show(SERVICE, "ActiveState")["ActiveState"] != "active":
        return ""
    try:
        queue = _ask(text, "/queue")
        running, waiting = len(queue["queue_running"]), len(queue["queue_pending"])
    except (LettaboxError, LookupError, TypeError) as error:
        return f"an unknown number of jobs ({error})"
    return f"{running} running and {waiting} waiting jobs" if running or waiting else ""


def _may_lose(jobs: str, yes: bool) -> None:
    """Ask whether these jobs may be lost. Raises LettaboxError when not, or when nobody can answer."""
    if not jobs:
        return
    print(f"ComfyUI forgets {jobs}.", file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        raise LettaboxError("not done: no terminal to ask on; add `YES=1` (make) or `--yes`", USAGE)
    if input("Lose them? [y/N] ").strip().lower() not in ("y", "yes"):
        raise LettaboxError("not done")


def _ask(text: str, path: str) -> dict[str, Any]:
    """What ComfyUI answers to a GET. Raises LettaboxError when it does not answer well."""
    url = address(text) + path
    with requests.Session() as session:
        session.trust_env = False
        try:
            answer = session.get(url, timeout=10)
            answer.raise_for_status()
            return answer.json()
        except (requests.RequestException, ValueError) as error:
            raise LettaboxError(f"{url} does not answer well: {error}", UNHEALTHY) from None
