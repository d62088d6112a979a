"""The render simulator beyond the recordings: its videos, its faults, its websocket, its flags."""

import asyncio
import io
import itertools
import json
import subprocess
import sys
import time

import aiohttp
import av
import pytest
from av.error import InvalidDataError
from PIL import ImageChops

from inventory.comfyui import PROFILES
from tests import graphs
from tests.lab import simulators
from tests.unit.simulator_process import MAIN, Simulator, empty_clip, free_port, wait_for

HOUR = 3600.0
UNFINISHED = 48  # bytes, as recorded


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("simulator")) as simulator:
        yield simulator


@pytest.fixture
def simulator(process):
    process.switch(render_seconds=0, fault="none")
    return process


def frames(file) -> list:
    with av.open(str(file)) as container:
        return [one.to_image() for one in container.decode(video=0)]


def two_stages(prompt: str, seed: int, width: int, height: int, length: int) -> dict:
    """A graph in the shape of the official templates, with sound."""
    graph = graphs.two_stages() | {
        "92:48": graphs.node("LTXVAudioVAELoader", ckpt_name=graphs.CHECKPOINT),
        "92:51": graphs.node(
            "LTXVEmptyLatentAudio", frames_number=("92:62", 0), frame_rate=24, batch_size=1, audio_vae=("92:48", 0)
        ),
        "92:101": graphs.node("LTXVAudioVAEDecode", samples=("92:51", 0), audio_vae=("92:48", 0)),
    }
    graph["92:97"]["inputs"]["audio"] = ["92:101", 0]
    graph["92:3"]["inputs"]["text"] = prompt
    graph["92:11"]["inputs"]["noise_seed"] = seed
    graph["92:89"]["inputs"] |= {"width": width, "height": height}
    graph["92:62"]["inputs"]["value"] = length
    return graph


def test_it_says_what_it_is(simulator):
    stats = simulator.call("GET", "/system_stats").json
    assert stats["system"]["deploy_environment"] == "lettabox simulator"
    assert stats["system"]["argv"][1:3] == ["--port", str(simulator.port)]
    (device,) = stats["devices"]
    assert (device["name"], device["type"], device["index"]) == ("lettabox render simulator", "cuda", 0)
    assert 0 < device["vram_free"] <= device["vram_total"]
    assert "nothing here is rendered with a model" in simulator.log.read_text()


def test_a_clip_is_what_its_graph_asks_for(simulator):
    graph = empty_clip(width=320, height=192, batch_size=12, color=0xFF0000)
    graph["2"]["inputs"]["fps"] = 12.5
    file = simulator.rendered(graph)
    with av.open(str(file)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames) == (320, 192, 12)
        assert (float(stream.average_rate), float(stream.duration * stream.time_base)) == (12.5, 12 / 12.5)
        assert json.loads(container.metadata["prompt"]) == graph
    shown = frames(file)
    red, green, blue = shown[5].getpixel((310, 180))
    assert red > 200
    assert max(green, blue) < 60
    # Each frame has its number.
    assert all(ImageChops.difference(one, other).getbbox() for one, other in itertools.pairwise(shown))


def test_a_graph_of_two_stages_renders_its_prompt(simulator):
    for folder, file in graphs.MODELS:
        (simulator.base / "models" / folder / file).touch()
    one, other, reseeded = (
        simulator.rendered(two_stages(prompt, seed, 256, 256, 17))
        for prompt, seed in (("a red kite", 1), ("a blue whale", 1), ("a red kite", 2))
    )
    with av.open(str(one)) as container:
        video = container.streams.video[0]
        assert (video.width, video.height, video.frames, float(video.average_rate)) == (256, 256, 17, 24)
        # Its sound is silence.
        assert [stream.codec_context.name for stream in container.streams.audio] == ["aac"]
    pictures = [frames(file)[8] for file in (one, other, reseeded)]
    assert len({picture.getpixel((250, 250)) for picture in pictures}) == 3


def test_the_nodes_that_did_not_change_are_not_run_again(simulator):
    for folder, file in graphs.MODELS:
        (simulator.base / "models" / folder / file).touch()
    first = simulator.submit(two_stages("a", 1, 128, 128, 9))
    simulator.finished(first)
    entry = simulator.finished(simulator.submit(two_stages("a", 2, 128, 128, 9)))
    cached = dict(entry["status"]["messages"])["execution_cached"]["nodes"]
    assert {"92:1", "92:60", "92:3", "92:22"} <= set(cached)
    assert not {"92:11", "92:41", "75"} & set(cached)


