"""The Docker engine of a host."""

import json
from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

from facts.compose_plugin import COMPOSE


@dataclass(frozen=True)
class EngineState:
    installed: bool = False  # there is a dockerd, from whatever source
    client: bool = False  # there is the command docker
    compose: str = ""  # version of the Compose v2 plugin, empty without one
    active: bool = False
    enabled: bool = False
    daemon_json: str = ""


class Engine(FactBase[EngineState]):
    """EngineState; never fails, whatever the host lacks."""

    def command(self) -> str:
        return (
            f"{COMPOSE}command -v dockerd >/dev/null 2>&1 && echo installed=1; "
            "command -v docker >/dev/null 2>&1 && echo client=1; "
            "echo compose=$(compose version --short 2>/dev/null); "
            "systemctl show --property=ActiveState --property=UnitFileState docker.service 2>/dev/null; "
            "echo daemon_json=; if [ -f /etc/docker/daemon.json ]; then cat /etc/docker/daemon.json; fi"
        )

    def default(self) -> EngineState:
        return EngineState()

    def process(self, output: list[str]) -> EngineState:
        end = output.index("daemon_json=")
        words = dict(line.split("=", 1) for line in output[:end])
        return EngineState(
            installed="installed" in words,
            client="client" in words,
            compose=words["compose"].removeprefix("v"),
            active=words.get("ActiveState") == "active",
            enabled=words.get("UnitFileState") == "enabled",
            daemon_json="\n".join(output[end + 1 :]),
        )


def daemon_settings(text: str) -> dict:
    """Parse daemon.json; empty means no settings. Raises FactProcessError for anything but an object."""
    if not text.strip():
        return {}
    try:
        parsed = json.loads(text)
    except ValueError as error:
        raise FactProcessError(f"/etc/docker/daemon.json is no JSON: {error}") from None
    if not isinstance(parsed, dict):
        raise FactProcessError("/etc/docker/daemon.json is no JSON object")
    return parsed
