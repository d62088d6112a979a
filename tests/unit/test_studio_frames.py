"""Frames of videos: the right one each time, decoded once, and never more at once than allowed."""

import asyncio
import gc
import io
import os
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lettabox.studio import decode, frame_index, one_pass, source
from lettabox.studio import frames as frames_module
from lettabox.studio.at import FIRST, LAST, MIDDLE, At, at_index, at_time, evenly
from lettabox.studio.frames import Beyond, Busy, Frames, Unreadable
from lettabox.studio.picture import Picture, Shape
from PIL import Image, ImageChops

from tests import clips

CACHE = 64 * 1024 * 1024
# 60 frames each.
KINDS = {
    "one key frame": {},
    "b-frames": {"bframes": 8},
    "no b-frames": {"bframes": 0},
    "many key frames": {"gop": 7},
    "sound": {"audio": True},
    "vp9": {"codec": "libvpx-vp9", "gop": 20},
    "variable": {"times": [0, 10, 500, 520, 530, 900, *range(1000, 1378, 7)], "bframes": 3},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    names = {kind: kind.replace(" ", "-") + (".webm" if kind == "vp9" else ".mp4") for kind in KINDS}
    return {kind: clips.make(folder / names[kind], frames=60, **options) for kind, options in KINDS.items()}


@pytest.fixture
def run() -> Iterator[Callable[..., object]]:
    """A function that runs work(frames) in an event loop of its own, and closes the frames."""

    def running(work: Callable[[Frames], Awaitable], **options: int) -> object:
        async def main() -> object:
            frames = Frames(**{"cache": CACHE, "decoders": 2} | options)
            try:
                return await work(frames)
            finally:
                frames.close()

        gc.collect()  # what other tests left to be closed
        before = len(os.listdir("/proc/self/fd"))
        result = asyncio.run(main())
        assert len(os.listdir("/proc/self/fd")) <= before, "files were left open"
        return result

    return running


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many frames each pass through a file made, in the order of their ends."""
    counted: list[int] = []
    make = one_pass.make

    def counting(file: Path, wishes: list, index: object, check: Callable, *told: Callable) -> object:
        counted.append(len(wishes))
        return make(file, wishes, index, check, *told)

    monkeypatch.setattr(one_pass, "make", counting)
    return counted


def image(picture: Picture) -> Image.Image:
    return Image.open(io.BytesIO(picture.data))


def number(picture: Picture) -> int:
    return clips.number_of(image(picture))


# --- the right frame ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_by_its_number_alone_and_together(made: dict[str, Path], kind: str, run: Callable) -> None:
    async def work(frames: Frames) -> None:
        for index in (0, 1, 2, 3, 29, 30, 57, 58, 59):
            (one,) = await frames.frames(made[kind], [at_index(index)])
            assert (one.index, number(one)) == (index, index)
        wants = [at_index(index) for index in (40, 3, 59, 4, 20, 3)]
        assert [number(one) for one in await frames.frames(made[kind], wants, Shape(width=96))] == [40, 3, 59, 4, 20, 3]

    run(work, cache=1)  # nothing is kept


@pytest.mark.parametrize("off", [-5.0, -0.5, 0.4, 1.0])
def test_a_seek_that_ends_elsewhere(made: dict[str, Path], off: float) -> None:
    """The tables of a file may promise what its data does not keep."""

    class Astray:
        def __init__(self, opened: av.container.InputContainer) -> None:
            self.demux, self._opened, self.seeks = opened.demux, opened, 0

        def seek(self, place: int, stream: object) -> None:
            self.seeks += 1
            assert self.seeks < 30
            self._opened.seek(max(0, place + round(off / stream.time_base)) if place else 0, stream=stream)

    with source.container(made["many key frames"]) as opened:
        stream = source.picture_stream(opened)
        index = frame_index.read(opened, stream, lambda: None)
        for wanted in ([30], [3, 30, 31, 58]):
            found = decode.frames(Astray(opened), stream, index, wanted, lambda: None)
            assert [(one, shown, clips.number_of(frame.to_image())) for one, shown, frame in found] == [
                (number, number, number) for number in wanted
            ]


@pytest.mark.parametrize("kind", KINDS)
def test_first_middle_last_and_even_ones(made: dict[str, Path], kind: str, run: Callable) -> None:
    async def work(frames: Frames) -> list[Picture]:
        for wants, expected in (([FIRST], [0]), ([LAST], [59]), ([MIDDLE], [30]), (evenly(4), [0, 20, 39, 59])):
            found = await frames.frames(made[kind], wants)
            assert [number(one) for one in found] == [one.index for one in found] == expected
        return await frames.frames(made[kind], [FIRST, LAST])

    first, last = run(work)
    assert first.time == 0.0
    assert last.time == pytest.approx(
        KINDS[kind].get("times", [1000 / 24 * n for n in range(60)])[-1] / 1000, abs=0.001
    )


def test_at_a_time_it_is_the_frame_that_a_player_shows(made: dict[str, Path], run: Callable) -> None:
    async def work(frames: Frames) -> None:
        for kind, seconds, expected in (
            ("b-frames", 0.0, 0), ("b-frames", 0.04, 0), ("b-frames", 0.04167, 1), ("b-frames", 1.0, 24),
            ("b-frames", 2.4999, 59), ("b-frames", 2.5, 59), ("vp9", 1.0, 24),
            ("variable", 0.0095, 1), ("variable", 0.4, 1), ("variable", 0.51, 2), ("variable", 0.898, 4),
            ("variable", 0.95, 5),
        ):  # fmt: skip
            (one,) = await frames.frames(made[kind], [at_time(seconds)])
            assert number(one) == one.index == expected, (kind, seconds)
            # What was reported names the same frame again.
            (same,) = await frames.frames(made[kind], [at_time(round(one.time, 3))])
            assert same == one

    run(work)


def test_the_sound_may_be_longer_than_the_pictures(tmp_path: Path, run: Callable) -> None:
    path = clips.make(tmp_path / "sound.mp4", frames=25, audio=True)  # 1.042 s, and the sound a bit more
    (one,) = run(lambda frames: frames.frames(path, [at_time(1.055)]))
    assert number(one) == 24


@pytest.mark.parametrize("want", [at_time(2.6), at_time(1e12), at_index(60), at_index(10**12)])
def test_beyond_the_end_is_told(made: dict[str, Path], want: At, run: Callable) -> None:
    async def work(frames: Frames) -> None:
        for wants in ([want], [FIRST, want]):
            with pytest.raises(Beyond, match=r"60 frames .* in 2\.500 s") as raised:
                await frames.frames(made["one key frame"], wants)
            assert (raised.value.duration, raised.value.frames) == (2.5, 60)

    run(work)


@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), -0.1])
def test_what_is_no_time_or_number_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="no time"):
        at_time(wrong)
    with pytest.raises(ValueError, match="no number"):
        at_index(-1)
    for count in (0, 65):
        with pytest.raises(ValueError, match="cannot be asked for"):
            evenly(count)


def test_a_video_of_one_frame(tmp_path: Path, run: Callable) -> None:
    path = clips.make(tmp_path / "one.mp4", frames=1)

    async def work(frames: Frames) -> None:
        for want in (FIRST, MIDDLE, LAST, at_time(0.03), *evenly(3)):
            assert [(one.index, number(one)) for one in await frames.frames(path, [want])] == [(0, 0)]

    run(work)


def cut(path: Path, source: Path, frames: int) -> Path:
    """Without the first frames, as cutting without encoding anew does it: they are in the file and are not shown."""
    with av.open(str(source)) as whole, av.open(str(path), "w") as file:
        stream = file.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.dts is not None:
                ticks = round(frames / 24 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - ticks, packet.dts - ticks, stream
                file.mux(packet)
    return path


def test_edit_lists_hide_what_a_player_does_not_show(tmp_path: Path, made: dict[str, Path], run: Callable) -> None:
    path = cut(tmp_path / "cut.mp4", made["b-frames"], 12)
    with av.open(str(path)) as file:
        assert sum(packet.size > 0 for packet in file.demux(video=0)) == 60

    async def work(frames: Frames) -> None:
        found = await frames.frames(path, [FIRST, MIDDLE, LAST, at_time(0.0), at_time(0.5), at_index(1)])
        assert [number(one) for one in found] == [12, 36, 59, 12, 24, 13]
        assert [one.index for one in found] == [0, 24, 47, 0, 12, 1]
        (first,) = await frames.frames(path, [FIRST], Shape(width=96))
        assert (number(first), first.time) == (12, found[0].time)

    run(work)


@pytest.mark.parametrize(("rotation", "how"), [(90, "ROTATE_90"), (180, "ROTATE_180"), (270, "ROTATE_270")])
def test_turned_as_a_player_turns_it(tmp_path: Path, rotation: int, how: str, run: Callable) -> None:
    """ffmpeg, which was asked once, turns it this way, too: a rotation of 90 degrees is against the clock."""
    path = clips.make(tmp_path / "turned.mp4", frames=2, rotation=rotation)
    (one,) = run(lambda frames: frames.frames(path, [at_index(1)], Shape("png")))
    with av.open(str(path)) as file:
        stored = list(file.decode(video=0))[1].to_image()
    expected = stored.transpose(Image.Transpose[how])
    assert (one.width, one.height) == expected.size
    assert ImageChops.difference(expected, image(one).convert("RGB")).getbbox() is None


# --- as images ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("format_", ["jpeg", "webp", "png"])
def test_formats_and_widths(made: dict[str, Path], format_: str, run: Callable) -> None:
    async def work(frames: Frames) -> None:
        for width, size in ((None, (192, 128)), (96, (96, 64)), (4096, (192, 128)), (17, (17, 11))):
            (one,) = await frames.frames(made["vp9"], [at_index(5)], Shape(format_, width))
            assert image(one).format == format_.upper() and image(one).size == size == (one.width, one.height)
            assert one.media_type == f"image/{format_}"

    run(work)


def test_quality_counts(made: dict[str, Path], run: Callable) -> None:
    async def work(frames: Frames) -> None:
        sizes = [len((await frames.frames(made["vp9"], [FIRST], Shape(quality=q)))[0].data) for q in (10, 50, 90, 100)]
        assert sizes == sorted(sizes) and sizes[0] < sizes[-1] / 2

    run(work)
    for wrong in ({"format": "gif"}, {"width": 1}, {"width": 10**9}, {"quality": 0}, {"quality": 101}):
        with pytest.raises(ValueError, match="is no"):
            Shape(**wrong)


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_a_sheet_has_all_of_them_row_by_row(made: dict[str, Path], count: int, run: Callable) -> None:
    async def work(frames: Frames) -> object:
        sheet = await frames.sheet(made["b-frames"], evenly(count), Shape(width=768))
        assert await frames.sheet(made["b-frames"], evenly(count), Shape(width=768)) is sheet
        return sheet

    sheet = run(work)
    columns, rows = {1: (1, 1), 2: (2, 1), 5: (3, 2), 16: (4, 4)}[count]
    whole = Image.open(io.BytesIO(sheet.data))
    width, height = whole.width // columns, whole.height // rows
    assert whole.size == (sheet.width, sheet.height) and len(sheet.shown) == count
    for place, (index, _) in enumerate(sheet.shown):
        x, y = place % columns * width, place // columns * height
        assert clips.number_of(whole.crop((x, y, x + width, y + height))) == index
        # The label: white on black, at the bottom on the left.
        label = whole.crop((x, y + height - 12, x + 30, y + height)).convert("L").getextrema()
        assert label[0] < 60 and label[1] > 180


# --- what cannot be read -----------------------------------------------------------------------------------


def test_files_that_are_no_videos(tmp_path: Path, run: Callable) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name, content in {"empty": b"", "text": b"#EXTM3U\n/etc/passwd", "rubbish": os.urandom(9999)}.items():
        (tmp_path / f"{name}.mp4").write_bytes(content)

    async def work(frames: Frames) -> None:
        for path in tmp_path.iterdir():
            for wants in ([FIRST], [LAST], evenly(4)):
                with pytest.raises(Unreadable):
                    await frames.frames(path, wants)
                with pytest.raises(Unreadable):
                    await frames.sheet(path, wants)
        with pytest.raises(FileNotFoundError):
            await frames.frames(tmp_path / "none.mp4", [FIRST])

    run(work)


def test_a_damaged_video_gives_what_can_be_had_and_raises_nothing_else(
    made: dict[str, Path], tmp_path: Path, run: Callable
) -> None:
    content = made["b-frames"].read_bytes()

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=300), st.integers(1, len(content)))
    def damage(places: list[int], length: int) -> None:
        damaged = bytearray(content)
        for place in places:
            damaged[place] ^= 0xA5
        path = tmp_path / "damaged.mp4"
        path.write_bytes(damaged[:length])

        async def work(frames: Frames) -> None:
            for wants in ([FIRST], [LAST, MIDDLE, at_time(1.0)], [at_index(17)]):
                try:
                    for one in await frames.frames(path, wants):
                        image(one).load()
                except (Beyond, Unreadable):
                    pass

        run(work)

    damage()


def test_a_file_that_changes_gives_its_new_frames(made: dict[str, Path], tmp_path: Path, run: Callable) -> None:
    path = tmp_path / "a.mp4"

    async def work(frames: Frames) -> None:
        shutil.copyfile(made["vp9"], path)
        before = await frames.frames(path, [at_index(30)])
        shutil.copyfile(clips.make(tmp_path / "other.mp4", frames=31, width=128, height=64), path)
        after = await frames.frames(path, [at_index(30)])
        assert image(before[0]).size == (192, 128) and image(after[0]).size == (128, 64)

    run(work)


# --- once, and bounded -------------------------------------------------------------------------------------


def test_what_was_decoded_is_kept(made: dict[str, Path], passes: list[int], run: Callable) -> None:
    async def work(frames: Frames) -> None:
        first = await frames.frames(made["sound"], evenly(4))
        assert passes == [4]
        assert await frames.frames(made["sound"], evenly(4)) == first
        # Another name for one of them.
        assert await frames.frames(made["sound"], [at_index(20), LAST, at_time(first[1].time)]) == [
            first[1], first[3], first[1],
        ]  # fmt: skip
        assert passes == [4]
        assert frames.figures()["hits"] == 7

    run(work)


def test_the_same_frame_for_fifty_clients_is_decoded_once(
    made: dict[str, Path], passes: list[int], run: Callable
) -> None:
    async def work(frames: Frames) -> None:
        found = await asyncio.gather(*(frames.frames(made["sound"], [at_index(33)]) for _ in range(50)))
        assert len({id(one[0]) for one in found}) == 1
        assert passes == [1]

    run(work)


def test_the_cache_is_bounded_in_bytes(made: dict[str, Path], run: Callable) -> None:
    async def work(frames: Frames) -> None:
        for n in range(60):
            await frames.frames(made["many key frames"], [at_index(n)])
            figures = frames.figures()
            assert figures["cache_bytes"] <= 50_000
        assert 3 < figures["cache_entries"] < 50

    run(work, cache=50_000)


def test_a_clip_that_is_looked_at_often_is_decoded_whole(
    made: dict[str, Path], passes: list[int], run: Callable
) -> None:
    async def work(frames: Frames) -> None:
        for n in (50, 40, 30):
            await frames.frames(made["one key frame"], [at_index(n)])
        async with asyncio.timeout(30):
            while not frames.figures()["whole_clips"]:
                await asyncio.sleep(0.005)
        assert passes == [1, 1, 1, 57]
        for n in range(60):
            (one,) = await frames.frames(made["one key frame"], [at_index(n)])
            assert number(one) == n
        assert len(passes) == 4

    run(work)


def test_a_clip_too_large_for_the_cache_is_not_decoded_whole(
    made: dict[str, Path], passes: list[int], run: Callable
) -> None:
    async def work(frames: Frames) -> None:
        for n in (50, 40, 30, 20, 10):
            await frames.frames(made["one key frame"], [at_index(n)])
        assert passes == [1] * 5

    run(work, cache=100_000)


class Gate:
    """Holds every pass at its beginning, until it is opened."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.open, self.now, self.most, self.ended = threading.Event(), 0, 0, []
        lock, make = threading.Lock(), one_pass.make

        def held(file: Path, wishes: list, index: object, check: Callable, *told: Callable) -> object:
            with lock:
                self.now += 1
                self.most = max(self.most, self.now)
            try:
                while not self.open.wait(0.002):
                    check()
                return make(file, wishes, index, check, *told)
            except BaseException as error:
                self.ended.append(type(error).__name__)
                raise
            finally:
                with lock:
                    self.now -= 1

        monkeypatch.setattr(one_pass, "make", held)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


@pytest.mark.parametrize("decoders", [1, 2, 3])
def test_never_more_at_once_than_decoders(
    made: dict[str, Path], decoders: int, run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def work(frames: Frames) -> None:
        asked = [asyncio.create_task(frames.frames(path, [LAST])) for path in made.values()]
        await until(lambda: gate.now == decoders)
        await asyncio.sleep(0.05)
        gate.open.set()
        assert [number(one) for (one,) in await asyncio.gather(*asked)] == [59] * len(made)
        assert gate.most == decoders

    run(work, decoders=decoders)


def test_who_leaves_gives_the_place_back(made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, (one, other, third) = Gate(monkeypatch), list(made.values())[:3]

    async def work(frames: Frames) -> None:
        going = [asyncio.create_task(frames.frames(one, [at_index(n)])) for n in (5, 5)]
        waiting = asyncio.create_task(frames.frames(other, [LAST]))
        unborn = asyncio.create_task(frames.frames(third, [LAST]))
        await until(lambda: gate.now == 1 and frames.figures()["waiting"] == 4)
        unborn.cancel()
        going[0].cancel()
        await asyncio.sleep(0.02)
        assert not gate.ended  # somebody else wants it
        going[1].cancel()
        await until(lambda: gate.ended == ["Stopped"])
        gate.open.set()
        assert number((await waiting)[0]) == 59
        # And the one that was left can be had.
        assert number((await frames.frames(one, [at_index(5)]))[0]) == 5
        await until(lambda: frames.figures()["waiting"] == frames.figures()["decoding"] == 0)

    run(work, decoders=1)


def test_who_comes_while_a_pass_is_being_stopped_gets_the_frame(
    made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, path = Gate(monkeypatch), made["sound"]

    async def work(frames: Frames) -> None:
        going = asyncio.create_task(frames.frames(path, [at_index(5)]))
        await until(lambda: gate.now == 1)
        going.cancel()
        again = asyncio.create_task(frames.frames(path, [at_index(5)]))
        gate.open.set()
        assert number((await again)[0]) == 5

    run(work, decoders=1)


def test_who_joins_a_pass_that_nobody_else_waits_for_gets_the_frame(
    made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told to stop, and takes in another wish before it looks at that."""
    make, going, passes = one_pass.make, threading.Event(), []

    def stubborn(file: Path, wishes: list, index: object, check: Callable, more: Callable, *told: Callable) -> None:
        passes.append(wishes)
        if len(passes) == 1:
            assert going.wait(30)
            assert more() == [(at_index(6), Shape())]
            check()
        make(file, wishes, index, check, more, *told)

    monkeypatch.setattr(one_pass, "make", stubborn)

    async def work(frames: Frames) -> None:
        first = asyncio.create_task(frames.frames(made["sound"], [at_index(5)]))
        await until(lambda: len(passes) == 1)
        first.cancel()
        second = asyncio.create_task(frames.frames(made["sound"], [at_index(6)]))
        await until(lambda: frames.figures()["waiting"] == 1 and first.done())
        going.set()
        assert number((await second)[0]) == 6
        assert len(passes) == 2

    run(work)


def test_what_is_wanted_of_one_clip_is_made_in_one_pass(
    made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that came until it began to decode."""
    gate = Gate(monkeypatch)

    async def work(frames: Frames) -> None:
        asked = [asyncio.create_task(frames.frames(made["sound"], [at_index(n)])) for n in range(1, 41)]
        beyond = asyncio.create_task(frames.frames(made["sound"], [at_index(99)]))
        await until(lambda: frames.figures()["waiting"] == 41)
        gate.open.set()
        found = await asyncio.gather(*asked)
        assert [number(one) for (one,) in found] == list(range(1, 41))
        with pytest.raises(Beyond):
            await beyond
        assert frames.figures()["passes"] == 1

    run(work)


def test_too_many_are_refused_at_once(made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, path = Gate(monkeypatch), made["sound"]

    async def work(frames: Frames) -> None:
        asked = [asyncio.create_task(frames.frames(path, [at_index(n)])) for n in range(8)]
        await until(lambda: frames.figures()["waiting"] == 8)
        with pytest.raises(Busy, match="8 others"):
            await frames.frames(path, [at_index(9)])
        gate.open.set()
        await asyncio.gather(*asked)
        assert number((await frames.frames(path, [at_index(9)]))[0]) == 9
        assert frames.figures()["refused"] == 1

    run(work, waiting=8)


def test_nobody_waits_longer_than_the_limit(
    made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(monkeypatch)

    async def work(frames: Frames) -> None:
        with pytest.raises(Busy, match="not there within"):
            await frames.frames(made["sound"], [LAST])
        await until(lambda: gate.ended == ["Stopped"])

    run(work, limit=0.05)


def test_the_end_of_the_service_ends_all(made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    Gate(monkeypatch)

    async def work(frames: Frames) -> None:
        asked = [asyncio.create_task(frames.frames(path, [LAST])) for path in made.values()]
        await until(lambda: frames.figures()["waiting"] == len(made))
        frames.close()
        for one in asked:
            with pytest.raises(Busy, match="stopped"):
                await one
        with pytest.raises(Busy, match="stopped"):
            await frames.frames(made["sound"], [LAST])

    run(work)


def test_the_end_of_the_service_ends_whole_clips(
    made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One is being decoded whole, and others wait for that."""
    monkeypatch.setattr(frames_module, "PASSES", 1)
    make, begun = one_pass.make, threading.Event()

    def slow(file: Path, wishes: list, index: object, check: Callable, *told: Callable) -> None:
        while len(wishes) > 1:  # a whole clip
            begun.set()
            check()
        make(file, wishes, index, check, *told)

    monkeypatch.setattr(one_pass, "make", slow)

    async def work(frames: Frames) -> None:
        for path in list(made.values())[:3]:
            await frames.frames(path, [LAST])
        await until(begun.is_set)
        frames.close()

    run(work)


def test_whole_clips_wait_for_what_somebody_waits_for(
    made: dict[str, Path], run: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While all decoders are busy, decoding a clip whole stands still."""
    monkeypatch.setattr(frames_module, "PASSES", 1)
    behind, given, start, held = [], [], threading.Event(), threading.Event()
    make = one_pass.make

    def watched(file: Path, wishes: list, index: object, check: Callable, *told: Callable) -> None:
        def giving(*what: object) -> None:
            given.append(what)
            told[-1](*what)

        if len(wishes) > 1:  # a whole clip
            behind.append(len(wishes))
            assert start.wait(30)
            make(file, wishes, index, check, *told[:-1], giving)
            return
        if wishes[0][0] == LAST:
            assert held.wait(30)
        make(file, wishes, index, check, *told)

    monkeypatch.setattr(one_pass, "make", watched)

    async def work(frames: Frames) -> None:
        await frames.frames(made["one key frame"], [at_index(30)])
        await until(lambda: behind == [59])
        busy = asyncio.create_task(frames.frames(made["vp9"], [LAST]))
        await until(lambda: frames.figures()["decoding"] == 1)
        start.set()
        await asyncio.sleep(0.1)
        assert given == []
        held.set()
        await busy
        await until(lambda: frames.figures()["whole_clips"] >= 1)
        assert len(given) >= 59

    run(work, decoders=1)
