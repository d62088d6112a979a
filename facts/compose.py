"""A Compose project as it is wanted and as it runs, with the images it needs, in one command."""

import json
import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from facts.compose_plugin import COMPOSE

RECORD = "/var/lib/lettabox/images.json"
STARTING = "/var/lib/lettabox/starting"  # there while a start has not been all done
LOADED = "/var/lib/lettabox/loaded.json"  # image id -> digest, of images that came by a file


@dataclass(frozen=True)
class Image:
    digests: frozenset[str]  # "sha256:...", of whatever repository
    recorded: bool  # its identity is held since a first pull


@dataclass(frozen=True)
class Project:
    wanted: dict[str, str]  # service -> Compose's hash of its configuration
    running: dict[str, str]  # service -> hash it was created with, for healthy containers on the current image
    orphans: frozenset[str]  # containers of services that are no longer in the project
    images: dict[str, Image]  # all of the host, by name
    cut_off: bool = False  # the last start was not all done

    @property
    def differing(self) -> list[str]:
        """Services that are not healthy, or not what the project says."""
        return [name for name, want in self.wanted.items() if self.running.get(name) != want]


class ComposeProject(FactBase[Project | None]):
    """Project of the folder `directory`, or None while there is no project or engine."""

    def command(self, directory: str, project: str) -> str:
        folder, label = shlex.quote(directory), shlex.quote(f"label=com.docker.compose.project={project}")
        service = '{{index .Config.Labels "com.docker.compose.service"}}'
        created = '{{index .Config.Labels "com.docker.compose.config-hash"}}'
        health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}"
        line = f"container {service} {created} {{{{.State.Status}}}} {health} {{{{.Image}}}} {{{{.Config.Image}}}}"
        images = "docker image ls --digests --no-trunc --format 'image {{.Repository}}:{{.Tag}} {{.ID}} {{.Digest}}'"
        return (
            f"{COMPOSE}if [ -f {folder}/compose.yml ] && images=$({images} 2>/dev/null); then "
            # Compose compares exactly these hashes when it decides what to recreate.
            f"compose --project-directory {folder} config --hash '*' | sed 's/^/wanted /'; "
            f"if [ -f {STARTING} ]; then echo starting; fi; "
            f"if [ -f {RECORD} ]; then printf 'record '; tr -d '\\n' < {RECORD}; echo; fi; "
            f"if [ -f {LOADED} ]; then printf 'loaded '; tr -d '\\n' < {LOADED}; echo; fi; "
            'if [ "$images" ]; then echo "$images"; fi; '
            f"docker ps -aq --no-trunc --filter {label} | xargs -r docker inspect --format {shlex.quote(line)}; fi; :"
        )

    def process(self, output: list[str]) -> Project | None:
        wanted: dict[str, str] = {}
        ids: dict[str, str] = {}
        digests: dict[str, set[str]] = {}
        record: dict[str, str] = {}
        loaded: dict[str, str] = {}
        running: dict[str, str] = {}
        seen: set[str] = set()
        cut_off = False
        for line in output:
            kind, *words = line.split(" ")
            if kind == "wanted":
                wanted[words[0]] = words[1]
            elif kind == "starting":
                cut_off = True
            elif kind == "record":
                record = _record(line.removeprefix("record "), RECORD)
            elif kind == "loaded":
                loaded = _record(line.removeprefix("loaded "), LOADED)
            elif kind == "image":
                name, ids[words[0]], digest = words
                digests.setdefault(name, set()).add(digest)
            elif kind == "container":
                service, created, status, health, image_id, image = words
                seen.add(service)
                # A container without a health check of its own counts as soon as it runs.
                if status == "running" and health in ("healthy", "none") and ids.get(image, image_id) == image_id:
                    running[service] = created
        images = {
            name: Image(frozenset(found | {loaded.get(ids[name], "")}), name in record)
            for name, found in digests.items()
        }
        return Project(wanted, running, frozenset(seen - set(wanted)), images, cut_off) if wanted else None


def _record(text: str, path: str) -> dict[str, str]:
    try:
        return json.loads(text)
    except ValueError:
        raise FactProcessError(f"{path} is no JSON; remove it, and load or deploy again") from None
