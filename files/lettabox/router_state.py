"""What the LLM router on this box is.

Run by every deploy as a fact, with the system's Python: only the standard library.
"""

import hashlib
import json
from typing import Any

from lettabox import paths, secrets
from lettabox.unit import show

SERVICE = "lettabox-router.service"
# One file with all secret variables, which systemd reads; made of the secrets router-NAME.
ENVIRONMENT = "router.env"


def secret_name(variable: str) -> str:
    """Name of the secret that is a variable of the router."""
    return f"router-{variable}"


def applied() -> str:
    """A hash of all that the unit is started with."""
    digest = hashlib.sha256()
    for path in (paths.ROUTER_UNIT, paths.SECRETS / ENVIRONMENT):
        digest.update(path.read_bytes() if path.is_file() else b"")
        digest.update(b"\0")
    # What the file is made of too: a deploy that ended in between is seen by the next one.
    digest.update(json.dumps(secrets.fingerprints(secret_name(""))).encode())
    return digest.hexdigest()


def state() -> dict[str, Any]:
    """{"unit": hash of the unit's file or None, "good": it runs as it was last found healthy, "keys": fingerprints}."""
    unit = paths.ROUTER_UNIT
    now = show(SERVICE, "ActiveState", "UnitFileState")
    try:
        found = json.loads(paths.ROUTER_APPLIED.read_text())["applied"]
    except (FileNotFoundError, ValueError, LookupError):
        found = None
    return {
        "unit": hashlib.sha256(unit.read_bytes()).hexdigest() if unit.is_file() else None,
        "good": now["ActiveState"] == "active" and now["UnitFileState"] == "enabled" and found == applied(),
        "keys": secrets.fingerprints(secret_name("")),
    }


if __name__ == "__main__":
    print(json.dumps(state()))
