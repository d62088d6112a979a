"""What is a whole video and what is none: cut off, zeroed, flipped, odd and hostile files."""

import json
import os
import resource
import struct
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lettabox.studio.made_by import made_by
from lettabox.studio.probe import probe

from tests import clips, graphs

SOME = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
EMPTY_48 = struct.pack(">I4s4sI16s", 32, b"ftyp", b"isom", 512, b"isomiso2avc1mp41") + b"\0\0\0\x08free\0\0\0\0mdat"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    graph = graphs.two_stages()
    return {
        "first": clips.make(folder / "first.mp4", audio=True, prompt=graph),
        "last": clips.make(folder / "last.mp4", first=False, prompt=graph),
        "webm": clips.make(folder / "clip.webm", codec="libvpx-vp9", audio=True, prompt=graph),
        "hevc": clips.make(folder / "hevc.mp4", codec="libx265", frames=60),
    }


@pytest.mark.parametrize("name", ["first", "last", "webm"])
def test_a_whole_video_tells_what_is_in_it(made: dict[str, Path], name: str) -> None:
    found = probe(made[name])
    assert (found.ready, found.problem) == (True, "")
    assert (found.width, found.height, found.frames, found.fps) == (192, 128, 25, 24.0)
    assert found.duration == pytest.approx(25 / 24, abs=0.03)
    assert found.audio is (name != "last")
    assert (found.prompt, found.seed) == ("a lighthouse at night", 10)
    assert probe(made[name], whole=True) == found


def test_one_picture_and_a_turned_picture_and_other_containers(tmp_path: Path, made: dict[str, Path]) -> None:
    one = probe(clips.make(tmp_path / "one.MP4", frames=1))
    assert (one.ready, one.frames) == (True, 1)
    turned = probe(clips.make(tmp_path / "turned.mp4", rotation=90))
    assert (turned.ready, turned.width, turned.height) == (True, 128, 192)
    assert probe(clips.make(tmp_path / "old.mov", frames=3)).ready
    assert probe(made["hevc"]).ready


