"""Whether an mp4 file is whole. ComfyUI's appear under their final name seconds before they are."""

from pathlib import Path

NEEDED = ("ftyp", "moov", "mdat")


def problem(path: Path) -> str:
    """What is wrong with a file by its top-level boxes; "" for one that can be played."""
    size = path.stat().st_size
    found, place = [], 0
    with path.open("rb") as file:
        while place < size:
            file.seek(place)
            head = file.read(16)
            length, name = int.from_bytes(head[:4], "big"), head[4:8].decode("latin-1")
            if length == 1:  # the length is in the eight bytes behind
                length = int.from_bytes(head[8:16], "big")
            elif length == 0:  # it goes on to the end
                length = size - place
            if length < 8 or place + length > size:
                return f"its part {name!r} at byte {place} is cut off ({size} bytes in all)"
            found.append(name)
            place += length
    missing = [name for name in NEEDED if name not in found]
    return f"it has no {' and no '.join(missing)} ({size} bytes)" if missing else ""
