"""What a deploy leaves on a box, taken from one: so that others can do the same without our code."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from inventory.load import load
from tests.bench.runs import Invalid
from tests.lab import Lab
from tests.lab.state import USER

# Below /: all files and folders of a deploy but those that are born on the box.
MANAGED = (
    "opt/lettabox",
    "etc/lettabox",
    "etc/docker/daemon.json",
    "etc/tmpfiles.d/lettabox.conf",
    "usr/local/bin/lettabox",
    "var/lib/lettabox",
    "var/log/lettabox",
)
BORN_THERE = ("opt/lettabox/venv", "etc/lettabox/secrets", "var/lib/lettabox/owner.json")


def check(lab: Lab, command: str) -> str:
    """Run a command in the box that must work; what it printed."""
    code, output = lab.exec(command)
    if code != 0:
        raise Invalid(f"{command} in {lab.name} ended with {code}:\n{output}")
    return output.strip()


def asked_for(lab: Lab) -> set[str]:
    """Packages that somebody asked for, and not those that came with them."""
    return set(check(lab, "apt-mark showmanual").split())


@dataclass(frozen=True)
class Deployed:
    packages: list[str]
    pulled: list[str]
    base: str
    built: str
    secrets: list[str]
    volumes: list[str]
    network: str
    subnet: str

    @classmethod
    def of(cls, lab: Lab, packages_before: set[str]) -> "Deployed":
        settings = load(lab.inventory_path).settings
        project = json.loads(
            check(lab, "docker compose --project-directory /opt/lettabox/letta config --format json")
        )
        (network,) = project["networks"].values()
        return cls(
            packages=sorted(asked_for(lab) - packages_before),
            pulled=[one.image for one in (settings.letta, settings.postgres, settings.redis, settings.nginx)],
            base=settings.letta.image,
            built=project["services"]["letta-server"]["image"],
            secrets=[Path(one["file"]).name for one in project["secrets"].values()],
            volumes=[one["name"] for one in project["volumes"].values()],
            network=network["name"],
            subnet=settings.network.subnet,
        )


def save_tree(lab: Lab, archive: Path) -> None:
    """Put the managed files and folders of the box into `archive`."""
    without = " ".join(f"--exclude={one}" for one in BORN_THERE)
    inside = f"/tmp/{archive.name}"
    check(lab, f"tar -C / -czf {inside} {without} {' '.join(MANAGED)}")
    code, output = lab.box.exec_run(["cat", inside])
    if code != 0:
        raise Invalid(f"the managed files of {lab.name} could not be read")
    archive.write_bytes(output)
    check(lab, f"rm {inside}")


def write_inventory(path: Path, there: Deployed, hosts: dict[str, tuple[Lab, int, Path]]) -> None:
    """Ansible's inventory: {name: (lab, SSH port on 127.0.0.1, archive of its files)}."""
    variables = {"ansible_host": "127.0.0.1", "ansible_user": USER, **vars(there)}
    known_hosts = path.with_name("known_hosts")
    known_hosts.write_text("".join(known(lab, port) for lab, port, _ in hosts.values()))
    strict = f"-o IdentitiesOnly=yes -o StrictHostKeyChecking=yes -o UserKnownHostsFile={known_hosts}"
    content = {
        "all": {
            "vars": variables | {"ansible_ssh_common_args": strict},
            "hosts": {
                name: {
                    "ansible_port": port,
                    "ansible_ssh_private_key_file": str(lab.state.key),
                    "tree": str(archive),
                }
                for name, (lab, port, archive) in hosts.items()
            },
        }
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def known(lab: Lab, port: int) -> str:
    """The box's host key as a line of known_hosts, for its door at `port`."""
    _, key = lab.state.known_hosts.read_text().split(" ", 1)
    return f"[127.0.0.1]:{port} {key}"