def test_prefixes_and_numbers(simulator):
    year = time.strftime("%Y")
    names = [simulator.rendered(empty_clip("a/%year%/%width%x%height%", color=one)) for one in (1, 2)]
    there = simulator.base / "output/a" / year
    assert names == [there / "64x64_00001_.mp4", there / "64x64_00002_.mp4"]
    # The editor's own placeholder is not the server's.
    file = simulator.rendered(empty_clip("%date:yyyy%/x"))
    assert file.parent.name == "%date:yyyy%"
    assert simulator.rendered(empty_clip("top")).parent == simulator.base / "output"


def test_a_name_is_there_before_its_video(simulator):
    simulator.switch(fault="partial")
    prompt_id = simulator.submit(empty_clip("early/clip"))
    file = simulator.base / "output/early/clip_00001_.mp4"
    wait_for(lambda: file.exists() and file.stat().st_size, "the name")
    assert file.stat().st_size == UNFINISHED
    with pytest.raises(InvalidDataError):
        av.open(str(file))
    # An encoder that never ends hears of no interrupt.
    assert simulator.call("POST", f"/api/jobs/{prompt_id}/cancel").json == {"cancelled": True}
    assert simulator.job(prompt_id)["status"] == "in_progress"
    assert simulator.end() == 0
    assert file.stat().st_size == UNFINISHED
    # Nothing of the queue and the history is known after a start.
    simulator.start()
    assert simulator.call("GET", f"/api/jobs/{prompt_id}").status == 404
    assert simulator.call("GET", "/history").json == {}
    assert simulator.call("GET", "/prompt").json == {"exec_info": {"queue_remaining": 0}}
    assert simulator.call("GET", "/simulator").json["fault"] == "none"
    second = simulator.rendered(empty_clip("early/clip"))
    assert (second.name, len(frames(second))) == ("clip_00002_.mp4", 8)


def test_a_render_takes_its_time_and_can_be_interrupted(simulator):
    simulator.switch(render_seconds=HOUR)
    prompt_id = simulator.submit(empty_clip("slow"))
    simulator.running(prompt_id)
    assert simulator.call("POST", f"/api/jobs/{prompt_id}/cancel").json == {"cancelled": True}
    messages = simulator.finished(prompt_id)["status"]["messages"]
    assert messages[-1][0] == "execution_interrupted"
    assert simulator.call("POST", f"/api/jobs/{prompt_id}/cancel").json == {"cancelled": False}
    simulator.switch(render_seconds=0.4)
    started = time.monotonic()
    simulator.rendered(empty_clip("slow"))
    assert time.monotonic() - started >= 0.4


def test_a_hung_render_hears_nothing(simulator):
    simulator.switch(fault="hang")
    prompt_id = simulator.submit(empty_clip("hung"))
    simulator.running(prompt_id)
    simulator.switch(fault="none")
    assert simulator.call("POST", f"/api/jobs/{prompt_id}/cancel").json == {"cancelled": True}
    behind = simulator.submit(empty_clip("behind"))
    assert simulator.job(prompt_id)["status"] == "in_progress"
    assert simulator.job(behind)["status"] == "pending"
    assert simulator.end() == 0
    simulator.start()


def failure(simulator: Simulator, color: int) -> str:
    """How a clip fails: the exception's type, or nothing."""
    entry = simulator.finished(simulator.submit(empty_clip("fails", color=color)))
    return dict(entry["status"]["messages"]).get("execution_error", {}).get("exception_type", "")


def test_a_cuda_error_poisons_the_process(simulator):
    simulator.switch(fault="cuda")
    assert failure(simulator, 1) == "torch.AcceleratorError"
    simulator.switch(fault="none")
    simulator.call("POST", "/free", {"unload_models": True, "free_memory": True})
    assert failure(simulator, 2) == "torch.AcceleratorError"
    assert simulator.call("GET", "/simulator").json["poisoned"] is True
    assert simulator.end() == 0
    simulator.start()
    assert failure(simulator, 3) == ""


def test_memory_that_is_full_until_it_is_freed(simulator):
    simulator.switch(fault="oom")
    assert [failure(simulator, color) for color in (11, 12)] == ["torch.OutOfMemoryError"] * 2
    assert simulator.call("POST", "/free", {"unload_models": True}).status == 200
    assert failure(simulator, 13) == ""


