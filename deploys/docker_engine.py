"""The Docker engine with Compose v2, from the distribution when the host has none."""

from pyinfra import host
from pyinfra.api import deploy

from facts.engine import Engine, EngineState
from operations import engine, packages

# How each supported distribution names Compose v2.
COMPOSE = {"debian": "docker-compose", "ubuntu": "docker-compose-v2"}


def missing_packages(now: EngineState, distribution: str) -> list[str]:
    """Debian packages to install; an engine or a plugin from elsewhere (docker-ce) counts as present."""
    wanted = []
    if not now.installed:
        wanted += ["docker.io", *(["docker-cli"] if distribution == "debian" else [])]
    if not now.compose.startswith("2") and not now.compose.startswith("5"):
        wanted.append(COMPOSE[distribution])
    return wanted


@deploy("Docker engine")
def docker_engine(distribution: str) -> None:
    wanted = missing_packages(host.get_fact(Engine), distribution)
    if wanted:
        packages.installed(name="Packages", packages=wanted)
    engine.running(name="Service")
    if host.data.settings.docker.daemon:
        engine.configured(name="daemon.json", daemon=host.data.settings.docker.daemon)
