"""The studio's units on this box: started with what the deploy wants, looked at, stopped.

What runs in them is the package lettabox.studio, in a virtual environment of its own; nothing of it is imported here.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import requests

from lettabox import files, paths, secrets, studio_database, studio_link, studio_state, unit
from lettabox.errors import FAILED, OK, UNHEALTHY, USAGE, LettaboxError
from lettabox.settings import address as address_of
from lettabox.settings import on_network, settings
from lettabox.studio_state import ENVIRONMENT, ENVIRONMENTS, FILES, LINK, SERVICE, SOCKET, SYSTEMD, UNITS, WORKER

USER = "lettabox-studio"
PYTHON = paths.STUDIO / "venv/bin/python"
START = 120  # seconds a unit gets to become healthy
MIGRATE = 300
ENDED_OR_ACTIVE = ("active", "inactive", "failed")  # systemd's states that last


# --- what a deploy asks for ------------------------------------------------------------------------------------------


def deploy(names: list[str]) -> None:
    """Have these units run with what the deploy wants of them; what runs so already is left alone.

    Raises LettaboxError with the last log lines of one that does not come up.
    """
    unit.run(["systemd-sysusers", "lettabox-studio.conf"])
    if SERVICE in names:
        _database()
    for name in names:
        _environment(name)
    unit.run(["systemctl", "daemon-reload"])
    stale = [name for name in UNITS if name in names and name not in studio_state.good([name])]
    if SOCKET in stale and SERVICE in names and SERVICE not in stale:
        stale.insert(stale.index(SOCKET) + 1, SERVICE)
    if SOCKET in stale:
        # A socket does not start while its service runs.
        unit.run(["systemctl", "stop", SERVICE])
    for name in stale:
        print(f"studio: starting {name}", flush=True)
        digest = studio_state.applied(name)
        unit.run(["systemctl", "enable", "--quiet", name])
        _start_anew(name)
        files.write(paths.STUDIO_APPLIED, json.dumps(studio_state.recorded() | {name: digest}) + "\n")
    print(f"studio: healthy: {', '.join(names)}", flush=True)


def remove(names: list[str]) -> None:
    """Stop these units for good. Videos, jobs and secrets stay."""
    there = [name for name in names if (SYSTEMD / name).is_file()]
    if there:
        unit.run(["systemctl", "disable", "--quiet", "--now", *there])
    for name in there:
        (SYSTEMD / name).unlink()
        (paths.STUDIO / f"{name}.json").unlink(missing_ok=True)
        if name in ENVIRONMENT:
            (paths.SECRETS / ENVIRONMENT[name]).unlink(missing_ok=True)
    if SERVICE in names:
        studio_link.close()
    unit.run(["systemctl", "daemon-reload"])
    kept = {name: digest for name, digest in studio_state.recorded().items() if name not in names}
    files.write(paths.STUDIO_APPLIED, json.dumps(kept) + "\n")


def _database() -> None:
    """Have the database, with its tables as this release wants them."""
    studio_database.present(secrets.read("studio_database_password"), settings()["postgres"]["max_connections"])
    done = _of_package("migrate", SERVICE, MIGRATE, user=USER, group=USER, extra_groups=[])
    if done.returncode:
        said = "\n".join(f"    {line}" for line in (done.stdout + done.stderr).splitlines()[-20:])
        raise LettaboxError(f"studio: its tables could not be made or brought up to date; it said last:\n{said}")


def _of_package(verb: str, name: str, timeout: float, **user: Any) -> subprocess.CompletedProcess[str]:
    """Run a verb of the package lettabox.studio with what a unit has for the database; `timeout` in seconds."""
    return subprocess.run(
        [str(PYTHON), "-B", "-m", "lettabox.studio", verb],
        env=_variables(name) | {"PGPASSWORD": secrets.read("studio_database_password")},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        **user,
    )


def _variables(name: str) -> dict[str, str]:
    """The variables that a unit's file sets, without the secrets."""
    lines = (SYSTEMD / name).read_text().splitlines()
    words = [word for line in lines if line.startswith("Environment=") for word in line.partition("=")[2].split()]
    return dict(word.split("=", 1) for word in words)


