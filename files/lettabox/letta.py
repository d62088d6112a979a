"""The verbs of the Letta stack: start, stop, restart, status, logs, password."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import requests

from lettabox import compose, paths
from lettabox.docker import docker, inspect
from lettabox.errors import FAILED, OK, UNHEALTHY, USAGE, LettaboxError
from lettabox.secrets import read as read_secret

VOLUMES = ("letta-postgres", "letta-data", "letta-home")
NETWORK = "letta-network"


def settings() -> dict[str, Any]:
    """Return what the last deploy was told. Raises LettaboxError before the first one."""
    try:
        return json.loads(paths.SETTINGS.read_text())
    except FileNotFoundError:
        raise LettaboxError(f"there is no {paths.SETTINGS}; deploy first (`make deploy`)") from None


def address(service: str) -> str:
    """Return the URL of a published service as seen from the box."""
    bind, port = settings()[service]["bind"], settings()[service]["port"]
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bind, f"[{bind}]" if ":" in bind else bind)
    return f"http://{local}:{port}"


def others_on_network() -> list[str]:
    """Return the running containers of other projects that are attached to letta-network."""
    ours = set(compose.services())
    attached = {one["Name"] for network in inspect("network", NETWORK) for one in network["Containers"].values()}
    return sorted(attached - ours)


def start(timeout: int | None = None) -> None:
    """Bring the stack up and wait for health, `timeout` seconds at most (default: the setting)."""
    compose.up(timeout or settings()["letta"]["start_timeout"])


def stop(yes: bool) -> None:
    """Stop the stack after saying whom that affects. Raises LettaboxError (usage) when nobody can answer."""
    others = others_on_network()
    print(
        f"This stops Letta for everyone. Other containers on {NETWORK}: {', '.join(others) or 'none'}.",
        file=sys.stderr,
    )
    if not yes:
        if not sys.stdin.isatty():
            raise LettaboxError("not stopped: no terminal to ask on; add `YES=1` (make) or `--yes`", USAGE)
        if input("Stop it? [y/N] ").strip().lower() not in ("y", "yes"):
            raise LettaboxError("not stopped")
    _compose("stop")


def restart() -> None:
    """Stop and start the same containers, in the order of their dependencies, and wait for health."""
    others = others_on_network()
    if others:
        print(f"Other containers on {NETWORK} lose Letta meanwhile: {', '.join(others)}.", file=sys.stderr)
    _compose("stop")
    start()


def logs(service: str | None, follow: bool, tail: int) -> None:
    """Show the logs of one service or of all."""
    names = compose.services()
    if service and service not in names:
        raise LettaboxError(f"no service {service!r}; there are: {', '.join(names)}", USAGE)
    options = ["--tail", str(tail), *(["--follow"] if follow else [])]
    argv = compose.command("logs", *options, *([service] if service else []))
    if sys.stdout.isatty():
        os.execvp(argv[0], argv)
    # Compose 2.26 clears the line before each one, into a file or a pipe as well, whatever --ansi says.
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="replace") as running:
        for line in running.stdout:
            print(line.removeprefix("\x1b[2K"), end="", flush=True)
    if running.returncode:
        raise LettaboxError(f"docker compose logs ended with exit code {running.returncode}")


def status() -> int:
    """Print one screen; return OK, FAILED when stopped, or UNHEALTHY."""
    names = compose.services()
    now = compose.containers(names)
    states = {name: compose.state(now.get(name)) for name in names}
    api, good = (
        _api() if states["letta-server"] in ("healthy", "starting") else ("not asked: letta-server is down", False)
    )
    if good and all(one == "healthy" for one in states.values()):
        verdict, code = "healthy", OK
    elif all(one in ("missing", "exited", "created") for one in states.values()):
        verdict, code = "stopped (start it: make letta-start)", FAILED
    else:
        bad = [name for name, one in states.items() if one != "healthy"] or ["the API"]
        verdict, code = f"unhealthy: {', '.join(bad)} (see: make letta-logs)", UNHEALTHY
    rows = [("letta", verdict), ("api", api)]
    rows += [("server", f"{address('letta')}  on the network http://letta-server:8283")]
    rows += [("proxy", f"{address('nginx')}  on the network http://letta-nginx:8284")]
    print("\n".join(f"{key:<8}{value}" for key, value in rows), end="\n\n")
    print(f"{'container':<16}{'state':<12}{'for':<8}image")
    for name, one in states.items():
        container = now.get(name)
        image = container["Config"]["Image"] if container else "-"
        print(f"{name:<16}{one:<12}{_age(container):<8}{image}")
    print(f"\n{'volume':<16}{'size':<12}path")
    for volume in inspect("volume", *VOLUMES):
        print(f"{volume['Name']:<16}{_size(volume['Mountpoint']):<12}{volume['Mountpoint']}")
    root = docker("info", "--format", "{{.DockerRootDir}}").strip()
    disk = shutil.disk_usage(root)
    print(f"\ndisk    {disk.free / 1e9:.1f} GB free of {disk.total / 1e9:.1f} GB at {root}")
    return code


def _api() -> tuple[str, bool]:
    """Ask the real API, with the password: the health path alone touches no database."""
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment must not get the password
    session.headers["Authorization"] = f"Bearer {read_secret('letta_server_password')}"
    try:
        answers = []
        for path in ("/v1/health/", "/v1/agents/count"):
            answer = session.get(address("letta") + path, timeout=10)
            answer.raise_for_status()
            answers.append(answer.json())
        return f"Letta {answers[0]['version']}, {answers[1]} agents", True
    except (requests.RequestException, LookupError, TypeError) as error:
        return f"failing: {error}", False


def _age(container: dict[str, Any] | None) -> str:
    if container is None or container["State"]["Status"] != "running":
        return "-"
    began = datetime.fromisoformat(container["State"]["StartedAt"][:19]).replace(tzinfo=UTC)
    minutes = (datetime.now(UTC) - began).total_seconds() / 60
    for size, unit in ((1440, "d"), (60, "h")):
        if minutes >= 2 * size:
            return f"{minutes / size:.0f} {unit}"
    return f"{minutes:.0f} min"


def _size(path: str) -> str:
    # du exits 1 when a file of a busy database vanishes under it, and prints the sum all the same.
    said = subprocess.run(["du", "-sk", path], capture_output=True, text=True).stdout.split()
    return f"{int(said[0]) / 1000:.1f} MB" if said else "unknown"


def _compose(*arguments: str) -> None:
    done = subprocess.run(compose.command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        raise LettaboxError(f"docker compose {' '.join(arguments)}: {done.stderr.strip()}")
