"""The studio's benchmark: that it measures what it says, in small, and what it makes of it."""

import re
from pathlib import Path

import pytest

from tests.bench_studio import frames, listing, page, ranges, servers
from tests.bench_studio.frames import Pair
from tests.bench_studio.listing import Listing
from tests.bench_studio.page import Results


def results(fast: float) -> Results:
    """Figures of a service that is this many times as fast as its aims."""
    pairs = {kind: Pair([0.5, 0.01 / fast, 0.01 / fast], [50.0, 0.21, 0.21]) for kind in frames.KINDS}
    lists = Listing(60.0, 0.1, [0.019 / fast] * 3, [0.001], 0.07)
    return Results(pairs, ([340 * fast] * 3, [1000.0] * 3), lists, {"ffmpeg": "ffmpeg 5"}, 2_700_000, 0.5)


def test_aims_are_met_or_not() -> None:
    assert [aim.met for aim in page.aims(results(1.0))] == [True] * 4
    assert [aim.met for aim in page.aims(results(0.9))] == [False, True, False, False]
    text = page.page(results(0.9))
    assert text.count("NOT met") == 3
    assert "| A warm frame, faster than ffmpeg | 18.9 times | at least 20 times | **NOT met** |" in text


def test_the_page_is_of_tables_that_are_whole() -> None:
    tables = re.findall(r"(?:^\|.*\n)+", page.page(results(1.0)), re.MULTILINE)
    assert len(tables) == 5
    for one in tables:
        assert len({line.count("|") for line in one.splitlines()}) == 1


def test_a_missing_program_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers.shutil, "which", lambda name, path: None)
    with pytest.raises(servers.Missing, match="ffmpeg is not installed; on Debian: sudo apt-get install ffmpeg"):
        servers.needed()


def test_it_measures_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        servers.needed()
    except servers.Missing as error:
        pytest.skip(str(error))
    for module, name, value in (
        (frames, "WIDTH", 320), (frames, "HEIGHT", 192), (frames, "MANY", 3), (listing, "VIDEOS", 30),
        (listing, "PAGE", 20), (listing, "FFPROBES", 1), (ranges, "SECONDS", 0.1), (ranges, "SIZE", 3_000_000),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    said: list[str] = []
    clip = frames.make_clip(tmp_path)
    found = frames.measure(tmp_path, clip, 1, said.append)
    assert all(len(pair.service) == len(pair.ffmpeg) == 1 for pair in found.values())
    ours, theirs = ranges.measure(tmp_path, clip, 1, said.append)
    assert ours[0] > 0 and theirs[0] > 0
    lists = listing.measure(tmp_path, clip, 2, said.append)
    assert len(lists.warm) == 2 and lists.cold > 0
    assert page.page(Results(found, (ours, theirs), lists, servers.needed(), clip.stat().st_size, 0.0))
