"""Frames of videos as images: decoded once, kept in a bounded cache, with a bounded use of the CPU."""

import asyncio
import os
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cachetools import LRUCache

from lettabox.studio import one_pass, sheet, source
from lettabox.studio.at import At
from lettabox.studio.clip import Clip, Want
from lettabox.studio.frame_index import Beyond, FrameIndex
from lettabox.studio.one_pass import Unreadable, Wish
from lettabox.studio.picture import JPEG, WEBP, Picture, Shape
from lettabox.studio.sheet import Sheet
from lettabox.studio.source import Identity

__all__ = ["Beyond", "Busy", "Frames", "Unreadable"]

OVERHEAD = 1000  # bytes of memory that an entry of the cache takes besides its data
# A clip of which this many passes were made is decoded whole, at low priority: one more pass costs as much as that.
# LTX's clips have a single key frame, so that most of the work for a late frame is in the ones before it.
PASSES = 3
WHOLE = 0.5  # of the cache that one clip may take then
BEHIND = 4  # clips that may wait for that


class Busy(Exception):
    """Too many others wait, or this one waited too long: ask again in `after` seconds. The text is for the client."""

    def __init__(self, problem: str, after: int = 5) -> None:
        super().__init__(problem)
        self.after = after


class Stopped(Exception):
    """Nobody waits for what is being decoded any more."""


