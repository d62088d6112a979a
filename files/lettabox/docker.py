"""Calls of the docker command line on the box."""

import json
import subprocess
from typing import Any

from lettabox.errors import LettaboxError


def docker(*arguments: str) -> str:
    """Run `docker ARGUMENTS` and return its stdout. Raises LettaboxError with what it said."""
    try:
        done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise LettaboxError("there is no docker command on this box; deploy first (`make deploy`)") from None
    except subprocess.CalledProcessError as error:
        raise LettaboxError(f"docker {' '.join(arguments)}: {error.stderr.strip()}") from None
    return done.stdout


def inspect(kind: str, *names: str) -> list[dict[str, Any]]:
    """Return `docker KIND inspect NAMES` as dictionaries, leaving out the objects that do not exist."""
    if not names:
        return []
    done = subprocess.run(["docker", kind, "inspect", *names], capture_output=True, text=True)
    missing = [line for line in done.stderr.splitlines() if "no such" in line.lower()]
    if done.returncode and len(missing) != len(done.stderr.strip().splitlines()):
        raise LettaboxError(f"docker {kind} inspect: {done.stderr.strip()}")
    return json.loads(done.stdout or "[]")
