"""`python -m lettabox.studio <process>`: one of the studio's processes, which systemd keeps.

Each imports what it runs, and nothing else: it starts sooner, and a change of the others does not restart it
(deploys/studio_code.py).
"""

import sys

import click

from lettabox.errors import LettaboxError

LISTEN = click.option(
    "--listen", multiple=True, metavar="HOST:PORT", help="Listen here, not on the sockets that systemd hands over."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The studio's processes. Settings: /etc/lettabox/studio.json, or LETTABOX_STUDIO_CONFIG; secrets: environment."""


@cli.command()
@LISTEN
def serve(listen: tuple[str, ...]) -> None:
    """The studio: videos of all boxes, frames, jobs, the gallery."""
    from lettabox.studio.web import server

    server.serve(listen)


@cli.command()
@LISTEN
def files(listen: tuple[str, ...]) -> None:
    """What a GPU box of its own shows the studio: its videos, and frames of them."""
    from lettabox.studio.web import server

    server.serve(listen, only_files=True)


@cli.command()
def work() -> None:
    """Render what is wanted with this box's ComfyUI, one video after the other."""
    from lettabox.studio.worker import process

    process.work()


@cli.command()
def migrate() -> None:
    """Make the database's tables, or bring them up to date."""
    from lettabox.studio import migrate

    made = migrate.migrate()
    print("\n".join(f"studio: database: {step}" for step in made) or "studio: the database is up to date", flush=True)


@cli.command()
def seen() -> None:
    """Print what the database knows of boxes and jobs, as JSON."""
    from lettabox.studio import seen

    print(seen.told())


if __name__ == "__main__":
    try:
        cli()
    except LettaboxError as error:
        print(error, file=sys.stderr)
        sys.exit(error.code)
