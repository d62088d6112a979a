"""The studio's own database and role, in the Postgres that Letta has: made, and never removed.

The role can reach no table of Letta's: those are Letta's role's own, and nothing is granted to others.
"""

import base64
import hashlib
import hmac
import re
import secrets

from lettabox import database

NAME = "studio"
ITERATIONS = 4096
SHARE = 4  # of the connections that Postgres allows, the studio and its workers get one part in so many
LEAST = 12


def present(password: str, max_connections: int) -> None:
    """Have the role with this password, and its database.

    Raises LettaboxError with what Postgres said, and while a database that the role does not own has its name.
    """
    limit = max(max_connections // SHARE, LEAST)
    # By its hash alone: what Postgres writes into its log of statements tells nobody the password.
    known = database.run(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{NAME}';").strip()
    role = f"CONNECTION LIMIT {limit} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOINHERIT"
    if not fits(password, known):
        role += f" PASSWORD '{verifier(password)}'"
    database.run(
        f"DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{NAME}') THEN CREATE ROLE {NAME}; END IF; "
        f"END $$;\nALTER ROLE {NAME} {role};"
    )
    if not database.run(f"SELECT 1 FROM pg_database WHERE datname = '{NAME}';").strip():
        database.run(f"CREATE DATABASE {NAME} OWNER {NAME};")
    # Others have no business in there, and it has none in what others made.
    database.run(f"REVOKE ALL ON DATABASE {NAME} FROM PUBLIC;")


def verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """What Postgres keeps of a password (SCRAM-SHA-256)."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (base64.b64encode(one).decode() for one in (salt, stored, server))
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored64}:{server64}"


def fits(password: str, known: str) -> bool:
    """Whether Postgres keeps just this password."""
    found = re.fullmatch(r"SCRAM-SHA-256\$(\d+):([A-Za-z0-9+/=]+)\$.*", known)
    if not found:
        return False
    return hmac.compare_digest(verifier(password, base64.b64decode(found[2]), int(found[1])), known)
