"""Listing 2,000 videos: for the first time, after a restart, and again and again."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.bench_studio.servers import Client, studio

VIDEOS = 2000
PAGE = 500  # the most that one request gives
FFPROBES = 20


@dataclass(frozen=True)
class Listing:
    cold: float  # seconds until all are listed as ready
    restart: float  # seconds of the first list after a restart
    warm: list[float]  # seconds of all pages
    page: list[float]  # seconds of the first 50, as the gallery asks for them
    ffprobe: float  # seconds of one ffprobe


def measure(folder: Path, clip: Path, runs: int, say: Callable[[str], None]) -> Listing:
    output = folder / "many"
    for number in range(VIDEOS):
        path = output / "video" / f"2026-{number % 12 + 1:02}" / f"job-{number:05}-1_00001_.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(clip, path)
    with studio(folder / "listing", output) as client:
        began = time.perf_counter()
        wait_until_ready(client, VIDEOS)
        cold = time.perf_counter() - began
        say(f"listing {VIDEOS} videos for the first time: {cold:.1f} s")
    with studio(folder / "listing", output) as client:
        began = time.perf_counter()
        first = list_all(client)
        restart = time.perf_counter() - began
        say(f"after a restart: {restart * 1000:.0f} ms")
        if len(first) != VIDEOS or not all(one["ready"] for one in first):
            raise RuntimeError(f"{len(first)} videos are listed after a restart")
        warm, page, same = [], [], 0
        for _ in range(runs):
            began = time.perf_counter()
            pages = all_pages(client)
            warm.append(time.perf_counter() - began)
            same += [one for text in pages for one in json.loads(text)["videos"]] == first
            began = time.perf_counter()
            client.get("/list_videos?limit=50")
            page.append(time.perf_counter() - began)
        if same != runs:
            raise RuntimeError(f"{runs - same} of {runs} lists differ")
    began = time.perf_counter()
    for _ in range(FFPROBES):
        subprocess.run(
            ["ffprobe", "-v", "error", "-show_format", "-show_streams", clip], check=True, capture_output=True
        )
    return Listing(cold, restart, warm, page, (time.perf_counter() - began) / FFPROBES)


def all_pages(client: Client) -> list[bytes]:
    """The answers that list all videos, as they come."""
    pages, cursor = [], ""
    while True:
        text, _ = client.get(f"/list_videos?limit={PAGE}{cursor}")
        pages.append(text)
        # The end of the answer says where the next page begins; only a client that wants the videos reads all of it.
        following = json.loads(b"{" + text[text.rindex(b'"next":') :])["next"]
        if following is None:
            return pages
        cursor = f"&cursor={following}"


def list_all(client: Client) -> list[dict]:
    return [one for text in all_pages(client) for one in json.loads(text)["videos"]]


def wait_until_ready(client: Client, count: int) -> None:
    """Return when this many videos are listed as ready. Raises RuntimeError when that takes ten minutes."""
    until = time.monotonic() + 600
    while True:
        try:
            ready = sum(one["ready"] for one in list_all(client))
        except RuntimeError as error:
            if "503" not in str(error):  # the first look at them is not through
                raise
            ready = 0
        if ready == count:
            return
        if time.monotonic() > until:
            raise RuntimeError(f"{ready} of {count} videos are ready")
        time.sleep(0.05)
