"""The library of one output folder: what it lists, what it refuses, and how often it looks into a file."""

import gc
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from lettabox.studio import library as library_module
from lettabox.studio.library import Library
from lettabox.studio.probe import probe

from tests import clips, graphs

LONG_AGO = 1_700_000_000.0


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(tmp_path_factory.mktemp("clip") / "a.mp4", frames=5, prompt=graphs.two_stages())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "output").mkdir()
    return tmp_path / "output"


@pytest.fixture
def put(clip: Path, folder: Path) -> Callable[..., Path]:
    """A function that puts a whole video into the folder, some seconds old."""

    def putting(below: str, age: float = 100.0) -> Path:
        path = folder / below
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(clip, path)
        os.utime(path, (LONG_AGO - age, LONG_AGO - age))
        return path

    return putting


@pytest.fixture
def probes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is probed, in that order: the names behind the descriptors."""
    seen: list[str] = []

    def counted(path: Path, **options: object) -> object:
        seen.append(Path(os.readlink(path)).name)
        return probe(path, **options)

    monkeypatch.setattr(library_module, "probe", counted)
    return seen


def names(library: Library) -> list[str]:
    return [video.path.removeprefix("gpu1/") for video in library.videos()]


# --- what is listed ----------------------------------------------------------------------------------------


def test_a_missing_and_an_empty_folder_have_no_videos(folder: Path) -> None:
    assert list(Library("gpu1", folder).videos()) == []
    assert list(Library("gpu1", folder / "none").videos()) == []


def test_newest_first_with_what_is_in_them(folder: Path, put: Callable[..., Path], clip: Path) -> None:
    put("video/2026-10/old.mp4", age=300)
    put("new.mp4", age=1)
    put("video/2026-11/middle.mp4", age=200)
    found = Library("gpu1", folder).videos()
    assert [one.path for one in found] == [
        "gpu1/new.mp4",
        "gpu1/video/2026-11/middle.mp4",
        "gpu1/video/2026-10/old.mp4",
    ]
    first = found[0]
    assert (first.name, first.box, first.size) == ("new.mp4", "gpu1", clip.stat().st_size)
    assert first.time == LONG_AGO - 1 and first.mtime_ns == int((LONG_AGO - 1) * 1e9)
    assert (first.ready, first.problem, first.frames, first.fps, first.width) == (True, "", 5, 24.0, 192)
    assert (first.prompt, first.seed, first.audio) == ("a lighthouse at night", 10, False)


def test_odd_names(folder: Path, put: Callable[..., Path]) -> None:
    odd = [
        "a b.mp4",
        "ä/é 日本.mp4",
        "new\nline.mp4",
        "100%25.mp4",
        "#?&=.mp4",
        "'\"<script>.mp4",
        "x" * 251 + ".mp4",
        "A.MP4",
    ]
    for name in odd:
        put(name)
    library = Library("gpu1", folder)
    assert sorted(names(library)) == sorted(odd)
    for name in odd:
        assert library.resolve(name) == folder / name


def test_what_is_no_video_is_not_listed(folder: Path, put: Callable[..., Path], tmp_path: Path) -> None:
    for name in (".hidden.mp4", ".folder/a.mp4", "a.mp4.part", "a.png", "a", "mp4"):
        put(name)
    put("real.mp4")
    os.rename(put("bytes.mp4"), os.fsencode(folder) + b"/\xff\xfe.mp4")
    os.mkfifo(folder / "pipe.mp4")
    (folder / "folder.mp4").mkdir()
    outside = put("../outside/secret.mp4")
    (folder / "link.mp4").symlink_to(outside)
    (folder / "inner.mp4").symlink_to(folder / "real.mp4")
    (folder / "linked").symlink_to(outside.parent)
    (folder / "loop").symlink_to(folder)
    library = Library("gpu1", folder)
    assert names(library) == ["real.mp4"]
    for below in (
        ".hidden.mp4", ".folder/a.mp4", "a.mp4.part", "a.png", "a", "pipe.mp4", "folder.mp4", "link.mp4", "inner.mp4",
        "linked/secret.mp4", "loop/real.mp4", "none.mp4", "none/real.mp4", "real.mp4/real.mp4",
        "../outside/secret.mp4", "linked/../real.mp4", "./real.mp4", "/real.mp4", "//real.mp4", "real.mp4/", "",
        str(outside), "real.mp4\0", "x" * 300 + ".mp4", "/".join(["x"] * 3000) + ".mp4", "\udcff\udcfe.mp4",
    ):  # fmt: skip
        with pytest.raises(LookupError):
            library.resolve(below)
        with pytest.raises(LookupError), library.opened(below):
            pass
    assert library.resolve("real.mp4") == folder / "real.mp4"


def test_the_folder_itself_may_be_a_link(folder: Path, put: Callable[..., Path], tmp_path: Path) -> None:
    put("a.mp4")
    (tmp_path / "link").symlink_to(folder)
    library = Library("gpu1", tmp_path / "link")
    assert names(library) == ["a.mp4"]
    assert library.resolve("a.mp4").is_file()


def test_an_opened_file_stays_that_file(folder: Path, put: Callable[..., Path]) -> None:
    path, secret = put("video/a.mp4"), put("../outside/a.mp4")
    secret.write_text("secret")
    gc.collect()  # what other tests left to be closed
    before = len(os.listdir("/proc/self/fd"))
    with Library("gpu1", folder).opened("video/a.mp4") as opened:
        path.parent.rename(folder / "away")
        (folder / "video").symlink_to(secret.parent)
        assert opened.read_bytes() == (folder / "away/a.mp4").read_bytes()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_nothing_leads_out_while_the_folder_changes_all_the_time(folder: Path, put: Callable[..., Path]) -> None:
    """A folder and a link out of it take turns under one name; what is opened is never the file outside."""
    put("real/a.mp4")
    outside = put("../outside/a.mp4")
    outside.write_bytes(b"secret")
    (folder / "link").symlink_to(outside.parent)
    library, stop, seen = Library("gpu1", folder), threading.Event(), 0

    def turns() -> None:
        while not stop.is_set():
            for other in ("link", "real"):
                os.rename(folder / other, folder / "name")
                os.rename(folder / "name", folder / other)

    thread = threading.Thread(target=turns)
    thread.start()
    try:
        until = time.monotonic() + 1
        while time.monotonic() < until:
            try:
                with library.opened("name/a.mp4") as opened:
                    seen += 1
                    assert opened.read_bytes() != b"secret"
            except LookupError:
                pass
    finally:
        stop.set()
        thread.join()
    assert seen


# --- how often files are looked into -----------------------------------------------------------------------


def test_only_new_and_changed_files_are_probed(folder: Path, put: Callable[..., Path], probes: list[str]) -> None:
    put("a.mp4", 10), put("b.mp4", 20)
    library = Library("gpu1", folder)
    first = library.videos()
    assert probes == ["a.mp4", "b.mp4"]
    assert library.videos() is first and len(probes) == 2
    put("c.mp4", 30)
    second = library.videos()
    assert probes[2:] == ["c.mp4"]
    assert second[0] is first[0] and second[1] is first[1]
    os.utime(folder / "b.mp4", (LONG_AGO, LONG_AGO))
    assert [one.name for one in library.videos()] == ["b.mp4", "a.mp4", "c.mp4"]
    assert probes[3:] == ["b.mp4"]
    (folder / "a.mp4").unlink()
    assert names(library) == ["b.mp4", "c.mp4"] and len(probes) == 4


def test_what_was_found_survives_a_restart(folder: Path, put: Callable[..., Path], probes: list[str]) -> None:
    store = folder.parent / "store.sqlite"
    put("a.mp4", 10), put("b c/ü\n.mp4", 20)
    (folder / "bad.mp4").write_bytes(b"bad")
    os.utime(folder / "bad.mp4", (LONG_AGO, LONG_AGO))
    library = Library("gpu1", folder, store)
    before = library.videos()
    library.close()
    assert len(probes) == 3
    again = Library("gpu1", folder, store)
    assert again.videos() == before and len(probes) == 3
    (folder / "a.mp4").unlink()
    again.videos()
    again.close()
    rows = sqlite3.connect(store).execute("select path from probes order by path").fetchall()
    assert rows == [("b c/ü\n.mp4".encode(),), (b"bad.mp4",)]


@pytest.mark.parametrize("content", [b"", b"no database at all" * 500, "other version", "other table", "cut"])
def test_an_unreadable_store_is_made_anew(
    folder: Path, put: Callable[..., Path], probes: list[str], content: bytes | str
) -> None:
    store = folder.parent / "store.sqlite"
    put("a.mp4")
    if isinstance(content, bytes):
        store.write_bytes(content)
    else:
        Library("gpu1", folder, store).videos()
        with sqlite3.connect(store) as database:
            if content == "other version":
                database.execute("pragma user_version = 999")
            elif content == "other table":
                database.execute("update probes set found = '{\"unheard\": 1}'")
        if content == "cut":
            database.execute("pragma wal_checkpoint(truncate)")
            database.close()
            store.write_bytes(store.read_bytes()[:5000])
        probes.clear()
    library = Library("gpu1", folder, store)
    assert library.videos()[0].ready and probes == ["a.mp4"]
    library.close()
    Library("gpu1", folder, store).videos()
    assert probes == ["a.mp4"]


def test_without_a_place_for_the_store_it_goes_on(folder: Path, put: Callable[..., Path]) -> None:
    put("a.mp4")
    library = Library("gpu1", folder, folder / "none" / "store.sqlite")
    assert library.videos()[0].ready
    library.close()


def test_many_callers_at_once_probe_each_file_once(folder: Path, put: Callable[..., Path], probes: list[str]) -> None:
    for number in range(12):
        put(f"{number}.mp4")
    library, lists = Library("gpu1", folder), []
    threads = [threading.Thread(target=lambda: lists.append(library.videos())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(probes) == sorted(f"{number}.mp4" for number in range(12))
    assert len(lists) == 16 and all(all(one.ready for one in found) and len(found) == 12 for found in lists)


def test_a_caller_who_cannot_wait_gets_what_is_known(
    folder: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("old.mp4", 20), put("new.mp4", 10)
    going, started = threading.Event(), threading.Semaphore(0)

    def slow(path: Path, **options: object) -> object:
        started.release()
        assert going.wait(30)
        return probe(path, **options)

    library = Library("gpu1", folder)
    monkeypatch.setattr(library_module, "probe", slow)
    patient = [threading.Thread(target=library.videos) for _ in range(2)]
    for one in patient:
        one.start()
        assert started.acquire(timeout=30)
    found = library.videos(wait=0.05)
    assert [(one.name, one.ready) for one in found] == [("new.mp4", False), ("old.mp4", False)]
    assert "not been looked at yet" in found[0].problem
    going.set()
    for one in patient:
        one.join()
    assert all(one.ready for one in library.videos(wait=0.05))


# --- files that are being written --------------------------------------------------------------------------


def test_a_growing_file_is_ready_once_it_is_whole(folder: Path, clip: Path) -> None:
    content, path, library = clip.read_bytes(), folder / "a.mp4", Library("gpu1", folder)
    for length in (0, 48, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        found = library.videos()[0]
        assert not found.ready and found.problem and found.size == length
    path.write_bytes(content)
    assert library.videos()[0].ready


def test_a_file_that_becomes_whole_without_a_new_size_or_time(folder: Path, clip: Path) -> None:
    """The last that a writer does is to fill in numbers at the front, maybe within the same tick of the clock."""
    content, path, library = clip.read_bytes(), folder / "a.mp4", Library("gpu1", folder)
    path.write_bytes(content[:40] + b"\0" * (len(content) - 40))
    status = path.stat()
    assert not library.videos()[0].ready
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert library.videos()[0].ready


def test_what_cannot_be_probed_hides_nothing_else(
    folder: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.mp4", 10), put("b.mp4", 20)

    def failing(path: Path, **options: object) -> object:
        if os.readlink(path).endswith("a.mp4"):
            raise RuntimeError("something new")
        return probe(path, **options)

    library = Library("gpu1", folder)
    monkeypatch.setattr(library_module, "probe", failing)
    assert [one.ready for one in library.videos()] == [False, True]
    monkeypatch.setattr(library_module, "probe", probe)
    assert [one.ready for one in library.videos()] == [True, True]


def test_a_folder_below_that_cannot_be_read_hides_nothing_else(
    folder: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    put("a.mp4"), put("closed/b.mp4")
    scandir = os.scandir

    def refusing(number: int) -> object:
        if os.readlink(f"/proc/self/fd/{number}").endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(number)

    monkeypatch.setattr(os, "scandir", refusing)  # root may read everything
    assert names(Library("gpu1", folder)) == ["a.mp4"]
    folder.rename(folder.parent / "output-closed")
    with pytest.raises(PermissionError):
        Library("gpu1", folder.parent / "output-closed").videos()


# --- how often folders are read ----------------------------------------------------------------------------


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are read, in that order."""
    seen: list[str] = []
    scandir = os.scandir

    def counted(number: int) -> object:
        seen.append(Path(os.readlink(f"/proc/self/fd/{number}")).name)
        return scandir(number)

    monkeypatch.setattr(os, "scandir", counted)
    return seen


