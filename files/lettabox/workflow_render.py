"""One tiny real clip, from a prompt to a file that plays: the proof that ComfyUI makes videos here.

It needs no model: images of one color, made to a video and saved.
"""

import json
import secrets
import subprocess
import time
import uuid
from pathlib import Path
from typing import Any

from lettabox import comfyui_api, mp4, paths, workflow_source
from lettabox.errors import FAILED, UNHEALTHY, LettaboxError

USER = "comfyui"
FOLDER = "lettabox-check"  # below output/
WIDTH, HEIGHT, FRAMES, FPS = 256, 256, 24, 24
# Counts the frames that can be decoded, with what ComfyUI itself reads videos with.
DECODE = """
import av, sys
with av.open(sys.argv[1]) as file:
    print(sum(1 for _ in file.decode(video=0)), file.streams.video[0].codec.name)
"""


def graph(prefix: str, color: int) -> dict[str, Any]:
    """A second of one color as a video. The same graph twice would give the first file twice."""
    empty = {"width": WIDTH, "height": HEIGHT, "batch_size": FRAMES, "color": color}
    saved = {"video": ["video", 0], "filename_prefix": prefix, "format": "auto", "codec": "auto"}
    return {
        "image": {"class_type": "EmptyImage", "inputs": empty},
        "video": {"class_type": "CreateVideo", "inputs": {"images": ["image", 0], "fps": float(FPS)}},
        "save": {"class_type": "SaveVideo", "inputs": saved},
    }


def render(timeout: int) -> dict[str, Any]:
    """Make the clip, look at it and remove it; return what was seen. `timeout` in seconds.

    Raises LettaboxError which names the step that failed: UNHEALTHY where ComfyUI does not answer, FAILED otherwise.
    """
    name = uuid.uuid4().hex
    began, submitted = time.monotonic(), time.time()
    id = comfyui_api.submit(graph(f"{FOLDER}/{name}", secrets.randbelow(2**24)), f"lettabox-{name}", first=True)
    try:
        job = _ended(id, began + timeout)
        path = _file(job, name)
        told = path.stat()
        # A job that ComfyUI takes for done before names a file of then, or one that is gone.
        if told.st_mtime < submitted - 1:
            raise _failure(f"{path} is older than the job that should have made it")
        frames, codec = _played(path)
    finally:
        _tidy(name)
    comfyui_api.forget(id)
    return {
        "file": str(path.relative_to(paths.COMFYUI_DATA)),
        "bytes": told.st_size,
        "frames": frames,
        "codec": codec,
        "size": f"{WIDTH}x{HEIGHT}",
        "seconds": round(time.monotonic() - began, 1),
        "job": id,
    }


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print what `render` returned."""
    if as_json:
        print(json.dumps(result))
        return
    print("render: {frames} frames of {size} ({codec}, {bytes} bytes) in {seconds} s; removed again".format(**result))


def _ended(id: str, deadline: float) -> comfyui_api.Job:
    while True:
        job = comfyui_api.job(id)
        if job.state in comfyui_api.ENDED:
            break
        if time.monotonic() > deadline:
            comfyui_api.cancel(id)
            before = comfyui_api.waiting()
            raise _failure(f"the tiny clip is still {job.state}, among {before} jobs; it was told to stop")
        time.sleep(0.1)
    if job.state == comfyui_api.LOST:
        raise _failure("ComfyUI no longer knows the job, so it was restarted meanwhile", UNHEALTHY)
    if job.state != comfyui_api.COMPLETED:
        raise _failure(f"the tiny clip is {job.state}: {job.error}")
    return job


def _file(job: comfyui_api.Job, name: str) -> Path:
    """The file that the job says it saved."""
    mine = [one for one in job.files if one["filename"].startswith(name) and one["type"] == "output"]
    if len(mine) != 1:
        raise _failure(f"the job is completed and names {len(mine)} files of its own: {job.files}")
    path = paths.COMFYUI_DATA / "output" / mine[0]["subfolder"] / mine[0]["filename"]
    if not path.is_file():
        raise _failure(f"the job is completed, but there is no {path}")
    return path


def _played(path: Path) -> tuple[int, str]:
    """(number of frames that can be decoded, codec)."""
    if problem := mp4.problem(path):
        raise _failure(f"{path} cannot be played: {problem}")
    decode = [str(workflow_source.venv() / "bin/python"), "-I", "-B", "-c", DECODE, str(path)]
    # As the user who made it: what a file may do to a decoder, it may do to that user alone.
    done = subprocess.run(decode, capture_output=True, text=True, user=USER, group=USER, extra_groups=[])
    if done.returncode:
        raise _failure(f"{path} cannot be decoded: {' '.join(done.stderr.strip().splitlines()[-1:])}")
    frames, codec = done.stdout.split()
    if int(frames) != FRAMES:
        raise _failure(f"{path} has {frames} frames instead of {FRAMES}")
    return int(frames), codec


def _tidy(name: str) -> None:
    """Remove what the job saved, whole or not."""
    folder = paths.COMFYUI_DATA / "output" / FOLDER
    for path in folder.glob(f"{name}*"):
        path.unlink()
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()


def _failure(what: str, code: int = FAILED) -> LettaboxError:
    return LettaboxError(f"render: {what}\n{comfyui_api.NEXT}", code)
