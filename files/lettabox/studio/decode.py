"""Decode wanted frames of a video in one pass."""

from collections.abc import Callable, Iterable, Iterator

import av
import av.container

from lettabox.studio.frame_index import FrameIndex

Stream = av.video.stream.VideoStream
Found = tuple[int, int, av.VideoFrame]  # the number that was wanted, that of the frame, the frame


def first(opened: av.container.InputContainer, stream: Stream) -> av.VideoFrame:
    """The first frame, reading no more of the file than needed. Raises one of source.ODD."""
    for packet in opened.demux(stream):
        for frame in _of(packet):
            return frame
    raise ValueError("it has no picture that can be decoded")


def frames(
    opened: av.container.InputContainer,
    stream: Stream,
    index: FrameIndex,
    wanted: Iterable[int],
    check: Callable[[], None],
) -> Iterator[Found]:
    """The wanted frames in the order of showing; `check` is called all the time and may raise to end this.

    What cannot be decoded is left out, or stands in for it the frame that is shown before or after it. Between two
    wanted frames nothing is decoded that neither of them needs.
    """
    todo = sorted(set(wanted), reverse=True)
    times = {index.shown[number] for number in todo}
    unusable: set[int] = set()
    while todo:
        key = _key(index, todo[-1], unusable)
        opened.seek(index.keys[key], stream=stream)
        last: tuple[int, av.VideoFrame] | None = None
        for frame in _decoded(opened, stream, times, check):
            number = index.number_at(frame.pts)
            if number is None:
                continue
            if last is None and number > todo[-1] and key > 0:
                unusable.add(key)  # the file says that one can begin there, but it is not so
                break
            while todo and number > todo[-1]:
                yield todo.pop(), *(last or (number, frame))
            if todo and number == todo[-1]:
                yield todo.pop(), number, frame
            last = number, frame
            # Either all are there, or the next one can be decoded from further on.
            ahead = _key(index, todo[-1], unusable) if todo else key
            if not todo or (ahead > key and index.keys[ahead] > frame.pts):
                break
        else:
            while todo and last:
                yield todo.pop(), *last
            return


def _key(index: FrameIndex, number: int, unusable: set[int]) -> int:
    """Which key frame to begin with for this frame."""
    key = index.key_before(number)
    while key in unusable:
        key -= 1
    return key


def _decoded(
    opened: av.container.InputContainer, stream: Stream, wanted: set[int], check: Callable[[], None]
) -> Iterator[av.VideoFrame]:
    """Frames from here on; those that no other one needs only if they are wanted."""
    context = stream.codec_context
    for packet in opened.demux(stream):
        check()
        context.skip_frame = "DEFAULT" if packet.pts is None or packet.pts in wanted else "NONREF"
        yield from _of(packet)


def _of(packet: av.Packet) -> list[av.VideoFrame]:
    try:
        return packet.decode()
    except (av.error.InvalidDataError, av.error.EOFError):
        return []  # the next ones may do
