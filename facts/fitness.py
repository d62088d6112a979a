"""What the preflight needs to know of a host."""

import json
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from pyinfra.api import FactBase


@dataclass(frozen=True)
class Listener:
    address: str
    port: int
    process: str  # name of the process, "" when it cannot be seen


@dataclass(frozen=True)
class Container:
    name: str
    state: str
    project: str  # of Compose; "" without one
    folder: str
    ports: tuple[tuple[str, int], ...]  # published: (address, port) on the host


@dataclass
class HostState:
    """What facts/fitness.sh saw; sizes in bytes."""

    sudo: bool = False
    os: str = ""  # "debian 13"
    os_name: str = ""
    arch: str = ""
    init: str = ""
    ss: bool = True
    listeners: list[Listener] = field(default_factory=list)
    routes: list[IPv4Network] = field(default_factory=list)
    disks: dict[str, tuple[int, str]] = field(default_factory=dict)  # "docker", "code" -> free, mount point
    secrets: set[str] = field(default_factory=set)
    recorded_images: dict[str, str] = field(default_factory=dict)
    daemon_json: str = ""
    engine: str = ""  # version of a running Docker engine
    service: str = ""  # state of docker.service, asked when an engine runs
    containers: list[Container] = field(default_factory=list)
    volumes: set[str] = field(default_factory=set)
    networks: dict[str, list[IPv4Network | IPv6Network]] = field(default_factory=dict)
    images: dict[str, set[str]] = field(default_factory=dict)  # name -> its digests, and local:<id>
    unreadable: list[str] = field(default_factory=list)  # answers that are not what they should be


class Fitness(FactBase[HostState]):
    """HostState, in one command that changes nothing and never fails."""

    def command(self) -> str:
        return (Path(__file__).parent / "fitness.sh").read_text()

    def process(self, output: list[str]) -> HostState:
        state = HostState()
        for line in output:
            key, _, value = line.partition("=")
            try:
                _take(state, key, value)
            except (ValueError, LookupError, TypeError, AttributeError):
                state.unreadable.append(line)
        return state


def _take(state: HostState, key: str, value: str) -> None:
    if key in ("os", "os_name", "arch", "init", "daemon_json", "engine", "service"):
        setattr(state, key, value.strip())
    elif key in ("sudo", "ss"):
        setattr(state, key, value == "yes")
    elif key == "listen":
        state.listeners.append(_listener(value))
    elif key == "route":
        state.routes += _route(value)
    elif key == "disk":
        role, free, mount = value.split(" ", 2)
        state.disks[role] = (int(free) * 1024, mount)
    elif key == "secrets":
        state.secrets = set(value.split())
    elif key == "images":
        state.recorded_images = {str(name): str(one) for name, one in json.loads(value or "{}").items()}
    elif key == "container":
        one = json.loads(value)
        published = [place for places in (one["ports"] or {}).values() for place in places or []]
        ports = tuple((place["HostIp"], int(place["HostPort"])) for place in published)
        state.containers.append(Container(one["name"].lstrip("/"), one["state"], one["project"], one["folder"], ports))
    elif key == "volume":
        state.volumes.add(value)
    elif key == "network":
        name, *subnets = value.split()
        state.networks[name] = [ip_network(subnet) for subnet in subnets]
    elif key == "image":
        name, digest, id_ = value.split()
        state.images.setdefault(name, set()).update({digest, f"local:{id_}"})
    else:
        raise ValueError(key)


def _listener(line: str) -> Listener:
    """One line of `ss -Hltnp`: LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))."""
    words = line.split(None, 5)
    address, _, port = words[3].rpartition(":")
    process = words[5].split('"')[1] if len(words) > 5 and '"' in words[5] else ""
    return Listener(address.partition("%")[0].strip("[]"), int(port), process)


def _route(line: str) -> list[IPv4Network]:
    """One line of `ip -4 -o route`: [unreachable] 10.0.0.0/8 dev eth0 ...; the default route is none."""
    for word in line.split()[:2]:
        if word == "default":
            return []
        try:
            return [IPv4Network(word)]
        except ValueError:
            continue  # the route's type comes before its destination
    raise ValueError(line)
