"""The settings file's schema: every key, its type, its default and its meaning.

The README's table of settings is generated from the descriptions here (inventory/table.py).
"""

import ipaddress
import math
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    field_validator,
    model_validator,
)

from inventory import letta_environment

PRIVATE = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
DOCKER_BRIDGE = ipaddress.ip_network("172.17.0.0/16")
_UNIT = {"k": 2**10, "m": 2**20, "g": 2**30}


class Problems(ValueError):
    """Several problems of one value, each at its own place.

    `found` holds (path relative to the validated value, text, show the value or not).
    """

    def __init__(self, found: list[tuple[tuple[str | int, ...], str, bool]]):
        super().__init__("; ".join(text for _, text, _ in found))
        self.found = found


class _Model(BaseModel):
    # strict: "8283" is not 8283; forbid: a misspelt key is refused, not ignored.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    def to_json(self) -> dict[str, Any]:
        """Plain data; pyinfra calls this for `debug-inventory --json`."""
        return self.model_dump(mode="json")


# --- single values -----------------------------------------------------------------------------------------


def _name(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,62}", value):
        raise ValueError(
            "a host's name is lower-case letters, digits, dots and dashes, at most 63, not beginning with . "
            "or -; rename it"
        )
    return value


def _address(value: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?", value):
        return value
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(
            "not a host name or IP address; write just that, without user@, port or path"
        ) from None
    return value


def _user(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}", value):
        raise ValueError("not a Linux user name; write the SSH login, for example root or debian")
    return value


def _path(value: Any, info: ValidationInfo) -> Any:
    """Expand `~`; a relative path starts at the settings file's folder, the validation context's "folder"."""
    if not isinstance(value, str):
        return value  # None is fine, and pydantic refuses the rest
    if not value or "\0" in value or "\n" in value:
        raise ValueError("must name a file (not its content); leave the key out if there is none")
    try:
        path = Path((info.context or {}).get("folder", ".")) / Path(value).expanduser()
        is_file = path.is_file()
    except (OSError, RuntimeError) as error:  # a name too long, a folder closed to us, no such ~user
        raise ValueError(f"cannot look at this file: {_reason(error)}; name a readable file") from None
    if not is_file:
        raise ValueError(f"there is no such file ({path}); name an existing one or leave the key out")
    return path


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _image(value: str) -> str:
    if "@" in value:
        raise ValueError("has a digest; write just name:tag, and put the digest in the key digest beside it")
    match = re.fullmatch(
        r"(?:[\w.-]+(?::\d{1,5})?/)?[a-z0-9][a-z0-9._/-]*(?::([\w][\w.-]{0,127}))?", value, re.ASCII
    )
    if not match:
        raise ValueError("not an image name; write it as name:tag")
    if match[1] in (None, "latest"):
        raise ValueError(
            f"{'has no tag' if match[1] is None else 'latest is a moving tag'}; name one exact version, as "
            "name:tag: upstream is archived, and a moving tag changes the database schema under the agents"
        )
    if short := re.match(r"docker\.io/(?:library/)?|library/", value):
        # Docker lists such an image under its short name, and would never be found to be the declared one.
        raise ValueError(f"write it as Docker lists it, {value[short.end():]}")
    return value


def _letta_image(value: str) -> str:
    tag = value.rpartition(":")[2]
    if not re.fullmatch(r"0\.16\.\d{1,4}", tag):
        raise ValueError("lettabox knows Letta 0.16 only; use a tag 0.16.<n>, for example letta/letta:0.16.8")
    return value


def _digest(value: str) -> str:
    if value and not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
        raise ValueError(
            'not a digest; write sha256: and 64 hex digits, or "" to record it at the first pull'
        )
    return value


def _bind(value: str) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        raise ValueError(
            "must be an IP address; write for example 127.0.0.1 (this box only) or 0.0.0.0"
        ) from None
    if address.is_multicast or "%" in value or value == "255.255.255.255":
        raise ValueError("nothing can listen on this address; write an address of the box, such as 127.0.0.1")
    return value


def _redis_bind(value: str) -> str:
    if not ipaddress.ip_address(value).is_loopback:
        raise ValueError("must be a loopback address: Letta supports no Redis password; use 127.0.0.1")
    return value


def _postgres_bind(value: str) -> str:
    address = ipaddress.ip_address(value)
    if not address.is_loopback and not any(address in net for net in PRIVATE):
        raise ValueError(
            "the database must not listen on all or on public addresses; use 127.0.0.1 or a private "
            "address of the box"
        )
    return value


def size(value: str) -> int:
    """Bytes in a size such as 512m or 4g (k, m, g: powers of 1024); ValueError if it is not one."""
    if not re.fullmatch(r"[1-9][0-9]{0,11}[kmg]", value):
        raise ValueError("not a size; write a whole number and k, m or g, for example 512m or 4g")
    return int(value[:-1]) * _UNIT[value[-1]]


def _sized(least: str, most: str) -> AfterValidator:
    def check(value: str) -> str:
        if size(value) < size(least):
            raise ValueError(f"too small; use at least {least}")
        if size(value) > size(most):
            raise ValueError(f"too large; use at most {most}")
        return value

    return AfterValidator(check)


def _subnet(value: str) -> str:
    try:
        net = ipaddress.IPv4Network(value)
    except ValueError as error:
        raise ValueError(f"not an IPv4 network ({error}); write for example 172.22.0.0/16") from None
    if not any(net.subnet_of(private) for private in PRIVATE if private.version == 4):
        raise ValueError(
            "not a private network; use one inside 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16, "
            "for example 172.22.0.0/16"
        )
    if not 16 <= net.prefixlen <= 28 or str(net) != value:
        raise ValueError("the prefix must be /16 to /28; write for example 172.22.0.0/16")
    if net.overlaps(DOCKER_BRIDGE):
        raise ValueError(
            f"overlaps {DOCKER_BRIDGE}, the default of Docker's own bridge; use for example 172.22.0.0/16"
        )
    return value


def _daemon(value: dict[str, Any]) -> dict[str, Any]:
    moved = "moving the data root makes existing volumes, hence agents, disappear; leave it out"
    reasons = {
        "data-root": moved,
        "graph": moved,
        "hosts": "it belongs to the engine's unit file, and with both the engine does not start; leave out",
    }
    found = [((key,), reasons[key], True) for key in value if key in reasons]
    if found:
        raise Problems(found)
    return value


def _environment(value: dict[str, Any]) -> dict[str, Any]:
    if len(value) > 200:
        raise ValueError("more than 200 variables; Letta does not read that many, remove some")
    found: list[tuple[tuple[str, ...], str, bool]] = []
    for name, content in value.items():
        # The value is not shown where the name is wrong: it may well be a secret.
        if reason := letta_environment.objection(name):
            found.append(((name,), reason, False))
        elif not isinstance(content, str | int | float | bool):
            found.append(
                ((name,), 'must be text, a number, true or false; write "" for an empty value', True)
            )
        elif isinstance(content, float) and not math.isfinite(content):
            found.append(((name,), "must be a finite number", True))
        elif isinstance(content, str) and re.search(r"[\n\r\0]", content):
            found.append(((name,), "must be one line without NUL characters", False))
        elif isinstance(content, str) and re.search(r"://[^/@\s]*:[^/@\s]*@", content):
            found.append(((name,), f"carries a password: {letta_environment.SECRET}", False))
    if found:
        raise Problems(found)
    return value


Port = Annotated[int, Field(ge=1, le=65535)]
Image = Annotated[str, AfterValidator(_image)]
Digest = Annotated[str, AfterValidator(_digest)]
Bind = Annotated[str, AfterValidator(_bind)]
Memory = Annotated[str, _sized("64m", "4096g")]
File = Annotated[Path | None, BeforeValidator(_path)]

_IMAGE = "Image to run, with an exact tag."
_DIGEST = 'sha256:... the image must have; "" records it at the first pull and refuses a later change.'
_MEMORY = "Memory limit of the container, in Docker's form (512m, 4g)."
_STOP = "Seconds the container gets to stop before it is killed."


# --- hosts and groups --------------------------------------------------------------------------------------


class Host(_Model):
    address: Annotated[str, AfterValidator(_address)] = Field(
        description="Host name or IP address SSH connects to."
    )
    port: Port = Field(22, description="SSH port.")
    user: Annotated[str, AfterValidator(_user)] = Field(
        description="SSH login: root, or a user who may use sudo without a password."
    )
    key: File = Field(
        None,
        description="Private key file; without it the SSH agent and the usual keys are tried. `~` is "
        "expanded; a relative path starts at this file's folder.",
    )
    known_hosts: File = Field(
        None,
        description="File with the box's host key, which must match; without it a new key is accepted once "
        "and remembered in ~/.ssh/known_hosts.",
    )


class Groups(_Model):
    letta: list[str] = Field(description="The box that runs Letta: exactly one host.")
    gpu: list[str] = Field(
        default_factory=list, description="Boxes with a GPU: any number, may be the same host."
    )

    @field_validator("gpu", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return [] if value is None else value

    @field_validator("letta")
    @classmethod
    def _one(cls, value: list[str]) -> list[str]:
        if len(value) != 1:
            raise ValueError(f"has {len(value)} hosts; name exactly one host of hosts")
        return value

    @field_validator("gpu")
    @classmethod
    def _once(cls, value: list[str]) -> list[str]:
        found = [((i,), "named twice; remove one", True) for i, name in enumerate(value) if name in value[:i]]
        if found:
            raise Problems(found)
        return value


# --- settings ----------------------------------------------------------------------------------------------


class Network(_Model):
    subnet: Annotated[str, AfterValidator(_subnet)] = Field(
        "172.22.0.0/16", description="Private IPv4 network of letta-network, /16 to /28."
    )


class Docker(_Model):
    daemon: Annotated[dict[str, JsonValue], AfterValidator(_daemon)] = Field(
        default_factory=dict,
        description="Keys merged into the engine's daemon.json; other keys there stay as they are.",
    )


class Letta(_Model):
    image: Annotated[Image, AfterValidator(_letta_image)] = Field("letta/letta:0.16.8", description=_IMAGE)
    digest: Digest = Field("", description=_DIGEST)
    bind: Bind = Field("127.0.0.1", description="Address of the box the Letta server listens on.")
    port: Port = Field(8283, description="Port of the Letta server.")
    memory: Annotated[str, _sized("1g", "4096g")] = Field("4g", description=_MEMORY)
    stop_grace: int = Field(60, ge=1, le=3600, description=_STOP)
    start_timeout: int = Field(
        600,
        ge=10,
        le=7200,
        description="Seconds a deploy waits until the server is healthy (migrations included).",
    )
    keepalive_interval: int = Field(
        20,
        ge=1,
        le=3600,
        description="Seconds between keepalive events on a silent stream; must be below nginx.read_timeout.",
    )
    environment: Annotated[dict[str, Any], AfterValidator(_environment)] = Field(
        default_factory=dict,
        description="Further environment variables for Letta: only those Letta 0.16.8 reads, no secrets.",
    )

    @property
    def version(self) -> str:
        """The image's tag, which is Letta's version: "0.16.8"."""
        return self.image.rpartition(":")[2]


class Postgres(_Model):
    image: Image = Field("pgvector/pgvector:0.8.0-pg17", description=_IMAGE)
    digest: Digest = Field("", description=_DIGEST)
    bind: Annotated[Bind, AfterValidator(_postgres_bind)] = Field(
        "127.0.0.1", description="Address of the box Postgres listens on: loopback or private."
    )
    port: Port = Field(5432, description="Port of Postgres.")
    memory: Memory = Field("2g", description=_MEMORY)
    max_connections: int = Field(
        200, ge=20, le=10000, description="Connections Postgres allows; Letta opens one per database session."
    )
    stop_grace: int = Field(60, ge=1, le=3600, description=_STOP)


class Redis(_Model):
    image: Image = Field("redis:8.0", description=_IMAGE)
    digest: Digest = Field("", description=_DIGEST)
    bind: Annotated[Bind, AfterValidator(_redis_bind)] = Field(
        "127.0.0.1", description="Address of the box Redis listens on: loopback only, it has no password."
    )
    port: Port = Field(6379, description="Port of Redis.")
    memory: Memory = Field("512m", description=_MEMORY)
    stop_grace: int = Field(10, ge=1, le=3600, description=_STOP)


class Nginx(_Model):
    image: Image = Field("nginx:1.26", description=_IMAGE)
    digest: Digest = Field("", description=_DIGEST)
    bind: Bind = Field("127.0.0.1", description="Address of the box the streaming proxy listens on.")
    port: Port = Field(8284, description="Port of the streaming proxy.")
    memory: Memory = Field("256m", description=_MEMORY)
    read_timeout: int = Field(
        1800, ge=10, le=86400, description="Seconds of silence after which the proxy ends a stream."
    )
    max_body_size: Annotated[str, _sized("1k", "64g")] = Field(
        "100m", description="Largest upload the proxy accepts (nginx's form: 100m)."
    )
    stop_grace: int = Field(30, ge=1, le=3600, description=_STOP)


class Logs(_Model):
    max_size: Annotated[str, _sized("100k", "100g")] = Field(
        "10m", description="Size at which a container's log file is rotated."
    )
    max_file: int = Field(3, ge=1, le=100, description="Log files kept per container.")


class Settings(_Model):
    network: Network = Field(default_factory=Network)
    docker: Docker = Field(default_factory=Docker)
    letta: Letta = Field(default_factory=Letta)
    postgres: Postgres = Field(default_factory=Postgres)
    redis: Redis = Field(default_factory=Redis)
    nginx: Nginx = Field(default_factory=Nginx)
    logs: Logs = Field(default_factory=Logs)

    @field_validator("*", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        # A section whose every line is commented out reads as null.
        return {} if value is None else value

    def listeners(self) -> dict[str, Letta | Postgres | Redis | Nginx]:
        """The services that listen on the box, by name; each has `bind` and `port`."""
        return {"letta": self.letta, "postgres": self.postgres, "redis": self.redis, "nginx": self.nginx}

    @model_validator(mode="after")
    def _fit_together(self) -> "Settings":
        found = []
        before: list[str] = []
        services = self.listeners()
        for name, service in services.items():
            for other in before:
                if service.port == services[other].port and _overlap(service.bind, services[other].bind):
                    # Point at the one the operator wrote, not at a default.
                    here, there = (name, other) if "port" in service.model_fields_set else (other, name)
                    text = f"the same port as settings.{there}.port on the same address; use another"
                    found.append(((here, "port"), text, True))
            before.append(name)
        if self.letta.keepalive_interval >= self.nginx.read_timeout:
            text = (
                f"letta.keepalive_interval ({self.letta.keepalive_interval}) must be below "
                f"nginx.read_timeout ({self.nginx.read_timeout}), or the proxy cuts silent streams; "
                "lower the one or raise the other"
            )
            written = "keepalive_interval" in self.letta.model_fields_set
            found.append(
                (("letta", "keepalive_interval") if written else ("nginx", "read_timeout"), text, True)
            )
        if found:
            raise Problems(found)
        return self


def _overlap(one: str, other: str) -> bool:
    """Whether two binds share an address; 0.0.0.0 and :: count as every address."""
    a, b = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return a == b or a.is_unspecified or b.is_unspecified


class Inventory(_Model):
    """The whole settings file."""

    hosts: dict[Annotated[str, AfterValidator(_name)], Host]
    groups: Groups
    settings: Settings = Field(default_factory=Settings)

    @field_validator("settings", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("hosts")
    @classmethod
    def _some(cls, value: dict[str, Host]) -> dict[str, Host]:
        if not value:
            raise ValueError("has no host; add at least one, with address and user")
        return value

    # These two look back at fields read before them: they speak up even when a later field is wrong.
    @field_validator("groups")
    @classmethod
    def _hosts_exist(cls, value: Groups, info: ValidationInfo) -> Groups:
        hosts = info.data.get("hosts")
        if hosts is None:
            return value
        known = ", ".join(hosts)
        found = [
            ((group, i), f"there is no such host; name one of hosts: {known}", True)
            for group in ("letta", "gpu")
            for i, name in enumerate(getattr(value, group))
            if name not in hosts
        ]
        used = {*value.letta, *value.gpu}
        idle = ", ".join(name for name in hosts if name not in used)
        if idle:
            found.append(
                ((), f"no group names the host {idle}; add it to groups.gpu or remove it from hosts", False)
            )
        if found:
            raise Problems(found)
        return value

    @field_validator("settings")
    @classmethod
    def _ssh_port_is_free(cls, value: Settings, info: ValidationInfo) -> Settings:
        hosts, groups = info.data.get("hosts"), info.data.get("groups")
        if hosts is None or groups is None:
            return value
        host = groups.letta[0]
        found = [
            ((name, "port"), f"is the SSH port of {host} (hosts.{host}.port); use another", True)
            for name, service in value.listeners().items()
            if service.port == hosts[host].port
        ]
        if found:
            raise Problems(found)
        return value
