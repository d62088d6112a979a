"""Docker volumes and networks by name, in one command."""

import shlex

from pyinfra.api import FactBase


class DockerObjects(FactBase[set[str]]):
    """`volume NAME` and `network NAME` for those that exist; empty without an engine."""

    default = set

    def command(self, volumes: list[str], networks: list[str]) -> str:
        ask = "docker {0} inspect --format '{0} {{{{.Name}}}}' {1} 2>/dev/null; "
        return (
            ask.format("volume", " ".join(map(shlex.quote, volumes)))
            + ask.format("network", " ".join(map(shlex.quote, networks)))
            + ":"
        )

    def process(self, output: list[str]) -> set[str]:
        return set(filter(None, output))  # docker prints an empty line for a missing object