def test_a_crash_ends_the_process(simulator):
    simulator.switch(fault="crash")
    simulator.submit(empty_clip("crashes"))
    assert simulator.process.wait(30) != 0
    simulator.start()


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"fault": "fire"}, "fault is 'fire'; it is one of none, hang, cuda, oom, crash, partial"),
        ({"fault": ["none"]}, "fault is ['none']"),
        ({"render_seconds": -1}, "render_seconds is -1; it is a number from 0"),
        ({"render_seconds": True}, "render_seconds is True"),
        ({"render_seconds": 1, "speed": 2}, 'send {"render_seconds": number, "fault": name}'),
        ({"render_seconds": 1, "fault": "fire"}, "fault is 'fire'"),
        ([], 'send {"render_seconds"'),
        ("{", "Expecting property name"),
    ],
)
def test_switches_that_are_refused_change_nothing(simulator, wanted, said):
    answer = simulator.call("PUT", "/simulator", wanted)
    assert answer.status == 400
    assert said in answer.json["error"]
    state = {"render_seconds": 0.0, "fault": "none", "poisoned": False}
    assert simulator.call("GET", "/simulator").json == state


def test_switches_from_the_environment(tmp_path):
    said = {"LETTABOX_SIMULATOR_RENDER_SECONDS": "7.5", "LETTABOX_SIMULATOR_FAULT": "oom"}
    with Simulator(tmp_path, **said) as simulator:
        state = {"render_seconds": 7.5, "fault": "oom", "poisoned": False}
        assert simulator.call("GET", "/simulator").json == state


def test_view(simulator):
    file = simulator.rendered(empty_clip("video/seen", color=5))
    whole = simulator.call("GET", f"/view?filename={file.name}&subfolder=video&type=output")
    assert (whole.status, whole.body) == (200, file.read_bytes())
    assert whole.headers["Content-Type"] == "video/mp4"
    assert whole.headers["X-Content-Type-Options"] == "nosniff"
    assert {"Etag", "Last-Modified", "Accept-Ranges"} <= set(whole.headers)
    part = simulator.call("GET", f"/view?filename={file.name}&subfolder=video", Range="bytes=4-7")
    assert (part.status, part.body) == (206, b"ftyp")
    beyond = simulator.call("GET", f"/api/view?filename={file.name}&subfolder=video", Range="bytes=99999999-")
    assert beyond.status == 416


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("filename=../comfyui.db", 400),
        ("filename=/etc/passwd", 400),
        ("filename=x.mp4&type=nope", 400),
        ("filename=", 400),
        ("filename=passwd&subfolder=../../../etc", 403),
        ("filename=none.mp4", 404),
        ("filename=here.txt&subfolder=folder", 200),
        ("filename=folder/here.txt", 404),
        ("filename=in.txt&type=input", 200),
        ("filename=here.txt&subfolder=folder&preview=webp", 500),
        ("", 404),
    ],
)
def test_what_view_refuses(simulator, query, status):
    (simulator.base / "output/folder").mkdir(exist_ok=True)
    (simulator.base / "output/folder/here.txt").touch()
    (simulator.base / "input/in.txt").touch()
    assert simulator.call("GET", f"/view?{query}").status == status


def test_other_sites_are_refused(simulator):
    here = f"http://127.0.0.1:{simulator.port}"
    assert simulator.call("GET", "/queue", Origin="http://elsewhere.example").status == 403
    assert simulator.call("GET", "/queue", Sec_Fetch_Site="cross-site").status == 403
    assert simulator.call("GET", "/queue", Origin=here).status == 200
    # As in ComfyUI, though not for the better.
    assert simulator.call("GET", "/queue", Origin="null").status == 200


async def events(simulator: Simulator) -> tuple[list, list]:
    """What the websockets of a sender and of another client get while the sender's job runs."""
    address = f"ws://127.0.0.1:{simulator.port}/ws?clientId="
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{address}sender") as mine,
        session.ws_connect(f"{address}other") as other,
    ):
        seen = [await mine.receive_json(timeout=30)]
        await asyncio.to_thread(simulator.submit, empty_clip("told", color=6), client_id="sender")
        while seen[-1]["type"] != "executing" or seen[-1]["data"]["node"] is not None:
            seen.append(await mine.receive_json(timeout=30))
        others = []
        while not others or others[-1]["data"]["status"]["exec_info"]["queue_remaining"] or len(others) < 4:
            others.append(await other.receive_json(timeout=30))
    return seen, others


