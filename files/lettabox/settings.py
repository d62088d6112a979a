"""What the last deploy was told, and where the services are."""

import ipaddress
import json
from typing import Any

from lettabox import paths
from lettabox.errors import LettaboxError


def settings() -> dict[str, Any]:
    """Return what the last deploy was told. Raises LettaboxError before the first one."""
    try:
        return json.loads(paths.SETTINGS.read_text())
    except FileNotFoundError:
        raise LettaboxError(f"there is no {paths.SETTINGS}; deploy first (`make deploy`)") from None


def local(bind: str) -> str:
    """Return the address at which something with this bind answers on the box itself."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)


def address(service: str) -> str:
    """Return the URL of a published service as seen from the box."""
    told = settings()[service]
    host = local(told["bind"])
    return f"http://{f'[{host}]' if ':' in host else host}:{told['port']}"


def on_network(port: int) -> str:
    """Return the URL of a port of the box as containers on letta-network see it: Docker gives it the first address."""
    host = next(ipaddress.ip_network(settings()["network"]["subnet"]).hosts())
    return f"http://{host}:{port}"
