"""Videos over HTTP: parts, conditions, what is none, and what must never come out."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from tests import clips
from tests.unit.studio_service import MemoryJobs, Service, folder, padded

SIZE = 3_000_000  # bytes of noise: more than one piece


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder, with a secret beside it."""
    base = tmp_path_factory.mktemp("studio")
    clip = clips.make(base / "output" / "clip.mp4", frames=9)
    padded(clip, base / "output" / "video" / "2026-11" / "fox_00001_.mp4", SIZE)
    padded(clip, base / "output" / "video" / "Ein Füchslein, 100% & #1?.mp4", 10)
    (base / "secret.mp4").write_bytes(clip.read_bytes())
    (base / "output" / "note.txt").write_text("a secret")
    (base / "output" / "empty.mp4").touch()
    (base / "output" / "half.mp4").write_bytes(clip.read_bytes()[:500])
    (base / "output" / "link.mp4").symlink_to(base / "secret.mp4")
    (base / "output" / "inside.mp4").symlink_to(clip)
    (base / "output" / "outside").symlink_to(base)
    (base / "output" / "folder.mp4").mkdir()
    os.mkfifo(base / "output" / "pipe.mp4")
    return base / "output"


@pytest.fixture(scope="module")
def service(output: Path) -> Iterator[Service]:
    with Service(folder(output), MemoryJobs()) as one:
        yield one


FOX = "/videos/one/video/2026-11/fox_00001_.mp4"


@pytest.fixture(scope="module")
def fox(output: Path) -> bytes:
    return (output / "video" / "2026-11" / "fox_00001_.mp4").read_bytes()


def test_the_whole(service: Service, fox: bytes) -> None:
    answer = service.get(FOX)
    assert (answer.status, answer.body) == (200, fox)
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Disposition" not in answer.headers


def test_parts_are_the_right_bytes(service: Service, fox: bytes) -> None:
    chance = random.Random(7)
    for _ in range(40):
        first = chance.randrange(len(fox))
        last = chance.randrange(first, len(fox))
        answer = service.get(FOX, Range=f"bytes={first}-{last}")
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(fox)}"
        assert answer.body == fox[first : last + 1]


def test_the_end(service: Service, fox: bytes) -> None:
    answer = service.get(FOX, Range="bytes=-100")
    assert (answer.status, answer.body) == (206, fox[-100:])
    assert answer.headers["Content-Range"] == f"bytes {len(fox) - 100}-{len(fox) - 1}/{len(fox)}"


def test_beyond_the_end(service: Service, fox: bytes) -> None:
    answer = service.get(FOX, Range=f"bytes={len(fox)}-")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{len(fox)}"
    assert answer.error["field"] == "Range"


def test_several_parts_get_the_whole(service: Service, fox: bytes) -> None:
    answer = service.get(FOX, Range="bytes=0-1,5-9")
    assert (answer.status, answer.body) == (200, fox)


def test_head(service: Service, fox: bytes) -> None:
    answer = service.call("HEAD", FOX, headers={"Range": "bytes=0-9"})
    assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", str(len(fox)))
    assert answer.headers["ETag"] == service.get(FOX, Range="bytes=0-0").headers["ETag"]


def test_what_a_client_has_is_not_sent_again(service: Service, fox: bytes) -> None:
    first = service.call("HEAD", FOX)
    tag, when = first.headers["ETag"], first.headers["Last-Modified"]
    for headers in ({"If_None_Match": tag}, {"If_Modified_Since": when}):
        answer = service.get(FOX, **headers)
        assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert service.get(FOX, If_Range=tag, Range="bytes=0-9").body == fox[:10]
    assert service.get(FOX, If_Range='"another"', Range="bytes=0-9").body == fox
    refused = service.get(FOX, If_Match='"another"')
    assert (refused.status, refused.error["problem"][:9]) == (412, "the video")


def test_a_changed_file_has_another_tag(service: Service, output: Path) -> None:
    path = output / "changing.mp4"
    first, second = (padded(output / "clip.mp4", path, 100, seed) for seed in (1, 2))
    path.write_bytes(first)
    os.utime(path, (1e9, 1e9))
    before = service.get("/videos/one/changing.mp4")
    path.write_bytes(second)
    os.utime(path, (1e9, 1e9 + 1))
    after = service.get("/videos/one/changing.mp4", If_None_Match=before.headers["ETag"])
    assert (before.body, after.body) == (first, second)
    path.unlink()
    assert service.get("/videos/one/changing.mp4").status == 404


def test_download(service: Service) -> None:
    path = "/videos/one/video/Ein%20F%C3%BCchslein,%20100%25%20&%20%231%3F.mp4"
    answer = service.get(path + "?download=1")
    assert answer.status == 200
    named = 'attachment; filename="Ein F_chslein_ 100_ _ _1_.mp4"; '
    named += "filename*=UTF-8''Ein%20F%C3%BCchslein%2C%20100%25%20%26%20%231%3F.mp4"
    assert answer.headers["Content-Disposition"] == named


