"""The Compose project `letta`: bring it up, wait for health, explain what went wrong."""

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from typing import Any

from lettabox import paths
from lettabox.docker import docker, inspect
from lettabox.errors import UNHEALTHY, LettaboxError
from lettabox.images import Preparation

LOG_LINES = 20
# A container that was restarted this often since `up` began will not come by waiting longer.
CRASHES = 3
# Docker's verdict may be about the past: what was unhealthy before gets this long to recover. Seconds.
RECOVERY = 30


def command(*arguments: str) -> list[str]:
    """Return the argv of `docker compose ARGUMENTS` for the project."""
    if not (paths.PROJECT / "compose.yml").is_file():
        raise LettaboxError(f"there is no Compose project in {paths.PROJECT}; deploy first (`make deploy`)")
    return ["docker", "compose", "--project-directory", str(paths.PROJECT), *arguments]


def project() -> dict[str, Any]:
    """Return the project as Compose understands it."""
    done = subprocess.run(command("config", "--format", "json"), capture_output=True, text=True)
    if done.returncode:
        raise LettaboxError(f"docker compose config: {done.stderr.strip()}")
    return json.loads(done.stdout)


def services() -> list[str]:
    """Return the names of the services, in the order in which they start."""
    return [name for batch in project()["x-start-order"] for name in batch]


def containers(names: list[str]) -> dict[str, dict[str, Any]]:
    """Return {service: `docker inspect` of its container} for those of `names` that have one."""
    found = {_service(one): one for one in _ours()}
    return {name: found[name] for name in names if name in found}


def _ours() -> list[dict[str, Any]]:
    # By its folder too: it is not the only project that is called letta.
    labels = ["project=letta", f"project.working_dir={paths.PROJECT}"]
    filters = [word for label in labels for word in ("--filter", f"label=com.docker.compose.{label}")]
    ids = docker("ps", "-aq", "--no-trunc", *filters).split()
    return inspect("container", *ids)


def _service(container: dict[str, Any]) -> str:
    return container["Config"]["Labels"]["com.docker.compose.service"]


def state(container: dict[str, Any] | None) -> str:
    """One word for a container: missing, created, exited, restarting, starting, healthy or unhealthy."""
    if container is None:
        return "missing"
    now = container["State"]
    if now["Status"] != "running":
        return now["Status"]
    return now["Health"]["Status"] if now.get("Health") else "running"


def up(
    wanted: dict[str, Any], images: Preparation, timeout: int, check: Callable[[dict[str, Any] | None], None]
) -> None:
    """Create, recreate and start what differs from the project `wanted`, and wait until every service is healthy.

    `images` is getting the project's images meanwhile. `timeout` is in seconds, for each batch
    of services. A change of any service's state is one line on stdout. `check` gets the server's
    container, if there is one, as soon as the database answers, and raises if it must stay as it is.
    Raises LettaboxError, naming the guilty container and its last log lines.
    """
    _remove_half_made(wanted["services"])
    before = containers(list(wanted["services"]))
    watch = _Watch(before, timeout)
    if before:
        # Nothing that runs is touched before all is there that its successor needs.
        images.wait(one["image"] for one in wanted["services"].values())
    checked = state(before.get("letta-postgres")) == "healthy"
    if checked:
        check(before.get("letta-server"))
    for name in _in_the_way(wanted["services"], before):
        docker("stop", name)
    for batch in wanted["x-start-order"]:
        images.wait(wanted["services"][name]["image"] for name in batch)
        if "letta-server" in batch and not checked:
            check(before.get("letta-server"))
        # A file, not a pipe: nobody reads while Compose works, and a full pipe would stop it.
        with tempfile.TemporaryFile("w+") as words:
            start = subprocess.Popen(
                command("up", "--detach", "--remove-orphans", *batch),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=words,
            )
            try:
                watch.until_healthy(batch, start)
            except _CouldNotStart:
                words.seek(0)
                raise _failure("could not be started", batch, words.read()) from None
            finally:
                if start.poll() is None:
                    start.terminate()
                    start.wait()


