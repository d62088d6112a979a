"""The command `lettabox`: one subcommand for every verb of the box side."""

import json
import os
import sys
from contextlib import nullcontext
from typing import Any

import click

from lettabox import check as check_
from lettabox import comfyui as comfyui_
from lettabox import context as context_
from lettabox import (
    crew_apply,
    crew_export,
    crew_import,
    crew_repair,
    crew_status,
    image_archive,
    lock,
    studio_link,
    studio_service,
    workflow_render,
)
from lettabox import letta as letta_
from lettabox import models as models_
from lettabox import providers as providers_
from lettabox import router as router_
from lettabox import secrets as secrets_
from lettabox import studio_tools as studio_tools_
from lettabox import workflow as workflow_
from lettabox.errors import FAILED, USAGE, LettaboxError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def cli(context: click.Context) -> None:
    """Care for the Letta server and the video studio on this box. Exit codes: 0 fine, 1 failed or stopped,
    2 unhealthy or unreachable, 3 another Letta is here, 4 wrong use, 75 somebody else is changing the box."""
    if context.invoked_subcommand not in ("check", "models"):
        _needs_root()


def _needs_root() -> None:
    if os.geteuid() != 0:
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
def comfyui() -> None:
    """ComfyUI, which renders the videos."""


@comfyui.command("deploy")
@click.argument("release")
def deploy_comfyui(release: str) -> None:
    """Get, install and start a release; when it does not become healthy, the one before runs again."""
    with lock.held("lettabox comfyui deploy"):
        comfyui_.deploy(release)


@comfyui.command("start")
def start_comfyui() -> None:
    """Start it and wait until it is healthy."""
    with lock.held("lettabox comfyui start"):
        comfyui_.start()


@comfyui.command("stop")
@click.option("--yes", is_flag=True, help="Do not ask, although jobs are lost.")
def stop_comfyui(yes: bool) -> None:
    """Stop it until the next start, deploy or boot; asks when jobs are lost."""
    comfyui_.stop(yes)


@comfyui.command("restart")
@click.option("--yes", is_flag=True, help="Do not ask, although jobs are lost.")
def restart_comfyui(yes: bool) -> None:
    """Restart it and wait until it is healthy; asks when jobs are lost."""
    comfyui_.restart(yes)


@comfyui.command("status")
def status_comfyui() -> None:
    """One screen: health, version, device, queue, release, address, service."""
    sys.exit(comfyui_.status())


@comfyui.command("logs")
@click.option("-f", "--follow", is_flag=True)
@click.option("--tail", type=click.IntRange(0), default=100, show_default=True)
def logs_comfyui(follow: bool, tail: int) -> None:
    """Show its log."""
    comfyui_.logs(follow, tail)


@cli.group()
def workflow() -> None:
    """The workflow that makes videos."""


@workflow.command(name="deploy")
def deploy_workflow() -> None:
    """Convert and check it; one that does not fit this ComfyUI leaves the one before in place."""
    with lock.held("lettabox workflow deploy"):
        workflow_.deploy()


@workflow.command(name="check")
def check_workflow() -> None:
    """Are its nodes and models in the running ComfyUI?

    Exit codes: 0 it can run, 1 it never will or none is deployed, 2 models are missing or ComfyUI does not answer."""
    sys.exit(workflow_.check())


@workflow.command(name="show")
def show_workflow() -> None:
    """Print it in API form as a deploy would make it, with the ids for settings.workflow.manifest."""
    workflow_.show()


@workflow.command()
@click.option("--timeout", type=click.IntRange(1), default=300, show_default=True, help="Seconds it may take.")
@click.option("--json", "as_json", is_flag=True, help="One document on standard output.")
def render(timeout: int, as_json: bool) -> None:
    """Make one tiny real clip without any model, look whether it plays, and remove it.

    Exit codes: 0 it plays, 1 it was not made or does not play, 2 ComfyUI does not answer."""
    workflow_render.show(workflow_render.render(timeout), as_json)


@cli.group()
def models() -> None:
    """The files of the models that ComfyUI uses."""


@models.command("deploy")
def deploy_models() -> None:
    """Start the download of what is missing, by the unit comfyui-models, and return."""
    _needs_root()
    with lock.held("lettabox models deploy"):
        models_.deploy()


@models.command("remove")
def remove_models() -> None:
    """Stop downloads and remove their unit; the files stay."""
    _needs_root()
    with lock.held("lettabox models remove"):
        models_.remove()


@models.command()
@click.option("--token", is_flag=True, help="Read a token of the hub from standard input.")
def download(token: bool) -> None:
    """Download what is missing; this is what the unit runs, as the user comfyui.

    Exit codes: 0 all that are locked are there, 1 some are not and trying again does not help, 2 the hub did not
    give some now."""
    sys.exit(models_.download(sys.stdin.read().strip() if token else ""))


@models.command("status")
@click.option("--json", "as_json", is_flag=True, help="One document on standard output.")
def models_status(as_json: bool) -> None:
    """Where every model stands.

    Exit codes: 0 all are there, 1 some are missing or failed, 2 the download runs."""
    _needs_root()
    sys.exit(models_.status(as_json))


@cli.group()
def studio() -> None:
    """The studio: videos, frames, the queue of renders, and the agents' tools for them."""


@studio.command("deploy")
@click.argument("unit", nargs=-1, required=True)
def deploy_studio(unit: tuple[str, ...]) -> None:
    """Start those of its units that do not run as the deploy wants them, and wait until they are healthy."""
    with lock.held("lettabox studio deploy"):
        studio_service.deploy(list(unit))


