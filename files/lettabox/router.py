"""The LLM router on this box: a pinned checkout, built as a user of its own, and one systemd unit."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import requests

from lettabox import checkout, files, letta, paths, router_state, secrets, unit
from lettabox.errors import UNHEALTHY, LettaboxError
from lettabox.router_state import ENVIRONMENT, SERVICE
from lettabox.settings import on_network

OWNER = checkout.Owner("router", "lettabox-router", "/var/lib/lettabox-router")
UNIT = unit.Unit("router", SERVICE, paths.ROUTER_UNIT)


def deploy(release: str) -> None:
    """Get, build and start `release`, named by its commit and its build; return when it is healthy.

    Raises LettaboxError with the guilty command's or the unit's last lines; the release before runs on then, or again.
    """
    told = letta.settings()["router"]
    unit.run(["systemd-sysusers", "lettabox-router.conf"])
    _prepare(release, told)
    environment = paths.SECRETS / ENVIRONMENT
    before = {path: path.read_text() if path.is_file() else None for path in (UNIT.path, environment)}
    print(f"router: starting {release}", flush=True)
    try:
        unit.switch(UNIT, {UNIT.path: paths.ROUTER_WANTED.read_text(), environment: _environment(told)})
        _until_healthy(told)
    except LettaboxError as error:
        raise LettaboxError(f"{error}\n{_back(before, told)}", error.code) from None
    files.write(paths.ROUTER_APPLIED, json.dumps({"applied": router_state.applied(), "release": release}) + "\n")
    checkout.forget_others(paths.ROUTER, release)
    _warn_if_wide(told["port"])
    _seen_from_network(told)
    print(f"router: healthy, as http://letta-router:3000 on {letta.NETWORK}", flush=True)


def remove() -> None:
    """Stop the router for good. Its checkouts stay, and its home with its logins."""
    unit.remove(UNIT, paths.ROUTER_WANTED, paths.ROUTER_APPLIED, paths.SECRETS / ENVIRONMENT)


def status() -> list[tuple[str, str]]:
    """[("router", its state)] for `letta status`; empty where none is set."""
    told = letta.settings().get("router", {})
    if told.get("url"):
        return [("router", f"elsewhere: {told['url']}, as http://letta-router:3000 on {letta.NETWORK}")]
    if not told.get("git"):
        return []
    now = unit.show(SERVICE, "ActiveState", "SubState", "NRestarts")
    health = _health(told) if now["ActiveState"] == "active" else now["SubState"]
    running = f"{told['revision'][:12]} at {on_network(told['port'])}, restarted {now['NRestarts']} times"
    return [("router", f"{health or 'healthy'}, {running}")]


def _prepare(release: str, told: dict[str, Any]) -> None:
    """Have the built checkout in its folder."""
    folder = paths.ROUTER / release
    if checkout.complete(paths.ROUTER, release):
        return
    checkout.begin(OWNER, folder)
    checkout.fetch(OWNER, folder, told["git"], told["revision"])
    if told["build"]:
        began = time.monotonic()
        print(f"router: building: {told['build']}", flush=True)
        checkout.run(OWNER, ["sh", "-c", told["build"]], folder, "the router's build failed")
        print(f"router: built ({time.monotonic() - began:.0f} s)", flush=True)
    checkout.finish(paths.ROUTER, release)


def _environment(told: dict[str, Any]) -> str:
    """The secret variables in the form of an EnvironmentFile."""
    lines = []
    for name in told["secrets"]:
        value = secrets.read(router_state.secret_name(name)).replace("\\", "\\\\").replace('"', '\\"')
        # Between double quotes systemd takes these two characters, and $ and `, only behind a backslash.
        lines.append(f'{name}="{value.replace("$", chr(92) + "$").replace("`", chr(92) + "`")}"\n')
    return "".join(lines)


def _back(before: dict[Path, str | None], told: dict[str, Any]) -> str:
    """Start what ran before; return a line that says how that went."""
    if before[UNIT.path] is None:
        remove()
        return "  there was no router before, so none runs now; mend the cause and deploy again"
    unit.switch(UNIT, before)
    try:
        _until_healthy(told)
    except LettaboxError as error:
        return f"  and the one before is not healthy either:\n{error}"
    return "  the one before runs again; mend the cause and deploy again"


def _until_healthy(told: dict[str, Any]) -> None:
    unit.until_healthy(UNIT, lambda: _health(told), told["start_timeout"])


def _health(told: dict[str, Any]) -> str:
    """Why the router is not healthy; "" when it is."""
    url = on_network(told["port"]) + told["health"]
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
            f"router: it runs, but letta-nginx cannot reach it at {on_network(told['port'])}: {done.stderr.strip()}\n"
            f"  next: allow connections from {letta.NETWORK} to port {told['port']} in the box's firewall",
            UNHEALTHY,
        )
