"""Ranges of 1 MB of a large file: how many a second the service and nginx give to the same client."""

import random
import shutil
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench_studio.listing import wait_until_ready
from tests.bench_studio.servers import BOX, nginx, studio

RANGE = 1_000_000  # bytes
SIZE = 64_000_000
CONNECTIONS = 8
SECONDS = 2.0


def measure(folder: Path, clip: Path, turns: int, say: Callable[[str], None]) -> tuple[list[float], list[float]]:
    """(ranges a second of the service, of nginx), in turn."""
    output = folder / "ranges"
    output.mkdir()
    path = output / "large.mp4"
    shutil.copyfile(clip, path)
    with path.open("ab") as file:  # a part behind the end, that players pass over
        left = SIZE - path.stat().st_size
        file.write(left.to_bytes(4, "big") + b"free" + random.Random(1).randbytes(left - 8))
    ours, theirs = [], []
    with studio(folder / "static", output) as service, nginx(folder / "nginx", output) as other:
        wait_until_ready(service, 1)
        for turn in range(turns + 1):
            pair = (rate(service.port, f"/videos/{BOX}/large.mp4"), rate(other.port, "/large.mp4"))
            if turn == 0:  # to warm up
                continue
            ours.append(pair[0])
            theirs.append(pair[1])
            say(f"ranges {turn}/{turns}: the service {pair[0]:.0f} a second, nginx {pair[1]:.0f}")
    return ours, theirs


def rate(port: int, path: str) -> float:
    """Ranges a second that this many connections get together."""
    counts, stop = [0] * CONNECTIONS, time.monotonic() + SECONDS
    failed: list[BaseException] = []

    def work(number: int) -> None:
        try:
            counts[number] = _one_connection(port, path, stop, random.Random(number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(CONNECTIONS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return sum(counts) / (time.monotonic() - began)


def _one_connection(port: int, path: str, stop: float, chance: random.Random) -> int:
    """How many ranges it got until then, one after the other."""
    count, buffer = 0, bytearray(256 * 1024)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        while time.monotonic() < stop:
            start = chance.randrange(SIZE - RANGE)
            head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nRange: bytes={start}-{start + RANGE - 1}\r\n\r\n"
            connection.sendall(head.encode())
            got = b""
            while b"\r\n\r\n" not in got:
                got += connection.recv(65536)
            answer, _, body = got.partition(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 206") or f"content-length: {RANGE}".encode() not in answer.lower():
                raise RuntimeError(f"not what was asked for: {answer!r}")
            left = RANGE - len(body)
            while left:
                left -= connection.recv_into(buffer, min(left, len(buffer)))
            count += 1
    return count
