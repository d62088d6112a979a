"""The files of one lab on this machine: its SSH key, known host, inventory and OpenSSH settings."""

import subprocess
from pathlib import Path

import yaml

from tests.lab.report import LabError

USER = "operator"


class State:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = folder / "id_ed25519"
        self.public_key = folder / "id_ed25519.pub"
        self.known_hosts = folder / "known_hosts"
        self.inventory = folder / "inventory.yml"
        self.ssh_config = folder / "ssh_config"

    def ensure_key(self, comment: str) -> str:
        if not self.key.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(self.key)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise LabError(f"ssh-keygen failed: {done.stderr or done.stdout}")
        return self.public_key.read_text()

    def write(self, name: str, port: int, host_key: str) -> None:
        """Write only what differs: a second `up` changes nothing."""
        known_as = "127.0.0.1" if port == 22 else f"[127.0.0.1]:{port}"
        inventory = {
            "name": name,  # the tests deploy from copies of this file
            "hosts": {
                name: {
                    "address": "127.0.0.1",
                    "port": port,
                    "user": USER,
                    "key": str(self.key),
                    "known_hosts": str(self.known_hosts),
                }
            },
            "groups": {"letta": [name]},
            "settings": {"docker": {"daemon": {"live-restore": True}}},
        }
        ssh_config = (
            f"Host {name}\n"
            "    HostName 127.0.0.1\n"
            f"    Port {port}\n"
            f"    User {USER}\n"
            f'    IdentityFile "{self.key}"\n'
            "    IdentitiesOnly yes\n"
            f'    UserKnownHostsFile "{self.known_hosts}"\n'
            "    StrictHostKeyChecking yes\n"
        )
        _write(self.known_hosts, f"{known_as} {host_key}\n")
        _write(self.inventory, yaml.safe_dump(inventory, sort_keys=False))
        _write(self.ssh_config, ssh_config)

    def remove(self) -> None:
        for path in (self.key, self.public_key, self.known_hosts, self.inventory, self.ssh_config):
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