@studio.command("remove")
@click.argument("unit", nargs=-1, required=True)
def remove_studio(unit: tuple[str, ...]) -> None:
    """Stop units of it for good; videos, jobs and secrets stay."""
    with lock.held("lettabox studio remove"):
        studio_service.remove(list(unit))


@studio.command("start")
def start_studio() -> None:
    """Start it and wait until it is healthy."""
    with lock.held("lettabox studio start"):
        studio_service.start()


@studio.command("stop")
def stop_studio() -> None:
    """Stop it until the next start, deploy or boot; jobs stay in the queue."""
    with lock.held("lettabox studio stop"):
        studio_service.stop()


@studio.command("restart")
def restart_studio() -> None:
    """Restart it and wait until it is healthy."""
    with lock.held("lettabox studio restart"):
        studio_service.restart()


@studio.command("status")
def status_studio() -> None:
    """One screen: health, boxes, queue, newest videos, addresses, services."""
    sys.exit(studio_service.status())


@studio.command("logs")
@click.option("-f", "--follow", is_flag=True)
@click.option("--tail", type=click.IntRange(0), default=100, show_default=True)
def logs_studio(follow: bool, tail: int) -> None:
    """Show its log."""
    studio_service.logs(follow, tail)


@studio.command("token")
def token_studio() -> None:
    """Print the token that writing needs."""
    print(studio_service.token())


@studio.command("link-key")
def link_key() -> None:
    """On a GPU box of its own: have a key for the host of Letta."""
    with lock.held("lettabox studio link-key"):
        studio_link.make_key()


@studio.command("link-join")
def link_join() -> None:
    """On a GPU box of its own: know the host of Letta, and get from it what the worker needs."""
    with lock.held("lettabox studio link-join"):
        studio_link.join(json.load(sys.stdin))


@studio.command("link-admit")
def link_admit() -> None:
    """On the host of Letta: let in the GPU boxes whose keys come on standard input, and nobody else."""
    with lock.held("lettabox studio link-admit"):
        studio_link.admit(sys.stdin.read())


@studio.command("link-close")
def link_close() -> None:
    """On the host of Letta: let no GPU box in any more."""
    with lock.held("lettabox studio link-close"):
        studio_link.close()


@studio.command()
def tools() -> None:
    """Put the agents' tools into Letta, and tell them where the studio is; say what changed."""
    with lock.held("lettabox studio tools"):
        studio_tools_.converge()


@cli.group()
def crew() -> None:
    """The crew: the agents that make videos, and their shared memory."""


def _crew_document(stored: bool) -> dict[str, Any]:
    """The crew to have: from standard input, or as the box keeps it."""
    return crew_apply.stored() if stored or sys.stdin.isatty() else crew_apply.parsed(sys.stdin.read())


@crew.command("apply")
@click.option("--stored", is_flag=True, help="The crew that the box keeps, instead of one on standard input.")
@click.option("--deploying", is_flag=True, help="An embedding endpoint that does not work is a warning.")
def apply_crew(stored: bool, deploying: bool) -> None:
    """Create what is missing of the crew on standard input, change what differs, and say what was done.

    Exit codes: 0 fine, 1 failed, 2 Letta or an embedding endpoint does not answer, 4 wrong use."""
    document = _crew_document(stored)
    with lock.held("lettabox crew apply"):
        sys.exit(crew_apply.apply(document, deploying))


@crew.command("plan")
@click.option("--stored", is_flag=True, help="The crew that the box keeps, instead of one on standard input.")
def plan_crew(stored: bool) -> None:
    """Print what apply would change, and change nothing."""
    crew_apply.plan(_crew_document(stored))


@crew.command("status")
def status_crew() -> None:
    """One screen: agents, blocks, the queue, whether embeddings work.

    Exit codes: 0 as declared, 1 something is not, 2 Letta or an embedding endpoint does not answer, 4 no crew."""
    sys.exit(crew_status.status())


@crew.command("repair")
@click.option("--dry-run", is_flag=True, help="Tell what is wrong, and change nothing.")
def repair_crew(dry_run: bool) -> None:
    """Bring what agents wrote into the shared blocks to its canonical form; no line of it is lost.

    Exit codes: 0 fine, 1 a block is gone, 2 Letta does not answer, 4 no crew, 75 agents write all the time."""
    with nullcontext() if dry_run else lock.held("lettabox crew repair"):
        sys.exit(crew_repair.repair(dry_run))


@crew.command("export")
@click.option("--wait", type=click.IntRange(0), default=120, show_default=True, help="Seconds for agents at work.")
@click.option("--anyway", is_flag=True, help="Take agents that are still at work then as they are.")
@click.option("--made-by", default="", help="The revision of lettabox, for the manifest.")
def export_crew(wait: int, anyway: bool, made_by: str) -> None:
    """Write the crew to stdout as one tar; `make crew-export` is the other end."""
    if sys.stdout.isatty():
        raise LettaboxError("this writes a tar to stdout; redirect it into a file, or use `make crew-export`", USAGE)
    crew_export.export(sys.stdout.buffer, wait, anyway, made_by)


@crew.command("import")
@click.option("--undo", is_flag=True, help="Only remove what an import that was cut off left.")
def import_crew(undo: bool) -> None:
    """Restore the crew that `make crew-import` sends on stdin, where there is none.

    Exit codes: 0 fine, 1 refused or failed, 2 Letta or an embedding endpoint does not answer, 4 wrong use."""
    if not undo and sys.stdin.isatty():
        raise LettaboxError("this reads a crew from stdin; use `make crew-import DIR=...`", USAGE)
    with lock.held("lettabox crew import"):
        sys.exit(crew_import.undo() if undo else crew_import.import_(sys.stdin.buffer))


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
