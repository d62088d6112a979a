"""The LLM router on this box: a pinned checkout, built as a user of its own, and one systemd unit.

The unit's file names the checkout, so replacing that file is the switch from one release to another, and putting
the old file back is the way back.
"""

import ipaddress
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import requests

from lettabox import files, letta, paths, router_state, secrets
from lettabox.errors import FAILED, UNHEALTHY, LettaboxError
from lettabox.router_state import ENVIRONMENT, SERVICE, show

USER = "lettabox-router"
HOME = "/var/lib/lettabox-router"
LOG_LINES = 20
BUILD = 1800  # seconds a fetch or a build may take
# A router that ended this often since its start will not come by waiting longer.
CRASHES = 2


def deploy(release: str) -> None:
    """Get, build and start `release`, named by its commit and its build; return when it is healthy.

    Raises LettaboxError with the guilty command's or the unit's last lines; the release before runs on then, or again.
    """
    told = letta.settings()["router"]
    _run(["systemd-sysusers", "lettabox-router.conf"])
    _prepare(release, told)
    unit, environment = paths.ROUTER_UNIT, paths.SECRETS / ENVIRONMENT
    before = {path: path.read_text() if path.is_file() else None for path in (unit, environment)}
    print(f"router: starting {release}", flush=True)
    try:
        _switch({unit: paths.ROUTER_WANTED.read_text(), environment: _environment(told)})
        _until_healthy(told)
    except LettaboxError as error:
        raise LettaboxError(f"{error}\n{_back(before, told)}", error.code) from None
    files.write(paths.ROUTER_APPLIED, json.dumps({"applied": router_state.applied(), "release": release}) + "\n")
    _forget_others(release)
    _warn_if_wide(told["port"])
    _seen_from_network(told)
    print(f"router: healthy, as http://letta-router:3000 on {letta.NETWORK}", flush=True)


def remove() -> None:
    """Stop the router for good. Its checkouts stay, and its home with its logins."""
    if paths.ROUTER_UNIT.is_file():
        _run(["systemctl", "disable", "--now", SERVICE])
    for path in (paths.ROUTER_UNIT, paths.ROUTER_WANTED, paths.ROUTER_APPLIED, paths.SECRETS / ENVIRONMENT):
        path.unlink(missing_ok=True)
    _run(["systemctl", "daemon-reload"])


def status() -> list[tuple[str, str]]:
    """[("router", its state)] for `letta status`; empty where none is set."""
    told = letta.settings().get("router", {})
    if told.get("url"):
        return [("router", f"elsewhere: {told['url']}, as http://letta-router:3000 on {letta.NETWORK}")]
    if not told.get("git"):
        return []
    now = show("ActiveState", "SubState", "NRestarts")
    health = _health(told) if now["ActiveState"] == "active" else now["SubState"]
    running = f"{told['revision'][:12]} at {_address(told)}, restarted {now['NRestarts']} times"
    return [("router", f"{health or 'healthy'}, {running}")]


# --- the checkout ------------------------------------------------------------------------------------------


