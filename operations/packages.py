"""Debian packages, with the package lists fetched only when something is missing."""

import shlex
from collections.abc import Generator

from pyinfra import host
from pyinfra.api import StringCommand, operation

from facts.packages import Installed, Unfinished

# The lock time-out outlasts a run of unattended-upgrades.
APT = "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=600"


def install(packages: list[str]) -> StringCommand:
    """The command that installs `packages`."""
    names = " ".join(map(shlex.quote, packages))
    return StringCommand(f"{APT} update && {APT} install --no-install-recommends {names}")


@operation()
def finished() -> Generator[StringCommand, None, None]:
    """Complete what a run of dpkg left that was cut off: with it apt may refuse to install anything."""
    left = host.get_fact(Unfinished)
    if not left:
        host.noop("dpkg has left nothing half done")
        return
    # apt first: it waits for a run that goes on, which may be all. It refuses where dpkg itself was cut off.
    fix = f"{APT} --no-install-recommends --fix-broken install"
    yield StringCommand(f"{fix} || {{ DEBIAN_FRONTEND=noninteractive dpkg --configure -a && {fix}; }}")


@operation()
def installed(packages: list[str]) -> Generator[StringCommand, None, None]:
    """Install those of `packages` that are missing; never upgrade or remove one."""
    now = host.get_fact(Installed, packages=packages)
    missing = [name for name in packages if name not in now]
    if not missing:
        host.noop(f"{', '.join(packages)} are installed")
        return
    yield install(missing)
