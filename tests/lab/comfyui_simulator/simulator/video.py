"""Short real mp4 files: H.264, with the prompt and the frame's number in the picture."""

import hashlib
import json
import textwrap
from fractions import Fraction
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

from simulator.clips import Picture, Video

# What a file holds from when its name appears until it is finished: no player opens it.
UNFINISHED = (
    b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41" + b"\x00\x00\x00\x08free" + b"\x00\x00\x00\x00mdat"
)
# Longer clips show each picture for several frames: drawing is what costs time.
PICTURES = 128
SOUND_RATE = 48000
SOUND_SAMPLES = 1024


def background(picture: Picture, name: str) -> Image.Image:
    """The picture's own colour, or one that differs with text and seeds; text and file name are written on it."""
    if picture.text:
        colour = tuple(one // 2 for one in hashlib.sha256(repr((picture.text, picture.seeds)).encode()).digest()[:3])
    else:
        colour = (picture.colour >> 16, picture.colour >> 8 & 255, picture.colour & 255)
    image = Image.new("RGB", (picture.width, picture.height), colour)
    draw = ImageDraw.Draw(image)
    size = max(8, picture.height // 18)
    lines = ["lettabox render simulator", name]
    if picture.seeds:
        lines.append("seeds " + ", ".join(map(str, picture.seeds)))
    lines += textwrap.wrap(picture.text or "no prompt", max(8, picture.width * 2 // size - 4))
    draw.multiline_text((size, size * 3), "\n".join(lines), **_letters(colour, size))
    return image


def numbered(image: Image.Image, number: int, frames: int) -> Image.Image:
    image = image.copy()
    draw = ImageDraw.Draw(image)
    size = max(8, image.height // 12)
    draw.text((size // 2, size // 2), f"frame {number} of {frames}", **_letters(image.getpixel((0, 0)), size))
    return image


def _letters(colour: tuple[int, ...], size: int) -> dict:
    bright = 299 * colour[0] + 587 * colour[1] + 114 * colour[2] > 128_000
    return {"font": ImageFont.load_default(size), "fill": "black" if bright else "white"}


def write(video: Video, path: Path, name: str, tags: dict[str, object]) -> None:
    """Encode the video of the output file `name` into `path`; a sound becomes a silent track.

    Raises av.FFmpegError for a size that H.264 cannot have.
    """
    picture = video.picture
    rate = Fraction(round(video.fps * 1000), 1000)
    options = {"movflags": "use_metadata_tags+faststart"}
    with av.open(str(path), "w", format="mp4", options=options) as container:
        container.metadata.update({tag: json.dumps(value) for tag, value in tags.items()})
        stream = container.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "23"})
        stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "yuv420p"
        # The box has other work.
        stream.codec_context.thread_count = 1
        sound = container.add_stream("aac", rate=SOUND_RATE, layout="stereo") if video.sound else None
        if sound:
            _silence(container, sound, picture.frames / rate)
        image, shown = background(picture, name), None
        hold = -(-picture.frames // PICTURES)
        for number in range(picture.frames):
            if number % hold == 0:
                drawn = av.VideoFrame.from_image(numbered(image, number, picture.frames))
                shown = drawn.reformat(format="yuv420p")
            shown.pts, shown.time_base = number, 1 / rate
            container.mux(stream.encode(shown))
        container.mux(stream.encode(None))


def _silence(container: av.container.OutputContainer, stream: av.AudioStream, seconds: Fraction) -> None:
    for start in range(0, int(seconds * SOUND_RATE), SOUND_SAMPLES):
        frame = av.AudioFrame(format="fltp", layout="stereo", samples=SOUND_SAMPLES)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.sample_rate, frame.time_base = start, SOUND_RATE, Fraction(1, SOUND_RATE)
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))
