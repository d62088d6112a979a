"""A frame as an image file, and what such a file is to be like."""

from dataclasses import dataclass
from io import BytesIO

import av
from PIL import Image

JPEG, WEBP, PNG = FORMATS = ("jpeg", "webp", "png")
RAW = "raw"  # red, green and blue bytes: for what is put together here
QUALITY = 90
WIDTHS = (16, 4096)  # pixels that may be asked for
# A frame of 1280x704 takes 2 ms as JPEG; as WEBP 20 (and four times that with less effort saved), as PNG 80.
EFFORT = {JPEG: {}, WEBP: {"method": 0}, PNG: {"compress_level": 1}}


@dataclass(frozen=True)
class Shape:
    """What the image is to be like."""

    format: str = JPEG
    width: int | None = None  # pixels; never wider than the video. None: as the video
    quality: int = QUALITY  # 1..100; a PNG has none

    def __post_init__(self) -> None:
        if self.format not in (*FORMATS, RAW):
            raise ValueError(f"{self.format!r} is no format of a frame: {', '.join(FORMATS)}")
        if self.width is not None and not WIDTHS[0] <= self.width <= WIDTHS[1]:
            raise ValueError(f"{self.width} is no width of a frame: {WIDTHS[0]} to {WIDTHS[1]} pixels")
        if not 1 <= self.quality <= 100:
            raise ValueError(f"{self.quality} is no quality: 1 to 100")


@dataclass(frozen=True)
class Picture:
    data: bytes  # of the image file
    index: int  # of the frame, from 0
    time: float  # seconds from the start of the video
    width: int  # pixels
    height: int
    format: str = JPEG

    @property
    def media_type(self) -> str:
        return f"image/{self.format}"


def picture(frame: av.VideoFrame, shape: Shape, index: int, time: float) -> Picture:
    """A decoded frame as a player shows it, in this shape."""
    turned = frame.rotation % 180 != 0
    across = frame.height if turned else frame.width
    scale = min(1.0, (shape.width or across) / across)
    size = {"width": max(1, round(frame.width * scale)), "height": max(1, round(frame.height * scale))}
    image = frame.to_image(**size, interpolation="AREA") if scale < 1 else frame.to_image()
    if frame.rotation:
        image = image.rotate(frame.rotation, expand=True)
    return Picture(written(image, shape), index, time, image.width, image.height, shape.format)


def written(image: Image.Image, shape: Shape) -> bytes:
    if shape.format == RAW:
        return image.tobytes()
    file = BytesIO()
    quality = {} if shape.format == PNG else {"quality": shape.quality}
    image.save(file, shape.format, **quality, **EFFORT[shape.format])
    return file.getvalue()
