"""The command `lettabox`: one subcommand for every verb of the box side."""

import json
import os
import sys
from contextlib import nullcontext

import click

from lettabox import check as check_
from lettabox import context as context_
from lettabox import image_archive, lock
from lettabox import letta as letta_
from lettabox import providers as providers_
from lettabox import router as router_
from lettabox import secrets as secrets_
from lettabox.errors import FAILED, USAGE, LettaboxError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Care for the Letta server on this box. Exit codes: 0 fine, 1 failed or stopped,
    2 unhealthy or unreachable, 3 another Letta is here, 4 wrong use, 75 somebody else is changing the box."""
    if context.invoked_subcommand != "check" and os.geteuid() != 0:
        raise LettaboxError(f"lettabox needs root: sudo lettabox {' '.join(sys.argv[1:])}", USAGE)


@cli.command()
@click.option("--start", is_flag=True, help="Start it if it is stopped; without this it asks, on a terminal.")
@click.option("--json", "as_json", is_flag=True, help="One document on standard output; asks nothing.")
@click.option("--url", default="", help="One more address that must answer, such as a project's LETTA_BASE_URL.")
def check(start: bool, as_json: bool, url: str) -> None:
    """Is Letta running, healthy, reachable from here, and the only one? Anybody may ask.

    Exit codes: 0 fine, 1 stopped, 2 unhealthy or unreachable, 3 another Letta is here, 4 wrong use."""
    sys.exit(check_.check(start, as_json, url))


@cli.group()
def letta() -> None:
    """The Letta stack: Postgres, Redis, server and proxy."""


@letta.command()
@click.option("--timeout", type=click.IntRange(1), help="Seconds to wait for health (default: the setting).")
def start(timeout: int | None) -> None:
    """Get the images that are missing, start the stack and wait until it is healthy."""
    with lock.held("lettabox letta start"):
        letta_.start(timeout)


@letta.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
def stop(yes: bool) -> None:
    """Stop the stack (affects every project that uses it)."""
    letta_.stop(yes)


@letta.command()
def restart() -> None:
    """Restart the stack and wait until it is healthy."""
    with lock.held("lettabox letta restart"):
        letta_.restart()


@letta.command()
def status() -> None:
    """One screen: containers, version, agents, volumes, disk, model providers."""
    code = letta_.status()
    if models := router_.status() + providers_.status():
        print(f"\n{'models':<16}state")
        print("\n".join(f"{name:<16}{what}" for name, what in models))
    sys.exit(code)


@letta.command()
@click.option("--fix", is_flag=True, help="Set the windows that are too small.")
@click.option("--lower", is_flag=True, help="With --fix: set those that are too large as well.")
@click.option("--agent", multiple=True, metavar="NAME|ID", help="Only this agent; may be given again.")
def context(fix: bool, lower: bool, agent: tuple[str, ...]) -> None:
    """Show the agents whose context window is not what the settings say."""
    with lock.held("lettabox letta context --fix") if fix else nullcontext():
        sys.exit(context_.context(fix, lower, agent))


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


@letta.command()
@click.option("--deploying", is_flag=True, help="A provider that cannot be reached is a warning.")
def providers(deploying: bool) -> None:
    """Set up the declared model providers, have Letta read their models, and say which cannot be reached."""
    with lock.held("lettabox letta providers"):
        sys.exit(providers_.converge(deploying))


@cli.group()
def router() -> None:
    """The LLM router that runs on this box."""


@router.command()
@click.argument("release")
def deploy(release: str) -> None:
    """Get, build and start a release; when it does not become healthy, the one before runs on."""
    with lock.held("lettabox router deploy"):
        router_.deploy(release)


@router.command()
def remove() -> None:
    """Stop the router and remove its unit; its checkouts and its home stay."""
    with lock.held("lettabox router remove"):
        router_.remove()


@cli.group()
def image() -> None:
    """The stack's images as one file; `make image-save` and `image-load` are the other end."""


@image.command()
@click.option("--compression", type=click.Choice(["none", *image_archive.COMPRESSIONS]), default="none")
def save(compression: str) -> None:
    """Write all images of the stack to stdout."""
    if sys.stdout.isatty():
        raise LettaboxError("this writes gigabytes to stdout; redirect it into a file, or use `make image-save`", USAGE)
    image_archive.save(letta_.settings(), compression, sys.stdout.buffer)


@image.command()
@click.option("--size", type=click.IntRange(0), required=True, help="Bytes that come on stdin.")
@click.option("--sha256", default="", help="Their hash, where it is known.")
def load(size: int, sha256: str) -> None:
    """Check an archive from stdin and load its images."""
    with lock.held("lettabox image load"):
        image_archive.load(letta_.settings(), sys.stdin.buffer, size, sha256)


@cli.group()
def secrets() -> None:
    """The stack's secrets."""


@secrets.command()
@click.argument("name", nargs=-1, required=True)
def create(name: tuple[str, ...]) -> None:
    """Create each secret that does not exist yet; never print or change one."""
    with lock.held("lettabox secrets create"):
        for one in secrets_.create(name):
            print(f"created {one}")


@secrets.command()
def put() -> None:
    """Store secrets from standard input, a JSON object of names and values; tell the names alone."""
    with lock.held("lettabox secrets put"):
        for one in secrets_.put(json.load(sys.stdin)):
            print(f"stored {one}")


def main() -> None:
    """Run a verb; every failure is one explained message and a documented exit code."""
    try:
        cli.main(prog_name="lettabox", standalone_mode=False)
    except click.UsageError as error:
        error.show()
        sys.exit(USAGE)
    except click.Abort:
        sys.exit(FAILED)
    except LettaboxError as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)