def age(*folders: Path) -> None:
    for one in folders:
        os.utime(one, (LONG_AGO, LONG_AGO))


def test_folders_are_read_again_when_something_came_or_went(
    folder: Path, put: Callable[..., Path], reads: list[str]
) -> None:
    put("a/a.mp4", 10), put("b/b.mp4", 20)
    age(folder, folder / "a", folder / "b")
    library = Library("gpu1", folder)
    assert names(library) == ["a/a.mp4", "b/b.mp4"]
    assert sorted(reads) == ["a", "b", "output"]
    reads.clear()
    assert names(library) == ["a/a.mp4", "b/b.mp4"] and reads == []
    put("b/new.mp4", 5)
    assert names(library) == ["b/new.mp4", "a/a.mp4", "b/b.mp4"] and reads == ["b"]
    # It was written to so short a time ago that it may be again without a new time.
    assert names(library) and reads == ["b", "b"]
    age(folder / "b")
    library.videos()
    reads.clear()
    (folder / "a/a.mp4").rename(folder / "b/a.mp4")
    assert sorted(names(library)) == ["b/a.mp4", "b/b.mp4", "b/new.mp4"] and sorted(reads) == ["a", "b"]
    shutil.rmtree(folder / "b")
    assert names(library) == []
    # Another folder under the same name, with the same time.
    put("a/c.mp4")
    (folder / "a").rename(folder / "b")
    put("a/d.mp4")
    age(folder, folder / "a", folder / "b")
    assert sorted(names(library)) == ["a/d.mp4", "b/c.mp4"]
    (folder / "a").rename(folder / "c"), (folder / "b").rename(folder / "a"), (folder / "c").rename(folder / "b")
    age(folder)
    assert sorted(names(library)) == ["a/c.mp4", "b/d.mp4"]


