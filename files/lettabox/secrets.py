"""The stack's secrets: born on the box, kept for good, one root-only file each."""

import os
import secrets
from collections.abc import Iterable

from lettabox import files, paths
from lettabox.errors import LettaboxError


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


def read(name: str) -> str:
    """Return one secret. Raises LettaboxError when it was never created."""
    try:
        return (paths.SECRETS / name).read_text().strip()
    except FileNotFoundError:
        raise LettaboxError(f"there is no secret {name} in {paths.SECRETS}; deploy first (`make deploy`)") from None
