"""Which job made a video, as far as the database can be asked; what it said is kept."""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence

from cachetools import LRUCache, TTLCache

from lettabox.studio.job import Job
from lettabox.studio.jobs import Jobs, Unavailable
from lettabox.studio.video import Video

PATIENCE = 1.0  # seconds that a list waits for the database
PAUSE = 5.0  # seconds in which a database that did not answer is not asked again for a list
NONE_FOR = 30.0  # seconds that a video without a job is taken to have none
YOUNG = 300.0  # seconds in which a video may still get its job: its worker records it after writing it
MOST = 100_000  # videos


class Ledger:
    def __init__(self, jobs: Jobs | None) -> None:
        """None: this service has no database, so no video has a job."""
        self._jobs = jobs
        # A job that has its video changes no more.
        self._made: LRUCache[str, Job] = LRUCache(MOST)
        self._without: TTLCache[str, bool] = TTLCache(MOST, NONE_FOR)
        self._silent_until = 0.0

    async def of(self, videos: Sequence[Video]) -> tuple[Mapping[str, Job], bool]:
        """{path: its job}, and whether that is all: False when the database does not answer."""
        if self._jobs is None:
            return {}, True
        unknown = [video for video in videos if video.path not in self._made and video.path not in self._without]
        whole = True
        if unknown:
            whole = await self._ask(self._jobs, unknown)
        return self._made, whole

    async def _ask(self, jobs: Jobs, videos: Iterable[Video]) -> bool:
        if time.monotonic() < self._silent_until:
            return False
        times = {video.path: video.time for video in videos}
        try:
            async with asyncio.timeout(PATIENCE):
                found = await jobs.of_videos(list(times))
        except (Unavailable, TimeoutError):
            self._silent_until = time.monotonic() + PAUSE
            return False
        self._made.update(found)
        now = time.time()
        for path in times.keys() - found.keys():
            if now - times[path] > YOUNG:
                self._without[path] = True
        return True
