"""What every host must have."""

from collections.abc import Iterator

from deploys.finding import Finding, Severity
from facts.fitness import HostState

SUPPORTED = {"debian 13": "Debian 13", "ubuntu 24.04": "Ubuntu 24.04"}
ARCHITECTURES = ("x86_64",)
# Seconds the host's clock may differ: more is told of; with minutes, certificates and apt's lists are not yet
# or no more valid.
SKEW_TOLD, SKEW_FATAL = 30, 300


def findings(name: str, now: HostState) -> Iterator[Finding]:
    """What every host must have: sudo, a supported system, an architecture that is built for."""
    for line in now.unreadable:
        yield Finding(
            name,
            "unreadable",
            f"gave an answer that cannot be understood: {line[:200]!r}",
            "mend what it speaks of (images= and loaded= are files in /var/lib/lettabox), or report it as a bug",
        )
    if not now.sudo:
        yield Finding(
            name,
            "sudo",
            "the login user is not root and cannot use sudo without a password",
            "on the host, as root: echo 'USER ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/lettabox, "
            "with the user of this host in the settings file",
        )
    if now.os not in SUPPORTED:
        yield Finding(
            name,
            "system",
            f"runs {now.os_name or now.os}, which is not supported",
            f"use {' or '.join(SUPPORTED.values())}",
        )
    if now.arch not in ARCHITECTURES:
        yield Finding(
            name,
            "architecture",
            f"is {now.arch}, for which there is no Letta image",
            f"use a host of {' or '.join(ARCHITECTURES)}",
        )
    if now.init != "systemd":
        yield Finding(name, "init", "was not booted with systemd", "boot the host with systemd")
    yield from _clock(name, now)


def _clock(name: str, now: HostState) -> Iterator[Finding]:
    there = now.environment
    if there.clock is None or there.asked is None:
        return
    # It was told between two moments of this machine's clock, in whole seconds.
    before, after = there.asked
    skew = there.clock - after if there.clock > after else min(there.clock + 1 - before, 0)
    if abs(skew) < SKEW_TOLD:
        return
    cause = "nothing has set it since the boot, as far as can be seen (no systemd-timesyncd)"
    fix = "on the host: apt-get install systemd-timesyncd && timedatectl set-ntp true; then look at: timedatectl"
    if there.timesync:
        cause = "systemd-timesyncd has set the host's clock, so this machine's may be the wrong one"
        fix = "compare with a third clock: date -u, here and there; on the host: timedatectl timesync-status"
    yield Finding(
        name,
        "clock",
        f"its clock is {_duration(abs(skew))} {'ahead of' if skew > 0 else 'behind'} this machine's",
        fix,
        cause=f"{cause}; TLS, apt and time stamps depend on it",
        severity=Severity.FATAL if abs(skew) >= SKEW_FATAL and not there.timesync else Severity.WARNING,
    )


def _duration(seconds: float) -> str:
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.9 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds"