def test_a_file_that_is_written_to_in_a_quiet_folder(
    folder: Path, put: Callable[..., Path], clip: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    """No name in its folder changes; one that is not ready is looked at each time, others after a while."""
    put("whole.mp4", 10)
    growing = put("growing.mp4", 20)
    content = clip.read_bytes()
    growing.write_bytes(content[:100])
    age(folder)
    library = Library("gpu1", folder)
    assert {one.name: one.ready for one in library.videos()} == {"growing.mp4": False, "whole.mp4": True}
    for length, ready in ((200, False), (len(content), True)):
        growing.write_bytes(content[:length])
        found = {one.name: one for one in library.videos()}
        assert (found["growing.mp4"].size, found["growing.mp4"].ready) == (length, ready)
    assert [one.name for one in library.videos()] == ["growing.mp4", "whole.mp4"]
    assert len(reads) == 1
    with (folder / "whole.mp4").open("r+b") as file:
        file.truncate(300)
    later = time.time_ns() + 20_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    assert {one.name: one.ready for one in library.videos()} == {"growing.mp4": True, "whole.mp4": False}


def test_callers_who_wait_for_a_walk_share_the_next_one(
    folder: Path, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the one under way: it may have passed what they want to see."""
    put("a.mp4")
    library, looks, going, arrived = Library("gpu1", folder), [], threading.Event(), threading.Semaphore(0)
    look, lock = library._walk.look, library._walking

    def slow(restless: set[str]) -> list:
        looks.append(1)
        assert going.wait(30)
        return look(restless)

    class Door:
        def __enter__(self) -> None:
            arrived.release()
            lock.acquire()

        def __exit__(self, *_: object) -> None:
            lock.release()

    monkeypatch.setattr(library._walk, "look", slow)
    monkeypatch.setattr(library, "_walking", Door())
    threads = [threading.Thread(target=library.videos) for _ in range(8)]
    for thread in threads:
        thread.start()
        assert arrived.acquire(timeout=30)
    going.set()
    for thread in threads:
        thread.join()
    assert len(looks) == 2