def _environment(name: str) -> None:
    """Write a unit's secret variables in the form of an EnvironmentFile, if it has some; they are hex digits alone."""
    if name in ENVIRONMENT:
        variables = ENVIRONMENTS[ENVIRONMENT[name]]
        lines = [f"{variable}={secrets.read(secret)}\n" for variable, secret in variables.items()]
        files.write(paths.SECRETS / ENVIRONMENT[name], "".join(lines), mode=0o600)


def _start_anew(name: str) -> None:
    """Stop and start a unit, and wait until it is healthy. Raises LettaboxError with its last log lines."""
    one, began = unit.Unit("studio", name, SYSTEMD / name), time.time()
    health = _health_of(name)
    unit.run(["systemctl", "stop", name])
    if name == SOCKET:
        done = subprocess.run(["systemctl", "start", name], capture_output=True, text=True)
        if done.returncode:
            raise unit.failure(one, "cannot listen", began)
        return
    # Stopped, so that the old one is not taken for the new one; and not waited for, so that its end is seen.
    unit.run(["systemctl", "start", "--no-block", name])
    unit.until_healthy(one, health, START)


def _health_of(name: str) -> Any:
    """A function that says why the unit is not healthy; "" when it is."""
    began = time.time()
    if name == SERVICE:
        return lambda: _without_boxes(_health(address()))
    if name == FILES:
        return lambda: _health(f"http://{unit.command((SYSTEMD / FILES).read_text())[-1]}")[0]
    if name == LINK:
        socket = Path("/run/lettabox-link/.s.PGSQL.5432")
        return lambda: "" if socket.is_socket() else "the tunnel is not open yet"

    def worker() -> str:
        try:
            seen = next((one for one in _seen()["boxes"] if one["name"] == _config()["box"]), None)
        except LettaboxError as error:
            return str(error)
        # By its age: the database's clock may be another one.
        fresh = seen and seen["age"] <= time.time() - began
        return "" if fresh else "the worker has not announced itself in the database"

    return worker


# --- verbs -----------------------------------------------------------------------------------------------------------


def here() -> list[str]:
    """The studio's units of this box. Raises LettaboxError where none is deployed."""
    names = studio_state.present()
    if not names:
        raise LettaboxError("nothing of the studio is deployed to this box; name it in groups.gpu, and deploy", USAGE)
    return names


def start() -> None:
    """Start what is not running, and wait until it is healthy."""
    names = here()
    for name in names:
        if studio_state.running([name]) != {name}:
            _start_anew(name)
    print(f"studio: healthy{_at()}")


def stop() -> None:
    """Stop it until the next start, deploy or boot. Jobs stay in the queue."""
    unit.run(["systemctl", "stop", *here()])
    print("studio: stopped; jobs stay in the queue")


def restart() -> None:
    """Stop and start it, and wait until it is healthy."""
    names = here()
    unit.run(["systemctl", "stop", *names])
    start()


def logs(follow: bool, tail: int) -> None:
    """Show the logs of all its units on this box."""
    command = ["journalctl", "--no-pager", "--output", "short-iso", "--lines", str(tail)]
    command += [word for name in here() for word in ("--unit", name)]
    os.execvp(command[0], [*command, *(["--follow"] if follow else [])])


def token() -> str:
    """What whoever wants to write has to send."""
    return secrets.read("studio_token")


def address() -> str:
    """Where the studio answers, seen from this box."""
    return address_of("studio")


def bridge() -> str:
    """Where containers on letta-network reach it."""
    return on_network(settings()["studio"]["port"])


