"""How long each step takes, where that is worth a line."""

import time

from pyinfra import logger, state
from pyinfra.api.state import BaseStateCallback

WORTH_A_LINE = 1.0  # seconds


class _Seconds(BaseStateCallback):
    """pyinfra calls its handlers without an instance, so the clock is the class's."""

    began = 0.0

    @staticmethod
    def operation_start(state, op_hash):
        _Seconds.began = time.monotonic()

    @staticmethod
    def operation_end(state, op_hash):
        took = time.monotonic() - _Seconds.began
        if took >= WORTH_A_LINE:
            logger.info(f"    took {took:.0f} s")


_seconds = _Seconds()


def show_seconds() -> None:
    """Print the time of every step of this run that takes a second or more."""
    # deploy.py runs once for each host; the run has one list of handlers.
    if _seconds not in state.callback_handlers:
        state.add_callback_handler(_seconds)
