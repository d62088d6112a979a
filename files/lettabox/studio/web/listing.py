"""The videos of all boxes as one list, newest first, and pages of it."""

import asyncio
import base64
import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

from aiohttp import web

from lettabox.studio.job import Job
from lettabox.studio.video import Video
from lettabox.studio.web import conditional
from lettabox.studio.web.ledger import Ledger
from lettabox.studio.web.local import Local
from lettabox.studio.web.models import ListVideos
from lettabox.studio.web.problem import Problem, not_found, unavailable
from lettabox.studio.web.remote import Remote

LAST = 253402300799.0  # the end of the year 9999
POSTER = "at=first&width=640"


class Listing:
    def __init__(self, boxes: Mapping[str, Local | Remote], ledger: Ledger) -> None:
        self._boxes, self._ledger = boxes, ledger
        self._lists: list[Sequence[Video]] = []  # what the merged list was made of
        self._videos: list[Video] = []
        self._places: list[tuple[int, str]] = []  # of each: what a cursor says
        self._written: dict[str, tuple[Video, Job | None, str]] = {}  # path -> its JSON, and of what that is

    async def page(self, asked: ListVideos) -> str:
        """The answer to /list_videos as JSON. Raises Problem."""
        if asked.box is not None and asked.box not in self._boxes:
            raise not_found("box", asked.box, f"one of: {', '.join(sorted(self._boxes))}")
        after = _place(asked.cursor) if asked.cursor else None
        await self._merge(fresh=after is None)
        videos, start = self._videos, bisect_right(self._places, after) if after else 0
        if asked.tag is None and asked.job is None and asked.box is None:
            shown = videos[start : start + asked.limit + 1]
        else:
            shown = await self._matching(videos[start:], asked)
        more, shown = len(shown) > asked.limit, shown[: asked.limit]
        jobs, _ = await self._ledger.of(shown)
        pieces = ",".join([self._json(video, jobs.get(video.path)) for video in shown])
        following = json.dumps(_cursor(shown[-1]) if more else None)
        unreachable = json.dumps([name for name, box in self._boxes.items() if box.problem])
        return f'{{"videos":[{pieces}],"next":{following},"unreachable":{unreachable}}}'

    async def count(self) -> dict[str, int]:
        """{box: how many videos}. Raises Problem."""
        await self._merge(fresh=False)
        return self.last_count()

    def last_count(self) -> dict[str, int]:
        """The same, as last seen; empty before that."""
        if not self._lists:
            return {}
        return {name: len(videos) for name, videos in zip(self._boxes, self._lists, strict=True)}

    async def _merge(self, fresh: bool) -> None:
        lists = await asyncio.gather(*(box.videos(fresh) for box in self._boxes.values()))
        if len(lists) == len(self._lists) and all(a is b for a, b in zip(lists, self._lists, strict=True)):
            return
        videos = sorted((video for one in lists for video in one), key=_key)
        self._lists, self._videos, self._places = lists, videos, [_key(video) for video in videos]
        there = {video.path for video in videos}
        self._written = {path: written for path, written in self._written.items() if path in there}

    async def _matching(self, videos: list[Video], asked: ListVideos) -> list[Video]:
        """Up to one more than wanted, so that it is known whether there are more."""
        videos = [video for video in videos if asked.box in (None, video.box)]
        if asked.tag is not None or asked.job is not None:
            jobs, whole = await self._ledger.of(videos)
            if not whole:
                raise unavailable("the database does not answer, so jobs and tags are not known", "list without them")
            videos = [video for video in videos if _made_by(jobs.get(video.path), asked)]
        return videos[: asked.limit + 1]

    def _json(self, video: Video, job: Job | None) -> str:
        known = self._written.get(video.path)
        if known and known[0] is video and known[1] is job:
            return known[2]
        text = json.dumps(shape(video, job), separators=(",", ":"))
        self._written[video.path] = (video, job, text)
        return text


def shape(video: Video, job: Job | None) -> dict[str, Any]:
    """As clients see it: models.Video."""
    told = asdict(video)
    del told["mtime_ns"]
    if job:
        told |= {"job": job.id, "tags": job.tags}
        if video.prompt is None:
            told["prompt"] = job.prompt
        if video.seed is None:
            told["seed"] = job.seed_used
    told |= {"time": iso(video.time), **addresses(video.path)}
    return told if video.ready else told | {"poster": None}


def addresses(path: str) -> dict[str, str]:
    """Where a video and its poster are."""
    quoted = quote(path)
    return {"url": f"/videos/{quoted}", "poster": f"/frames/{quoted}?{POSTER}"}


def iso(seconds: float) -> str:
    # A file may be dated beyond what a calendar has.
    seconds = min(max(seconds, 0), LAST)
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def tagged(request: web.BaseRequest, text: str) -> web.Response:
    """JSON with a tag, so that a client that has it already gets no copy."""
    body = text.encode()
    tag = blake2b(body, digest_size=12).hexdigest()
    headers = {"ETag": f'"{tag}"', "Cache-Control": "private, no-cache"}
    if conditional.has(request.headers, tag):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", headers=headers)


def _made_by(job: Job | None, asked: ListVideos) -> bool:
    return job is not None and asked.job in (None, job.id) and (asked.tag is None or asked.tag in job.tags)


def _key(video: Video) -> tuple[int, str]:
    return -video.mtime_ns, video.path


def _cursor(video: Video) -> str:
    text = json.dumps([video.mtime_ns, video.path], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _place(cursor: str) -> tuple[int, str]:
    """What _cursor() said. Raises Problem for something else."""
    try:
        text = base64.urlsafe_b64decode(cursor.rstrip("=") + "=" * (-len(cursor.rstrip("=")) % 4))
        mtime_ns, path = json.loads(text)
        if type(mtime_ns) is not int or type(path) is not str:
            raise ValueError
    except (ValueError, TypeError, RecursionError):
        raise Problem(400, "this is no cursor", "give what `next` said, or none", "cursor", cursor) from None
    return -mtime_ns, path