def status() -> int:
    """Print one screen; return OK, FAILED when something is stopped, or UNHEALTHY."""
    names = here()
    now = {name: unit.show(name, "ActiveState", "SubState", "NRestarts", "ActiveEnterTimestamp") for name in names}
    dead = [name for name in names if now[name]["ActiveState"] in ("inactive", "failed")]
    rows: list[tuple[str, str]] = []
    # Such as one that is tried again and again.
    why = [f"{name} is {now[name]['SubState']}" for name in names if now[name]["ActiveState"] not in ENDED_OR_ACTIVE]
    if SERVICE in names:
        problem, reasons = _health(address()) if SERVICE not in dead else ("", [])
        why += [problem] if problem else [_told_reason(one) for one in reasons]
        rows += _of_studio() if not problem and SERVICE not in dead else []
        rows += [("address", f"{address()} on this box, {bridge()} on letta-network")]
    elif WORKER in names and WORKER not in dead:
        # A GPU box of its own: what the database knows of it, through its link.
        try:
            mine = [one for one in _seen()["boxes"] if one["name"] == _config()["box"]]
            rows += [(f"box {one['name']}", _told_box(one)) for one in mine]
            why += [] if mine else ["its worker was never seen"]
        except LettaboxError as error:
            why.append(" ".join(str(error).split()))
    for name in names:
        if name == SOCKET:
            continue
        one = now[name]
        what = f"{one['SubState']} since {one['ActiveEnterTimestamp'] or '-'}, restarted {one['NRestarts']} times"
        rows.append((name.removesuffix(".service"), what))
    if dead:
        verdict, code = f"stopped: {', '.join(dead)} (start it: make studio-start)", FAILED
    elif why:
        verdict, code = "unhealthy (see: make studio-logs)", UNHEALTHY
    else:
        verdict, code = "healthy", OK
    width = max(len(key) for key, _ in rows) + 2
    print("\n".join(f"{key:<{width}}{what}" for key, what in [("studio", verdict), *(("", one) for one in why), *rows]))
    return code


def _of_studio() -> list[tuple[str, str]]:
    """Rows on its boxes, its queue and its newest videos."""
    rows = []
    try:
        seen = _seen()
        rows += [(f"box {one['name']}", _told_box(one)) for one in seen["boxes"]] or [("boxes", "none has been seen")]
        rows.append(("jobs", ", ".join(f"{count} {state}" for state, count in seen["jobs"].items())))
        videos = _ask("/list_videos?limit=5")
        for one in videos["videos"]:
            rows.append(("video", f"{one['time'][:19].replace('T', ' ')}  {one['path']}  {one['size'] / 1e6:.1f} MB"))
        if videos["unreachable"]:
            rows.append(("unreachable", ", ".join(videos["unreachable"])))
    except (LettaboxError, LookupError, TypeError) as error:
        rows.append(("", f"cannot be told: {error}"))
    return rows


def _told_reason(one: dict[str, Any]) -> str:
    whose = f" of {one['box']}" if one["box"] else ""
    return f"{one['part']}{whose}: {one['problem']}; {one['fix']}"


def _told_box(one: dict[str, Any]) -> str:
    state = f"renders {one['job']}" if one["job"] else "waits for jobs"
    if not one["comfyui"]:
        state = f"takes no job: {one['problem']}"
    if one["age"] > settings()["studio"]["lost_after"]:
        state = "is taken for lost"
    usual = f", {one['seconds']:.0f} s a video" if one["seconds"] else ""
    return f"{state}{usual}, seen {one['age']:.0f} s ago"


# --- what it says ----------------------------------------------------------------------------------------------------


def _config() -> dict[str, Any]:
    return json.loads(Path("/etc/lettabox/studio.json").read_text())


def _health(url: str) -> tuple[str, list[dict[str, Any]]]:
    """(why it does not answer, or "", and its reasons for not being healthy)."""
    try:
        answer = _get(f"{url}/health")
        return "", answer.json()["reasons"]
    except (requests.RequestException, LookupError, TypeError, ValueError) as error:
        return f"{url}/health does not answer well: {error}", []


def _without_boxes(health: tuple[str, list[dict[str, Any]]]) -> str:
    """Why the studio itself is not healthy: boxes that are away are not its fault."""
    problem, reasons = health
    return problem or "; ".join(one["problem"] for one in reasons if one["part"] == "database")


def _ask(path: str) -> dict[str, Any]:
    try:
        answer = _get(address() + path)
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError) as error:
        raise LettaboxError(f"{path}: {error}", UNHEALTHY) from None


def _get(url: str) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        there = paths.SECRETS / "studio_token"
        if there.is_file():
            session.headers["Authorization"] = f"Bearer {secrets.read('studio_token')}"
        return session.get(url, timeout=10)


def _seen() -> dict[str, Any]:
    """What the database knows of boxes and jobs. Raises LettaboxError when it does not answer."""
    done = _of_package("seen", SERVICE if SERVICE in studio_state.present() else WORKER, START)
    if done.returncode:
        raise LettaboxError(done.stderr.strip() or "the boxes cannot be told", UNHEALTHY)
    return json.loads(done.stdout)


def _at() -> str:
    return f", at {address()} and {bridge()}" if SERVICE in studio_state.present() else ""
