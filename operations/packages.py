"""Debian packages, with the package lists fetched only when something is missing."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from facts.packages import Installed


@operation()
def installed(packages: list[str]) -> Generator[StringCommand, None, None]:
    """Install those of `packages` that are missing; never upgrade or remove one."""
    missing = [name for name in packages if name not in host.get_fact(Installed, packages=packages)]
    if not missing:
        host.noop(f"{', '.join(packages)} are installed")
        return
    # The lock time-out outlasts a run of unattended-upgrades.
    apt = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600"
    names = " ".join(map(shlex.quote, missing))
    yield StringCommand(f"{apt} update && {apt} install --no-install-recommends {names}")