def test_the_list_names_them_so_that_they_are_found(service: Service) -> None:
    videos = [one for one in service.get("/list_videos").json["videos"] if one["ready"]]
    assert {"fox_00001_.mp4", "Ein Füchslein, 100% & #1?.mp4", "clip.mp4"} <= {one["name"] for one in videos}
    for video in videos:
        answer = service.call("HEAD", video["url"])
        assert (answer.status, answer.headers["Content-Length"]) == (200, str(video["size"]))
        # As encodeURIComponent() writes the path.
        assert service.call("HEAD", f"/videos/{quote(video['path'], safe='')}").status == 200


@pytest.mark.parametrize("name", ["half.mp4", "empty.mp4"])
@pytest.mark.parametrize("kind", ["videos", "frames"])
def test_what_is_not_whole_is_refused(service: Service, kind: str, name: str) -> None:
    answer = service.get(f"/{kind}/one/{name}")
    assert (answer.status, answer.headers["Retry-After"]) == (409, "5")
    assert answer.error["value"] == name
    listed = {one["name"]: one for one in service.get("/list_videos").json["videos"]}[name]
    assert (listed["ready"], listed["poster"]) == (False, None)
    assert listed["problem"]


OUT = [
    "../secret.mp4",
    "..%2fsecret.mp4",
    "%2e%2e/secret.mp4",
    "%2E%2E%2Fsecret.mp4",
    "%252e%252e%252fsecret.mp4",
    "video/../../secret.mp4",
    "video/%2e%2e/%2e%2e/secret.mp4",
    "video/..%5c..%5csecret.mp4",
    "..\\secret.mp4",
    "%c0%ae%c0%ae/secret.mp4",
    "/secret.mp4",
    "%2fsecret.mp4",
    "{}/secret.mp4",
    "%2f{}/secret.mp4",
    "/{}/secret.mp4",
    "link.mp4",
    "outside/secret.mp4",
    "outside/output/clip.mp4",
    "clip.mp4%00",
    "clip.mp4%00.txt",
    "clip.mp4/",
    "clip.mp4/.",
    "./clip.mp4",
    "video//2026-11/fox_00001_.mp4",
    "note.txt",
    "folder.mp4",
    "pipe.mp4",
    ".",
    "..",
    "%2e",
    "video",
    "",
    "a" * 7000 + ".mp4",
    "a/" * 3000 + "a.mp4",
    "\x7f.mp4",
    "%ff.mp4",
    "%ed%a0%80.mp4",
    "%zz.mp4",
    "%",
    "file:%2f%2f{}/secret.mp4",
    "/proc/self/environ",
    "%2fproc%2fself%2fenviron",
    "clip.mp4;x",
    "CLIP.MP4",
    "clip.mp4:stream",
    "con.mp4",
    "*.mp4",
    "~/secret.mp4",
]


@pytest.mark.parametrize("kind", ["videos", "frames"])
@pytest.mark.parametrize("path", OUT, ids=lambda path: path[:20] or "nothing")
def test_nothing_else_comes_out(service: Service, output: Path, kind: str, path: str) -> None:
    sent = f"GET /{kind}/one/{path.format(output.parent)} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    answer = service.raw(sent.encode("latin-1"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.split()[1]) in (400, 404), answer[:300]
    assert b"secret" not in body.replace(b"secret.mp4", b"")


@pytest.mark.parametrize("kind", ["videos", "frames"])
def test_a_folder_that_becomes_a_link_while_it_is_read(
    service: Service, output: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """What was found to be inside comes out, whatever is at its place since."""
    inside, outside, parked = output / "swap", output.parent / "elsewhere", output / "parked"
    clips.make(inside / "a.mp4", frames=9)
    clips.make(outside / "a.mp4", frames=9, width=320)
    before = service.get(f"/{kind}/one/swap/a.mp4")
    library, swaps = service.studio.boxes["one"]._library, []
    opened = library.opened

    @contextmanager
    def swapped(below: str) -> Iterator[Path]:
        with opened(below) as path:
            inside.rename(parked)
            inside.symlink_to(outside)
            swaps.append(below)
            try:
                yield path
            finally:
                inside.unlink()
                parked.rename(inside)

    monkeypatch.setattr(library, "opened", swapped)
    assert service.get(f"/{kind}/one/swap/a.mp4").body == before.body
    assert swaps == ["swap/a.mp4"]


def test_a_file_that_becomes_shorter_breaks_off(
    service: Service, output: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At once: the client must not wait for the rest."""
    path = output / "shrinks.mp4"
    padded(output / "clip.mp4", path, 30_000_000)
    began = time.monotonic()
    with service.connected() as one:
        one.sendall(b"GET /videos/one/shrinks.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        got = len(one.recv(1000))
        os.truncate(path, 20_000_000)
        try:
            while piece := one.recv(1 << 20):
                got += len(piece)
        except ConnectionResetError:
            pass  # as clear as an end before its time
    assert got < 21_000_000
    assert time.monotonic() - began < 15
    assert "GET '/videos/one/shrinks.mp4': broken off: the file became shorter" in caplog.text
    path.unlink()
