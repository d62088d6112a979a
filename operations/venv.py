"""A Python virtual environment on the host, made anew whenever its requirements change."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from facts.venv import VenvRequirements


@operation()
def present(path: str, requirements: str, sha256: str, alone: bool = False) -> Generator[StringCommand, None, None]:
    """Have the hash-locked `requirements` (a file on the host with hash `sha256`) installed at `path`.

    `alone`: these packages and nothing more, though they ask for others.
    """
    if host.get_fact(VenvRequirements, path=path) == sha256:
        host.noop("the virtual environment has the wanted packages")
        return
    # Beside the old one, which serves until the new one is complete. A moved one runs by
    # `python -m`; only its scripts would look for the old place.
    old, new, wanted = (shlex.quote(one) for one in (path, f"{path}.new", requirements))
    # Not only root runs what is in there.
    yield StringCommand(
        f"umask 022 && rm -rf {new} && python3 -m venv {new} && "
        f"{new}/bin/pip install -q --disable-pip-version-check --no-input --require-hashes "
        f"{'--no-deps ' if alone else ''}-r {wanted} && "
        f"install -m 644 {wanted} {new}/requirements.txt && rm -rf {old} && mv -T {new} {old}"
    )