def test_the_websocket_tells_the_sender_and_nobody_else(simulator):
    simulator.call("POST", "/history", {"clear": True})
    seen, others = asyncio.run(events(simulator))
    assert seen[0]["data"] == {"status": {"exec_info": {"queue_remaining": 0}}, "sid": "sender"}
    kinds = [one["type"] for one in seen if one["type"] not in ("status", "progress_state")]
    nodes = ["executing"] * 3
    assert kinds == ["execution_start", "execution_cached", *nodes, "executed", "execution_success", "executing"]
    executing = [one["data"]["node"] for one in seen if one["type"] == "executing"]
    assert executing == ["1", "2", "3", None]
    (executed,) = (one["data"] for one in seen if one["type"] == "executed")
    (prompt_id,) = simulator.call("GET", "/history").json
    assert executed == {
        "node": "3",
        "display_node": "3",
        "output": {"images": [{"filename": "told_00001_.mp4", "subfolder": "", "type": "output"}], "animated": [True]},
        "prompt_id": prompt_id,
    }
    (*_, progress) = (one["data"]["nodes"] for one in seen if one["type"] == "progress_state")
    assert list(progress) == ["1", "2", "3"]
    assert {(one["value"], one["max"], one["state"]) for one in progress.values()} == {(1, 1, "finished")}
    assert {one["type"] for one in others} == {"status"}


def start(base, *flags: str) -> subprocess.CompletedProcess:
    words = [sys.executable, str(MAIN), "--base-directory", str(base), *flags]
    return subprocess.run(words, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("profile", PROFILES)
def test_the_flags_of_a_deploy_are_taken(tmp_path, profile):
    flags = ["--listen", "127.0.0.1", "--port", "1", "--disable-auto-launch", "--disable-api-nodes"]
    custom = ["--novram", "--disable-all-custom-nodes", "--whitelist-custom-nodes", "one", "two"]
    more = custom if profile == "custom" else PROFILES[profile]
    done = start(tmp_path, *flags, *more, "--quick-test-for-ci")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "user/comfyui.db").exists()


def test_flags_that_comfyui_does_not_have(tmp_path):
    done = start(tmp_path, "--fast-as-light")
    assert done.returncode == 2
    assert "unrecognized arguments: --fast-as-light" in done.stderr
    done = start(tmp_path, "--cpu", "--novram")
    assert done.returncode == 2
    assert "not allowed with argument" in done.stderr


def test_a_port_that_is_taken(simulator, tmp_path):
    done = start(tmp_path, "--port", str(simulator.port))
    assert done.returncode == 1
    assert f"Port {simulator.port} is already in use on address 127.0.0.1" in done.stdout


def test_a_wrong_switch_in_the_environment_keeps_it_from_starting(tmp_path, monkeypatch):
    monkeypatch.setenv("LETTABOX_SIMULATOR_FAULT", "fire")
    done = start(tmp_path, "--port", str(free_port()))
    assert done.returncode == 1
    assert "fault is 'fire'; it is one of" in done.stdout


def test_what_is_published_starts(tmp_path):
    """Every file of the repository that a deploy clones, and nothing but these."""
    for name, text in simulators.source_files().items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    words = [sys.executable, "main.py", "--quick-test-for-ci"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"ComfyUI {simulators.FIRST}'s API" in done.stdout


@pytest.mark.parametrize(
    ("change", "kind", "node"),
    [
        ({"2": {"images": ["circle", 0]}}, "exception_during_validation", "3"),
        ({"2": {"images": ["9", 0]}}, "exception_during_validation", "3"),
        ({"2": {"images": ["1"]}}, "bad_linked_input", "2"),
        ({"3": {"video": ["1", 0]}}, "return_type_mismatch", "3"),
        ({"1": {"width": 99999}}, "value_bigger_than_max", "1"),
        ({"1": {"width": "wide"}}, "invalid_input_type", "1"),
    ],
)
def test_graphs_that_cannot_run(simulator, change, kind, node):
    scaled = {"image": ["circle", 0], "upscale_method": "area", "scale_by": 1.0}
    graph = empty_clip() | {"circle": {"class_type": "ImageScaleBy", "inputs": scaled}}
    for name, inputs in change.items():
        graph[name]["inputs"] |= inputs
    answer = simulator.call("POST", "/prompt", {"prompt": graph})
    assert answer.status == 400
    assert [one["type"] for one in answer.json["node_errors"][node]["errors"]] == [kind]


def test_inputs_that_a_node_does_not_have_are_ignored(simulator):
    graph = empty_clip("ignored")
    graph["1"]["inputs"]["shine"] = 1
    assert simulator.rendered(graph).exists()


def test_a_video_that_cannot_be_encoded_fails_its_job(simulator):
    entry = simulator.finished(simulator.submit(empty_clip("odd", width=65)))
    assert entry["status"]["status_str"] == "error"
    assert dict(entry["status"]["messages"])["execution_error"]["node_type"] == "SaveVideo"


def test_no_tags_without_metadata(tmp_path):
    with Simulator(tmp_path, "--disable-metadata") as simulator:
        file = simulator.rendered(empty_clip())
        with av.open(io.BytesIO(file.read_bytes())) as container:
            assert "prompt" not in container.metadata
