"""python -m tests.bench_studio: measure the studio's service and write docs/benchmarks_studio.md (`make bench-studio`).

LETTABOX_BENCH_RUNS: how often each kind of frame is measured (15). Exit codes: 0 measured, whether or not the aims are
met, 1 a measurement failed or measured something else, 4 something is missing. Takes about five minutes.
"""

import os
import sys
import tempfile
from pathlib import Path

from tests.bench_studio import frames, listing, page, ranges, servers

PAGE = servers.ROOT / "docs" / "benchmarks_studio.md"
RUNS = 15
TURNS = 7  # of the ranges
LISTS = 20


def say(line: str) -> None:
    print(f"bench-studio: {line}", flush=True)


def main() -> int:
    told = os.environ.get("LETTABOX_BENCH_RUNS", str(RUNS))
    if not told.isdecimal() or int(told) < 1:
        print(f"LETTABOX_BENCH_RUNS is {told!r}; give a number from 1", file=sys.stderr)
        return 4
    try:
        programs = servers.needed()
    except servers.Missing as error:
        print(f"bench-studio: {error}", file=sys.stderr)
        return 4
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="lettabox-bench-") as name:
        folder = Path(name)
        say("making a clip")
        clip = frames.make_clip(folder)
        results = page.Results(
            frames=frames.measure(folder, clip, int(told), say),
            ranges=ranges.measure(folder, clip, TURNS, say),
            listing=listing.measure(folder, clip, LISTS, say),
            programs=programs,
            clip=clip.stat().st_size,
            load=load,
        )
    for aim in page.aims(results):
        say(": ".join((aim.row[0], f"{aim.row[1]}, {aim.row[2]}, {aim.row[3].strip('*')}")))
    PAGE.write_text(page.page(results))
    say(f"written: {PAGE.relative_to(servers.ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
