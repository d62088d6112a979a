"""What the ledger knows of boxes and jobs, for the verbs of the box, which have no way to the database themselves."""

import asyncio
import json
from dataclasses import asdict

from lettabox.studio.jobs import Jobs


def told() -> str:
    """{"boxes": [BoxSeen, ...], "jobs": {state: count}} as JSON. Raises Unavailable."""
    return json.dumps(asyncio.run(_told()))


async def _told() -> dict[str, object]:
    jobs = Jobs()
    await jobs.open()
    try:
        return {"boxes": [asdict(one) for one in await jobs.boxes()], "jobs": await jobs.counts()}
    finally:
        await jobs.close()
