"""Docker images by name, in one command."""

import json
import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase


@dataclass(frozen=True)
class Image:
    id: str
    digests: tuple[str, ...]  # "repository@sha256:..."
    labels: dict[str, str]


class Images(FactBase[dict[str, Image]]):
    """{name: Image} for those of `names` that exist on the host; empty without an engine."""

    default = dict

    def command(self, names: list[str]) -> str:
        quoted = " ".join(map(shlex.quote, names))
        # A missing image is an answer and no error; so is a missing engine before the first deploy.
        return (
            f"for i in {quoted}; do docker image inspect --format "
            '"$i"\'|{{.Id}}|{{json .RepoDigests}}|{{json .Config.Labels}}\' "$i" 2>/dev/null; done; :'
        )

    def process(self, output: list[str]) -> dict[str, Image]:
        found = {}
        for line in filter(None, output):  # docker prints an empty line for a missing image
            name, id_, digests, labels = line.split("|", 3)
            found[name] = Image(id_, tuple(json.loads(digests) or ()), json.loads(labels) or {})
        return found
