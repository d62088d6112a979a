"""Secrets that are born on the host and never leave it."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from facts.secrets import Secrets


@operation()
def created(names: list[str]) -> Generator[StringCommand, None, None]:
    """Create the secrets that do not exist; their values are neither printed nor sent."""
    now = host.get_fact(Secrets)
    missing = [name for name in names if name not in now]
    if not missing:
        host.noop("all secrets exist")
        return
    yield StringCommand("/usr/local/bin/lettabox secrets create " + " ".join(map(shlex.quote, missing)))
