"""Several frames in one image, each with its time."""

import math
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from lettabox.studio.picture import JPEG, RAW, WIDTHS, Picture, Shape, written

WIDTH = 1280  # pixels of the whole, where none is asked for


@dataclass(frozen=True)
class Sheet:
    data: bytes  # of the image file
    shown: tuple[tuple[int, float], ...]  # (index, time) of each, row by row
    width: int  # pixels
    height: int
    format: str = JPEG

    @property
    def media_type(self) -> str:
        return f"image/{self.format}"


def columns(count: int) -> int:
    return math.ceil(math.sqrt(count))


def tile(shape: Shape, count: int) -> Shape:
    """What each of `count` frames is to be like for a sheet of this shape."""
    return Shape(RAW, max(WIDTHS[0], (shape.width or WIDTH) // columns(count)))


def compose(tiles: list[Picture], shape: Shape) -> Sheet:
    """Put together what was made as tile() says."""
    across, (width, height) = columns(len(tiles)), (tiles[0].width, tiles[0].height)
    image = Image.new("RGB", (across * width, math.ceil(len(tiles) / across) * height))
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(max(9, height // 12))
    for number, one in enumerate(tiles):
        x, y = number % across * width, number // across * height
        # A video whose pictures change their size midway: each begins at its place.
        part = Image.frombytes("RGB", (one.width, one.height), one.data).crop((0, 0, width, height))
        image.paste(part, (x, y))
        _label(pen, font, (x + 2, y + height - 2), f"{one.time:.2f} s")
    shown = tuple((one.index, one.time) for one in tiles)
    return Sheet(written(image, shape), shown, image.width, image.height, shape.format)


def _label(pen: ImageDraw.ImageDraw, font: ImageFont.ImageFont, place: tuple[int, int], text: str) -> None:
    """White on black, above `place`."""
    left, top, right, bottom = pen.textbbox(place, text, font=font, anchor="ld")
    pen.rectangle((left - 2, top - 2, right + 2, bottom + 2), fill="black")
    pen.text(place, text, font=font, fill="white", anchor="ld")
