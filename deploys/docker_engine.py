"""The Docker engine with Compose v2, from the distribution when the host has none."""

from pyinfra import host
from pyinfra.api import deploy

from operations import engine


@deploy("Docker engine")
def docker_engine(distribution: str) -> None:
    engine.installed(name="Packages", distribution=distribution)
    engine.running(name="Service")
    if host.data.settings.docker.daemon:
        engine.configured(name="daemon.json", daemon=host.data.settings.docker.daemon)
