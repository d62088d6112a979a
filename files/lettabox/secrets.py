"""The stack's secrets: born on the box or given by the operator, kept for good, one root-only file each."""

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping

from lettabox import files, paths
from lettabox.errors import USAGE, LettaboxError


def create(names: Iterable[str]) -> list[str]:
    """Create the secrets that do not exist yet; return their names.

    Existing ones keep their content; a mode that somebody widened is set back.
    32 random bytes in hex: Letta's database URI and Alembic stumble over `%` and `/`.
    """
    paths.SECRETS.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.SECRETS.chmod(0o700)
    created = []
    for name in names:
        path = paths.SECRETS / name
        if path.is_file() and path.stat().st_size:
            os.chown(path, 0, 0)
            path.chmod(0o600)
        else:
            # No newline: the Postgres image and Letta would take it as a part of the secret.
            files.write(path, secrets.token_hex(32), mode=0o600)
            created.append(name)
    return created


def put(values: Mapping[str, str]) -> list[str]:
    """Store what the operator's environment gave; return the names of those that were missing or different."""
    paths.SECRETS.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.SECRETS.chmod(0o700)
    changed = []
    for name, value in values.items():
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise LettaboxError(f"{name!r} cannot be the name of a secret", USAGE)
        path = paths.SECRETS / name
        if not path.is_file() or path.read_text() != value:
            files.write(path, value, mode=0o600)
            changed.append(name)
    return changed


def fingerprint(name: str, secret: str) -> str:
    """By what the box says which secret it has, without telling it; inventory/environment.py has the same."""
    return hashlib.sha256(f"{name}\0{secret}".encode()).hexdigest()[:16]


def fingerprints(prefix: str) -> dict[str, str]:
    """{name: fingerprint} of the secrets whose names begin so."""
    if not paths.SECRETS.is_dir():
        return {}
    return {
        path.name: fingerprint(path.name, path.read_text())
        for path in sorted(paths.SECRETS.iterdir())
        if path.name.startswith(prefix) and path.is_file() and path.stat().st_size
    }


def read(name: str) -> str:
    """Return one secret. Raises LettaboxError when it was never created."""
    try:
        return (paths.SECRETS / name).read_text().strip()
    except FileNotFoundError:
        raise LettaboxError(f"there is no secret {name} in {paths.SECRETS}; deploy first (`make deploy`)") from None
