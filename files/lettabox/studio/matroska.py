"""Whether a WebM or Matroska file is whole, by its outermost two elements."""

from pathlib import Path
from typing import BinaryIO

HEAD, SEGMENT = 0x1A45DFA3, 0x18538067


def problem(path: Path) -> str:
    """What is wrong with a file by its length; "" for one that is all there."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if (name := _number(file, keep=True)) != HEAD or (length := _number(file)) is None:
            return f"it does not begin as such a file ({size} bytes)"
        file.seek(length, 1)
        if (name := _number(file, keep=True)) != SEGMENT:
            return f"it has no segment ({size} bytes)" if name is None else "what follows its head is no segment"
        if (length := _number(file)) is None:
            return "its writer has not ended it"
        missing = file.tell() + length - size
    return f"its last {missing} bytes are missing" if missing > 0 else ""


def _number(file: BinaryIO, keep: bool = False) -> int | None:
    """The next number, whose first bits tell its length; None where the file ends, or it says "unknown".

    `keep`: with those bits, as names are written.
    """
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()  # bytes
    rest = file.read(length - 1)
    if len(rest) < length - 1:
        return None
    mask = (1 << 7 * length) - 1
    whole = int.from_bytes(first + rest, "big")
    if keep:
        return whole
    return None if whole & mask == mask else whole & mask
