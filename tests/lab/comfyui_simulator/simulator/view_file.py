"""GET /view: one output file, with the refusals that ComfyUI has."""

import io
import mimetypes
import os
from pathlib import Path

from aiohttp import web
from PIL import Image

from simulator.folders import Folders


def view(request: web.Request, folders: Folders) -> web.StreamResponse:
    name = request.query.get("filename")
    if name is None:
        return web.Response(status=404)
    folder = folders.typed(request.query.get("type", "output"))
    if not name or name.startswith("/") or ".." in name or folder is None:
        return web.Response(status=400)
    wanted = Path(os.path.abspath(folder / request.query.get("subfolder", "")))
    if not wanted.is_relative_to(folder):
        return web.Response(status=403)
    # Only the last part of a name with folders counts, so such a file is not found.
    file = wanted / os.path.basename(name)
    if not file.is_file():
        return web.Response(status=404)
    if "preview" in request.query:
        return _preview(file)
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": f'filename="{file.name}"',
        "Content-Type": mimetypes.guess_type(file.name)[0] or "application/octet-stream",
    }
    return web.FileResponse(file, headers=headers)


def _preview(file: Path) -> web.Response:
    """The picture as WebP. Raises PIL.UnidentifiedImageError for a video, which answers 500 as ComfyUI does."""
    data = io.BytesIO()
    with Image.open(file) as image:
        image.save(data, "webp", quality=90)
    return web.Response(body=data.getvalue(), content_type="image/webp")
