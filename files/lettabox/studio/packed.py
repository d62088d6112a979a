"""Whether the packed pictures of H.264 and H.265 have the form that they must, without decoding them."""

from collections.abc import Callable

import av

# Where the decoder's settings say how many bytes tell the length of a unit.
LENGTH_AT = {"h264": 4, "hevc": 21}


def checker(context: av.codec.context.CodecContext) -> Callable[[av.Packet], None]:
    """A function that raises ValueError for a packet that is damaged, as far as that can be seen."""
    settings, place = context.extradata or b"", LENGTH_AT.get(context.name)
    # Settings that begin with 1 are followed by units with their lengths; others have start codes between them.
    if place is None or len(settings) <= place or settings[0] != 1:
        return lambda packet: None
    length = (settings[place] & 3) + 1

    def check(packet: av.Packet) -> None:
        data, start = bytes(packet), 0
        if not data:
            raise ValueError(f"a picture at byte {packet.pos} is empty")
        while start < len(data):
            end = start + length + int.from_bytes(data[start : start + length], "big")
            # No unit holds three zeros in a row: its form has a byte put in between. A lost block of a disk has.
            if start + length >= end or end > len(data) or data.find(b"\0\0\0", start + length, end) >= 0:
                raise ValueError(f"its data at byte {packet.pos} is damaged")
            start = end

    return check