class Frames:
    """Used from one event loop. Its threads begin with the first frame."""

    def __init__(self, cache: int, decoders: int, waiting: int = 256, limit: float = 30.0) -> None:
        """`cache`: bytes of images that are kept; `decoders`: how many decode at once, each on one core.

        `waiting`: requests that may wait at once; `limit`: seconds that one may wait.
        """
        self._cache: LRUCache[Any, Any] = LRUCache(cache, getsizeof=_size)
        self._decoders, self._most, self._limit = decoders, waiting, limit
        self._clips: dict[Identity, Clip] = {}
        self._queue: deque[Clip] = deque()  # those with something to decode that have no pass under way
        self._active = self._waiting = 0
        self._pool = ThreadPoolExecutor(decoders, "frames")
        self._closed = threading.Event()
        # Decoding whole clips, behind all others.
        self._passes: LRUCache[Identity, int] = LRUCache(1000)
        self._behind = ThreadPoolExecutor(1, "whole-clips")
        self._wholes: dict[Identity, Clip] = {}
        self._free = threading.Event()  # a decoder has nothing to do
        self._free.set()
        self._counts = dict.fromkeys(("hits", "misses", "passes", "whole_clips", "refused"), 0)

    async def frames(self, file: Path, wants: Sequence[At], shape: Shape = Shape()) -> list[Picture]:
        """The wanted frames, in one pass through the file, in the order of `wants`.

        Raises Beyond, Unreadable, Busy; FileNotFoundError and other OSErrors of opening the file.
        """
        identity = _identity(file)
        found = {at: self._cached(identity, (at, shape)) for at in wants}
        missing = [at for at, picture in found.items() if picture is None]
        self._counts["hits"] += len(found) - len(missing)
        if missing:
            self._counts["misses"] += len(missing)
            found |= await self._made(file, identity, missing, shape)
        return [found[at] for at in wants]

    async def sheet(self, file: Path, wants: Sequence[At], shape: Shape = Shape()) -> Sheet:
        """The wanted frames as one image, with their times; `shape.width` is that of the whole. Raises as frames()."""
        key = (_identity(file), tuple(wants), shape)
        if (made := self._cache.get(key)) is None:
            tiles = await self.frames(file, wants, sheet.tile(shape, len(wants)))
            made = await asyncio.get_running_loop().run_in_executor(self._pool, sheet.compose, tiles, shape)
            self._keep(key, made)
        return made

    def close(self) -> None:
        """End the threads; what still waits gets Busy."""
        self._closed.set()
        self._free.set()
        for clip in list(self._clips.values()):
            clip.stop.set()
            for wish in list(clip.wants):
                clip.give(wish, Busy("the studio is being stopped"))
        for pool in (self._pool, self._behind):
            pool.shutdown(wait=True, cancel_futures=True)
        for clip in (*self._clips.values(), *self._wholes.values()):
            clip.close()
        self._clips, self._wholes = {}, {}

    def figures(self) -> dict[str, int]:
        """What there is to measure."""
        now = {"decoding": self._active, "waiting": self._waiting}
        return self._counts | now | {"cache_bytes": int(self._cache.currsize), "cache_entries": len(self._cache)}

    # The cache

    def _cached(self, identity: Identity, wish: Wish) -> Picture | None:
        """Raises Beyond."""
        at, shape = wish
        number = at.index
        if number is None:
            index = self._cache.get(identity)
            if index is None:
                return None
            number = index.number(at)
        return self._cache.get((identity, number, shape))

    def _keep(self, key: Any, value: Picture | Sheet | FrameIndex) -> None:
        if _size(value) <= self._cache.maxsize:
            self._cache[key] = value

    # Those who wait

    async def _made(self, file: Path, identity: Identity, missing: list[At], shape: Shape) -> dict[At, Picture]:
        if self._closed.is_set():
            raise Busy("the studio is being stopped")
        if self._waiting >= self._most:
            self._counts["refused"] += 1
            raise Busy(f"{self._waiting} others are waiting for frames")
        clip = self._clip(file, identity)
        joined: list[tuple[Wish, Want]] = [((at, shape), clip.want((at, shape))) for at in missing]
        self._waiting += 1
        try:
            self._enqueue(clip)
            async with asyncio.timeout(self._limit):
                return {wish[0]: await asyncio.shield(want.future) for wish, want in joined}
        except TimeoutError:
            raise Busy(f"the frame was not there within {self._limit:g} s") from None
        finally:
            self._waiting -= 1
            for wish, want in joined:
                clip.leave(wish, want)
            self._drop(clip)

    def _clip(self, file: Path, identity: Identity) -> Clip:
        clip = self._clips.get(identity)
        if clip is None:
            number = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            clip = Clip(source.identity(os.fstat(number)), number)
            if clip.identity != identity:
                clip.close()
                raise Unreadable("it is being written")
            self._clips[identity] = clip
        return clip

    def _drop(self, clip: Clip) -> None:
        """Close it when nothing is to be done with it."""
        if not clip.wants and not clip.under_way and self._clips.get(clip.identity) is clip:
            del self._clips[clip.identity]
            clip.close()

    # Passes

    def _enqueue(self, clip: Clip) -> None:
        if not clip.under_way and clip not in self._queue and clip.waiting():
            self._queue.append(clip)
        while self._queue and self._active < self._decoders:
            self._begin(self._queue.popleft())

    def _begin(self, clip: Clip) -> None:
        wishes = clip.waiting()
        if not wishes:  # all have left
            return
        clip.begin(wishes)
        self._active += 1
        self._counts["passes"] += 1
        if self._active >= self._decoders:
            self._free.clear()
        loop, index = asyncio.get_running_loop(), self._cache.get(clip.identity)
        stop = clip.stop

        def check() -> None:
            if stop.is_set():
                raise Stopped

        def give(wish: Wish, given: Picture | Exception) -> None:
            loop.call_soon_threadsafe(self._give, clip, wish, given)

        def know(found: FrameIndex) -> None:
            loop.call_soon_threadsafe(self._keep, clip.identity, found)

        def work() -> None:
            failed: Exception | None = None
            try:
                one_pass.make(clip.file, wishes, index, check, clip.join, know, give)
            except Exception as error:  # for those who wait, whatever it is
                failed = error
            loop.call_soon_threadsafe(self._end, clip, failed)

        self._pool.submit(work)

    def _give(self, clip: Clip, wish: Wish, given: Picture | Exception) -> None:
        if isinstance(given, Picture):
            clip.last_shape, clip.last_size = wish[1], _size(given)
            self._keep((clip.identity, given.index, wish[1]), given)
        clip.give(wish, given)

    def _end(self, clip: Clip, error: Exception | None) -> None:
        left = clip.end()
        self._active -= 1
        self._free.set()
        if error and not isinstance(error, Stopped):
            for wish in left:
                clip.give(wish, error)
        if not self._closed.is_set():
            self._enqueue(clip)
            self._decode_whole(clip)
        self._drop(clip)

    # Whole clips

    def _decode_whole(self, clip: Clip) -> None:
        """Do that later if it pays, in the shape that was made last."""
        identity, shape, index = clip.identity, clip.last_shape, self._cache.get(clip.identity)
        passes = self._passes[identity] = self._passes.get(identity, 0) + 1
        if passes < PASSES or identity in self._wholes or len(self._wholes) >= BEHIND:
            return
        if index is None or shape is None or shape.format not in (JPEG, WEBP):
            return
        count = len(index.shown)
        if clip.last_size * count > WHOLE * self._cache.maxsize:
            return
        wishes = [(At(index=number), shape) for number in range(count) if (identity, number, shape) not in self._cache]
        if not wishes:
            return
        own = self._wholes[identity] = Clip(identity, os.dup(clip.number))
        loop = asyncio.get_running_loop()

        def check() -> None:
            self._free.wait()
            if self._closed.is_set():
                raise Stopped

        def give(wish: Wish, given: Picture | Exception) -> None:
            loop.call_soon_threadsafe(self._give, own, wish, given)

        def know(_: FrameIndex) -> None:
            pass  # it is known

        def work() -> None:
            try:
                one_pass.make(own.file, wishes, index, check, list, know, give)
            except (Stopped, Unreadable):
                pass  # whoever wants a frame of it is told so then
            finally:
                loop.call_soon_threadsafe(self._end_whole, identity)

        self._behind.submit(work)

    def _end_whole(self, identity: Identity) -> None:
        if own := self._wholes.pop(identity, None):
            own.close()
        self._passes.pop(identity, None)
        self._counts["whole_clips"] += 1


def _identity(file: Path) -> Identity:
    try:
        return source.identity(os.stat(file))
    except ValueError as error:
        raise Unreadable(str(error)) from None


def _size(value: Picture | Sheet | FrameIndex) -> int:
    """Bytes of memory that an entry of the cache takes, about."""
    return OVERHEAD + (value.size if isinstance(value, FrameIndex) else len(value.data))
