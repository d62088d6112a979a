"""Clients that are many, slow, or gone."""

import asyncio
import json
import os
import random
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from lettabox.studio.web import server, streamed
from lettabox.studio.web import service as service_

from tests import clips
from tests.unit.studio_service import BEARER, MemoryJobs, Service, folder, padded

SEEKERS, SEEKS, FILES = 200, 5, 4
SIZE = 8_000_000  # bytes
GET = b"GET /videos/one/0.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    base = tmp_path_factory.mktemp("studio")
    clip = clips.make(base.parent / "clip.mp4", frames=9)
    return {f"{base}/{number}.mp4": padded(clip, base / f"{number}.mp4", SIZE, number) for number in range(FILES)}


@pytest.fixture
def service(files: dict[str, bytes]) -> Iterator[Service]:
    with Service(folder(Path(next(iter(files))).parent), MemoryJobs()) as one:
        one.get("/list_videos")
        yield one


def until(wanted: Callable[[], bool], what: str, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def open_files() -> int:
    """How many videos this process has open."""
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").endswith(".mp4")
        except FileNotFoundError:
            continue
    return found


def resident() -> int:
    """Bytes of memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_200_clients_seek_at_once(service: Service, files: dict[str, bytes], record_property: Callable) -> None:
    """All get the right bytes."""
    chance = random.Random(3)

    async def seek(session: aiohttp.ClientSession, taken: list[float]) -> None:
        for _ in range(SEEKS):
            path, data = chance.choice(list(files.items()))
            first = chance.randrange(len(data))
            last = min(first + chance.choice((1, 1000, 100_000, 1_000_000)), len(data) - 1)
            began = time.monotonic()
            url = f"{service.url}/videos/one/{Path(path).name}"
            async with session.get(url, headers={"Range": f"bytes={first}-{last}"}) as answer:
                assert answer.status == 206
                assert await answer.read() == data[first : last + 1]
            taken.append(time.monotonic() - began)

    async def all_seek() -> list[float]:
        taken: list[float] = []
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session:
            await asyncio.gather(*(seek(session, taken) for _ in range(SEEKERS)))
        return taken

    taken = asyncio.run(all_seek())
    assert len(taken) == SEEKERS * SEEKS
    parts = statistics.quantiles(taken, n=100)
    said = f"median {parts[49] * 1000:.0f} ms, 95 % {parts[94] * 1000:.0f} ms, 99 % {parts[98] * 1000:.0f} ms"
    record_property("latency", said)
    print(f"{SEEKERS} clients, {len(taken)} seeks: {said}")
    assert max(taken) < 30
    until(lambda: open_files() == 0, "all files are closed")


def test_clients_that_take_nothing_cost_no_memory(service: Service, files: dict[str, bytes]) -> None:
    before = resident()
    slow = [service.connected() for _ in range(60)]
    try:
        for one in slow:
            one.sendall(GET)
        until(lambda: open_files() >= len(slow), "all are being sent to")
        # The files are 480 MB together.
        assert resident() - before < 60_000_000
        assert (
            service.get("/videos/one/1.mp4", Range="bytes=0-9").body
            == files[next(iter(files)).replace("0.mp4", "1.mp4")][:10]
        )
    finally:
        for one in slow:
            one.close()
    until(lambda: open_files() == 0, "what they held is freed")
    until(lambda: len(connections(service)) == 0, "their connections are gone")


def connections(service: Service) -> list:
    return service.running._server.connections


def test_a_client_that_takes_nothing_is_dropped(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streamed, "STALL", 0.3)
    with service.connected() as one:
        one.sendall(GET)
        until(lambda: open_files() == 1, "it is being sent to")
        until(lambda: open_files() == 0, "it is dropped")
        until(lambda: not connections(service), "and its connection")


def test_a_client_that_takes_no_small_answer_is_dropped(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the kernel: as far as the service is concerned all was sent."""
    monkeypatch.setattr(server, "UNTAKEN", 700)
    monkeypatch.setattr(server, "IDLE", 100)
    with Service(service.config.boxes, MemoryJobs()) as other, socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.connect(("127.0.0.1", other.port))
        one.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        until(lambda: len(connections(other)) == 1, "it is connected")
        until(lambda: not connections(other), "it is dropped")


def test_a_slow_client_gets_all(service: Service, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it takes something."""
    monkeypatch.setattr(streamed, "STALL", 0.5)
    monkeypatch.setattr(streamed, "PIECE", 65536)
    data, got = files[next(iter(files))], b""
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        one.settimeout(20)
        one.connect(("127.0.0.1", service.port))
        one.sendall(GET)
        while len(got.partition(b"\r\n\r\n")[2]) < len(data):
            got += one.recv(400_000)
            time.sleep(0.01)
    assert got.partition(b"\r\n\r\n")[2] == data


def test_a_head_that_does_not_come(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "IDLE", 0.4)
    with Service(service.config.boxes, MemoryJobs()) as quick:
        dripping, silent, idle = (quick.connected() for _ in range(3))
        idle.sendall(b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        began = time.monotonic()
        try:
            while time.monotonic() - began < 10:
                dripping.sendall(b"G")
                time.sleep(0.05)
        except OSError:
            pass
        assert time.monotonic() - began < 5
        until(lambda: not connections(quick), "all are hung up on")
        for one in (dripping, silent, idle):
            one.close()


def test_a_body_that_does_not_come(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service_, "BODY_TIME", 0.3)
    head = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n"
    head += f"Authorization: {BEARER['Authorization']}\r\n\r\n"
    with service.connected() as one:
        one.sendall(head.encode())
        assert one.recv(1000).startswith(b"HTTP/1.1 408")
    until(lambda: not connections(service), "it is hung up on")


def test_too_many_are_told_so(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST", 5)
    held = [service.connected() for _ in range(5)]
    until(lambda: len(connections(service)) == 5, "they are connected")
    refused = service.get("/jobs")
    assert (refused.status, refused.headers["Retry-After"]) == (503, "5")
    assert refused.error == {"field": None, "value": None, "problem": "too many connections", "fix": "close some"}
    held.pop().close()
    until(lambda: len(connections(service)) == 4, "one has gone")
    assert service.get("/jobs").status == 200
    for one in held:
        one.close()


def test_who_hangs_up_ends_what_was_done_for_him(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    began, ended = threading.Event(), threading.Event()

    async def slow(*_: object) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    monkeypatch.setattr(service.jobs, "list", slow)
    with service.connected() as one:
        one.sendall(b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert began.wait(10)
    assert ended.wait(10)
    assert 'route="/jobs",status="499"} 1.0' in service.get("/metrics").body.decode()


def test_many_ask_and_one_looks(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that come while the folder is looked at share the next look."""
    library, looks = service.studio.boxes["one"]._library, []
    look = library.videos

    def counted(wait: float | None) -> object:
        looks.append(wait)
        time.sleep(0.1)
        return look(wait)

    monkeypatch.setattr(library, "videos", counted)
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(service.get("/list_videos").status)) for _ in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [200] * 30
    assert len(looks) <= 6


def test_the_end_comes_soon(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """With clients that take nothing, and that ask nothing."""
    monkeypatch.setattr(server, "STOP", 0.3)
    with Service(folder(Path(next(iter(files))).parent), MemoryJobs()) as one:
        held = [one.connected() for _ in range(20)]
        for client in held[:10]:
            client.sendall(GET)
        until(lambda: open_files() == 10, "they are being sent to")
        began = time.monotonic()
    assert time.monotonic() - began < 4
    for client in held:
        client.close()


def test_jobs_from_many_with_one_key(service: Service) -> None:
    ids: list[str] = []
    body = {"prompt": "a fox"}

    def post() -> None:
        ids.append(json.loads(service.post("/jobs", body, Idempotency_Key="one").body)["id"])

    threads = [threading.Thread(target=post) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(ids)) == 1 and len(ids) == 20
