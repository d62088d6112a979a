"""A Python virtual environment on the host, made anew whenever its requirements change."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from facts.paths import Paths


@operation()
def present(path: str, requirements: str, sha256: str) -> Generator[StringCommand, None, None]:
    """Have the hash-locked `requirements` (a file on the host with hash `sha256`) installed at `path`."""
    marker = f"{path}/requirements.txt"
    now = host.get_fact(Paths, paths=[marker]).get(marker)
    if now and now.sha256 == sha256:
        host.noop("the virtual environment has the wanted packages")
        return
    venv, wanted = shlex.quote(path), shlex.quote(requirements)
    # The marker comes last: a run that was interrupted is done again.
    yield StringCommand(
        f"rm -rf {venv} && python3 -m venv {venv} && "
        f"{venv}/bin/pip install -q --disable-pip-version-check --no-input --require-hashes -r {wanted} && "
        f"install -m 644 {wanted} {shlex.quote(marker)}"
    )
