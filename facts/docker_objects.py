"""Docker volumes and networks by name, in one command."""

import json
import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase


@dataclass(frozen=True)
class Objects:
    volumes: frozenset[str] = frozenset()
    networks: dict[str, list[str]] | None = None  # name -> subnets


class DockerObjects(FactBase[Objects]):
    """Those of `volumes` and `networks` that exist; none without an engine."""

    def default(self) -> Objects:
        return Objects()

    def command(self, volumes: list[str], networks: list[str]) -> str:
        ask = "docker {0} inspect --format '{0} {{{{.Name}}}} {{{{json {1}}}}}' {2} 2>/dev/null; "
        return (
            ask.format("volume", ".Labels", " ".join(map(shlex.quote, volumes)))
            + ask.format("network", ".IPAM.Config", " ".join(map(shlex.quote, networks)))
            + ":"
        )

    def process(self, output: list[str]) -> Objects:
        volumes, networks = set(), {}
        for line in output:
            if not line:
                continue  # docker prints an empty line for a missing object
            kind, name, rest = line.split(" ", 2)
            if kind == "volume":
                volumes.add(name)
            else:
                networks[name] = [part["Subnet"] for part in json.loads(rest) or []]
        return Objects(frozenset(volumes), networks)
