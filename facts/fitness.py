"""What the preflight needs to know of a host."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError


@dataclass(frozen=True)
class Listener:
    address: str
    port: int
    process: str  # name of the process, "" when it cannot be seen


@dataclass(frozen=True)
class Container:
    name: str
    project: str
    folder: str
    ports: str
    state: str


@dataclass
class HostState:
    """What facts/fitness.sh saw; sizes in bytes."""

    sudo: bool = False
    os: str = ""  # "debian 13"
    os_name: str = ""
    arch: str = ""
    init: str = ""
    ss: bool = True
    memory: int = 0
    listeners: list[Listener] = field(default_factory=list)
    disks: dict[str, tuple[int, str]] = field(default_factory=dict)  # path -> free, mount point
    secrets: set[str] = field(default_factory=set)
    recorded_images: dict[str, str] = field(default_factory=dict)
    daemon_json: str = ""
    engine: str = ""  # version of a running Docker engine
    containers: list[Container] = field(default_factory=list)
    volumes: set[str] = field(default_factory=set)
    networks: dict[str, list[str]] = field(default_factory=dict)
    images: dict[str, set[str]] = field(default_factory=dict)  # name -> its digests, and local:<id>


class Fitness(FactBase[HostState]):
    """HostState, in one command that changes nothing and never fails."""

    def command(self) -> str:
        return (Path(__file__).parent / "fitness.sh").read_text()

    def process(self, output: list[str]) -> HostState:
        state = HostState()
        for line in output:
            key, found, value = line.partition("=")
            try:
                if found:
                    _take(state, key, value)
            except (ValueError, IndexError) as error:
                raise FactProcessError(f"unexpected answer from the host: {line!r}: {error}") from None
        return state


def _take(state: HostState, key: str, value: str) -> None:
    if key in ("os", "os_name", "arch", "init", "daemon_json", "engine"):
        setattr(state, key, value)
    elif key in ("sudo", "ss"):
        setattr(state, key, value == "yes")
    elif key == "memory_kb":
        state.memory = int(value) * 1024
    elif key == "listen":
        state.listeners.append(_listener(value))
    elif key == "disk":
        path, free, mount = value.split()
        state.disks[path] = (int(free) * 1024, mount)
    elif key == "secrets":
        state.secrets = set(value.split())
    elif key == "images":
        state.recorded_images = json.loads(value)
    elif key == "container":
        state.containers.append(Container(*value.split("|")))
    elif key == "volume":
        state.volumes.add(value)
    elif key == "network":
        name, *subnets = value.split()
        state.networks[name] = subnets
    elif key == "image":
        name, digest, id_ = value.split()
        state.images.setdefault(name, set()).update({digest, f"local:{id_}"})


def _listener(line: str) -> Listener:
    """One line of `ss -Hltnp`: LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))."""
    words = line.split(None, 5)
    address, _, port = words[3].rpartition(":")
    process = words[5].split('"')[1] if len(words) > 5 and '"' in words[5] else ""
    return Listener(address.partition("%")[0].strip("[]"), int(port), process)
