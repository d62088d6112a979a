"""The key of the values that Letta encrypts, held to the database it was first used with.

Beside the data lies a salted hash of the key, in a schema of its own that Letta and its migrations never look at.
With another key every list of agents fails in which one agent has a secret, so such a start is refused.
"""

import hashlib
import secrets

from lettabox import database, paths
from lettabox.errors import LettaboxError
from lettabox.secrets import read

NAME = "letta_encryption_key"
TABLE = "lettabox.encryption_key"


def _hash(salt: str) -> str:
    # Slow on purpose: a key that an operator chose may be guessable.
    return hashlib.scrypt(read(NAME).encode(), salt=bytes.fromhex(salt), n=2**14, r=8, p=1).hex()


def _held() -> dict[str, str] | None:
    if not database.columns([TABLE]):
        return None
    return next(iter(database.rows(f"SELECT salt, hash, since::date FROM {TABLE}")), None)


def check() -> bool:
    """Return whether the key is known to belong to the database, False if none is held there yet.

    Raises LettaboxError when the database belongs to another key.
    """
    held = _held()
    if held is None:
        return False
    if not secrets.compare_digest(_hash(held["salt"]), held["hash"]):
        raise LettaboxError(
            f"{paths.SECRETS / NAME} is not the key that this database has been used with since {held['since']}. "
            "With another key Letta can read none of the agents' secrets and provider keys, and lists no agents. "
            "Put the old key back from your backup (mode 600). Only if nothing in the database is encrypted, or all of "
            f"it may be lost: docker exec letta-postgres psql -U letta -c 'DROP TABLE {TABLE}'"
        )
    return True


def hold() -> None:
    """Have the database hold the key's hash, if it holds none. To be called after a start that went well."""
    if _held() is None:
        salt = secrets.token_hex(16)
        database.run(
            f"CREATE SCHEMA IF NOT EXISTS lettabox; "
            f"CREATE TABLE IF NOT EXISTS {TABLE} (salt text NOT NULL, hash text NOT NULL, "
            f"since timestamptz NOT NULL DEFAULT now()); "
            f"INSERT INTO {TABLE} (salt, hash) VALUES ('{salt}', '{_hash(salt)}');"
        )
