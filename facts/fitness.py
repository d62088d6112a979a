"""What the preflight needs to know of a host."""

import json
import shlex
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from pyinfra.api import FactBase

from facts.environment import Environment, take
from files.lettabox import neighbours

# What needs room, in the order in which facts/fitness.sh asks.
ROLES = ("docker", "code", "packages", "downloads", "comfyui", "models")


LOOK = Path(neighbours.__file__).with_name("look.sh")


@dataclass(frozen=True)
class Disk:
    free: int
    inodes: int | None  # free ones; None where the file system has no such limit
    mount: str


@dataclass
class HostState:
    """What facts/fitness.sh and files/lettabox/look.sh saw; sizes in bytes."""

    sudo: bool = False
    os: str = ""  # "debian 13"
    os_name: str = ""
    arch: str = ""
    init: str = ""
    routes: list[IPv4Network] = field(default_factory=list)
    disks: dict[str, Disk] = field(default_factory=dict)  # by role
    secrets: set[str] = field(default_factory=set)
    recorded_images: dict[str, str] = field(default_factory=dict)
    loaded: dict[str, str] = field(default_factory=dict)  # image id -> digest, of images that came by a file
    daemon_json: str = ""
    engine: str = ""  # version of a running Docker engine
    service: str = ""  # state of docker.service, asked when an engine runs
    volumes: set[str] = field(default_factory=set)
    networks: dict[str, list[IPv4Network | IPv6Network]] = field(default_factory=dict)
    images: dict[str, set[str]] = field(default_factory=dict)  # name -> its digests, and local:<id>
    models: dict[str, int] = field(default_factory=dict)  # path below models/ -> bytes of a file there
    router_pids: set[int] = field(default_factory=set)  # processes of our router's unit
    comfyui_pids: set[int] = field(default_factory=set)  # processes of the unit comfyui.service
    releases: set[str] = field(default_factory=set)  # of ComfyUI, installed ones
    foreign_unit: str = ""  # a file of that unit that is not ours
    studio_socket: bool = False  # systemd listens for the studio
    studio_venv: bool = False  # its packages are there
    foreign_studio: list[str] = field(default_factory=list)  # files of its units that are not ours
    sshd: list[str] = field(default_factory=list)  # settings that may keep GPU boxes out, as `sshd -T` has them
    python: str = ""  # version of the system's, such as "3.13"; "" without one
    environment: Environment = field(default_factory=Environment)
    seen: neighbours.Seen = field(default_factory=neighbours.Seen)  # what runs there, and who listens
    unreadable: list[str] = field(default_factory=list)  # answers that are not what they should be


class Fitness(FactBase[HostState]):
    """HostState, in one command that changes nothing and never fails.

    `gpu`: look for NVIDIA GPUs too, which takes a second where the driver sleeps.
    `link`: ask sshd whom it would let in as the user of GPU boxes.
    """

    def command(self, gpu: bool = False, link: bool = False) -> str:
        look, environment, enter = (
            (Path(__file__).parent / name).read_text() for name in ("fitness.sh", "environment.sh", "enter.sh")
        )
        # Of its own: lettabox runs it on the box too.
        beside = f"if [ $sudo = yes ]; then\n(set -- \"$engine\"\n{LOOK.read_text()})\nfi\n"
        whole = f"link={'yes' if link else 'no'}\n{look}{environment}{beside}:"
        return f"gpu={'yes' if gpu else 'no'}\nlook={shlex.quote(whole)}\n{enter}"

    def process(self, output: list[str]) -> HostState:
        state = HostState()
        for line in filter(None, output):  # docker prints an empty line for what vanished meanwhile
            key, _, value = line.partition("=")
            try:
                _take(state, key, value)
            except (ValueError, LookupError, TypeError, AttributeError, StopIteration):
                state.unreadable.append(line)
        state.volumes |= set(state.seen.volumes)
        return state


def _take(state: HostState, key: str, value: str) -> None:
    if key in ("os", "os_name", "arch", "init", "daemon_json", "engine", "service", "foreign_unit", "python"):
        setattr(state, key, value.strip())
    elif key == "sudo":
        state.sudo = value == "yes"
    elif key == "route":
        state.routes += _route(value)
    elif key == "disk":
        free, inodes, mount = value.split(None, 2)
        role = ROLES[len(state.disks)]
        state.disks[role] = Disk(int(free) * 1024, int(inodes) if inodes.isdecimal() else None, mount)
    elif key == "secrets":
        state.secrets = set(value.split())
    elif key in ("studio_socket", "studio_venv"):
        setattr(state, key, value == "yes")
    elif key in ("foreign_studio", "sshd"):
        getattr(state, key).append(value.strip())
    elif key in ("router_pids", "comfyui_pids"):
        setattr(state, key, set(map(int, value.split())))
    elif key == "release":
        state.releases.add(value)
    elif key == "images":
        state.recorded_images = {str(name): str(one) for name, one in json.loads(value or "{}").items()}
    elif key == "loaded":
        state.loaded = {str(id_): str(digest) for id_, digest in json.loads(value or "{}").items()}
    elif key == "model":
        size, path = value.split(None, 1)
        state.models[path] = int(size)
    elif key == "volume":
        state.volumes.add(value)
    elif key == "network":
        name, *subnets = value.split()
        state.networks[name] = [ip_network(subnet) for subnet in subnets]
    elif key == "image":
        name, digest, id_ = value.split()
        state.images.setdefault(name, set()).update({digest, f"local:{id_}", state.loaded.get(id_, digest)})
    elif not (take(state.environment, key, value) or state.seen.take(key, value)):
        raise ValueError(key)


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
