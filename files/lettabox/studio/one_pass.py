"""Make the pictures that are wanted of one video file, in one pass through it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import av.container

from lettabox.studio import decode, frame_index, source
from lettabox.studio.at import At
from lettabox.studio.frame_index import Beyond, FrameIndex
from lettabox.studio.picture import Picture, Shape, picture

Wish = tuple[At, Shape]
# Takes each picture as soon as it is there, or why there is none.
Give = Callable[[Wish, Picture | Exception], None]


class Unreadable(Exception):
    """The file is no video that can be decoded here, or is none yet; the text is for the client."""


def make(
    file: Path,
    wishes: list[Wish],
    index: FrameIndex | None,
    check: Callable[[], None],
    more: Callable[[], list[Wish]],
    know: Callable[[FrameIndex], None],
    give: Give,
) -> None:
    """Give all of these; without an `index` read that first, where it is needed, and let it be known.

    `more` tells, just before the decoding begins, what has been wished for meanwhile.
    Raises Unreadable, which is for all that were not given yet, and what `check` raises, which is called all the time.
    """
    with _opened(file) as (opened, stream):
        if index is None and all(at.index == 0 for at, _ in wishes):
            _give_first(opened, stream, wishes, give)
            return
        if index is None:
            index = frame_index.read(opened, stream, check)
            know(index)
        numbered = _numbered([*wishes, *more()], index, give)
        for number, shown, frame in decode.frames(opened, stream, index, numbered, check):
            made: dict[Shape, Picture] = {}
            for at, shape in numbered.pop(number):
                if at.index is not None and shown != number:
                    give((at, shape), Unreadable(f"frame {number} cannot be decoded"))
                    continue
                if shape not in made:
                    made[shape] = picture(frame, shape, shown, index.time(shown))
                give((at, shape), made[shape])
        if numbered:
            raise Unreadable("it has no picture that can be decoded")


@contextmanager
def _opened(file: Path) -> Iterator[tuple[av.container.InputContainer, av.video.stream.VideoStream]]:
    try:
        with source.container(file) as opened:
            yield opened, source.picture_stream(opened)
    except source.ODD as error:
        raise Unreadable(source.said(error)) from None


def _give_first(
    opened: av.container.InputContainer, stream: av.video.stream.VideoStream, wishes: list[Wish], give: Give
) -> None:
    """The first frame is known without an index, which would cost reading the whole file."""
    frame = decode.first(opened, stream)
    time = (
        float(frame.pts * frame.time_base) - (opened.start_time or 0) / av.time_base if frame.pts is not None else 0.0
    )
    for at, shape in wishes:
        give((at, shape), picture(frame, shape, 0, max(0.0, time)))


def _numbered(wishes: list[Wish], index: FrameIndex, give: Give) -> dict[int, list[Wish]]:
    """The wishes by the number of their frame; those beyond the end are told so."""
    numbered: dict[int, list[Wish]] = {}
    for at, shape in wishes:
        try:
            numbered.setdefault(index.number(at), []).append((at, shape))
        except Beyond as error:
            give((at, shape), error)
    return numbered
