"""Frames of videos."""

import asyncio
import hashlib
import time
from contextlib import ExitStack
from pathlib import Path

from aiohttp import web

from lettabox.studio import at
from lettabox.studio.frames import Beyond, Busy, Unreadable
from lettabox.studio.picture import QUALITY, Picture, Shape
from lettabox.studio.sheet import Sheet
from lettabox.studio.web import conditional, videos
from lettabox.studio.web.models import GetFrame
from lettabox.studio.web.problem import Problem, unavailable
from lettabox.studio.web.remote import Remote
from lettabox.studio.web.route import Call
from lettabox.studio.web.studio import Studio

FRESH = 300  # seconds for which a client may show a frame again without asking


async def get_frame(studio: Studio, call: Call) -> web.StreamResponse:
    box, path, query = studio.box(call.path["box"]), call.path["path"], call.query
    if isinstance(box, Remote):
        return await box.pass_on("frames", path, call)
    with ExitStack() as stack:
        try:
            file = await asyncio.to_thread(stack.enter_context, box.opened(path))
            stat = await asyncio.to_thread(file.stat)
        except (LookupError, FileNotFoundError):
            raise videos.no_video(path) from None
        await videos.ready(box, path, stat)
        tag = f"{videos.etag(stat)}-{hashlib.sha256(query.model_dump_json().encode()).hexdigest()[:12]}"
        headers = {"ETag": f'"{tag}"', "Cache-Control": f"private, max-age={FRESH}"}
        if conditional.has(call.request.headers, tag):
            return web.Response(status=304, headers=headers)
        made = await _made(studio, file, path, query)
    shown = made.shown if isinstance(made, Sheet) else ((made.index, made.time),)
    headers["X-Frame-Index"] = ",".join(str(index) for index, _ in shown)
    headers["X-Frame-Time"] = ",".join(f"{seconds:.6f}" for _, seconds in shown)
    return web.Response(body=made.data, content_type=made.media_type, headers=headers)


async def _made(studio: Studio, file: Path, path: str, query: GetFrame) -> Picture | Sheet:
    shape = Shape(query.format, query.width, query.quality or QUALITY)
    wants = _wants(query)
    began = time.monotonic()
    try:
        if len(wants) > 1:
            made: Picture | Sheet = await studio.frames.sheet(file, wants, shape)
        else:
            (made,) = await studio.frames.frames(file, wants, shape)
    except Beyond as error:
        field = "t" if query.t is not None else "index"
        fix = f"give less: it has {error.frames} frames in {error.duration:.3f} s"
        raise Problem(400, str(error), fix, field, getattr(query, field)) from None
    except Unreadable as error:
        raise Problem(409, str(error), "ask again later; if it stays so, the file is broken", "path", path) from None
    except Busy as error:
        raise unavailable(str(error), "ask again later", error.after) from None
    studio.metrics.decoded(time.monotonic() - began)
    return made


def _wants(query: GetFrame) -> list[at.At]:
    if query.t is not None:
        return [at.at_time(query.t)]
    if query.index is not None:
        return [at.at_index(query.index)]
    if query.n is not None:
        several = at.evenly(query.n)
        return several if query.part is None else [several[query.part]]
    return [at.NAMED[query.at or "first"]]
