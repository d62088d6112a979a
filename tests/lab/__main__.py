"""python -m tests.lab: put the lab up, take it down, look at it. Exit codes: 0 done, 1 failed, 4 bad usage."""

import argparse
import sys
import time
from typing import NoReturn

from docker.errors import APIError

from tests.lab import containers, engine
from tests.lab.lab import DEFAULT_NAME, FORWARDS, Lab
from tests.lab.report import LabError, say


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(4, f"{self.prog}: {message}\n")


def make_lab(name: str) -> Lab:
    """Only the lab of the default name has the well-known ports: others live beside it."""
    if name == DEFAULT_NAME:
        return Lab(name)
    return Lab(name, ssh_port=None, forwards=dict.fromkeys(FORWARDS))


def up(name: str) -> int:
    start = time.monotonic()
    lab = make_lab(name).up()
    say(f"{name} is up, after {time.monotonic() - start:.1f} s: ssh -F {lab.ssh_config_path} {name}")
    return 0


def down(name: str) -> int:
    if (why := engine.answers()) is not None:
        raise LabError(f"no Docker engine answers ({why}): nothing of the lab runs, and nothing could be removed")
    gone = make_lab(name).down()
    say(f"removed {', '.join(gone)}" if gone else f"there is nothing of {name} to remove")
    return 0


def status(name: str) -> int:
    if (why := engine.answers()) is not None:
        say(f"no Docker engine answers: {why}")
        return 1
    client = engine.connect()
    running = False
    for container in client.containers.list(all=True, filters={"label": containers.LABEL}):
        ports = ", ".join(
            f"127.0.0.1:{bound[0]['HostPort']} to {inside}"
            for inside, bound in (container.attrs["HostConfig"]["PortBindings"] or {}).items()
        )
        say(f"{container.name:<28} {container.status:<10} {ports}")
        running = running or (container.name == name and container.status == "running")
    if not running:
        say(f"the box {name} is not running")
    return 0 if running else 1


def stop_engine() -> int:
    say(engine.stop())
    return 0


def main() -> int:
    parser = Parser(prog="python -m tests.lab", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True, parser_class=Parser)
    for verb, text in (
        ("up", "engine, images, registry, network, fake model, box; changes nothing that is up already"),
        ("down", "remove that lab's containers, network and volumes; the engine and the images stay"),
        ("status", "what runs of any lab; exit 1 when the box does not run"),
    ):
        verbs.add_parser(verb, help=text).add_argument("--name", default=DEFAULT_NAME)
    verbs.add_parser("stop-engine", help="stop the Docker engine, if the lab started it")
    arguments = parser.parse_args()
    try:
        if arguments.verb == "stop-engine":
            return stop_engine()
        return {"up": up, "down": down, "status": status}[arguments.verb](arguments.name)
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
    except APIError as error:
        print(f"lab: the Docker engine refused: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