def _prepare(release: str, told: dict[str, Any]) -> None:
    """Have the built checkout in its folder; a mark beside it says that it is complete."""
    folder, mark = paths.ROUTER / release, paths.ROUTER / f"{release}.complete"
    if mark.is_file() and folder.is_dir():
        return
    paths.ROUTER.mkdir(mode=0o755, parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    shutil.chown(folder, USER, USER)
    print(f"router: fetching {told['revision'][:12]} from {told['git']}", flush=True)
    _fetch(folder, told["git"], told["revision"])
    if told["build"]:
        began = time.monotonic()
        print(f"router: building: {told['build']}", flush=True)
        _as_user(["sh", "-c", told["build"]], folder, "the router's build failed")
        print(f"router: built ({time.monotonic() - began:.0f} s)", flush=True)
    mark.touch()


def _fetch(folder: Path, url: str, revision: str) -> None:
    git = ["git", "-c", "advice.detachedHead=false", "-C", str(folder)]
    what = f"revision {revision} cannot be had from {url}; it must be pushed there, and be readable for {USER}"
    _as_user([*git, "init", "--quiet"], folder, what)
    try:
        _as_user([*git, "fetch", "--quiet", "--depth", "1", url, revision], folder, what)
    except LettaboxError:
        # Not every server gives a single commit: all branches and tags then.
        _as_user([*git, "fetch", "--quiet", url, "+refs/heads/*:refs/remotes/it/*", "--tags"], folder, what)
    _as_user([*git, "checkout", "--quiet", "--detach", revision], folder, what)


def _as_user(command: list[str], folder: Path, what: str) -> None:
    """Run a command as the router's user, without secrets; raises LettaboxError with `what` and its last lines."""
    # A repository on this box may belong to somebody else, which git refuses unless its system's settings allow it.
    settings = Path("/run/lettabox/router.gitconfig")
    files.write(settings, "[include]\n\tpath = /etc/gitconfig\n[safe]\n\tdirectory = *\n")
    passed = {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy") or name == "LANG"}
    environment = passed | {
        "HOME": HOME,
        "USER": USER,
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "GIT_CONFIG_SYSTEM": str(settings),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o StrictHostKeyChecking=accept-new",
    }
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            user=USER,
            group=USER,
            extra_groups=[],
            umask=0o022,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=BUILD,
        )
    except subprocess.TimeoutExpired:
        raise LettaboxError(f"router: {what}: not done after {BUILD} s", FAILED) from None
    if done.returncode:
        said = "\n".join(f"    {line}" for line in done.stdout.strip().splitlines()[-LOG_LINES:])
        raise LettaboxError(f"router: {what}\n  exit code {done.returncode}, it said last:\n{said}", FAILED)


def _forget_others(release: str) -> None:
    """Keep this release and the newest other one, for a way back without a build."""
    marks = sorted(paths.ROUTER.glob("*.complete"), key=lambda path: path.stat().st_mtime)
    keep = {release, *[path.stem for path in marks if path.stem != release][-1:]}
    for path in paths.ROUTER.iterdir():
        if path.name.removesuffix(".complete") not in keep:
            path.unlink() if path.is_file() else shutil.rmtree(path)


# --- the unit ----------------------------------------------------------------------------------------------


def _environment(told: dict[str, Any]) -> str:
    """The secret variables in the form of an EnvironmentFile."""
    lines = []
    for name in told["secrets"]:
        value = secrets.read(router_state.secret_name(name)).replace("\\", "\\\\").replace('"', '\\"')
        # Between double quotes systemd takes these two characters, and $ and `, only behind a backslash.
        lines.append(f'{name}="{value.replace("$", chr(92) + "$").replace("`", chr(92) + "`")}"\n')
    return "".join(lines)


def _switch(contents: dict[Path, str | None]) -> None:
    for path, text in contents.items():
        if text is None:
            path.unlink(missing_ok=True)
        else:
            files.write(path, text, mode=0o644 if path == paths.ROUTER_UNIT else 0o600)
    _run(["systemctl", "daemon-reload"])
    _run(["systemctl", "enable", "--quiet", SERVICE])
    _run(["systemctl", "restart", SERVICE])


def _back(before: dict[Path, str | None], told: dict[str, Any]) -> str:
    """Start what ran before; return a line that says how that went."""
    if before[paths.ROUTER_UNIT] is None:
        remove()
        return "  there was no router before, so none runs now; mend the cause and deploy again"
    _switch(before)
    try:
        _until_healthy(told)
    except LettaboxError as error:
        return f"  and the one before is not healthy either:\n{error}"
    return "  the one before runs again; mend the cause and deploy again"


def _until_healthy(told: dict[str, Any]) -> None:
    began, deadline = time.time(), time.monotonic() + told["start_timeout"]
    restarts, end = int(show("NRestarts")["NRestarts"]), ""
    while True:
        now = show("ActiveState", "SubState", "NRestarts", "ExecMainCode", "ExecMainStatus", "MainPID")
        ended = int(now["NRestarts"]) - restarts
        # How it ended is told only until it is started again.
        if now["MainPID"] == "0":
            end = _end(now)
        why = _health(told) if now["ActiveState"] == "active" else f"the unit is {now['SubState']}"
        # Whoever answers must be the unit: another program may hold the port.
        if not why and ended == 0:
            return
        if ended >= CRASHES or now["ActiveState"] == "failed":
            raise _failure(f"ends by itself{end}", began)
        if time.monotonic() > deadline:
            raise _failure(f"not healthy after {told['start_timeout']} s: {why or 'restarting'}", began)
        time.sleep(0.2)


def _end(now: dict[str, str]) -> str:
    # ExecMainCode is the kernel's CLD_EXITED, CLD_KILLED or CLD_DUMPED; 0 as long as nothing has ended.
    code, status = int(now["ExecMainCode"]), now["ExecMainStatus"]
    how = {os.CLD_EXITED: "exit code", os.CLD_KILLED: "killed by signal", os.CLD_DUMPED: "dumped core on signal"}
    return f", {how[code]} {status}" if code else ""


def _failure(what: str, since: float) -> LettaboxError:
    log = ["journalctl", "-q", "--no-pager", "-o", "cat", "-n", str(LOG_LINES), "-u", SERVICE, f"--since=@{since:.0f}"]
    said = subprocess.run(log, capture_output=True, text=True, errors="replace").stdout
    lines = "\n".join(f"    {line}" for line in said.splitlines())
    return LettaboxError(f"router: {what}\n  last log lines of {SERVICE}:\n{lines}", UNHEALTHY)


def _address(told: dict[str, Any]) -> str:
    # Docker gives the box the first address of the network.
    host = next(ipaddress.ip_network(letta.settings()["network"]["subnet"]).hosts())
    return f"http://{host}:{told['port']}"


def _health(told: dict[str, Any]) -> str:
    """Why the router is not healthy; "" when it is."""
    url = _address(told) + told["health"]
    with requests.Session() as session:
        session.trust_env = False
        try:
            code = session.get(url, timeout=5).status_code
        except requests.RequestException as error:
            return f"{url} does not answer: {error}"
    return "" if code == 200 else f"{url} answers {code}"


def _warn_if_wide(port: int) -> None:
    said = subprocess.run(["ss", "-Hltn", "sport", "=", f":{port}"], capture_output=True, text=True, check=True).stdout
    wide = [line.split()[3] for line in said.splitlines() if line.split()[3].startswith(("0.0.0.0:", "*:", "[::]:"))]
    if wide:
        print(
            f"router: WARNING: it listens on {wide[0]}, on every address of the box; "
            "give it {host} and {port} in router.start",
            flush=True,
        )


def _seen_from_network(told: dict[str, Any]) -> None:
    """Raise LettaboxError unless containers reach the router through letta-nginx."""
    ask = ["curl", "-fsS", "--noproxy", "*", "-m", "10", "-o", "/dev/null", f"http://127.0.0.1:3000{told['health']}"]
    done = subprocess.run(["docker", "exec", "letta-nginx", *ask], capture_output=True, text=True)
    if done.returncode:
        raise LettaboxError(
            f"router: it runs, but letta-nginx cannot reach it at {_address(told)}: {done.stderr.strip()}\n"
            f"  next: allow connections from {letta.NETWORK} to port {told['port']} in the box's firewall",
            UNHEALTHY,
        )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise LettaboxError(f"{' '.join(command)}: {done.stderr.strip()}")
