"""What was measured, as docs/benchmarks_studio.md: ratios beside the aims, met or not."""

import datetime
import os
import platform
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version

from tests.bench_studio import frames, listing, ranges
from tests.bench_studio.frames import Pair
from tests.bench_studio.listing import Listing


@dataclass(frozen=True)
class Results:
    frames: dict[str, Pair]
    ranges: tuple[list[float], list[float]]  # a second, of the service and of nginx
    listing: Listing
    programs: dict[str, str]  # {program: its version}
    clip: int  # bytes
    load: float  # of the machine, before


@dataclass(frozen=True)
class Aim:
    what: str
    figure: float
    wanted: float
    unit: str
    at_least: bool = True  # else the aim is less than `wanted`

    @property
    def met(self) -> bool:
        return self.figure >= self.wanted if self.at_least else self.figure < self.wanted

    @property
    def row(self) -> tuple[str, ...]:
        wanted = f"{'at least' if self.at_least else 'under'} {self.wanted:.3g}{self.unit}"
        return self.what, f"{self.figure:.3g}{self.unit}", wanted, "met" if self.met else "**NOT met**"


def aims(results: Results) -> list[Aim]:
    ours, theirs = results.ranges
    warm = statistics.median(results.listing.warm) * 1000 / (listing.VIDEOS / 100)
    return [
        Aim("A warm frame, faster than ffmpeg", faster(results.frames[frames.WARM]), 20, " times"),
        Aim("16 frames cold, faster than 16 ffmpegs", faster(results.frames[frames.SIXTEEN]), 5, " times"),
        Aim("Ranges of 1 MB, of nginx's rate", statistics.median(ours) / statistics.median(theirs), 1 / 3, " times"),
        Aim("Warm list, for a hundred videos", warm, 1, " ms", at_least=False),
    ]


def faster(pair: Pair) -> float:
    """How many times: the median of the runs' own ratios, as the load of the machine changes between runs."""
    return statistics.median(theirs / ours for ours, theirs in zip(pair.service, pair.ffmpeg, strict=True))


def page(results: Results) -> str:
    ours, theirs = results.ranges
    found = results.listing
    rows = [(kind, ms(pair.service), ms(pair.ffmpeg), f"{faster(pair):.3g}") for kind, pair in results.frames.items()]
    machine = [
        ("date", datetime.date.today().isoformat()),
        ("command", "`make bench-studio`"),
        ("machine", f"{os.cpu_count()} cores, {_memory()} GiB memory"),
        ("its load before", f"{results.load:.1f}"),
        ("system", f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release().split('-')[0]}"),
        ("studio", f"aiohttp {version('aiohttp')}, PyAV {version('av')}, Python {platform.python_version()}"),
        ("beside it", ", ".join(results.programs.values())),
    ]
    lists = [
        ("cold: until all are looked into and listed as ready", f"{found.cold:.1f} s"),
        ("cold, for one video", f"{found.cold / listing.VIDEOS * 1000:.1f} ms"),
        ("one ffprobe", f"{found.ffprobe * 1000:.1f} ms"),
        ("the first list after a restart", f"{found.restart * 1000:.0f} ms"),
        (f"warm: all, in pages of {listing.PAGE}", ms(found.warm)),
        ("warm: the newest 50", ms(found.page)),
    ]
    return f"""# Benchmarks of the studio

Written by `make bench-studio`, not by hand. The service is the process that runs on a box, asked over HTTP on
loopback. Medians, and in brackets the fastest and the slowest; what is compared was measured in turn. Ratios say more
than times: they are of the same run on the same machine.

{table(("", ""), machine)}

## Aims

{table(("", "measured", "aim", ""), [aim.row for aim in aims(results)])}

## Frames

Of a clip as LTX makes them: {frames.WIDTH}x{frames.HEIGHT}, {frames.FRAMES} frames, H.264 with one key frame,
{results.clip / 1e6:.1f} MB. {len(results.frames[frames.WARM].service)} runs of each kind.

{table(("", "service", "ffmpeg", "times faster"), rows)}

Both give JPEG of the full size; ffmpeg with the seek before the input, which is the fast order. Cold: the service has
looked into the file and has no frame of it; each run takes a file of its own, and the disk's cache has the file for
both. Warm: the frame was asked for before. 16: evenly spaced, each as an image of its own, asked for by 16 clients at
once, against 16 runs of ffmpeg one after the other; in a sheet: one request, one image. A late frame costs all those
before it, as there is one key frame; after some looks the service decodes a clip whole.

## Static files

Ranges of 1 MB at random places of a file of {ranges.SIZE // 10**6} MB, {ranges.CONNECTIONS} connections, one client
for both on the same machine.

{table(("", "ranges a second"), [("service", rate(ours)), ("nginx, one worker, sendfile", rate(theirs))])}

## Listing {listing.VIDEOS} videos

All are links to the clip above, in twelve folders, so that each is looked into, and none has to come from the disk.

{table(("", ""), lists)}

Cold is once in a video's life: what was found out is kept over restarts. Meanwhile the list is there, and says of a
video that it has not been looked at yet.
"""


def ms(seconds: Iterable[float]) -> str:
    values = sorted(one * 1000 for one in seconds)
    return f"{_figure(statistics.median(values))} ms ({_figure(values[0])} to {_figure(values[-1])})"


def _figure(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def rate(values: list[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)
