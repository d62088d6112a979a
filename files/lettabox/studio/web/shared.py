"""One run of something at a time, shared by all who ask for it meanwhile."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Generic, TypeVar

T = TypeVar("T")


class Shared(Generic[T]):
    def __init__(self, work: Callable[[], Coroutine[None, None, T]]) -> None:
        self._work = work
        self._now: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def fresh(self) -> T:
        """What a run gives that starts from now on; whoever comes while one runs shares the one behind it."""
        if self._next is not None:
            return await asyncio.shield(self._next)
        if self._now is not None and not self._now.done():
            self._next = self._begun(self._behind(self._now))
            return await asyncio.shield(self._next)
        self._now = self._begun(self._work())
        return await asyncio.shield(self._now)

    async def any(self) -> T:
        """The same, but one that runs already will do."""
        if self._now is not None and not self._now.done():
            return await asyncio.shield(self._now)
        return await self.fresh()

    async def stop(self) -> None:
        """End what runs."""
        tasks = [task for task in (self._now, self._next) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _behind(self, before: asyncio.Task[T]) -> T:
        await asyncio.wait([before])
        self._now, self._next = asyncio.current_task(), None
        return await self._work()

    @staticmethod
    def _begun(work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        # Whoever waits gets its exception; asyncio need not complain where all have gone.
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return task