def _remove_half_made(wanted: dict[str, Any]) -> None:
    """Remove what a recreation that was cut off left: successors that were never started, under names for a while.

    Compose makes one, stops and removes the old container, and renames it. With both there, Compose may recreate the
    successor and fail, since the name for a while is taken by then.
    """
    for one in _ours():
        name, service = one["Name"].lstrip("/"), wanted.get(_service(one), {})
        if one["State"]["Status"] == "created" and name != service.get("container_name", name):
            docker("rm", name)


def _in_the_way(wanted: dict[str, Any], now: dict[str, dict[str, Any]]) -> list[str]:
    """Containers that hold a port which another service is to get, as when two ports were swapped."""
    ports = {name: {port["published"] for port in one.get("ports", [])} for name, one in wanted.items()}
    return [
        one["Name"].lstrip("/")
        for name, one in now.items()
        for other, theirs in ports.items()
        if other != name
        for bound in (one["HostConfig"]["PortBindings"] or {}).values()
        if theirs & {place["HostPort"] for place in bound}
    ]


class _CouldNotStart(Exception):
    pass


class _Watch:
    """Follows the containers while they start, and tells what will not come by waiting longer."""

    def __init__(self, before: dict[str, dict[str, Any]], timeout: int) -> None:
        self.before = before
        self.timeout = timeout  # seconds, for each batch
        self.began = time.monotonic()
        self.states: dict[str, str] = {}

    def until_healthy(self, batch: list[str], start: subprocess.Popen) -> None:
        """Return when `start` has ended well and every service of the batch is healthy; raise otherwise."""
        unhealthy_since: dict[str, float] = {}
        deadline = time.monotonic() + self.timeout
        while True:
            # Asked first: what the containers are is then seen after Compose was done with them.
            code = start.poll()
            now = containers(batch)
            clock = time.monotonic()
            for name in batch:
                seen = state(now.get(name))
                if self.states.get(name) != seen:
                    print(f"{name}: {seen} ({clock - self.began:.0f} s)", flush=True)
                self.states[name] = seen
                if self.states[name] == "unhealthy" and code == 0:
                    unhealthy_since.setdefault(name, clock)
                else:
                    unhealthy_since.pop(name, None)
            if code == 0 and all(self.states.get(name) == "healthy" for name in batch):
                return
            crashed = [name for name, one in now.items() if _crashes(one, self.before.get(name)) >= CRASHES]
            sick = [name for name, since in unhealthy_since.items() if clock - since > RECOVERY]
            if crashed:
                raise _failure("crashed again and again", crashed)
            if sick:
                raise _failure("unhealthy", sick)
            if code:
                raise _CouldNotStart
            if clock > deadline:
                waiting = [name for name in batch if self.states.get(name) != "healthy"]
                raise _failure(f"not healthy after {self.timeout} s", waiting)
            time.sleep(0.25)


def _crashes(container: dict[str, Any], before: dict[str, Any] | None) -> int:
    known = before["RestartCount"] if before and before["Id"] == container["Id"] else 0
    return container["RestartCount"] - known


def _failure(what: str, guilty: list[str], said: str = "") -> LettaboxError:
    """`what` with the guilty containers, their state and their last log lines."""
    lines = [f"letta: {what}: {', '.join(guilty)}"]
    lines += [f"  Compose said: {line}" for line in said.strip().splitlines()[-5:]]
    for name, one in containers(guilty).items():
        lines.append(f"  {name}: {state(one)}, exit code {one['State']['ExitCode']}, image {one['Config']['Image']}")
        probes = (one["State"].get("Health") or {}).get("Log") or []
        if probes and probes[-1]["ExitCode"]:
            lines.append(f"  last health check: {probes[-1]['Output'].strip()[-300:]}")
        lines.append(f"  last {LOG_LINES} log lines of {name}:")
        logs = subprocess.run(
            ["docker", "logs", "--tail", str(LOG_LINES), one["Id"]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        lines += [f"    {line}" for line in logs.stdout.splitlines()]
    lines.append("  next: sudo lettabox letta status; sudo lettabox letta logs SERVICE; then deploy again")
    return LettaboxError("\n".join(lines), UNHEALTHY)
