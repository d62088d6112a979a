"""A box with a file service of its own: its list is kept here, its files are passed through."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

import aiohttp
from aiohttp import web
from pydantic import TypeAdapter, ValidationError
from yarl import URL

from lettabox.studio.video import Video
from lettabox.studio.web import models
from lettabox.studio.web.problem import Problem, unavailable
from lettabox.studio.web.route import Call
from lettabox.studio.web.shared import Shared
from lettabox.studio.web.streamed import STALL, Streamed

LIST_LIMIT = 5.0  # seconds for the whole list
KEPT = 2.0  # seconds that a list does before it is asked for again
PATIENCE = 1.0  # seconds that a request waits for a list, as long as an older one is known
ASK_AGAIN = 10.0  # seconds between tries when nobody asks, so that an end and a return are seen
CONNECT = 3.0
SILENCE = 60.0  # seconds without a byte; a cold frame of a long video takes its time
# What goes through, of a request and of an answer. Everything else of the client's stays here.
ASKED = ("Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since")
ANSWERED = ("Content-Type", "Content-Length", "Content-Range", "Content-Disposition", "Accept-Ranges", "ETag")
ANSWERED += ("Last-Modified", "Cache-Control", "Retry-After", "X-Frame-Index", "X-Frame-Time")
PIECE = 64 * 1024
PAGE = TypeAdapter(models.Videos)


class Remote:
    def __init__(self, name: str, url: str, token: str) -> None:
        """Call it in the event loop."""
        self.name = name
        self.problem = "it was not asked yet"
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._known: Sequence[Video] = ()
        self._at = -KEPT
        self._tag: str | None = None
        self._look = Shared(self._look_now)
        # As many as there are clients, which server.py limits: a slow one must not keep the others from this box.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
        )
        self._watch = asyncio.create_task(self._keep_asking())

    async def videos(self, fresh: bool) -> Sequence[Video]:
        """Those known last where the box does not answer: it never fails, and never waits long."""
        if time.monotonic() - self._at > KEPT:
            asked = asyncio.ensure_future(self._look.any())
            # A box that did not answer is asked again, but nobody waits for it.
            await asyncio.wait([asked], timeout=0.05 if self.problem and self._at > 0 else PATIENCE)
        return self._known

    async def pass_on(self, kind: str, path: str, call: Call) -> web.StreamResponse:
        """The box's own answer to a request for /`kind`/. Raises Problem where there is none."""
        given = {name: call.request.headers[name] for name in ASKED if name in call.request.headers}
        query = call.query.model_dump(exclude_defaults=True, mode="json")
        words = urlencode({name: int(value) if isinstance(value, bool) else value for name, value in query.items()})
        url = f"{self._url}/{kind}/{quote(self.name)}/{quote(path)}" + (f"?{words}" if words else "")
        try:
            answer = await self._session.request(
                call.request.method,
                URL(url, encoded=True),
                headers={**self._headers, **given, "Accept-Encoding": "identity"},
                allow_redirects=False,
            )
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._silent(error) from None
        if answer.status in (401, 403, 421) or 500 <= answer.status != 503:
            answer.release()
            raise self._silent(f"its file service answers {answer.status}")
        return Passed(answer)

    async def stop(self) -> None:
        self._watch.cancel()
        await asyncio.gather(self._watch, return_exceptions=True)
        await self._look.stop()
        await self._session.close()

    def _silent(self, why: object) -> Problem:
        fix = f"wait, or look at {self.name}: `make studio-status`, its power, its network"
        return unavailable(f"box {self.name} does not answer: {_said(why)}", fix)

    async def _keep_asking(self) -> None:
        while True:
            await self._look.any()
            await asyncio.sleep(ASK_AGAIN)

    async def _look_now(self) -> None:
        try:
            async with asyncio.timeout(LIST_LIMIT):
                await self._ask()
            self.problem = ""
        except TimeoutError:
            self.problem = f"no list of its videos within {LIST_LIMIT:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            self.problem = _said(error)
        self._at = time.monotonic()

    async def _ask(self) -> None:
        """Raises ClientError, OSError, and ValueError for an answer that is none."""
        videos: list[Video] = []
        cursor = tag = None
        while True:
            query = {"limit": str(models.PAGE)} | ({"cursor": cursor} if cursor else {})
            headers = dict(self._headers)
            if not cursor and self._tag:
                headers["If-None-Match"] = self._tag
            async with self._session.get(f"{self._url}/list_videos", params=query, headers=headers) as answer:
                if answer.status == 304:
                    return
                if answer.status != 200:
                    raise ValueError(f"its file service answers {answer.status}")
                page = self._page(await answer.read())
                tag = tag if cursor else answer.headers.get("ETag")
            videos += [_video(one) for one in page.videos]
            cursor = page.next
            if not cursor:
                break
        if any(one.box != self.name or not one.path.startswith(f"{self.name}/") for one in videos):
            raise ValueError(f"who answers there is not {self.name}")
        # With more pages than one, a 304 for the first says nothing of the others.
        self._tag = tag if len(videos) <= models.PAGE else None
        self._known = videos

    @staticmethod
    def _page(body: bytes) -> models.Videos:
        try:
            return PAGE.validate_json(body)
        except ValidationError as error:
            raise ValueError(
                f"its file service answers something else than a list: {error.errors()[0]['msg']}"
            ) from None


class Passed(Streamed):
    """An answer of another box, on its way through."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        super().__init__(status=answer.status, headers=_kept(answer.headers))
        self._answer = answer

    async def send(self, request: web.BaseRequest) -> None:
        try:
            async for piece in self._answer.content.iter_chunked(PIECE):
                async with asyncio.timeout(STALL):
                    await self.write(piece)
        except aiohttp.ClientError as error:
            # The client must not take what it has for the whole.
            raise ConnectionAbortedError(f"the box's answer broke off: {_said(error)}") from None

    def close(self) -> None:
        self._answer.close()


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ANSWERED if name in headers}


def _video(one: models.Video) -> Video:
    when = datetime.fromisoformat(one.time).timestamp()
    known = one.model_dump(exclude={"time", "tags", "url", "poster"})
    return Video(**known, time=when, mtime_ns=round(when * 1_000_000) * 1000)


def _said(error: object) -> str:
    return str(error) or type(error).__name__
