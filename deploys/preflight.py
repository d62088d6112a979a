"""Before any change on any host: look at all of them, report everything at once, refuse or go on.

Each check is a function of what is known and returns findings; it changes nothing.
"""

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gevent
from pyinfra import host, inventory, state
from pyinfra.api.exceptions import PyinfraError
from pyinfra.context import ctx_host

from deploys import layout
from facts.fitness import Fitness, HostState, Listener
from inventory.schema import Settings

SUPPORTED = {"debian 13": "Debian 13", "ubuntu 24.04": "Ubuntu 24.04"}
ARCHITECTURES = ("x86_64",)
OLDEST_ENGINE = 25  # the first with start_interval, by which a start is noticed at once
GB = 1000**3
# What the stack takes on disk until its first agents: images of about 2 GB, twice while
# they are unpacked, the patched image's layers, and a young database; and our code. In bytes.
DISK = {"docker": 8 * GB, "code": GB // 2}
DISK_DEPLOYED = GB  # on a host that has its images already


@dataclass(frozen=True)
class Finding:
    host: str
    id: str
    what: str
    fix: str

    def __str__(self) -> str:
        return f"{self.host}: {self.what} [{self.id}]\n    fix: {self.fix}"


class Refused(PyinfraError):
    """The preflight found something; no host was changed."""


def check() -> HostState:
    """Look at every host of this run once, and return what was seen on the current one.

    deploy.py runs once for each host at the same time, so the first caller looks and the
    others wait. Raises Refused with all findings of all hosts.
    """
    seen = _seen()
    findings = list(_findings(seen))
    if findings:
        report = "\n".join(map(str, findings))
        raise Refused(f"nothing was changed on any host; {len(findings)} to fix first\n{report}")
    return seen[host.name]


def _seen() -> dict[str, HostState | None]:
    """{host: what was seen, or None for a host that cannot be reached}, for the hosts of this run."""
    if "preflight" not in _cache:
        hosts = list(inventory.get_active_hosts())
        _cache["preflight"] = {one.name: gevent.spawn(_look, one) for one in hosts}
    jobs = _cache["preflight"]
    seen: dict[str, HostState | None] = {name: job.get() for name, job in jobs.items()}
    return seen | {one.name: None for one in state.failed_hosts}


_cache: dict[str, Any] = {}


def _look(one: Any) -> HostState | None:
    with ctx_host.use(one):
        try:
            # As the login user: whether sudo works is one of the questions.
            return one.get_fact(Fitness, _sudo=False)
        except PyinfraError:
            return None  # pyinfra has printed why; it becomes a finding like any other


def _findings(seen: dict[str, HostState | None]) -> Iterator[Finding]:
    for name, now in sorted(seen.items()):
        if now is None or not now.os:
            yield Finding(
                name,
                "unreachable",
                "cannot be reached over SSH, or gave no answer (pyinfra's line above says why)",
                "check address, port, user, key and known_hosts of this host in the settings file, "
                "or leave it out of this run with --limit",
            )
            continue
        one = inventory.get_host(name)
        yield from host_findings(name, now)
        if "letta" in one.groups and now.sudo:
            yield from letta_findings(name, now, one.data.settings)


def host_findings(name: str, now: HostState) -> Iterator[Finding]:
    """What every host must have: sudo, a supported system, an architecture that is built for."""
    for line in now.unreadable:
        yield Finding(
            name,
            "unreadable",
            f"gave an answer that cannot be understood: {line[:200]!r}",
            "mend what it speaks of (images= is /var/lib/lettabox/images.json), or report it as a bug",
        )
    if not now.sudo:
        yield Finding(
            name,
            "sudo",
            "the login user is not root and cannot use sudo without a password",
            "on the host, as root: echo 'USER ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/lettabox, "
            "with the user of this host in the settings file",
        )
    if now.os not in SUPPORTED:
        yield Finding(
            name,
            "system",
            f"runs {now.os_name or now.os}, which is not supported",
            f"use {' or '.join(SUPPORTED.values())}",
        )
    if now.arch not in ARCHITECTURES:
        yield Finding(
            name,
            "architecture",
            f"is {now.arch}, for which there is no Letta image",
            f"use a host of {' or '.join(ARCHITECTURES)}",
        )
    if now.init != "systemd":
        yield Finding(name, "init", "was not booted with systemd", "boot the host with systemd")


def letta_findings(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    """What the host of the Letta server must have, and what must not be there."""
    yield from _ports(name, now, settings)
    yield from _disk(name, now, settings)
    yield from _network(name, now, settings)
    yield from _secrets(name, now)
    yield from _images(name, now, settings)
    if now.engine and now.service != "active":
        yield Finding(
            name,
            "engine-foreign",
            "runs a Docker engine that is not docker.service (snap, rootless); a second one would hide its data",
            "remove that engine, or have it run as docker.service",
        )
    major = now.engine.partition(".")[0]
    if major.isdecimal() and int(major) < OLDEST_ENGINE:
        yield Finding(
            name,
            "engine",
            f"runs Docker engine {now.engine}; health checks need {OLDEST_ENGINE} or newer",
            "upgrade the engine by the way it was installed",
        )
    if now.daemon_json:
        try:
            good = isinstance(json.loads(now.daemon_json), dict)
        except ValueError:
            good = False
        if not good:
            yield Finding(
                name,
                "daemon-json",
                "/etc/docker/daemon.json is not a JSON object, so it cannot be merged",
                "mend it and check with: dockerd --validate --config-file /etc/docker/daemon.json",
            )


def _ports(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    if not now.ss:
        yield Finding(name, "ports", "cannot see who listens where: there is no ss", "apt-get install iproute2")
        return
    for service in ("postgres", "redis", "letta", "nginx"):
        wanted = getattr(settings, service)
        for listener in now.listeners:
            if listener.port != wanted.port or not _overlap(listener.address, wanted.bind):
                continue
            owner = _owner(now, listener)
            if owner is None:
                continue
            yield Finding(
                name,
                "port",
                f"port {wanted.port}, wanted for letta-{_CONTAINER[service]}, is taken by {owner}",
                f"stop it, or set settings.{service}.port to a free one",
            )
            break


_CONTAINER = {"postgres": "postgres", "redis": "redis", "letta": "server", "nginx": "nginx"}


def _owner(now: HostState, listener: Listener) -> str | None:
    """Who holds a port; None when it is our own stack."""
    # dockerd itself holds it where docker-proxy is turned off.
    if listener.process in ("docker-proxy", "dockerd", "rootlessport", ""):
        for one in now.containers:
            for address, port in one.ports:
                if one.state == "running" and port == listener.port and _overlap(listener.address, address):
                    if one.project == layout.COMPOSE_PROJECT and one.folder == layout.PROJECT:
                        return None
                    return f"container {one.name}" + (
                        f" of project {one.project} in {one.folder}" if one.project else ""
                    )
    return f"process {listener.process}" if listener.process else "a process that cannot be seen"


def _overlap(one: str, other: str) -> bool:
    """Whether two addresses cannot both listen on one port."""
    everywhere = ("*", "::", "0.0.0.0", "")
    if one in everywhere or other in everywhere:
        return True
    return ipaddress.ip_address(one) == ipaddress.ip_address(other)


def _disk(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    deployed = settings.letta.image in now.images
    needed: dict[str, int] = {}
    for role, (_, mount) in now.disks.items():
        needed[mount] = needed.get(mount, 0) + (DISK_DEPLOYED // len(DISK) if deployed else DISK[role])
    for mount, size in needed.items():
        free = next(free for free, where in now.disks.values() if where == mount)
        if free < size:
            yield Finding(
                name,
                "disk",
                f"{free / GB:.1f} GB free on {mount}, needed are {size / GB:.1f} GB",
                f"make room on {mount}; what Docker holds: docker system df",
            )


def _network(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    wanted = ipaddress.ip_network(settings.network.subnet)
    subnets = now.networks.get(layout.NETWORK)
    if subnets is not None and wanted not in subnets:
        theirs = ", ".join(map(str, subnets)) or "no subnet"
        yield Finding(
            name,
            "network",
            f"network {layout.NETWORK} exists with {theirs}, settings say {wanted}",
            f"set settings.network.subnet to what it has; to change it, stop everything on it, "
            f"docker network rm {layout.NETWORK}, and deploy",
        )
    taken = [
        (f"network {other}", one) for other, all_ in now.networks.items() if other != layout.NETWORK for one in all_
    ]
    # The route of letta-network itself, where its bridge has a name of its own.
    taken += [("a route of the host", one) for one in now.routes if subnets is None or one not in subnets]
    for what, subnet in taken:
        # Over a route of the host it would cut the host off from whatever is there.
        if subnet.version == wanted.version and subnet.overlaps(wanted):
            yield Finding(
                name,
                "subnet",
                f"subnet {wanted} overlaps {what} ({subnet})",
                "set settings.network.subnet to a free one",
            )


def _secrets(name: str, now: HostState) -> Iterator[Finding]:
    missing = sorted(set(layout.SECRETS) - now.secrets)
    data = sorted(set(layout.VOLUMES[:1]) & now.volumes)
    if missing and data:
        yield Finding(
            name,
            "secrets-lost",
            f"volume {data[0]} holds data, but {', '.join(missing)} is missing in {layout.SECRETS_DIR}; "
            "new secrets would lock the agents out",
            f"put the old secrets back into {layout.SECRETS_DIR} (mode 600); only if the data is not needed: "
            f"docker volume rm {data[0]}",
        )


def _images(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    for service in (settings.letta, settings.postgres, settings.redis, settings.nginx):
        wanted = now.recorded_images.get(service.image)
        present = now.images.get(service.image)
        # A digest in the settings is an order to get that content, whatever was recorded.
        if service.digest or not wanted or not present or wanted in present:
            continue
        yield Finding(
            name,
            "image-changed",
            f"image {service.image} is not the one of its first pull ({wanted}); it is {', '.join(sorted(present))}",
            f"docker rmi {service.image} and deploy again, or set its digest in the settings if the change is wanted",
        )
