"""Whether the tables of an mp4 file are of a size that a video has.

libav makes one entry in memory for each sample that they declare, and a few bytes can declare thousands of millions.
"""

import struct
import sys
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lettabox import mp4

SAMPLES = 4_000_000  # of all tracks: half a day of pictures and sound
MOOV = 256 * 1024 * 1024  # bytes
SAMPLE = 256 * 1024 * 1024  # bytes of one picture, packed
ON_THE_WAY = (b"trak", b"mdia", b"minf", b"stbl", b"edts")
RUNS = {b"stts": 2, b"ctts": 2}  # (count, value) pairs


def problem(path: Path) -> str:
    """What is wrong; "" for a file that can be opened. The file's outermost parts are known to be whole."""
    size, declared = path.stat().st_size, 0
    with path.open("rb") as file:
        for name, start, end in mp4.parts(file, size):
            if name == "moof":
                return "it is made of fragments"
            if name != "moov":
                continue
            if end - start > MOOV:
                return f"its tables take {end - start} bytes"
            try:
                for table, head, stop in _within(file, start, end):
                    if table == b"cmov":
                        return "its tables are packed"
                    declared += _declared(file, table, head, stop)
                    if declared > SAMPLES:
                        return "its tables declare more samples than a video has"
            except ValueError as error:
                return str(error)
    return ""


def _boxes(file: BinaryIO, place: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """(name, where its content starts, where it ends) of each box. Raises ValueError where they do not fill it."""
    while place < end:
        file.seek(place)
        head = file.read(16)
        length, name, start = int.from_bytes(head[:4], "big"), head[4:8], place + 8
        if length == 1:
            length, start = int.from_bytes(head[8:16], "big"), place + 16
        if length < 8 or place + length > end:
            raise ValueError(f"its tables at byte {place} are damaged")
        yield name, start, place + length
        place += length


def _within(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """The boxes below the ones that lead to tables, at any depth."""
    waiting = [(start, end)]
    while waiting:
        for name, inner, stop in _boxes(file, *waiting.pop()):
            if name in ON_THE_WAY:
                waiting.append((inner, stop))
            else:
                yield name, inner, stop


def _declared(file: BinaryIO, table: bytes, start: int, end: int) -> int:
    """How many samples a table declares; more than are allowed where one of them is too large."""
    file.seek(start)
    if table == b"stsz":
        head = file.read(12)
        if len(head) < 12:
            return 0
        each, count = struct.unpack(">II", head[4:])
        sizes = array("I") if each else _words(file.read(min(end - start - 12, 4 * count)))
        return SAMPLES + 1 if max(sizes, default=each) > SAMPLE else count
    if table in RUNS:
        head = file.read(8)
        pairs = _words(file.read(min(end - start - 8, 8 * int.from_bytes(head[4:8], "big"))))
        # Beside the sizes they declare nothing new, so only what is too much counts.
        return total if (total := sum(pairs[0::2])) > SAMPLES else 0
    return 0


def _words(data: bytes) -> array:
    words = array("I", data[: len(data) // 4 * 4])
    if sys.byteorder == "little":
        words.byteswap()
    return words
