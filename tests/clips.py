"""Videos for tests and benchmarks, made with the encoder that ComfyUI has: a picture that wanders, and a number."""

import json
import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageDraw, ImageFilter

SAMPLES = 48_000  # of sound in a second


def make(
    path: Path,
    *,
    width: int = 192,
    height: int = 128,
    frames: int = 25,
    fps: int = 24,
    codec: str = "libx264",
    gop: int = 250,
    bframes: int | None = None,
    times: list[int] | None = None,
    audio: bool = False,
    first: bool = True,
    prompt: Any = None,
    detail: float = 0.0,
    container: str | None = None,
    rotation: int = 0,
) -> Path:
    """Write a video; frame N shows N as a row of 16 black or white squares, lowest bit first.

    `times`: of each frame in 1/1000 s, for a variable rate. `first`: what a player needs stands before the data.
    `prompt`: the graph that ComfyUI notes in the file. `detail`: 0 to 1; more makes more bytes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = {"movflags": "use_metadata_tags" + ("+faststart" if first else "")}
    matroska = path.suffix in (".webm", ".mkv")
    with av.open(str(path), "w", format=container, options={} if matroska else flags) as file:
        if prompt is not None:
            file.metadata["prompt"] = prompt if isinstance(prompt, str) else json.dumps(prompt)
        options = {"crf": "23", "g": str(gop), "keyint_min": "1", "sc_threshold": "0"} if codec == "libx264" else {}
        if bframes is not None:
            options["bf"] = str(bframes)
        base = Fraction(1, 1000) if times else Fraction(1, fps)
        video = file.add_stream(codec, rate=1000 if times else fps, options=options)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.time_base = base
        if codec != "libx264":
            video.codec_context.gop_size = gop
        if rotation:
            video.set_display_rotation(rotation)
        sound = file.add_stream("libopus" if matroska else "aac", rate=SAMPLES) if audio else None
        for number, picture in enumerate(pictures(width, height, frames, detail)):
            frame = av.VideoFrame.from_image(picture).reformat(format="yuv420p")
            frame.pts, frame.time_base = times[number] if times else number, base
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if sound:
            _silence(file, sound, frames / fps)
    return path


def _silence(file: av.container.OutputContainer, stream: Any, seconds: float) -> None:
    done = 0
    while done < seconds * SAMPLES:
        frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.sample_rate, frame.pts, frame.time_base = SAMPLES, done, Fraction(1, SAMPLES)
        file.mux(stream.encode(frame))
        done += 960
    file.mux(stream.encode(None))


def pictures(width: int, height: int, count: int, detail: float = 0.0) -> Iterator[Image.Image]:
    """A landscape that drifts, a ball on it, and the number of the picture.

    `detail` of a second landscape drifts the other way through the first: no encoder can foretell that.
    """
    drift = 2
    grounds = [_landscape(width + drift * count, height + count, seed) for seed in range(2)]
    for number in range(count):
        there, back = (drift * number, number), (drift * (count - number), count - number)
        layers = [
            ground.crop((x, y, x + width, y + height)) for ground, (x, y) in zip(grounds, (there, back), strict=True)
        ]
        picture = Image.blend(*layers, detail) if detail else layers[0]
        pen = ImageDraw.Draw(picture)
        x, y = number * 5 % width, number * 3 % height
        pen.ellipse((x, y, x + width // 8, y + width // 8), fill=(220, 60, 40))
        side = width // 16
        for bit in range(16):
            shade = 255 if number >> bit & 1 else 0
            pen.rectangle((bit * side, 0, (bit + 1) * side - 1, side - 1), fill=(shade,) * 3)
        yield picture


def _landscape(width: int, height: int, seed: int) -> Image.Image:
    """The same each time: what a test does to a file is to mean the same each time."""
    size = (width // 2 + 1, height // 2 + 1)
    noise = Image.frombytes("L", size, random.Random(seed).randbytes(size[0] * size[1]))
    grey = noise.filter(ImageFilter.GaussianBlur(1)).resize((width, height))
    return Image.merge("RGB", (grey, grey.transpose(Image.Transpose.FLIP_LEFT_RIGHT), grey.point(lambda v: v // 2)))


def number_of(picture: Image.Image) -> int:
    """The number that a picture of such a video shows, at any size."""
    side = picture.width / 16
    grey = picture.convert("L")
    return sum(1 << bit for bit in range(16) if grey.getpixel((int((bit + 0.5) * side), int(side / 2))) > 127)
