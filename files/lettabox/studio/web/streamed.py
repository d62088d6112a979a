"""Answers that are sent piece by piece, as fast as the client takes them, and no faster."""

import asyncio
from abc import abstractmethod
from typing import BinaryIO

from aiohttp import web

# Seconds in which a client must take one piece. A player that is paused takes nothing; it comes back with a Range.
STALL = 60.0
PIECE = 1024 * 1024  # bytes


class Streamed(web.StreamResponse):
    """Its head is prepared by whoever got it; then it sends its body."""

    @abstractmethod
    async def send(self, request: web.BaseRequest) -> None:
        """Send the body. Raises ConnectionError or TimeoutError when that cannot be done to the end."""

    @abstractmethod
    def close(self) -> None:
        """Free what it holds."""


class Part(Streamed):
    """A part of an open file, from the page cache to the socket by the kernel."""

    def __init__(self, file: BinaryIO, status: int, start: int, count: int) -> None:
        super().__init__(status=status)
        self._file, self._first, self._end = file, start, start + count
        self.content_length = count

    async def send(self, request: web.BaseRequest) -> None:
        loop = asyncio.get_running_loop()
        for place in range(self._first, self._end, PIECE):
            piece = min(PIECE, self._end - place)
            if request.transport is None:
                raise ConnectionResetError("the client has gone")
            async with asyncio.timeout(STALL):
                sent = await loop.sendfile(request.transport, self._file, place, piece)
            if sent < piece:
                raise ConnectionAbortedError("the file became shorter while it was sent")

    def close(self) -> None:
        self._file.close()
