"""The verbs of the Letta stack: start, stop, restart, status, logs, password."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from lettabox import agents, compatibility, compose, context, encryption_key, lock, paths, stack_images
from lettabox.api import Api
from lettabox.docker import docker, inspect
from lettabox.errors import FAILED, OK, UNHEALTHY, USAGE, LettaboxError
from lettabox.settings import address, settings

VOLUMES = ("letta-postgres", "letta-data", "letta-home", "letta-ollama")
NETWORK = "letta-network"


def others_on_network() -> list[str]:
    """Return the running containers of other projects that are attached to letta-network."""
    ours = set(compose.services())
    attached = {one["Name"] for network in inspect("network", NETWORK) for one in network["Containers"].values()}
    return sorted(attached - ours)


def start(timeout: int | None = None) -> None:
    """Get missing images, bring the stack up and wait for health, `timeout` seconds at most (default: the setting).

    Raises LettaboxError, before the server is touched, when its image or key does not fit the database, and
    afterwards when it cannot list its agents.
    """
    # A deploy that finds it begins again, however healthy the containers are: this one was cut off, or failed.
    paths.STARTING.touch()
    told, wanted = settings(), compose.project()
    image = wanted["services"]["letta-server"]["image"]
    with stack_images.preparation(told) as images, _explained():
        compose.up(
            wanted,
            images,
            timeout or told["letta"]["start_timeout"],
            lambda server: compatibility.check(image, server),
        )
        encryption_key.hold()
        if note := context.note(context.findings(agents.check(Api()))):
            print(note)
    paths.STARTING.unlink()


@contextmanager
def _explained() -> Iterator[None]:
    """Add to a failure of the server which rows of the database it cannot read, where that may be the reason."""
    try:
        yield
    except LettaboxError as error:
        if error.code != UNHEALTHY:
            raise
        now = compose.containers(["letta-postgres", "letta-server"])
        server = now.get("letta-server")
        suspect = isinstance(error, agents.Hidden) or (server and compose.state(server) != "healthy")
        if not suspect or compose.state(now.get("letta-postgres")) != "healthy":
            raise
        raise LettaboxError("\n".join([str(error), *_unreadable(server)]), UNHEALTHY) from None


def _unreadable(server: dict[str, Any]) -> list[str]:
    """Lines about the rows that the server of this container cannot read; none if it can read all."""
    try:
        return compatibility.explain(server["Config"]["Image"])
    except LettaboxError as error:
        return [f"  {error}"]


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
    with lock.held("lettabox letta stop"):  # only now: a question that nobody answers must not lock the box
        _compose("stop")


def restart() -> None:
    """Stop and start the same containers, in the order of their dependencies, and wait for health."""
    others = others_on_network()
    if others:
        print(f"Other containers on {NETWORK} lose Letta meanwhile: {', '.join(others)}.", file=sys.stderr)
    if compose.state(compose.containers(["letta-postgres"]).get("letta-postgres")) == "healthy":
        encryption_key.check()  # what would refuse the start must not come after the stop
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
    api, good, more = api_state(states, now)
    if good and all(one == "healthy" for one in states.values()):
        verdict, code = "healthy", OK
    elif all(one in ("missing", "exited", "created") for one in states.values()):
        verdict, code = "stopped (start it: make letta-start)", FAILED
    else:
        bad = [name for name, one in states.items() if one != "healthy"]
        bad = bad or ["the encryption key" if "key" in dict(more) else "the API"]
        verdict, code = f"unhealthy: {', '.join(bad)} (see: make letta-logs)", UNHEALTHY
    rows = [("letta", verdict), ("api", api), *more]
    rows += [("made of", stack_images.provenance(now.get("letta-server")))]
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


def api_state(states: dict[str, str], now: dict[str, Any]) -> tuple[str, bool, list[tuple[str, str]]]:
    """(what the API says, whether all is well with it and its data, further rows for the screen).

    The health path alone touches no database, and the number of agents survives a row that hides all of them.
    """
    more: list[tuple[str, str]] = []
    if states["letta-postgres"] == "healthy":
        try:
            encryption_key.check()
        except LettaboxError as error:
            more.append(("key", f"wrong: {error}"))
    if states["letta-server"] in ("restarting", "unhealthy") and states["letta-postgres"] == "healthy":
        more += [("", line.strip()) for line in _unreadable(now["letta-server"])]
    if states["letta-server"] not in ("healthy", "starting"):
        return "not asked: letta-server is down", False, more
    try:
        with _explained():
            api = Api()
            version, found = api.get("/v1/health/")["version"], agents.check(api)
        if note := context.note(context.findings(found)):
            more.append(("context", note))
        return f"Letta {version}, {len(found)} agents", "key" not in dict(more), more
    except (LettaboxError, LookupError, TypeError) as error:
        first, *rest = str(error).splitlines()
        return f"failing: {first}", False, [*more, *(("", line.strip()) for line in rest)]


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
