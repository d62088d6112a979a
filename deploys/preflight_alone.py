"""The preflight and nothing else: `python -m deploys.preflight_alone [--json] [--limit HOST]`.

Changes nothing on any host. Exit codes: 0 nothing fatal, 1 something fatal, 4 wrong usage or settings.
"""

# Before anything else is imported: pyinfra looks at its hosts side by side.
from gevent import monkey

monkey.patch_all()

import argparse  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import sys  # noqa: E402
from contextlib import suppress  # noqa: E402
from dataclasses import asdict, replace  # noqa: E402

import click  # noqa: E402
from pyinfra.api import Config, Inventory, State  # noqa: E402
from pyinfra.api.connect import connect_all, disconnect_all  # noqa: E402
from pyinfra.api.exceptions import PyinfraError  # noqa: E402
from pyinfra.context import ctx_config, ctx_inventory, ctx_state  # noqa: E402

from deploys import preflight  # noqa: E402
from deploys.finding import Finding, Severity  # noqa: E402
from inventory.connection import host_data  # noqa: E402
from inventory.load import SettingsError, find, load  # noqa: E402

FINE, FATAL, USAGE = 0, 1, 4


class _Told(logging.Handler):
    """What pyinfra has to say, such as why a host cannot be reached."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(click.unstyle(record.getMessage()).strip())

    def of(self, host: str) -> str:
        mark = f"[{host}]"
        return "; ".join(line.removeprefix(mark).strip() for line in self.lines if line.startswith(mark))


def look(limit: str | None) -> list[Finding]:
    """The findings of all hosts of the inventory, or of the one called `limit`. Raises SettingsError."""
    file = find()
    told = load(file)
    if limit and limit not in told.hosts:
        raise SettingsError(f"HOST={limit}: no such host; there are: {', '.join(told.hosts)}")
    names = [limit] if limit else list(told.hosts)
    groups = {group: [one for one in getattr(told.groups, group) if one in names] for group in ("letta", "gpu")}
    hosts = Inventory(
        ([(name, host_data(told, name, file)) for name in names], {}),
        **{group: (members, {}) for group, members in groups.items() if members},
    )
    state = State(hosts, Config())
    # A host that cannot be reached is a finding, and the others are looked at all the same.
    state.should_raise_failed_hosts = lambda _: False
    told_by_pyinfra = _Told()
    logger = logging.getLogger("pyinfra")
    logger.addHandler(told_by_pyinfra)
    logger.propagate = False
    # Without a handler paramiko prints a traceback when a box hangs up; pyinfra already says that in one line.
    logging.getLogger("paramiko").addHandler(logging.NullHandler())
    with ctx_state.use(state), ctx_inventory.use(hosts), ctx_config.use(state.config):
        with suppress(PyinfraError):  # of no host at all; each of them is a finding
            connect_all(state)
        try:
            found = preflight.findings(preflight.look())
        finally:
            disconnect_all(state)
    return [replace(one, cause=one.cause or told_by_pyinfra.of(one.host)) for one in found]


def main() -> int:
    """Print the findings and return the exit code."""
    parser = argparse.ArgumentParser(prog="make preflight", description="Look at every host and change nothing.")
    parser.add_argument("--json", action="store_true", help="one document on standard output")
    parser.add_argument("--limit", metavar="HOST")
    parser.exit_on_error = False
    try:
        given = parser.parse_args()
        found = look(given.limit)
    except (SettingsError, argparse.ArgumentError) as error:
        print(error, file=sys.stderr)
        return USAGE
    fatal = sum(one.severity is Severity.FATAL for one in found)
    if given.json:
        print(json.dumps({"findings": [asdict(one) for one in found]}, indent=2))
    else:
        for one in found:
            print(one)
        print(f"{fatal} to fix before a deploy, {len(found) - fatal} to know of" if found else "nothing found")
    return FATAL if fatal else FINE


if __name__ == "__main__":
    sys.exit(main())
