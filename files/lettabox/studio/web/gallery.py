"""The gallery: static files, the same for everybody, without data of their own."""

import asyncio
import mimetypes
import os
from pathlib import Path

from aiohttp import web

from lettabox.studio.web import conditional
from lettabox.studio.web.problem import not_found
from lettabox.studio.web.route import Call
from lettabox.studio.web.studio import Studio
from lettabox.studio.web.videos import etag


async def get_gallery(studio: Studio, call: Call) -> web.StreamResponse:
    return await _file(studio.gallery, "index.html", call)


async def get_gallery_file(studio: Studio, call: Call) -> web.StreamResponse:
    return await _file(studio.gallery, call.path["file"], call)


async def _file(folder: Path, name: str, call: Call) -> web.StreamResponse:
    body, stat = await asyncio.to_thread(_read, folder, name)
    headers = {"ETag": f'"{etag(stat)}"', "Cache-Control": "no-cache"}
    if conditional.not_new(call.request.headers, etag(stat), stat.st_mtime):
        return web.Response(status=304, headers=headers)
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    return web.Response(body=body, headers=headers | {"Content-Type": kind})


def _read(folder: Path, name: str) -> tuple[bytes, os.stat_result]:
    path = folder / name
    # By the names that there are: any other one, however odd, never gets as far as the file system.
    if name not in os.listdir(folder) or not path.is_file():
        raise not_found("file", name, "see /openapi.json for what there is")
    return path.read_bytes(), path.stat()
