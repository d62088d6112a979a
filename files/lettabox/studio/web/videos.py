"""Lists of videos, and the videos themselves."""

import asyncio
import os
import re
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from aiohttp import web

from lettabox.studio.web import conditional
from lettabox.studio.web.listing import tagged
from lettabox.studio.web.local import Local
from lettabox.studio.web.problem import Problem, not_found
from lettabox.studio.web.remote import Remote
from lettabox.studio.web.route import Call
from lettabox.studio.web.streamed import Part
from lettabox.studio.web.studio import Studio

KINDS = {".mp4": "video/mp4", ".webm": "video/webm", ".mov": "video/quicktime", ".mkv": "video/x-matroska"}


async def list_videos(studio: Studio, call: Call) -> web.StreamResponse:
    return tagged(call.request, await studio.listing.page(call.query))


async def get_video(studio: Studio, call: Call) -> web.StreamResponse:
    box, path = studio.box(call.path["box"]), call.path["path"]
    if isinstance(box, Remote):
        return await box.pass_on("videos", path, call)
    file = await asyncio.to_thread(_open, box, path)
    try:
        return await _answer(box, path, file, call)
    except BaseException:
        file.close()
        raise


async def _answer(box: Local, path: str, file: BinaryIO, call: Call) -> web.StreamResponse:
    stat = os.fstat(file.fileno())
    await ready(box, path, stat)
    tag = etag(stat)
    verdict = conditional.judge(call.request.method, call.request.headers, tag, stat.st_mtime, stat.st_size)
    headers = {
        "ETag": f'"{tag}"',
        "Last-Modified": conditional.date(stat.st_mtime),
        "Accept-Ranges": "bytes",
        # It may be kept, but is to be asked for again: who reads must still be allowed to.
        "Cache-Control": "private, no-cache",
    }
    if verdict.status == 412:
        raise Problem(
            412, "the video is not as If-Match or If-Unmodified-Since want it", "ask without", headers=headers
        )
    if verdict.status == 416:
        headers["Content-Range"] = f"bytes */{stat.st_size}"
        wanted = call.request.headers["Range"]
        raise Problem(416, f"the video has {stat.st_size} bytes", "ask for some of them", "Range", wanted, headers)
    if verdict.status == 304:
        file.close()
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = KINDS.get(Path(path).suffix.lower(), "application/octet-stream")
    if call.query.download:
        headers["Content-Disposition"] = _attachment(Path(path).name)
    if verdict.status == 206:
        headers["Content-Range"] = f"bytes {verdict.start}-{verdict.start + verdict.count - 1}/{stat.st_size}"
    answer = Part(file, verdict.status, verdict.start, verdict.count)
    answer.headers.update(headers)
    return answer


async def ready(box: Local, path: str, stat: os.stat_result) -> None:
    """Raises Problem for a file that is no whole video: a player would break off, and keep the half that it has."""
    video = await box.about(path, stat)
    if video is None:
        raise Problem(
            409, "the video is being written", "ask again in some seconds", "path", path, {"Retry-After": "5"}
        )
    if not video.ready:
        fix = "ask again in some seconds; if it stays so, the file is broken"
        raise Problem(409, f"the video is not whole: {video.problem}", fix, "path", path, {"Retry-After": "5"})


def etag(stat: os.stat_result) -> str:
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def no_video(path: str) -> Problem:
    return not_found("video", path, "GET /list_videos says which there are")


def _attachment(name: str) -> str:
    """curl and other simple clients know only the first of the two names."""
    plain = re.sub(r"[^A-Za-z0-9 ._-]", "_", name, flags=re.ASCII)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def _open(box: Local, path: str) -> BinaryIO:
    try:
        with box.opened(path) as found:
            return found.open("rb", buffering=0)
    except (LookupError, FileNotFoundError):
        raise no_video(path) from None
