"""The fake hub of models on both sides: in the box, for its downloads, and here, for `make models-lock`."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from tests.lab import containers, fake_hub
from tests.lab.lab import Lab
from tests.lab.waiting import wait_for

SOURCE = Path(fake_hub.__file__)
UNIT = "lab-hub"


class Hubs:
    """Two hubs with the same address and the same content, each seen from its own side only."""

    def __init__(self, lab: Lab, here: fake_hub.Hub) -> None:
        self.lab = lab
        self.here = here
        self.url = here.url

    def start(self) -> None:
        """Have the hub in the box at work, with nothing in it yet: at first, and after a reboot."""
        hub, cdn = (server.server_port for server in self.here.servers)
        start = f"systemd-run --quiet --collect --unit={UNIT} python3 /srv/fake_hub.py --port {hub} --cdn-port {cdn}"
        code, said = self.lab.exec(start)
        assert code == 0, said
        wait_for("the fake hub in the box", self._silent, 30)

    def control(self, **changes: object) -> None:
        self.here.control(**changes)
        self._ask("-X", "PUT", "--data-binary", json.dumps(changes), f"{self.url}/_control")

    def requests(self) -> list[dict]:
        """What the box asked its hub for."""
        return json.loads(self._ask(f"{self.url}/_requests"))

    def forget(self) -> None:
        self._ask("-X", "DELETE", f"{self.url}/_requests")

    def _ask(self, *words: str) -> str:
        code, said = self.lab.exec(["curl", "-fsS", "-m", "10", *words])
        assert code == 0, said
        return said

    def _silent(self) -> str | None:
        code, said = self.lab.exec(["curl", "-fsS", "-m", "10", f"{self.url}/_requests"])
        return None if code == 0 else said


@contextlib.contextmanager
def at_work(lab: Lab) -> Iterator[Hubs]:
    """Both hubs, on two ports that are free here and in the box."""
    ports = containers.free_ports(2)
    with fake_hub.Hub(*ports) as here:
        containers.put(lab.box, containers.File("/srv/fake_hub.py", SOURCE.read_bytes()))
        hubs = Hubs(lab, here)
        try:
            hubs.start()
            yield hubs
        finally:
            lab.exec(f"systemctl stop {UNIT}; rm -f /srv/fake_hub.py")
