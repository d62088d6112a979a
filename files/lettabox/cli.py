"""The command `lettabox`: one subcommand for every verb of the box side."""

import os
import sys

import click

from lettabox import images as images_
from lettabox import letta as letta_
from lettabox import secrets as secrets_
from lettabox.errors import FAILED, USAGE, LettaboxError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Care for the Letta server on this box. Exit codes: 0 fine, 1 failed or stopped,
    2 unhealthy or unreachable, 4 wrong use."""
    if os.geteuid() != 0:
        raise LettaboxError(f"lettabox needs root: sudo lettabox {' '.join(sys.argv[1:])}", USAGE)


@cli.group()
def letta() -> None:
    """The Letta stack: Postgres, Redis, server and proxy."""


@letta.command()
@click.option("--timeout", type=click.IntRange(1), help="Seconds to wait for health (default: the setting).")
def start(timeout: int | None) -> None:
    """Start the stack and wait until it is healthy."""
    letta_.start(timeout)


@letta.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def stop(yes: bool) -> None:
    """Stop the stack (affects every project that uses it)."""
    letta_.stop(yes)


@letta.command()
def restart() -> None:
    """Restart the stack and wait until it is healthy."""
    letta_.restart()


@letta.command()
def status() -> None:
    """One screen: containers, version, agents, volumes, disk."""
    sys.exit(letta_.status())


@letta.command()
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True)
@click.option("--tail", type=click.IntRange(0), default=100, show_default=True)
def logs(service: str | None, follow: bool, tail: int) -> None:
    """Show the logs of all services or of one."""
    letta_.logs(service, follow, tail)


@letta.command()
def password() -> None:
    """Print the server password."""
    print(secrets_.read("letta_server_password"))


@cli.group()
def images() -> None:
    """Images, pinned to what they were at the first pull."""


@images.command()
@click.argument("image", nargs=-1, required=True)
def pull(image: tuple[str, ...]) -> None:
    """Pull each IMAGE (name:tag or name:tag@sha256:...) that is missing and record its digest."""
    for name, _, digest in (one.partition("@") for one in image):
        print(f"{name} {images_.pull(name, digest)}")


@cli.group()
def secrets() -> None:
    """The stack's secrets."""


@secrets.command()
@click.argument("name", nargs=-1, required=True)
def create(name: tuple[str, ...]) -> None:
    """Create each secret that does not exist yet; never print or change one."""
    for one in secrets_.create(name):
        print(f"created {one}")


def main() -> None:
    """Run a verb; every failure is one explained message and a documented exit code."""
    try:
        cli.main(standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        sys.exit(FAILED)
    except LettaboxError as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)
