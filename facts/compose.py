"""A Compose project as it is wanted and as it runs, in one command."""

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase


@dataclass(frozen=True)
class Project:
    wanted: dict[str, str]  # service -> Compose's hash of its configuration
    running: dict[str, str]  # service -> hash it was created with, for healthy containers on the current image
    orphans: frozenset[str]  # containers of services that are no longer in the project

    @property
    def differing(self) -> list[str]:
        """Services that are not healthy, or not what the project says."""
        return [name for name, want in self.wanted.items() if self.running.get(name) != want]


class ComposeProject(FactBase[Project | None]):
    """Project of the folder `directory`, or None when there is none yet (or no engine)."""

    def command(self, directory: str, project: str) -> str:
        folder, label = shlex.quote(directory), shlex.quote(f"label=com.docker.compose.project={project}")
        service = '{{index .Config.Labels "com.docker.compose.service"}}'
        created = '{{index .Config.Labels "com.docker.compose.config-hash"}}'
        health = "{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}"
        line = f"container {service} {created} {{{{.State.Status}}}} {health} {{{{.Image}}}} {{{{.Config.Image}}}}"
        return (
            f"if [ -f {folder}/compose.yml ] && docker info >/dev/null 2>&1; then "
            # Compose compares exactly these hashes when it decides what to recreate.
            f"docker compose --project-directory {folder} config --hash '*' | sed 's/^/wanted /'; "
            f"docker compose --project-directory {folder} config --images | sort -u | "
            'while read -r i; do docker image inspect --format "image $i {{.Id}}" "$i" 2>/dev/null; done; '
            f"for c in $(docker ps -aq --no-trunc --filter {label}); do "
            f"docker inspect --format {shlex.quote(line)} $c; done; fi; :"
        )

    def process(self, output: list[str]) -> Project | None:
        wanted: dict[str, str] = {}
        images: dict[str, str] = {}
        running: dict[str, str] = {}
        seen: set[str] = set()
        for line in output:
            kind, *words = line.split(" ")
            if kind == "wanted":
                wanted[words[0]] = words[1]
            elif kind == "image":
                images[words[0]] = words[1]
            elif kind == "container":
                service, created, status, health, image_id, image = words
                seen.add(service)
                # A container without a health check of its own counts as soon as it runs.
                if status == "running" and health in ("healthy", "none") and images.get(image, image_id) == image_id:
                    running[service] = created
        return Project(wanted, running, frozenset(seen - set(wanted))) if wanted else None
