"""What the studio's units on this box are, and what a GPU box of its own and the host of Letta know of each other.

Run by every deploy as a fact, with the system's Python: only the standard library.
"""

import hashlib
import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

from lettabox import paths, secrets
from lettabox.settings import local

SOCKET, SERVICE = "lettabox-studio.socket", "lettabox-studio.service"
FILES, LINK, WORKER = "lettabox-files.service", "lettabox-link.service", "lettabox-worker.service"
# In the order in which they are started.
UNITS = (SOCKET, SERVICE, LINK, FILES, WORKER)
ANSWER = 5  # seconds that the studio gets to say how it is
SYSTEMD = Path("/etc/systemd/system")
LINK_SSHD = Path("/etc/ssh/sshd_config.d/lettabox-link.conf")
LINK_SSHD_WANTED = Path("/opt/lettabox/link-sshd.conf")
# Files with the variables that systemd reads: {file: {variable: secret}}.
ENVIRONMENTS = {
    "studio.env": {"PGPASSWORD": "studio_database_password", "STUDIO_TOKEN": "studio_token"},
    "files.env": {"STUDIO_TOKEN": "studio_token"},
    "worker.env": {"PGPASSWORD": "studio_database_password"},
}
ENVIRONMENT = {SERVICE: "studio.env", FILES: "files.env", WORKER: "worker.env"}


def applied(name: str) -> str:
    """A hash of all that a unit is started with; "" when nobody has said what that is."""
    try:
        made_of = json.loads((paths.STUDIO / f"{name}.json").read_text())
    except (FileNotFoundError, ValueError):
        return ""
    digest = hashlib.sha256()
    for path in map(Path, made_of):
        digest.update(path.read_bytes() if path.is_file() else b"")
        digest.update(b"\0")
    if name in ENVIRONMENT:
        there = secrets.fingerprints("studio_")
        digest.update(json.dumps([there.get(one) for one in ENVIRONMENTS[ENVIRONMENT[name]].values()]).encode())
    return digest.hexdigest()


def present() -> list[str]:
    """The studio's units that this box has a file of."""
    return [name for name in UNITS if (SYSTEMD / name).is_file()]


def running(names: list[str]) -> set[str]:
    """Those that are active and started at boot."""
    if not names:
        return set()
    ask = ["systemctl", "show", "--property=Id,ActiveState,UnitFileState", *names]
    said = subprocess.run(ask, capture_output=True, text=True, check=True).stdout
    found = [dict(line.split("=", 1) for line in block.splitlines()) for block in said.strip().split("\n\n")]
    return {one["Id"] for one in found if (one["ActiveState"], one["UnitFileState"]) == ("active", "enabled")}


def recorded() -> dict[str, str]:
    """{unit: hash of all with which it was last found healthy}."""
    try:
        return {str(name): str(one) for name, one in json.loads(paths.STUDIO_APPLIED.read_text()).items()}
    except (FileNotFoundError, ValueError, AttributeError):
        return {}


def good(names: list[str]) -> list[str]:
    """Those that run, made of what the deploy wants, and were found healthy with it; the studio must still be so."""
    last, run = recorded(), running(names)
    found = [name for name in names if name in run and last.get(name) == applied(name) != ""]
    return [name for name in found if name != SERVICE or has_database()]


def has_database() -> bool:
    """Whether the studio answers, and can use its database: the role's password may be another one there."""
    try:
        told = json.loads(paths.SETTINGS.read_text())["studio"]
        asked = http.client.HTTPConnection(local(told["bind"]), told["port"], timeout=ANSWER)
        asked.request("GET", "/health", headers={"Authorization": f"Bearer {_text(paths.SECRETS / 'studio_token')}"})
        return not any(one["part"] == "database" for one in json.loads(asked.getresponse().read())["reasons"])
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError):
        return False


def link() -> dict[str, Any]:
    """What this box knows of the other end: a GPU box, its own key and whom it knows; the host of Letta, who may come.

    "admits": those may really come in; "open": something is there that lets somebody in.
    """
    host_keys = [_text(path).split() for path in sorted(Path("/etc/ssh").glob("ssh_host_*_key.pub"))]
    return {
        "key": _text(paths.LINK_KEY.with_suffix(".pub")),
        "known_hosts": _text(paths.LINK_KNOWN),
        "authorized_keys": _text(paths.LINK_KEYS),
        "host_keys": [" ".join(words[:2]) for words in host_keys],
        "admits": _text(LINK_SSHD) == _text(LINK_SSHD_WANTED) != "" and _text(paths.LINK_ANSWER) == answer(),
        "open": LINK_SSHD.is_file() or paths.LINK_KEYS.is_file(),
    }


def answer() -> str:
    """What a GPU box of its own gets to read: the password of the database, and the token that the studio shows it."""
    names = ("studio_database_password", "studio_token")
    return json.dumps({name: _text(paths.SECRETS / name) for name in names}) + "\n"


def state() -> dict[str, Any]:
    """{"units": those present, "good": those of them that run as they should, "secrets": fingerprints, "link": ...}."""
    names = present()
    return {
        "units": names,
        "good": good(names),
        "secrets": secrets.fingerprints("studio_"),
        "link": link(),
    }


def _text(path: Path) -> str:
    return path.read_text() if path.is_file() else ""


if __name__ == "__main__":
    print(json.dumps(state()))
