"""What surrounds the stack on a host, as facts/environment.sh, fitness.sh and enter.sh print it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address


@dataclass(frozen=True)
class DockerTarget:
    """Where somebody's `docker` goes, if that is said anywhere."""

    whose: str  # "root" or "login"
    via: str  # where it is said: "DOCKER_HOST", "context NAME, FILE"
    endpoint: str  # "" for a context that does not exist


@dataclass(frozen=True)
class Leftover:
    """A volume without a container that may be of an older Letta."""

    path: str
    kind: str  # "named" by its name alone; by its content: "database", "home", "sqlite"
    postgres: str  # its major version, "" without one
    size: int | None  # bytes; None where it could not be told in a second
    last_written: int  # seconds since the epoch
    created: str  # as the engine tells it, "" when it is not running
    project: str  # of Compose

    @property
    def name(self) -> str:
        return self.path.removesuffix("/_data").rpartition("/")[2]


@dataclass
class Gpu:
    """What was seen of NVIDIA GPUs, where it was asked for."""

    devices: dict[str, str] = field(default_factory=dict)  # PCI address -> kernel driver, or "none"
    loaded: str = ""  # version of the kernel module in use
    installed: str = ""  # version of one that is there and not in use
    code: int | None = None  # nvidia-smi's exit code; None when there is no nvidia-smi
    said: list[str] = field(default_factory=list)
    toolkit: list[str] = field(default_factory=list)  # programs of the container toolkit


@dataclass
class Environment:
    """Sizes in bytes, times in seconds since the epoch."""

    clock: int | None = None
    asked: tuple[float, float] | None = None  # by this machine's clock: before and after the host told its own
    timesync: bool = False  # systemd-timesyncd has set the clock since the boot
    client: IPv4Address | IPv6Address | None = None  # address that this machine has for the host
    name_servers: list[IPv4Address] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)  # as /proc/meminfo names it
    cgroups: dict[str, tuple[str, str]] = field(default_factory=dict)  # mount point -> type, options
    controllers: set[str] = field(default_factory=set)  # of version 2
    docker_targets: list[DockerTarget] = field(default_factory=list)
    client_command: str = ""  # path of the command docker
    podman: str = ""  # the same, when it is Podman in disguise
    dockerd: str = ""
    packages: set[str] = field(default_factory=set)  # installed ones of Docker's
    unfinished: list[str] = field(default_factory=list)  # what dpkg has begun with, where some of Docker is missing
    compose: str = ""  # version of the plugin
    compose_path: str = ""
    dot_letta: dict[str, list[str]] = field(default_factory=dict)  # folder -> some of what is in it
    leftovers: list[Leftover] = field(default_factory=list)
    postgres_data: str = ""  # major version that wrote our volume
    gpu: Gpu = field(default_factory=Gpu)


def take(now: Environment, key: str, value: str) -> bool:
    """Read one line `key=value`; False for a key of somebody else. Raises ValueError or LookupError."""
    reader = _READERS.get(key)
    if reader is None:
        return False
    reader(now, value)
    return True


def _memory(now: Environment, value: str) -> None:
    name, kilobytes = value.split()
    now.memory[name] = int(kilobytes) * 1024


def _cgroup(now: Environment, value: str) -> None:
    where, kind, options = value.split(" ")
    now.cgroups[where] = (kind, options)


def _client(now: Environment, value: str) -> None:
    # sshd says UNKNOWN where it was not reached over a network.
    now.client = None if value in ("", "UNKNOWN") else ip_address(value.partition("%")[0])


def _name_server(now: Environment, value: str) -> None:
    address = ip_address(value.split(maxsplit=1)[0].partition("%")[0])
    if isinstance(address, IPv4Address) and not address.is_loopback:
        now.name_servers.append(address)


def _target(now: Environment, value: str) -> None:
    now.docker_targets.append(DockerTarget(*value.split(";", 2)))


def _compose(now: Environment, value: str) -> None:
    version, _, now.compose_path = value.partition(";")
    now.compose = version.strip().removeprefix("v")


def _dot_letta(now: Environment, value: str) -> None:
    folder, _, names = value.partition("/.letta/")
    now.dot_letta[f"{folder}/.letta"] = list(filter(None, names.split("/")))


def _leftover(now: Environment, value: str) -> None:
    path, kind, version, size, last_written, about = value.split("\t")
    created, _, project = about.partition(" ")
    kilobytes = int(size) * 1024 if size else None
    now.leftovers.append(Leftover(path, kind, version, kilobytes, int(last_written), created, project))


def _gpu_device(now: Environment, value: str) -> None:
    address, driver = value.split()
    now.gpu.devices[address] = driver


def _text(name: str) -> Callable[[Environment, str], None]:
    return lambda now, value: setattr(now, name, value.strip())


_READERS: dict[str, Callable[[Environment, str], None]] = {
    "clock": lambda now, value: setattr(now, "clock", int(value)),
    "timesync": lambda now, value: setattr(now, "timesync", value == "yes"),
    "client": _client,
    "name_server": _name_server,
    "memory": _memory,
    "cgroup": _cgroup,
    "controllers": lambda now, value: now.controllers.update(value.split()),
    "docker_of": _target,
    "client_command": _text("client_command"),
    "podman": _text("podman"),
    "dockerd": _text("dockerd"),
    "package": lambda now, value: now.packages.add(value),
    "unfinished": lambda now, value: now.unfinished.append(value),
    "compose": _compose,
    "dot_letta": _dot_letta,
    "leftover": _leftover,
    "postgres_data": _text("postgres_data"),
    "gpu_device": _gpu_device,
    "gpu_loaded": lambda now, value: setattr(now.gpu, "loaded", value.strip()),
    "gpu_installed": lambda now, value: setattr(now.gpu, "installed", value.strip()),
    "gpu_code": lambda now, value: setattr(now.gpu, "code", int(value)),
    "gpu_said": lambda now, value: now.gpu.said.append(value),
    "gpu_toolkit": lambda now, value: now.gpu.toolkit.append(value),
}
