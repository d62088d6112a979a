"""A frame by the service against the ffmpeg command line; 16 frames against 16 ffmpegs."""

import io
import random
import shutil
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tests import clips
from tests.bench_studio.listing import wait_until_ready
from tests.bench_studio.servers import BOX, Client, studio

WIDTH, HEIGHT, FRAMES, FPS = 1280, 704, 121, 24  # what LTX makes
DETAIL = 0.5  # 4 Mb/s
END = FRAMES / FPS - 0.05  # seconds: a time that the last frame is shown at
MANY = 16
EARLY, ANYWHERE, LAST = "cold, at 0.5 s", "cold, anywhere", "cold, the last"
WARM, SIXTEEN, SHEET = "warm, anywhere", "16, cold", "16 in a sheet, cold"
KINDS = (EARLY, ANYWHERE, LAST, WARM, SIXTEEN, SHEET)
FRESH = 5  # files that a run takes which the service has no frame of


@dataclass
class Pair:
    """Seconds of the same thing by both, in turn."""

    service: list[float] = field(default_factory=list)
    ffmpeg: list[float] = field(default_factory=list)


def make_clip(folder: Path) -> Path:
    """A clip as LTX makes them: one key frame, libx264 with ComfyUI's settings, moderate detail that moves."""
    return clips.make(
        folder / "clip.mp4", width=WIDTH, height=HEIGHT, frames=FRAMES, fps=FPS, audio=True, detail=DETAIL
    )


def measure(folder: Path, clip: Path, runs: int, say: Callable[[str], None]) -> dict[str, Pair]:
    """For each kind: times of the service and of ffmpeg, in turn, on the same file."""
    output = folder / "output"
    output.mkdir()
    names = [f"{number:03}.mp4" for number in range(FRESH * runs + 1)]
    for name in names:
        shutil.copyfile(clip, output / name)
    chance, found = random.Random(7), {kind: Pair() for kind in KINDS}
    with studio(folder / "service", output) as client:
        wait_until_ready(client, len(names))
        both = Both(client, output, folder / "a.jpg", found)
        both.alike(names.pop())
        for turn in range(1, runs + 1):
            both.one(EARLY, names.pop(), 0.5)
            name, seconds = names.pop(), chance.uniform(0, END)
            both.one(ANYWHERE, name, seconds)
            both.one(WARM, name, seconds)
            both.one(LAST, names.pop(), END)
            both.sixteen(names.pop(), names.pop())
            last = [f"{kind}: {one.service[-1] * 1000:.1f}/{one.ffmpeg[-1] * 1000:.0f}" for kind, one in found.items()]
            say(f"frames {turn}/{runs} (service/ffmpeg, ms): {'; '.join(last)}")
    return found


@dataclass
class Both:
    """The service and ffmpeg."""

    client: Client
    output: Path
    picture: Path  # that ffmpeg writes
    found: dict[str, Pair]

    def one(self, kind: str, name: str, seconds: float) -> None:
        self.found[kind].service.append(timed(lambda: self.client.get(f"/frames/{BOX}/{name}?t={seconds:.3f}")))
        self.found[kind].ffmpeg.append(timed(lambda: self.ffmpeg(name, seconds)))

    def ffmpeg(self, name: str, seconds: float) -> None:
        """The best that the command line does: the seek before the input."""
        command = ["ffmpeg", "-nostdin", "-v", "error", "-y", "-ss", f"{seconds:.3f}", "-i", self.output / name]
        subprocess.run([*command, "-frames:v", "1", "-q:v", "2", self.picture], check=True)

    def sixteen(self, name: str, other: str) -> None:
        """As images of their own and as one sheet; ffmpeg one run after the other."""
        ffmpegs = timed(lambda: [self.ffmpeg(name, number * END / (MANY - 1)) for number in range(MANY)])
        self.found[SIXTEEN].service.append(timed(lambda: self._parts(name)))
        self.found[SHEET].service.append(timed(lambda: self.client.get(f"/frames/{BOX}/{other}?n={MANY}&sheet=1")))
        for kind in (SIXTEEN, SHEET):
            self.found[kind].ffmpeg.append(ffmpegs)

    def _parts(self, name: str) -> None:
        """As 16 clients at once ask for them, each with a connection of its own."""
        with ThreadPoolExecutor(MANY) as pool:
            paths = [f"/frames/{BOX}/{name}?n={MANY}&part={part}" for part in range(MANY)]
            list(pool.map(lambda path: self.client.again().get(path), paths))

    def alike(self, name: str) -> None:
        """Raises RuntimeError unless both give the same frame at the same time."""
        for number in (12, 60, FRAMES - 1):
            body, headers = self.client.get(f"/frames/{BOX}/{name}?t={number / FPS:.4f}")
            self.ffmpeg(name, number / FPS - 0.001)
            ours, theirs = Image.open(io.BytesIO(body)), Image.open(self.picture)
            shown = (clips.number_of(ours), clips.number_of(theirs), int(headers["X-Frame-Index"]))
            if shown != (number,) * 3 or ours.size != theirs.size:
                raise RuntimeError(f"frame {number}: the service, ffmpeg and X-Frame-Index say {shown}")


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
