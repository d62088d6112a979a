"""What the host of the Letta server must have, and what must not be there."""

from collections.abc import Iterator

from deploys import layout, letta_image
from deploys.checks import engine, leftovers, network, ports
from deploys.finding import Finding
from facts.fitness import HostState
from files.lettabox import neighbours
from inventory import environment
from inventory.schema import Settings


def findings(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    """What the host of the Letta server must have, and what must not be there."""
    yield from _ports(name, now, settings)
    yield from engine.findings(name, now)
    yield from network.findings(name, now, settings)
    yield from leftovers.findings(name, now, settings)
    yield from _secrets(name, now)
    yield from _images(name, now, settings)
    yield from _keys(name, now, settings)


def _ports(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    if blind := ports.blind(name, now):
        yield from blind
        return
    for service, wanted in settings.listeners().items():
        whose = f"letta-{_CONTAINER[service]}"
        if other := neighbours.on_port(now.seen, wanted.bind, wanted.port, whose):
            yield ports.taken(name, other, f"settings.{service}.port")
    told = settings.router
    if told.git and (
        other := neighbours.on_port(now.seen, settings.router_host, told.port, "the router", now.router_pids)
    ):
        yield ports.taken(name, other, "settings.router.port")


_CONTAINER = {"postgres": "postgres", "redis": "redis", "letta": "server", "nginx": "nginx", "ollama": "ollama"}


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
    base = letta_image.base(settings)
    # A bare host gets its engine first; only then there is something to load the images into.
    if settings.letta.source == "tar" and now.engine and base not in now.images:
        yield Finding(
            name,
            "image-missing",
            f"image {base} is not on it, and settings.letta.source is tar: nothing is pulled",
            "make image-load FILE=..., with a file that make image-save or docker save wrote",
        )
    for image, digest in letta_image.others(settings).items():
        wanted = now.recorded_images.get(image)
        present = now.images.get(image)
        # A digest in the settings is an order to get that content, whatever was recorded.
        if digest or not wanted or not present or wanted in present:
            continue
        yield Finding(
            name,
            "image-changed",
            f"image {image} is not the one of its first pull ({wanted}); it is {', '.join(sorted(present))}",
            f"docker rmi {image} and deploy again, or set its digest in the settings if the change is wanted",
        )


def _keys(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    """Keys that this environment should hold, where the box has none from an earlier deploy."""
    wanted = [(f"provider {one}", f"provider-{one}", told.key) for one, told in settings.providers.items() if told.key]
    wanted += [("the router", f"router-{one}", variable) for one, variable in settings.router.secrets.items()]
    yield from keys(name, now, wanted)


def keys(name: str, now: HostState, wanted: list[tuple[str, str, str]]) -> Iterator[Finding]:
    """Keys that neither the environment nor the box has, of (whose, name of the secret, variable)."""
    for whose, secret, variable in wanted:
        try:
            missing = environment.value(variable) is None and secret not in now.secrets
        except ValueError as error:
            yield Finding(name, "key", f"for {whose}: {error}", f"export {variable}= with the key alone, on one line")
            continue
        if missing:
            yield Finding(
                name,
                "key",
                f"{whose} needs a key: the variable {variable} is not set here, and the box has none yet",
                f"export {variable}=... and deploy again, or leave {whose} out of the settings",
            )
