"""Frames over HTTP: the right one, in the wanted form, and not decoded again for a client that has it."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from tests import clips
from tests.unit.studio_service import Answer, MemoryJobs, Service, folder

FRAMES, FPS = 25, 24


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    base = tmp_path_factory.mktemp("studio")
    clips.make(base / "clip.mp4", frames=FRAMES, fps=FPS)
    with Service(folder(base), MemoryJobs()) as one:
        yield one


def image(answer: Answer) -> Image.Image:
    assert answer.status == 200, answer.body
    return Image.open(io.BytesIO(answer.body))


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("", 0),
        ("?at=first", 0),
        ("?at=middle", 12),
        ("?at=last", FRAMES - 1),
        ("?index=7", 7),
        ("?t=0", 0),
        ("?t=0.5", 12),
        ("?n=1", 12),
        ("?n=5&part=0", 0),
        ("?n=5&part=4", FRAMES - 1),
        ("?n=5&part=2", 12),
    ],
)
def test_which_frame(service: Service, query: str, number: int) -> None:
    answer = service.get(f"/frames/one/clip.mp4{query}")
    assert clips.number_of(image(answer)) == number
    assert answer.headers["X-Frame-Index"] == str(number)
    assert float(answer.headers["X-Frame-Time"]) == pytest.approx(number / FPS, abs=0.001)


@pytest.mark.parametrize("kind", ["jpeg", "webp", "png"])
def test_in_which_form(service: Service, kind: str) -> None:
    answer = service.get(f"/frames/one/clip.mp4?format={kind}&width=96&quality=50")
    assert answer.headers["Content-Type"] == f"image/{kind}"
    assert (image(answer).format, image(answer).size) == (kind.upper(), (96, 64))


def looked_up(service: Service) -> int:
    figures = service.studio.frames.figures()
    return figures["hits"] + figures["misses"]


def test_a_sheet(service: Service) -> None:
    answer = service.get("/frames/one/clip.mp4?n=4&width=400")
    assert image(answer).width <= 400
    assert answer.headers["X-Frame-Index"] == "0,8,16,24"
    assert len(answer.headers["X-Frame-Time"].split(",")) == 4


def test_what_a_client_has_is_not_made_again(service: Service) -> None:
    first = service.get("/frames/one/clip.mp4?index=3&width=80")
    before = looked_up(service)
    again = service.get("/frames/one/clip.mp4?index=3&width=80", If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    assert looked_up(service) == before
    # Another frame of the same video is another thing.
    other = service.get("/frames/one/clip.mp4?index=4&width=80", If_None_Match=first.headers["ETag"])
    assert other.status == 200
    head = service.call("HEAD", "/frames/one/clip.mp4?index=3&width=80")
    assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(first.body)))


def test_figures_of_frames(service: Service) -> None:
    for _ in range(2):
        service.get("/frames/one/clip.mp4?index=9")
    text = service.get("/metrics").body.decode()
    for name in ('studio_frames{what="hits"}', 'studio_frames{what="cache_bytes"}', "studio_frames_seconds_count"):
        (line,) = [line for line in text.splitlines() if line.startswith(name)]
        assert float(line.split()[-1]) > 0
