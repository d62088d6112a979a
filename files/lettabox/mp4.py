"""Whether an mp4 file is whole. ComfyUI's appear under their final name seconds before they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

NEEDED = ("ftyp", "moov", "mdat")
PARTS = 10_000  # a file of nothing but heads would keep us for hours


def problem(path: Path) -> str:
    """What is wrong with a file by its top-level boxes; "" for one that can be played."""
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            found = [name for name, _, _ in parts(file, size)]
        except ValueError as error:
            return str(error)
    missing = [name for name in NEEDED if name not in found]
    return f"it has no {' and no '.join(missing)} ({size} bytes)" if missing else ""


def parts(file: BinaryIO, size: int) -> Iterator[tuple[str, int, int]]:
    """(name, where its content starts, where it ends) of each top-level box. Raises ValueError for what is none."""
    place = 0
    for _ in range(PARTS):
        if place >= size:
            return
        file.seek(place)
        head = file.read(16)
        length, name, start = int.from_bytes(head[:4], "big"), head[4:8].decode("latin-1"), place + 8
        if length == 1:  # the length is in the eight bytes behind
            length, start = int.from_bytes(head[8:16], "big"), place + 16
        elif length == 0:  # it goes on to the end
            length = size - place
        if length < 8 or place + length > size:
            raise ValueError(f"its part {name!r} at byte {place} is cut off ({size} bytes in all)")
        yield name, start, place + length
        place += length
    raise ValueError(f"it has more than {PARTS} parts")
