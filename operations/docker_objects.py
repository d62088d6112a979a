"""Docker volumes and networks: created when missing, never changed, never removed."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from facts.docker_objects import DockerObjects


@operation()
def present(volumes: list[str], networks: dict[str, str]) -> Generator[StringCommand, None, None]:
    """Create what is missing of `volumes` and `networks` {name: subnet}, labelled as ours."""
    now = host.get_fact(DockerObjects, volumes=volumes, networks=list(networks))
    label = "--label lettabox=1"
    commands = [f"docker volume create {label} {shlex.quote(name)}" for name in volumes if f"volume {name}" not in now]
    commands += [
        f"docker network create {label} --subnet {shlex.quote(subnet)} {shlex.quote(name)}"
        for name, subnet in networks.items()
        if f"network {name}" not in now
    ]
    if not commands:
        host.noop("volumes and networks exist")
        return
    yield StringCommand(" && ".join(commands))