def test_what_comfyui_leaves_when_it_is_killed_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert len(EMPTY_48) == 48
    for content in (b"", EMPTY_48, b"\0" * 4096, b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", os.urandom(5000)):
        path.write_bytes(content)
        found = probe(path)
        assert not found.ready and found.problem, content[:20]
        assert not probe(path.rename(tmp_path / "a.webm")).ready
        path = (tmp_path / "a.webm").rename(path)


@pytest.mark.parametrize("name", ["first", "last", "webm"])
def test_cut_off_anywhere_is_not_ready(made: dict[str, Path], name: str, tmp_path: Path) -> None:
    content = made[name].read_bytes()

    @SOME
    @given(st.integers(0, len(content) - 1))
    def cut(length: int) -> None:
        path = tmp_path / made[name].name
        path.write_bytes(content[:length])
        found = probe(path)
        assert not found.ready and found.problem

    cut()


@pytest.mark.parametrize("name", ["first", "last", "hevc"])
def test_a_lost_block_anywhere_is_not_ready(made: dict[str, Path], name: str, tmp_path: Path) -> None:
    """As after a crash: the file has its length and a block of it is zeros. Only in ComfyUI's note nobody sees it."""
    content, block = made[name].read_bytes(), 1024
    data, tables = content.index(b"mdat") + 4, content.index(b"moov")
    places = st.integers(data, (tables if tables > data else len(content)) - block)
    if name != "hevc":  # its encoder puts a note of its own into the tables
        places |= st.integers(tables, content.index(b"udta") - 4)

    @SOME
    @given(places)
    def lose(start: int) -> None:
        path = tmp_path / "a.mp4"
        path.write_bytes(content[:start] + b"\0" * block + content[start + block :])
        assert not probe(path).ready

    lose()


def test_flipped_bits_raise_nothing_and_a_whole_look_finds_them(made: dict[str, Path], tmp_path: Path) -> None:
    content, path = made["last"].read_bytes(), tmp_path / "a.mp4"
    seen = []

    @SOME
    @given(st.lists(st.integers(0, len(content) * 8 - 1), min_size=1, max_size=200), st.booleans())
    def flip(bits: list[int], whole: bool) -> None:
        flipped = bytearray(content)
        for bit in bits:
            flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found = probe(path, whole)
        assert found.ready == (not found.problem)
        seen.append(found.ready)

    flip()
    assert not all(seen)
    # Within late pictures, so that their form stays right: a player shows rubbish, and only decoding tells.
    detailed = clips.make(tmp_path / "detailed.mp4", detail=0.5)
    with av.open(str(detailed)) as file:
        late = [packet.pos for packet in file.demux(video=0) if packet.size][-8:]
    flipped = bytearray(detailed.read_bytes())
    for place in (start + byte for start in late for byte in range(20, 40)):
        flipped[place] |= 0x11
    path.write_bytes(flipped)
    assert probe(path).ready and not probe(path, whole=True).ready


def test_a_few_bytes_that_declare_much_take_no_memory(made: dict[str, Path], tmp_path: Path) -> None:
    """Tables that declare thousands of millions of samples, pictures of a huge size, packed tables, fragments."""
    content, path = made["last"].read_bytes(), tmp_path / "a.mp4"
    place = content.index(b"stsz") + 8
    cases = {
        "samples": content[:place] + struct.pack(">II", 1, 150_000_000) + content[place + 8 :],
        "packed": content.replace(b"mvhd", b"cmov"),
        "fragments": content + struct.pack(">I4s", 8, b"moof"),
        "heads": content + struct.pack(">I4s", 8, b"free") * 20_000,
    }
    times = content.index(b"stts") + 8
    cases["times"] = content[:times] + struct.pack(">II", 1, 150_000_000) + content[times + 8 :]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name, hostile in cases.items():
        path.write_bytes(hostile)
        assert not probe(path).ready, name
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_pipe_a_folder_and_another_suffix_are_no_videos(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    for path in tmp_path.iterdir():
        assert not probe(path).ready, path
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "none.mp4")


# --- prompt and seed ---------------------------------------------------------------------------------------


def test_prompt_and_seed_of_what_people_have() -> None:
    graph = graphs.enhanced()
    assert made_by({"prompt": json.dumps(graph)}) == ("a lighthouse at night", 10)
    assert made_by({"comment": json.dumps({"prompt": json.dumps(graph), "workflow": {}})})[1] == 10
    # Two outputs: it is not clear which one this is, but they have the prompt in common.
    two = graph | {"76": graphs.node("SaveVideo", video=("92:97", 0))}
    assert made_by({"PROMPT": json.dumps(two)}) == ("a lighthouse at night", 10)


def test_a_workflow_of_thousands_of_nodes_is_not_searched() -> None:
    many = {f"x{number}": graphs.node("PrimitiveInt", value=number) for number in range(2_000)}
    assert made_by({"prompt": json.dumps(graphs.two_stages() | many)}) == (None, None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a lighthouse",
        "[]",
        "{}",
        "[" * 100_000,
        '{"1": {}}',
        '{"1": {"class_type": 1, "inputs": {}}}',
        '{"1": {"class_type": "SaveVideo", "inputs": []}}',
        '{"1": {"class_type": "SaveVideo", "inputs": {"video": ["1", 0]}}}',
        '{"1": {"class_type": "SaveVideo", "inputs": {"video": ["2", 9]}}, "2": {"class_type": "X", "inputs": {}}}',
    ],
)
def test_a_tag_that_is_no_workflow_says_nothing(text: str) -> None:
    assert made_by({"prompt": text}) == (None, None)
    assert made_by({"comment": text}) == (None, None)


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["1", "2", "3"]),
        st.fixed_dictionaries(
            {
                "class_type": st.sampled_from(
                    ["SaveVideo", "RandomNoise", "CLIPTextEncode", "ComfySwitchNode", "KSampler"]
                ),
                "inputs": st.dictionaries(
                    st.sampled_from(
                        ["positive", "text", "noise_seed", "seed", "switch", "on_true", "latent_image", "noise"]
                    ),
                    st.one_of(
                        st.none(),
                        st.booleans(),
                        st.integers(),
                        st.text(),
                        st.tuples(st.sampled_from("1239"), st.integers(-1, 2)),
                    ),
                ),
            }
        ),
    )
)
def test_no_workflow_makes_it_fail(graph: dict) -> None:
    prompt, seed = made_by({"prompt": json.dumps(graph)})
    assert prompt is None or isinstance(prompt, str)
    assert seed is None or isinstance(seed, int)
