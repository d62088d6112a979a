"""Where an output file goes: ComfyUI's rules for its prefix and number, and the writing itself."""

import asyncio
import json
import os
import re
import time
import uuid
from pathlib import Path

from PIL.PngImagePlugin import PngInfo

from simulator import video
from simulator.clips import Picture, Video
from simulator.folders import Folders

# A video's name is there this long before the video is, or a quarter of a short render.
ENCODING_SECONDS = 2.0


def expanded(prefix: str, picture: Picture) -> str:
    """The prefix with its %names%; %date:...% is the editor's, and stays."""
    now = time.localtime()
    values = {
        "width": str(picture.width),
        "height": str(picture.height),
        "year": str(now.tm_year),
        **{
            name: f"{number:02}"
            for name, number in (
                ("month", now.tm_mon),
                ("day", now.tm_mday),
                ("hour", now.tm_hour),
                ("minute", now.tm_min),
                ("second", now.tm_sec),
            )
        },
    }
    return re.sub("%(" + "|".join(values) + ")%", lambda found: values[found[1]], prefix)


def next_file(folders: Folders, prefix: str, picture: Picture, ending: str) -> Path:
    """The first free name of the prefix, numbered. Raises Exception for one outside of output, as recorded."""
    wanted = Path(os.path.abspath(folders.output / expanded(prefix, picture)))
    folder, name = wanted.parent, wanted.name
    if not folder.is_relative_to(folders.output):
        raise Exception(
            "**** ERROR: Saving image outside the output folder is not allowed.\n"
            f" full_output_folder: {folder}\n         output_dir: {folders.output}\n"
        )
    folder.mkdir(parents=True, exist_ok=True)
    numbered = re.compile(re.escape(name) + r"_(\d+)_")
    taken = [int(found[1]) for one in folder.iterdir() if (found := numbered.match(one.name))]
    return folder / f"{name}_{max(taken, default=0) + 1:05}_{ending}"


def shown(folders: Folders, file: Path) -> dict:
    """The file as history and /view name it."""
    folder = str(file.parent.relative_to(folders.output))
    return {"filename": file.name, "subfolder": "" if folder == "." else folder, "type": "output"}


async def save_video(
    folders: Folders, made: Video, prefix: str, codec: str, tags: dict, *, seconds: float, forever: bool
) -> dict:
    """Write the video after some seconds, or never; its name is there from the start, with nothing to play in it."""
    if codec not in ("auto", "h264"):
        raise ValueError(f"Unknown codec: {codec}")
    file = next_file(folders, prefix, made.picture, ".mp4")
    file.write_bytes(video.UNFINISHED)
    if forever:
        await asyncio.Event().wait()
    await asyncio.sleep(seconds)
    made_at = folders.temp / f"{uuid.uuid4().hex}.mp4"
    await asyncio.to_thread(video.write, made, made_at, file.name, tags)
    made_at.replace(file)
    return {"images": [shown(folders, file)], "animated": [True]}


def save_images(folders: Folders, picture: Picture, prefix: str, tags: dict) -> dict:
    """Write each frame as a PNG file."""
    texts = PngInfo()
    for name, value in tags.items():
        texts.add_text(name, json.dumps(value))
    images = []
    for number in range(picture.frames):
        file = next_file(folders, prefix, picture, ".png")
        video.numbered(video.background(picture, file.name), number, picture.frames).save(file, pnginfo=texts)
        images.append(shown(folders, file))
    return {"images": images}
