"""A studio that asks for videos and may be killed while it does: `python -m tests.lab.submitter COUNT`.

What it asks for has a key each, so that a second run asks for what the first one did not, and for nothing twice.
"""

import asyncio
import sys

from lettabox.studio.job import Wanted
from lettabox.studio.jobs import Jobs, Unavailable

SIZE = {"width": 128, "height": 64, "frames": 9}


def wanted(number: int) -> Wanted:
    """Every third one with a seed of its own."""
    seed = number if number % 3 == 0 else None
    return Wanted(f"wanted {number}", seed=seed, tags=(f"t{number % 3}",), priority=number % 2, **SIZE)


async def submit(count: int) -> None:
    jobs = Jobs()
    await jobs.open()
    for number in range(count):
        while True:
            try:
                await jobs.submit(wanted(number), f"wanted-{number}")
                break
            except Unavailable:
                await asyncio.sleep(0.1)
        await asyncio.sleep(0.02)  # so that a kill finds it at work
    await jobs.close()


if __name__ == "__main__":
    asyncio.run(submit(int(sys.argv[1])))
