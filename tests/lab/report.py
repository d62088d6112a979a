"""What the lab says while it works: one line a step, with the seconds it took."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

_printing = threading.Lock()


class LabError(Exception):
    """The lab cannot go on; the message says what was being done, what happened and what to do."""


def say(line: str) -> None:
    with _printing:
        print(f"lab: {line}", flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Print `what` with the seconds it took, when it ends well."""
    start = time.monotonic()
    yield
    say(f"{what:<42} {time.monotonic() - start:6.1f} s")


def tail(text: str, lines: int = 30) -> str:
    return "\n".join(text.rstrip().splitlines()[-lines:])
