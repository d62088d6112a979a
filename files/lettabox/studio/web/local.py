"""The videos in a folder of this box. remote.py has those of another one."""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from lettabox.studio.library import Library
from lettabox.studio.video import Video
from lettabox.studio.web.problem import unavailable
from lettabox.studio.web.shared import Shared

FIRST_LOOK = 20.0  # seconds that a request waits for the first look at a box's videos
PROBES = 3.0  # seconds that one look may take for new files; the next one goes on with the rest
KEPT = 5.0  # seconds that a list does for the pages behind the first one


class Local:
    """An output folder of this box."""

    def __init__(self, name: str, folder: Path, store: Path | None) -> None:
        """Call it in the event loop."""
        self.name = name
        self.problem = ""  # why its videos are not seen; "": they are
        self._library = Library(name, folder, store)
        self._folder = folder
        self._known: Sequence[Video] | None = None
        self._by_path: dict[str, Video] = {}
        self._at = 0.0
        self._look = Shared(self._look_now)
        # So that the first request finds a list.
        self._first = asyncio.create_task(self._look.any())

    async def videos(self, fresh: bool) -> Sequence[Video]:
        """Its videos; the same object as long as nothing changed. Raises Problem when nothing is known of them yet.

        `fresh`: as they are now; else a few seconds old ones do.
        """
        if self._known is None:
            try:
                async with asyncio.timeout(FIRST_LOOK):
                    return await (self._look.fresh() if fresh else self._look.any())
            except TimeoutError:
                raise unavailable(f"the videos of {self.name} are looked at for the first time", "wait") from None
        if fresh or time.monotonic() - self._at > KEPT:
            return await self._look.fresh()
        return self._known

    def opened(self, path: str) -> AbstractContextManager[Path]:
        """See Library.opened; blocks."""
        return self._library.opened(path)

    async def about(self, path: str, stat: os.stat_result) -> Video | None:
        """What is known of a file in just this state; None: it changes faster than it is looked at."""
        video = self._known_as(path, stat)
        if video is None or not video.ready:
            await self.videos(fresh=True)
            video = self._known_as(path, stat)
        return video

    async def stop(self) -> None:
        await self._look.stop()
        self._library.close()

    def _known_as(self, path: str, stat: os.stat_result) -> Video | None:
        video = self._by_path.get(f"{self.name}/{path}")
        return video if video and (video.mtime_ns, video.size) == (stat.st_mtime_ns, stat.st_size) else None

    async def _look_now(self) -> Sequence[Video]:
        videos, self.problem = await asyncio.to_thread(self._seen)
        if videos is not None and videos != self._known:
            self._known, self._by_path = videos, {video.path: video for video in videos}
        self._at = time.monotonic()
        return self._known or ()

    def _seen(self) -> tuple[Sequence[Video] | None, str]:
        """The videos, None where they cannot be seen, and why not; blocks."""
        try:
            videos = self._library.videos(PROBES)
        except OSError as error:
            return None, f"{self._folder} cannot be read: {error.strerror or error}"
        # A missing folder has no videos; it is a problem all the same.
        return videos, "" if self._folder.is_dir() else f"there is no {self._folder}"
