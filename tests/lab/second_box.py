"""A second box beside the lab's own, in the same network and with the same key: a GPU box of its own."""

import io

from tests.lab import box, containers
from tests.lab.lab import BOX_HOST, Lab
from tests.lab.report import step

HOST = BOX_HOST + 1


class SecondBox:
    """The box has the label of its lab, and goes down with it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.name = f"{lab.name}-gpu"
        self.ssh_port = 0
        self.known_hosts = lab.state.folder / "known_hosts_gpu"

    @property
    def box(self):
        return self.lab.client.containers.get(self.name)

    @property
    def address(self) -> str:
        """For the first box."""
        return containers.address(containers.network(self.lab.client, self.lab.name), HOST)

    @property
    def address_of_first(self) -> str:
        return containers.address(containers.network(self.lab.client, self.lab.name), BOX_HOST)

    def up(self) -> "SecondBox":
        there = containers.find(self.lab.client, self.name)
        if there is None:
            there = self._made()
            with step(f"start {self.name}"):
                containers.start(there)
        elif there.status != "running":
            containers.start(there)
        there = self.box
        self.ssh_port = containers.published(there, 22)
        box.wait_until_up(there, self.ssh_port)
        self.known_hosts.write_text(f"[127.0.0.1]:{self.ssh_port} {box.host_key(there)}\n")
        return self

    def down(self) -> None:
        there = containers.find(self.lab.client, self.name)
        if there is not None:
            there.remove(force=True, v=True)
        self.known_hosts.unlink(missing_ok=True)

    def exec(self, command: list[str] | str) -> tuple[int, str]:
        """Run a command in the box as root, past SSH; a string goes to a shell."""
        words = ["bash", "-c", command] if isinstance(command, str) else command
        code, output = self.box.exec_run(words)
        return code, output.decode(errors="replace")

    def take_installed(self) -> None:
        """Get from the first box what takes long to install."""
        stream, _ = self.lab.box.get_archive("/opt/lettabox")
        self.box.put_archive("/opt", io.BytesIO(b"".join(stream)))

    def _made(self):
        first, client = self.lab.box, self.lab.client
        network = containers.network(client, self.lab.name)
        return box.create(
            client,
            self.lab.name,
            first.image.id,
            network,
            self.address,
            "second",
            first.labels[containers.SOURCE],
            None,
            self.lab.state.ensure_key(self.lab.name),
            {22: containers.free_ports(1)[0]},
            self.name,
        )

    def host(self) -> dict:
        """Its entry below hosts of an inventory."""
        return {
            "address": "127.0.0.1",
            "port": self.ssh_port,
            "user": "operator",
            "key": str(self.lab.state.key),
            "known_hosts": str(self.known_hosts),
        }
