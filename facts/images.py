"""Docker images by name, and what lettabox has recorded of them, in one command."""

import json
import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

RECORD = "/var/lib/lettabox/images.json"


@dataclass(frozen=True)
class Image:
    digests: frozenset[str]  # "sha256:...", of whatever repository
    recorded: bool  # its identity is held since a first pull


class Images(FactBase[dict[str, Image]]):
    """{name: Image} for those of `names` that exist on the host; empty without an engine."""

    default = dict

    def command(self, names: list[str]) -> str:
        quoted = " ".join(map(shlex.quote, names))
        # A missing image is an answer and no error; so is a missing engine before the first deploy.
        return (
            f"if [ -f {RECORD} ]; then tr -d '\\n' < {RECORD}; fi; echo; for i in {quoted}; do "
            'docker image inspect --format "$i"\'|{{json .RepoDigests}}\' "$i" 2>/dev/null; done; :'
        )

    def process(self, output: list[str]) -> dict[str, Image]:
        try:
            record = json.loads(output[0] or "{}")
        except ValueError:
            raise FactProcessError(f"{RECORD} is no JSON; remove it, and the next deploy records anew") from None
        found = {}
        for line in filter(None, output[1:]):  # docker prints an empty line for a missing image
            name, digests = line.split("|", 1)
            found[name] = Image(frozenset(one.partition("@")[2] for one in json.loads(digests) or ()), name in record)
        return found
