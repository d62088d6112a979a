"""The settings file's schema: every key, its type, its default and its meaning.

The README's table of settings is generated from the descriptions here (inventory/table.py).
"""

import ipaddress
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

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

from files.lettabox import workflow_form
from inventory import comfyui, endpoint_type, letta_environment, providers, studio

PRIVATE = [ipaddress.ip_network(net) for net in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")]
DOCKER_BRIDGE = ipaddress.ip_network("172.17.0.0/16")
_UNIT = {"k": 2**10, "m": 2**20, "g": 2**30}


Found = Iterator[tuple[tuple[str | int, ...], str, bool]]  # as Problems.found


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


def _source(value: str) -> str:
    if value not in ("registry", "tar", "sdist"):
        raise ValueError("no source of an image; use registry, tar (`make image-load`) or sdist (built on the box)")
    return value


def _sha256(value: str) -> str:
    if value and not re.fullmatch(r"[0-9a-f]{64}", value):
        raise ValueError("not a SHA-256; write its 64 hex digits in lower case, as the package index shows them")
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


def _ollama_bind(value: str) -> str:
    if not ipaddress.ip_address(value).is_loopback:
        raise ValueError("must be a loopback address: Ollama has no password; use 127.0.0.1")
    return value


def _redis_bind(value: str) -> str:
    if not ipaddress.ip_address(value).is_loopback:
        raise ValueError("must be a loopback address: Letta supports no Redis password; use 127.0.0.1")
    return value


def _postgres_bind(value: str) -> str:
    address = ipaddress.ip_address(value)
    if not address.is_loopback and not studio.is_private(value):
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


def _limit(value: str) -> str:
    if value:
        size(value)
    return value


def _sized(least: str, most: str) -> AfterValidator:
    def check(value: str) -> str:
        if size(value) < size(least):
            raise ValueError(f"too small; use at least {least}")
        if size(value) > size(most):
            raise ValueError(f"too large; use at most {most}")
        return value

    return AfterValidator(check)


def _private(value: str) -> str:
    return _address(value) if value else value


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


def _acknowledgement(value: str) -> str:
    if not re.fullmatch(r"container:[0-9a-f]{64}(:stopped)?|process:[0-9a-f]{12}|volume:[^@\s]{1,255}@\S{1,40}", value):
        raise ValueError(
            "acknowledges nothing; copy what the preflight's finding says: container:<the whole id>, "
            "process:<12 digits> or volume:<name>@<when it was made>; there is none for all"
        )
    return value


def _inventory_name(value: str) -> str:
    if value and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", value):
        raise ValueError("not a name; write letters, digits, dots, dashes and underscores, at most 63, or leave it out")
    return value


def _mark(value: str) -> str:
    if value and not re.fullmatch(r"[0-9a-f]{12}", value):
        raise ValueError("names no owner; copy the 12 digits that the preflight's finding shows, or leave it out")
    return value


Port = Annotated[int, Field(ge=1, le=65535)]
Image = Annotated[str, AfterValidator(_image)]
Digest = Annotated[str, AfterValidator(_digest)]
Bind = Annotated[str, AfterValidator(_bind)]
Memory = Annotated[str, _sized("64m", "4096g")]
File = Annotated[Path | None, BeforeValidator(_path)]
Url = Annotated[str, AfterValidator(providers.checked_url)]
Variable = Annotated[str, AfterValidator(providers.checked_variable)]
Variables = Annotated[dict[str, str], AfterValidator(providers.checked_variables)]
Handle = Annotated[str, AfterValidator(providers.checked_handle)]
Words = Annotated[list[str], AfterValidator(providers.checked_words)]

# Letta version -> SHA-256 of its sdist, as of the package index.
_SDISTS = {"0.16.8": "363e26989e552c859ce2e7961d484acee6fccfc1e7b16e8f644b1ae1ccd754a3"}
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
    private_address: Annotated[str, AfterValidator(_private)] = Field(
        "",
        description="Its address for the other hosts, where it differs; needed for studio.link: direct.",
    )
    private_port: Port = Field(22, description="Its SSH port at private_address.")

    @property
    def place(self) -> tuple[str, int]:
        """Address and SSH port for the other hosts."""
        return (self.private_address, self.private_port) if self.private_address else (self.address, self.port)


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


class Sdist(_Model):
    sha256: Annotated[str, AfterValidator(_sha256)] = Field(
        "", description="Hash of letta-<version>.tar.gz on the package index; may be empty for 0.16.8, whose is known."
    )
    image: Image = Field(
        "debian:bookworm-20250908-slim", description="Debian 12 image that it is built on, with an exact tag."
    )
    digest: Digest = Field("", description=_DIGEST)


class Letta(_Model):
    image: Annotated[Image, AfterValidator(_letta_image)] = Field("letta/letta:0.16.8", description=_IMAGE)
    digest: Digest = Field("", description=_DIGEST)
    source: Annotated[str, AfterValidator(_source)] = Field(
        "registry",
        description="Where that image comes from: `registry`; `tar`, loaded by `make image-load` and never pulled; "
        "or `sdist`, built on the box from the source release of that version.",
    )
    sdist: Sdist = Field(default_factory=Sdist)
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
    context_window_limit: int = Field(
        180_000,
        ge=4_000,
        le=10_000_000,
        description="Tokens an agent may have in its context; at most what its model can take, answer included.",
    )
    tool_timeout: int = Field(
        180,
        ge=1,
        le=7200,
        description="Seconds a tool may run; a message to another agent counts until that agent has answered.",
    )
    environment: Annotated[dict[str, Any], AfterValidator(_environment)] = Field(
        default_factory=dict,
        description="Further environment variables for Letta: only those Letta 0.16.8 reads, no secrets.",
    )
    endpoint_types: list[Annotated[str, AfterValidator(endpoint_type.name)]] = Field(
        default_factory=list,
        max_length=20,
        description="Names of OpenAI-compatible routers that agents may have as model_endpoint_type, besides "
        f"{endpoint_type.ALWAYS}, which the image always accepts.",
    )

    @property
    def all_endpoint_types(self) -> list[str]:
        """The endpoint types our image accepts besides Letta's own, sorted, each once."""
        return sorted({endpoint_type.ALWAYS, *self.endpoint_types})

    @field_validator("sdist", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return {} if value is None else value

    @model_validator(mode="after")
    def _source_is_known(self) -> "Letta":
        if self.source != "sdist":
            return self
        found: list[tuple[tuple[str, ...], str, bool]] = []
        if not self.sdist.sha256 and self.version not in _SDISTS:
            text = (
                f"no hash is known for the sdist of {self.version}; write the SHA-256 of letta-{self.version}.tar.gz "
                "as the package index shows it"
            )
            found.append((("sdist", "sha256"), text, False))
        if self.digest:
            text = 'an image that is built on the box has no registry\'s digest; write "", or use source: registry'
            found.append((("digest",), text, True))
        if found:
            raise Problems(found)
        return self

    @property
    def sdist_sha256(self) -> str:
        """Hash of the sdist, from the settings or the one that is known; "" for an unknown one."""
        return self.sdist.sha256 or _SDISTS.get(self.version, "")

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


class Ollama(_Model):
    enabled: bool = Field(False, description="Whether to run Ollama as the service letta-ollama.")
    image: Image = Field("ollama/ollama:0.12.6", description=_IMAGE)
    digest: Digest = Field("", description=_DIGEST)
    bind: Annotated[Bind, AfterValidator(_ollama_bind)] = Field(
        "127.0.0.1", description="Address of the box Ollama listens on: loopback only, it has no password."
    )
    port: Port = Field(11434, description="Port of Ollama.")
    memory: Memory = Field("16g", description=_MEMORY)
    gpu: bool = Field(False, description="Whether Ollama gets the box's NVIDIA GPUs (needs the container toolkit).")
    context_length: int = Field(
        32768, ge=2048, le=1048576, description="Tokens of context Ollama gives a model; what is longer it cuts."
    )
    stop_grace: int = Field(30, ge=1, le=3600, description=_STOP)


class Provider(_Model):
    type: Annotated[providers.Type, BeforeValidator(providers.checked_type)] = Field(
        description=f"What speaks there: {', '.join(providers.BASE_URLS)}."
    )
    base_url: Url = Field(
        "",
        validate_default=True,
        description="Where it is, as letta-server sees it, with `/v1` where the API has it; by default the vendor's "
        "own, for ollama letta-ollama.",
    )
    key: Variable = Field(
        "", description="Name of the variable of your environment that holds the API key when you deploy."
    )

    @field_validator("base_url")
    @classmethod
    def _written_out(cls, value: str, info: ValidationInfo) -> str:
        kind = info.data.get("type")
        if kind is None:
            return value
        if value and kind in providers.FIXED:
            raise ValueError(f"Letta sends requests of type {kind} to the vendor in any case; leave it out")
        if not value and not providers.BASE_URLS[kind]:
            raise ValueError(f"type {kind} has no usual URL; write yours")
        return providers.trimmed(kind, value) if value else providers.BASE_URLS[kind]

    @model_validator(mode="after")
    def _has_key(self) -> "Provider":
        if not self.key and self.type not in providers.KEYLESS and self.base_url == providers.BASE_URLS[self.type]:
            text = f"{self.base_url} needs a key; name the variable of your environment that holds it"
            raise Problems([(("key",), text, False)])
        if self.key and self.type == "vllm":
            text = "Letta lists the models of type vllm without a key; leave it out, or use type openai"
            raise Problems([(("key",), text, False)])
        return self


Providers = dict[Annotated[str, AfterValidator(providers.checked_name)], Provider]


class Router(_Model):
    url: Url = Field("", description="A router that runs elsewhere; then only authorization has a meaning beside it.")
    git: Annotated[str, AfterValidator(providers.checked_git)] = Field(
        "", description="Repository of a router to run on the box: an URL, or a path there."
    )
    revision: Annotated[str, AfterValidator(providers.checked_revision)] = Field(
        "", description="Commit to run, all 40 digits."
    )
    packages: Annotated[list[str], AfterValidator(providers.checked_packages)] = Field(
        default_factory=list, description="Debian packages it needs, such as nodejs and npm."
    )
    build: str = Field("", description="Shell command that builds it in its checkout, run once for each commit.")
    start: Words = Field(
        default_factory=list,
        description="Program and arguments; `{host}` and `{port}` become the address to listen on.",
    )
    arguments: Words = Field(
        default_factory=lambda: ["--disable-bearer-passthrough"],
        description="Appended to start: the router must use its own credentials. `[]` for one without that option.",
    )
    port: Port = Field(3000, description="Port of the router on the box's address in letta-network.")
    health: Annotated[str, AfterValidator(providers.checked_path)] = Field(
        "/health", description="Path that answers 200 when it is ready."
    )
    start_timeout: int = Field(60, ge=1, le=3600, description="Seconds it gets to become healthy.")
    environment: Variables = Field(default_factory=dict, description="Its environment variables, no secrets.")
    secrets: Annotated[dict[str, Variable], AfterValidator(providers.checked_variables)] = Field(
        default_factory=dict,
        description="Its secret variables: name, and name of the variable of your environment that holds the value.",
    )
    authorization: Literal["strip", "pass"] = Field(
        "strip",
        description="What happens to a caller's Authorization header: strip, the router uses its own credentials; or "
        "pass.",
    )

    @property
    def enabled(self) -> bool:
        """Whether anything is to answer at http://letta-router:3000."""
        return bool(self.url or self.git)

    @model_validator(mode="after")
    def _complete(self) -> "Router":
        usual = {name: one.get_default(call_default_factory=True) for name, one in Router.model_fields.items()}
        told = {name for name, value in usual.items() if getattr(self, name) != value}
        found: list[tuple[tuple[str | int, ...], str, bool]] = []
        if self.url:
            beside = sorted(told - {"url", "authorization"})
            found += [((name,), "has no meaning beside router.url; remove one of the two", False) for name in beside]
        elif self.git:
            missing = [name for name in ("revision", "start") if name not in told]
            found += [((name,), "is required with router.git; add it", False) for name in missing]
            for name, variable in self.secrets.items():
                if name in self.environment:
                    found.append((("secrets", name), "is in router.environment too; remove one of the two", False))
                if not variable:
                    found.append((("secrets", name), "names no variable; write for example ROUTER_KEY", False))
        elif told:
            found.append(((), "names no router; set git (to run one on the box) or url (of one elsewhere)", False))
        if found:
            raise Problems(found)
        return self


class CustomNodes(_Model):
    git: Annotated[str, AfterValidator(providers.checked_git)] = Field(
        min_length=1, description="Repository of the custom nodes: an URL, or a path on the box."
    )
    revision: Annotated[str, AfterValidator(providers.checked_revision)] = Field(
        min_length=1, description="Their commit, all 40 digits: custom nodes are code that runs as ComfyUI."
    )


class ComfyUI(_Model):
    git: Annotated[str, AfterValidator(providers.checked_git)] = Field(
        comfyui.URL, min_length=1, description="Repository of ComfyUI: an URL, or a path on the box."
    )
    revision: Annotated[str, AfterValidator(providers.checked_revision)] = Field(
        comfyui.REVISION, min_length=1, description="Commit to run, all 40 digits; the default is v0.33.0."
    )
    profile: comfyui.Profile = Field(
        "24gb",
        description="What it runs on, which sets its flags: 24gb or 32gb of GPU memory, cpu (for tests: no GPU is "
        "needed, and none is used), or custom (flags alone).",
    )
    flags: Annotated[list[str], AfterValidator(comfyui.checked_flags)] = Field(
        default_factory=list, description="Further flags of ComfyUI, such as --novram; with custom, all of them."
    )
    port: Port = Field(8188, description="Port of ComfyUI on loopback; nothing but the studio talks to it.")
    start_timeout: int = Field(300, ge=5, le=3600, description="Seconds it gets to answer after a start.")
    memory: Annotated[str, AfterValidator(_limit)] = Field(
        "", description="Memory limit of the service, such as 60g; \"\" for none. Set one only where there is swap."
    )
    constraints: File = Field(
        None,
        exclude=True,  # a path of the operator's machine is nothing for the box
        description="Constraints file for its Python packages, instead of the one that fits the default revision.",
    )
    custom_nodes: dict[Annotated[str, AfterValidator(comfyui.checked_name)], CustomNodes] = Field(
        default_factory=dict
    )

    @property
    def all_flags(self) -> list[str]:
        """The profile's flags and the further ones."""
        return [*comfyui.PROFILES[self.profile], *self.flags]

    @property
    def device(self) -> str:
        """What it is to compute with, as ComfyUI calls it: "cpu" or "cuda"."""
        return "cpu" if "--cpu" in self.all_flags else "cuda"


class Model(_Model):
    repository: Annotated[str, AfterValidator(comfyui.checked_repository)] = Field(
        description="Its repository on the hub, such as Lightricks/LTX-2."
    )
    revision: Annotated[str, AfterValidator(providers.checked_revision)] = Field(
        "", description="Commit of the repository; empty until `make models-lock` has read it."
    )
    file: Annotated[str, AfterValidator(comfyui.checked_file)] = Field(description="Path of the file in there.")
    folder: Annotated[str, AfterValidator(comfyui.checked_folder)] = Field(
        description="Folder below models/ that it belongs into, such as checkpoints."
    )
    sha256: Annotated[str, AfterValidator(_sha256)] = Field("", description="Its hash; empty until locked.")
    size: int = Field(0, ge=0, description="Its bytes; 0 until locked.")

    @property
    def path(self) -> str:
        """Where it lands below models/."""
        return f"{self.folder}/{self.file.rpartition('/')[2]}"

    @property
    def locked(self) -> bool:
        """Whether all is known of it that a download is checked by."""
        return bool(self.revision and self.sha256 and self.size)


class Models(_Model):
    set: comfyui.ModelSet = Field(
        "ltx-2",
        description="Files to have: ltx-2 (those of ComfyUI's own text-to-video template), lightricks (those of "
        "Lightricks' workflow, with its custom nodes), or none.",
    )
    endpoint: Annotated[str, AfterValidator(comfyui.checked_endpoint)] = Field(
        "https://huggingface.co", description="The hub they come from, as the box sees it."
    )
    token: Variable = Field(
        "", description="Name of the variable of your environment with a token of the hub, for gated repositories."
    )
    files: dict[Annotated[str, AfterValidator(comfyui.checked_name)], Model] = Field(default_factory=dict)

    @property
    def declared(self) -> dict[str, Model]:
        """{name: model} of the set and of files, which replace those of the set by their names."""
        return {name: Model(**fields) for name, fields in comfyui.set_files(self.set).items()} | self.files

    @model_validator(mode="after")
    def _places_differ(self) -> "Models":
        first: dict[str, str] = {}
        found: list[tuple[tuple[str | int, ...], str, bool]] = []
        for name, one in self.declared.items():
            if one.path in first:
                other = first[one.path]
                here, there = (name, other) if name in self.files else (other, name)
                text = f"lands on models/{one.path}, as {there} does; give it another folder, or use the name {there}"
                found.append((("files", here), text, False))
            first.setdefault(one.path, name)
        if found:
            raise Problems(found)
        return self


class Place(_Model):
    node: str = Field(min_length=1, max_length=100, description="Id of the node in the API form, such as 92:3.")
    input: str = Field(min_length=1, max_length=100, description="Name of its input, such as text.")


class Manifest(_Model):
    prompt: Place | None = Field(None, description="Where the prompt goes: {node: \"92:3\", input: text}.")
    seeds: list[Place] = Field(
        default_factory=list, max_length=50, description="Every place of a seed, the base stage's first."
    )
    width: Place | None = Field(None, description="Where the width goes.")
    height: Place | None = Field(None, description="Where the height goes.")
    frames: Place | None = Field(None, description="Where the number of frames goes.")
    output: str = Field("", max_length=100, description="Id of the node that saves the video.")


class Workflow(_Model):
    template: Annotated[str, AfterValidator(comfyui.checked_template)] = Field(
        "video_ltx2_t2v", description="Template of ComfyUI's own package that makes the videos."
    )
    file: File = Field(
        None,
        exclude=True,
        description="Your own workflow instead, as ComfyUI exports it (File > Export (API)) or saves it.",
    )
    manifest: Manifest = Field(default_factory=Manifest)

    @model_validator(mode="after")
    def _is_a_workflow(self) -> "Workflow":
        if self.file is None:
            return self
        try:
            # One more byte than it may have: a file without end must not be read to the end.
            with self.file.open("rb") as file:
                form, workflow = workflow_form.parse(file.read(workflow_form.LIMIT + 1))
        except OSError as error:
            text = f"cannot be read: {_reason(error)}; name a readable file"
            raise Problems([(("file",), text, True)]) from None
        except ValueError as error:
            raise Problems([(("file",), str(error), True)]) from None
        wrong = workflow_form.misplaced(workflow, self.manifest.to_json()) if form == "api" else ()
        if found := [(("manifest", *path), text, False) for path, text in wrong]:
            raise Problems(found)
        return self


class Studio(_Model):
    port: Port = Field(8189, description="Port of the studio, on the host of group letta.")
    bind: Bind = Field(
        "127.0.0.1",
        description="Address it listens on besides letta-network's; with any but a loopback one, "
        "reading needs the token too.",
    )
    names: Annotated[
        list[Annotated[str, AfterValidator(studio.checked_name)]], AfterValidator(studio.checked_names)
    ] = Field(
        default_factory=list,
        max_length=20,
        description="Names it may be called by in URLs, besides localhost and addresses.",
    )
    read_token: bool = Field(False, description="Whether reading needs the token too.")
    cache: Annotated[str, _sized("16m", "64g")] = Field(
        "256m", description="Memory for decoded frames, such as 256m."
    )
    decoders: int = Field(2, ge=1, le=64, description="Frames that are decoded at the same time.")
    link: Literal["tunnel", "direct"] = Field(
        "tunnel",
        description="How GPU boxes and the host of group letta reach each other: tunnel (SSH), or direct, by their "
        "private_address, in the clear.",
    )
    files_port: Port = Field(8190, description="Port at which a GPU box of its own serves its videos to the studio.")
    attempts: int = Field(3, ge=1, le=20, description="Times a video is tried before it has failed.")
    render_timeout: int = Field(1800, ge=10, le=86400, description="Seconds a render may take before it is lost.")
    lost_after: int = Field(
        600, ge=10, le=86400, description="Seconds without a sign of a GPU box until another one takes its job."
    )

    @property
    def reads_need_token(self) -> bool:
        """Whether nobody reads without the token: asked for, or somebody else than this box can reach it."""
        return self.read_token or not studio.is_loopback(self.bind)


class Crew(_Model):
    file: File = Field(
        None,
        exclude=True,
        description="Your own crew; without one it is inventory/crew.yml, which comes with lettabox.",
    )
    model: Handle = Field(
        "",
        description="Chat model of the agents, by its handle in Letta, such as openai-proxy/gpt-4o; without one no "
        "crew is set up, and one that is there stays as it is.",
    )
    embedding: Handle = Field(
        "",
        description="Embedding model of the agents, by its handle in Letta: PROVIDER/MODEL, such as "
        "openai/text-embedding-3-small.",
    )


class Settings(_Model):
    network: Network = Field(default_factory=Network)
    docker: Docker = Field(default_factory=Docker)
    letta: Letta = Field(default_factory=Letta)
    postgres: Postgres = Field(default_factory=Postgres)
    redis: Redis = Field(default_factory=Redis)
    nginx: Nginx = Field(default_factory=Nginx)
    logs: Logs = Field(default_factory=Logs)
    ollama: Ollama = Field(default_factory=Ollama)
    providers: Providers = Field(default_factory=dict)
    router: Router = Field(default_factory=Router)
    comfyui: ComfyUI = Field(default_factory=ComfyUI)
    models: Models = Field(default_factory=Models)
    workflow: Workflow = Field(default_factory=Workflow)
    studio: Studio = Field(default_factory=Studio)
    crew: Crew = Field(default_factory=Crew)
    acknowledged: list[Annotated[str, AfterValidator(_acknowledgement)]] = Field(
        default_factory=list,
        max_length=100,
        description="What the preflight found to be a second Letta, or on the same data, and may stay: one container, "
        "process or volume an entry, as its finding says. Void when that changes.",
    )

    @field_validator("*", mode="before")
    @classmethod
    def _nothing(cls, value: Any, info: ValidationInfo) -> Any:
        # A section whose every line is commented out reads as null.
        empty: dict | list = [] if info.field_name == "acknowledged" else {}
        return empty if value is None else value

    def listeners(self) -> dict[str, Letta | Postgres | Redis | Nginx | Ollama]:
        """The services that listen on the box, by name; each has `bind`, `port`, `image` and `digest`."""
        always = {"letta": self.letta, "postgres": self.postgres, "redis": self.redis, "nginx": self.nginx}
        return always | ({"ollama": self.ollama} if self.ollama.enabled else {})

    @property
    def router_host(self) -> str:
        """The box's address in letta-network, where a router of ours listens: Docker gives it the first one."""
        return str(next(ipaddress.ip_network(self.network.subnet).hosts()))

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
        if self.router.git:
            text = "settings.{}.port on the same address; use another"
            found += [
                (("router", "port"), "the same port as " + text.format(name), True)
                for name, service in services.items()
                if service.port == self.router.port and _overlap(service.bind, self.router_host)
            ]
        nodes = [one.git for one in self.comfyui.custom_nodes.values()]
        if missing := comfyui.missing_nodes(self.models.set, nodes):
            text = (
                f"{self.models.set} needs the custom nodes {' and '.join(missing)}; add them to "
                f"settings.comfyui.custom_nodes with a commit each: {', '.join(missing.values())}"
            )
            found.append((("models", "set"), text, False))
        found += self._providers_misfit()
        if found:
            raise Problems(found)
        return self

    def _providers_misfit(self) -> list[tuple[tuple[str | int, ...], str, bool]]:
        found: list[tuple[tuple[str | int, ...], str, bool]] = []
        first: dict[str, str] = {}
        for name, one in self.providers.items():
            shared = providers.prefix(name, one.type, one.base_url)
            if shared in first:
                found.append((("providers", name), providers.same_handles(name, first[shared], shared), False))
            first.setdefault(shared, name)
            host = urlsplit(one.base_url).hostname
            if host == providers.OLLAMA_HOST and not self.ollama.enabled:
                text = "there is no letta-ollama; set ollama.enabled: true, or base_url to an Ollama elsewhere"
                found.append((("providers", name), text, False))
            if host == providers.ROUTER_HOST and not self.router.enabled:
                text = "there is no letta-router; set router.git or router.url"
                found.append((("providers", name, "base_url"), text, True))
        for variable, name in providers.LETTAS_OWN.items():
            if variable in self.letta.environment and name in self.providers:
                text = f"letta.environment.{variable} makes a provider of this name already; remove one of the two"
                found.append((("providers", name), text, False))
        return found


def _overlap(one: str, other: str) -> bool:
    """Whether two binds share an address; 0.0.0.0 and :: count as every address."""
    a, b = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return a == b or a.is_unspecified or b.is_unspecified


class Inventory(_Model):
    """The whole settings file."""

    hosts: dict[Annotated[str, AfterValidator(_name)], Host]
    groups: Groups
    settings: Settings = Field(default_factory=Settings)
    name: Annotated[str, AfterValidator(_inventory_name)] = Field(
        "",
        description="Name of this inventory, the same wherever you deploy from. Without one a box knows it by this "
        "machine and the file's path, and refuses it from elsewhere.",
    )
    takes_over: Annotated[str, AfterValidator(_mark)] = Field(
        "", description="Owner of the box that this inventory replaces, as the preflight's finding says."
    )

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
    def _ports_are_free(cls, value: Settings, info: ValidationInfo) -> Settings:
        hosts, groups = info.data.get("hosts"), info.data.get("groups")
        if hosts is None or groups is None:
            return value
        ports = [(groups.letta[0], name, service.port) for name, service in value.listeners().items()]
        ports += [(name, "comfyui", value.comfyui.port) for name in groups.gpu]
        found = [
            ((name, "port"), f"is the SSH port of {host} (hosts.{host}.port); use another", True)
            for host, name, port in ports
            if port == hosts[host].port
        ]
        for name, service in value.listeners().items() if groups.letta[0] in groups.gpu else ():
            if service.port == value.comfyui.port and _overlap(service.bind, "127.0.0.1"):
                # Point at the one the operator wrote, not at a default.
                here, there = ("comfyui", name) if "port" in value.comfyui.model_fields_set else (name, "comfyui")
                found.append(((here, "port"), f"the same port as settings.{there}.port; use another", True))
        if found:
            raise Problems(found)
        return value

    @field_validator("settings")
    @classmethod
    def _studio_fits(cls, value: Settings, info: ValidationInfo) -> Settings:
        hosts, groups = info.data.get("hosts"), info.data.get("groups")
        if hosts is None or groups is None or not groups.gpu:
            return value  # without a GPU box there is no studio
        letta = groups.letta[0]
        found = [*_ports_of_studio(value, hosts, groups)]
        if groups.gpu != [letta]:
            found += _link_of_studio(value, hosts, letta, [name for name in groups.gpu if name != letta])
        if found:
            raise Problems(found)
        return value

    @field_validator("settings")
    @classmethod
    def _crew_fits(cls, value: Settings, info: ValidationInfo) -> Settings:
        groups, found = info.data.get("groups"), []
        if not value.crew.model:
            return value
        if not value.crew.embedding:
            text = "a crew needs an embedding model too, for its archival memory; add settings.crew.embedding"
            found.append((("crew", "embedding"), text, False))
        if groups is not None and not groups.gpu:
            text = "a crew makes videos, and groups.gpu names no host; add one, or leave settings.crew.model out"
            found.append((("crew", "model"), text, True))
        if found:
            raise Problems(found)
        return value

    @property
    def letta(self) -> str:
        """Name of the host of group letta."""
        return self.groups.letta[0]

    @property
    def own_gpus(self) -> list[str]:
        """Names of the hosts of group gpu that are not the host of group letta."""
        return [name for name in self.groups.gpu if name != self.letta]

    def tunnel_ports(self) -> dict[str, int]:
        """{GPU box of its own: port of the letta host's loopback where its tunnel ends}."""
        settings, host = self.settings, self.hosts[self.letta]
        taken = {one.port for one in settings.listeners().values()} | {host.port, host.private_port}
        taken |= {settings.studio.port, settings.comfyui.port, settings.router.port}
        return studio.tunnel_ports(self.own_gpus, taken)


def _ports_of_studio(settings: Settings, hosts: dict[str, Host], groups: Groups) -> Found:
    """Ports of the studio, and of the videos of a GPU box of its own, that something else is to have there."""
    told, letta = settings.studio, groups.letta[0]
    others = {name: (service.bind, service.port) for name, service in settings.listeners().items()}
    if settings.router.git:
        others["router"] = (settings.router_host, settings.router.port)
    if letta in groups.gpu:
        others["comfyui"] = ("127.0.0.1", settings.comfyui.port)
    own = [name for name in groups.gpu if name != letta]
    if told.port == hosts[letta].port:
        text = f"is the SSH port of {letta} (hosts.{letta}.port); use another"
        yield ("studio", "port"), text, True
    for name, (bind, port) in others.items():
        if port == told.port and any(_overlap(bind, one) for one in (told.bind, settings.router_host, "127.0.0.1")):
            here, there = ("studio", name) if "port" in told.model_fields_set else (name, "studio")
            yield (here, "port"), f"the same port as settings.{there}.port on the same address; use another", True
    for name in own:
        if told.files_port in (hosts[name].port, hosts[name].private_port):
            yield ("studio", "files_port"), f"is the SSH port of {name} (hosts.{name}); use another", True
    if own and told.files_port == settings.comfyui.port:
        yield ("studio", "files_port"), "the same port as settings.comfyui.port; use another", True


def _link_of_studio(settings: Settings, hosts: dict[str, Host], letta: str, own: list[str]) -> Found:
    """What keeps GPU boxes of their own and the host of group letta from reaching each other."""
    if settings.studio.link == "tunnel":
        if studio.is_loopback(hosts[letta].place[0]):
            text = (
                f"{', '.join(own)} must reach {letta} by SSH, and {hosts[letta].place[0]} is each machine itself; "
                f"set hosts.{letta}.private_address to the address that {letta} has for them"
            )
            yield ("studio", "link"), text, True
        return
    for name in (letta, *own):
        address = hosts[name].private_address
        if not address:
            text = f"direct needs hosts.{name}.private_address, which is missing; add it, or use tunnel"
            yield ("studio", "link"), text, True
        elif not studio.is_private(address):
            text = (
                f"direct goes in the clear, and hosts.{name}.private_address ({address}) is no IP address of a private "
                "network; write one of 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or fc00::/7, or use "
                "tunnel"
            )
            yield ("studio", "link"), text, True
    place = hosts[letta].private_address
    if studio.is_private(place) and ipaddress.ip_address(settings.postgres.bind) != ipaddress.ip_address(place):
        text = (
            f"with studio.link: direct the GPU boxes reach the database at hosts.{letta}.private_address; "
            f"write {place}, or use studio.link: tunnel"
        )
        yield ("postgres", "bind"), text, True
