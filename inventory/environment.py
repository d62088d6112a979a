"""Secrets that the operator's environment holds while they deploy; the settings name only the variables."""

import hashlib
import os

LONGEST = 8192


def value(variable: str) -> str | None:
    """What the variable holds, without blanks around it; None when it is not set or empty.

    Raises ValueError when that cannot be a key: then it was pasted wrong.
    """
    found = os.environ.get(variable, "").strip()
    if not found:
        return None
    if not found.isascii() or not found.isprintable() or len(found) > LONGEST:
        raise ValueError(f"the variable {variable} holds no key: it has line breaks or other than ASCII characters")
    return found


def fingerprint(name: str, secret: str) -> str:
    """By what the box says which secret it has, without telling it; files/lettabox/secrets.py has the same."""
    return hashlib.sha256(f"{name}\0{secret}".encode()).hexdigest()[:16]
