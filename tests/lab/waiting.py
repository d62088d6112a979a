"""Wait for a condition, with a deadline."""

import time
from collections.abc import Callable

import requests

from tests.lab.report import LabError


def wait_for(what: str, ready: Callable[[], str | None], seconds: float, every: float = 0.2) -> None:
    """Poll `ready` until it returns None; the text it returns otherwise says what is still missing."""
    deadline = time.monotonic() + seconds
    while (missing := ready()) is not None:
        if time.monotonic() > deadline:
            raise LabError(f"waited {seconds:.0f} s for {what}: {missing}")
        time.sleep(every)


def silent(url: str) -> str | None:
    """None when `url` answers well, else what happened instead."""
    try:
        requests.get(url, timeout=5).raise_for_status()
    except requests.RequestException as error:
        return str(error)
    return None
