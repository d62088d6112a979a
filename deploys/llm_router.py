"""The LLM router: its unit on the box, and the part of the proxy that shows it to letta-network."""

import hashlib
import json
from urllib.parse import urlsplit

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, sources
from deploys.unit_file import quoted
from inventory.schema import Router, Settings
from operations import packages, router, tree
from operations.tree import Directory, File

SYSUSERS = b'u lettabox-router - "LLM router for Letta" /var/lib/lettabox-router\n'


def release(told: Router) -> str:
    """`<commit>-<hash of where it comes from and how it is built>`: the name of its folder."""
    made_of = json.dumps([told.git, told.build])
    return f"{told.revision}-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}"


def nginx(settings: Settings) -> File:
    """The proxy's server that is http://letta-router:3000 on letta-network."""
    told = settings.router
    url = urlsplit(told.url) if told.url else urlsplit(f"http://{settings.router_host}:{told.port}")
    path = url.path.rstrip("/").removesuffix("/v1")
    return sources.template("llm_router/nginx.conf.j2", s=settings, scheme=url.scheme, host=url.netloc, below=path)


def unit(settings: Settings) -> File:
    """The systemd unit of a router that runs on the box."""
    told = settings.router
    folder = f"{layout.ROUTER}/{release(told)}"
    program, *words = [_placed(settings, one) for one in [*told.start, *told.arguments]]
    # systemd wants a path or a name to look up; what the checkout brings is neither.
    if "/" in program and not program.startswith("/"):
        program = f"{folder}/{program.removeprefix('./')}"
    return sources.template(
        "llm_router/lettabox-router.service.j2",
        r=told,
        folder=folder,
        command=" ".join(quoted(one) for one in (program, *words)),
        environment=[quoted(f"{name}={_placed(settings, value)}", "") for name, value in told.environment.items()],
    )


def _placed(settings: Settings, word: str) -> str:
    return word.replace("{host}", settings.router_host).replace("{port}", str(settings.router.port))


@deploy("LLM router")
def llm_router() -> None:
    settings = host.data.settings
    told = settings.router
    if not told.git:
        router.absent(name="No router on the box")
        return
    packages.installed(name="Packages", packages=["git", *told.packages])
    wanted = unit(settings)
    tree.present(
        name="Unit and user",
        files={layout.ROUTER_WANTED: wanted, "/etc/sysusers.d/lettabox-router.conf": File(SYSUSERS)},
        directories={layout.ROUTER: Directory()},
    )
    router.running(
        name="Checkout, build and service",
        release=release(told),
        unit=wanted.sha256,
        secrets=told.secrets,
    )
