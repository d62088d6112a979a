"""Boxes of their own: their lists, their files passed through, and what becomes of both while one is away."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lettabox.studio.config import Box
from lettabox.studio.web import remote

from tests import clips
from tests.unit.studio_service import BEARER, TOKEN, MemoryJobs, Service, folder, padded

PATH = "two/video/a b.mp4"
URL = "/two/video/a%20b.mp4"


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "KEPT", 0.05)
    monkeypatch.setattr(remote, "LIST_LIMIT", 1.0)
    monkeypatch.setattr(remote, "SILENCE", 2.0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(tmp_path_factory.mktemp("clip") / "clip.mp4", frames=9)


class Pair:
    """A studio with one video of its own, and a box with another."""

    def __init__(self, base: Path, clip: Path) -> None:
        self.data = padded(clip, base / "two" / "video" / "a b.mp4", 3_000_000)
        (base / "one").mkdir()
        shutil.copyfile(clip, base / "one" / "mine.mp4")
        self.box = Service({"two": Box(base / "two")}, read_token=True)
        self.base = base

    def studio(self) -> Service:
        boxes = folder(self.base / "one") | {"two": Box(url=f"http://127.0.0.1:{self.box.port}")}
        return Service(boxes, MemoryJobs())


@pytest.fixture
def pair(tmp_path: Path, clip: Path) -> Iterator[Pair]:
    one = Pair(tmp_path, clip)
    with one.box:
        yield one


def until(wanted: Callable[[], Any], what: str) -> None:
    end = time.monotonic() + 20
    while not wanted():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def paths(service: Service) -> list[str]:
    return [one["path"] for one in service.get("/list_videos").json["videos"]]


def test_videos_of_both(pair: Pair) -> None:
    with pair.studio() as studio:
        until(lambda: set(paths(studio)) == {PATH, "one/mine.mp4"}, "both are listed")
        (mine,) = [one for one in studio.get("/list_videos").json["videos"] if one["path"] == PATH]
        (own,) = pair.box.get("/list_videos", **BEARER).json["videos"]
        assert mine == own
        assert studio.get("/list_videos").json["unreachable"] == []
        assert [one["path"] for one in studio.get("/list_videos?box=two").json["videos"]] == [PATH]


def test_what_comes_through(pair: Pair) -> None:
    with pair.studio() as studio:
        whole = studio.get(f"/videos{URL}")
        assert (whole.status, whole.body) == (200, pair.data)
        direct = pair.box.get(f"/videos{URL}", **BEARER)
        for name in ("ETag", "Last-Modified", "Content-Type", "Content-Length", "Accept-Ranges", "Cache-Control"):
            assert whole.headers[name] == direct.headers[name], name
        part = studio.get(f"/videos{URL}", Range="bytes=1000000-2000000")
        assert (part.status, part.body) == (206, pair.data[1000000:2000001])
        assert part.headers["Content-Range"] == f"bytes 1000000-2000000/{len(pair.data)}"
        assert studio.get(f"/videos{URL}", If_None_Match=whole.headers["ETag"]).status == 304
        assert studio.get(f"/videos{URL}", If_Range='"x"', Range="bytes=0-1").status == 200
        assert studio.get(f"/videos{URL}", Range="bytes=99999999-").status == 416
        head = studio.call("HEAD", f"/videos{URL}")
        assert (head.status, head.body, head.headers["Content-Length"]) == (200, b"", str(len(pair.data)))
        assert "a%20b.mp4" in studio.get(f"/videos{URL}?download=1").headers["Content-Disposition"]


def test_frames_come_through(pair: Pair) -> None:
    with pair.studio() as studio:
        for query in ("", "?index=3", "?n=4&format=png&width=64", "?n=4&part=2", "?at=last&format=webp&quality=50"):
            mine, own = studio.get(f"/frames{URL}{query}"), pair.box.get(f"/frames{URL}{query}", **BEARER)
            assert (mine.status, mine.body) == (200, own.body), query
            for name in ("X-Frame-Index", "X-Frame-Time", "ETag", "Content-Type"):
                assert mine.headers[name] == own.headers[name]
        refused = studio.get(f"/frames{URL}?index=99")
        assert (refused.status, refused.error["field"]) == (400, "index")


@pytest.mark.parametrize(
    "path", ["../one/mine.mp4", "..%2f..%2fone%2fmine.mp4", "%2e%2e/secret.mp4", "x?y", "%3Fx=1", "nothing.mp4"]
)
def test_nothing_else_comes_out_of_it(pair: Pair, path: str) -> None:
    with pair.studio() as studio:
        assert studio.get(f"/videos/two/{path}").status in (400, 404)


def test_a_box_that_goes_and_comes_back(pair: Pair) -> None:
    with pair.studio() as studio:
        until(lambda: PATH in paths(studio), "it is listed")
        pair.box.__exit__()
        until(lambda: studio.get("/list_videos").json["unreachable"] == ["two"], "it is named")
        began = time.monotonic()
        assert PATH in paths(studio)  # as last known
        assert time.monotonic() - began < 1
        for kind in ("videos", "frames"):
            answer = studio.get(f"/{kind}{URL}")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert "two" in answer.error["problem"]
        assert studio.get("/videos/one/mine.mp4").status == 200
        reasons = studio.get("/health").json["reasons"]
        assert ("library", "two") in [(one["part"], one["box"]) for one in reasons]
        assert b'studio_box_up{box="two"} 0.0' in studio.get("/metrics").body
        pair.box.__enter__()
        until(lambda: studio.get("/list_videos").json["unreachable"] == [], "it is back")
        assert studio.get(f"/videos{URL}").status == 200


@contextmanager
def other(answer: Callable[[bytes], bytes | None]) -> Iterator[tuple[int, list[bytes]]]:
    """A port with something that answers so to each head of a request (None: not at all), and the heads it got."""
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def talk(one: socket.socket) -> None:
            head = b""
            while b"\r\n\r\n" not in head:
                if not (piece := one.recv(65536)):
                    return
                head += piece
            heads.append(head)
            if (said := answer(head)) is not None:
                one.sendall(said)
                one.close()

        def accept() -> None:
            while True:
                try:
                    one, _ = server.accept()
                except OSError:
                    return
                held.append(one)
                threading.Thread(target=talk, args=(one,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], heads
        server.shutdown(socket.SHUT_RDWR)
    for one in held:
        one.close()


def studio_with(tmp_path: Path, port: int) -> Service:
    return Service(folder(tmp_path / "one") | {"two": Box(url=f"http://127.0.0.1:{port}")}, MemoryJobs())


def said(body: bytes, status: bytes = b"200 OK", length: int | None = None) -> bytes:
    length = len(body) if length is None else length
    return b"HTTP/1.1 " + status + b"\r\nContent-Type: video/mp4\r\nContent-Length: %d\r\n\r\n" % length + body


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: None,
        lambda _: b"",
        lambda _: b"SSH-2.0-OpenSSH\r\n",
        lambda _: said(b"{"),
        lambda _: said(b'{"videos": 5, "next": null, "unreachable": []}'),
        lambda _: said(b"", b"500 No"),
        lambda _: said(b"", b"401 No"),
        lambda _: said(b"", b"302 Found"),
        lambda _: said(b"{", length=1000),
    ],
    ids=["silent", "hangs up", "no http", "no json", "other json", "fails", "other token", "elsewhere", "breaks off"],
)
def test_something_else_answers(tmp_path: Path, answer: Callable[[bytes], bytes | None]) -> None:
    with other(answer) as (port, _), studio_with(tmp_path, port) as studio:
        began = time.monotonic()
        assert studio.get("/list_videos").json == {"videos": [], "next": None, "unreachable": ["two"]}
        assert studio.get("/health").status == 503
        assert time.monotonic() - began < 4
        until(lambda: studio.studio.boxes["two"].problem not in ("", "it was not asked yet"), "it is known why")


def test_an_answer_that_breaks_off(tmp_path: Path) -> None:
    """The client must not take a half for the whole, nor wait for the rest."""
    with other(lambda _: said(b"x" * 100_000, length=200_000)) as (port, _), studio_with(tmp_path, port) as studio:
        began = time.monotonic()
        with studio.connected() as one:
            one.sendall(b"GET /videos/two/a.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = b""
            try:
                while piece := one.recv(65536):
                    got += piece
            except ConnectionResetError:
                pass
        assert b"Content-Length: 200000" in got
        assert len(got) < 150_000
        assert time.monotonic() - began < 15


def test_only_what_is_needed_is_told_to_the_box(tmp_path: Path) -> None:
    with other(lambda _: said(b"x")) as (port, heads), studio_with(tmp_path, port) as studio:
        mine = {"Cookie": "a=b", "X-Mine": "1", "Referer": "http://x", "User-Agent": "me", "Accept-Language": "de"}
        given = {"Range": "bytes=0-1", "If-Range": '"x"', "If-None-Match": '"y"'}
        studio.get("/videos/two/a%2Fb%20%25.mp4?download=1", **mine | given)
        (head,) = [head.decode() for head in heads if b"/videos/" in head]
    assert head.startswith("GET /videos/two/a/b%20%25.mp4?download=1 HTTP/1.1\r\n")
    assert f"Authorization: Bearer {TOKEN}\r\n" in head
    for name, value in given.items():
        assert f"{name}: {value}\r\n" in head
    for name, value in mine.items():
        assert f"{name}: {value}\r\n" not in head


def test_the_clients_own_token_goes_nowhere(tmp_path: Path) -> None:
    with other(lambda _: said(b"x")) as (port, heads), studio_with(tmp_path, port) as studio:
        assert studio.get("/videos/two/a.mp4", Authorization="Bearer another").status == 401
        assert not [head for head in heads if b"another" in head]
