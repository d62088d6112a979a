"""Jobs that wait, run and have run. All of it is in memory: a restart forgets it, as ComfyUI's does."""

import asyncio
import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

HISTORY = 10000


@dataclass(order=True)
class Job:
    number: float
    prompt_id: str
    graph: dict = field(compare=False)
    extra: dict = field(compare=False)
    outputs: list[str] = field(compare=False)
    interrupted: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    def listed(self) -> list:
        """As /queue and /history show it."""
        return [self.number, self.prompt_id, self.graph, self.extra, self.outputs]


class PromptQueue:
    """The lowest number first. `changed` is called after each change of how much is left."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.pending: list[Job] = []  # a heap
        self.running: list[Job] = []
        self.finished: dict[str, dict] = {}
        self._changed = changed
        self._came = asyncio.Event()

    def left(self) -> int:
        return len(self.pending) + len(self.running)

    def put(self, job: Job) -> None:
        heapq.heappush(self.pending, job)
        self._came.set()
        self._changed()

    async def next(self) -> Job:
        while not self.pending:
            self._came.clear()
            await self._came.wait()
        job = heapq.heappop(self.pending)
        self.running.append(job)
        self._changed()
        return job

    def done(self, job: Job, outputs: dict, status: dict, meta: dict) -> None:
        self.running.remove(job)
        # A job of the same id, sent a second time, takes the place of the first.
        self.finished[job.prompt_id] = {"prompt": job.listed(), "outputs": outputs, "status": status, "meta": meta}
        while len(self.finished) > HISTORY:
            del self.finished[next(iter(self.finished))]
        self._changed()

    def interrupt(self, prompt_id: str | None = None) -> bool:
        """Ask the job that runs to end; whether it is the one that was meant."""
        meant = [job for job in self.running if prompt_id in (None, job.prompt_id)]
        for job in meant:
            job.interrupted.set()
        return bool(meant)

    def delete(self, prompt_id: str) -> bool:
        """Take out one job that waits."""
        for job in self.pending:
            if job.prompt_id == prompt_id:
                self.pending.remove(job)
                heapq.heapify(self.pending)
                self._changed()
                return True
        return False

    def clear(self) -> None:
        self.pending.clear()
        self._changed()

    def history(self, max_items: int | None = None, offset: int = -1) -> dict[str, dict]:
        """The oldest first; of a limited number, the newest unless an offset is given."""
        items = list(self.finished.items())
        if max_items is None:
            return dict(items)
        start = max(0, len(items) - max_items) if offset < 0 else offset
        return dict(items[start : start + max_items])
