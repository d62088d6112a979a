"""What the last deploy was told, and where the services are."""

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


def address(service: str) -> str:
    """Return the URL of a published service as seen from the box."""
    bind, port = settings()[service]["bind"], settings()[service]["port"]
    local = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(bind, f"[{bind}]" if ":" in bind else bind)
    return f"http://{local}:{port}"
