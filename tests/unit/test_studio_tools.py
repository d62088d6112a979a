"""The agents' tools against the studio's real service; and against services that are away, slow or odd."""

import inspect
import json
import re
import socket
import threading
import time
from dataclasses import replace
from typing import Optional

import pytest
from lettabox import studio_tool_source
from lettabox.studio.job import COMPLETED, FAILED, QUEUED, RUNNING

from operations.studio_tools import _differences
from tests import clips
from tests.unit.studio_service import TOKEN, MemoryJobs, Service, folder

AGENT = "agent-00000000-0000-4000-8000-000000000001"


def function(name):
    """A tool, made of the source that Letta gets."""
    scope = {"Optional": Optional, "List": list}
    exec(compile(studio_tool_source.source(name), name, "exec"), scope)
    return scope[name]


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clips.make(tmp_path_factory.mktemp("clips") / "fox.mp4", width=320, height=192, frames=49)


@pytest.fixture
def service(tmp_path, clip, monkeypatch):
    boxes = folder(tmp_path / "output")
    (tmp_path / "output" / "video").mkdir()
    (tmp_path / "output" / "video" / "fox.mp4").hardlink_to(clip)
    with Service(boxes, MemoryJobs()) as running:
        monkeypatch.setenv("LETTABOX_STUDIO_URL", running.url)
        monkeypatch.setenv("LETTABOX_STUDIO_TOKEN", TOKEN)
        monkeypatch.setenv("LETTA_AGENT_ID", AGENT)
        yield running


def call(tool, *arguments, **named):
    """What a tool returns; compact JSON, or a sentence."""
    said = function(tool)(*arguments, **named)
    assert isinstance(said, str) and len(said) < 20_000
    if not said.startswith("{"):
        assert said.endswith(".") and "Traceback" not in said and TOKEN not in said
        return said
    found = json.loads(said)
    assert said == json.dumps(found, ensure_ascii=False, separators=(",", ":")), "compact"
    return found


@pytest.mark.parametrize("name", studio_tool_source.NAMES)
def test_letta_can_make_a_schema_of_it(name):
    """The tool comes last, and there is no function in a function; what a model gives is text."""
    tool = function(name)
    last = studio_tool_source.source(name).rsplit("\ndef ", 1)[1]
    assert last.startswith(f"{name}(")
    assert studio_tool_source.source(name).count("def ") == 2
    for parameter in inspect.signature(tool).parameters.values():
        assert parameter.annotation in (str, str | None)
        assert f"        {parameter.name} (" in tool.__doc__, "a model is told what it is"
    assert "Returns:" in tool.__doc__


def test_their_parameters_are_those_that_users_of_the_recipe_know():
    known = {name: list(inspect.signature(function(name)).parameters) for name in studio_tool_source.NAMES}
    assert known == {
        "submit_video": ["prompt", "seed", "width", "height", "frames", "tags"],
        "check_video_status": ["job_id"],
        "get_recent_videos": ["limit"],
        "get_frame": ["video", "at"],
    }


def test_submits_what_is_wanted(service):
    size = {"width": "512.0", "height": 256, "frames": "97"}
    said = call("submit_video", "A fox 🦊\nin the snow", seed="7", tags="fox, night", **size)
    (job,) = service.jobs.made.values()
    assert said == {"job_id": job.id, "state": "queued", "position": 1}
    assert (job.prompt, job.seed, job.width, job.height, job.frames) == ("A fox 🦊\nin the snow", 7, 512, 256, 97)
    assert job.tags == ("fox", "night")


@pytest.mark.parametrize("nothing", [None, "", "null", "None", []])
def test_what_a_model_leaves_out_is_left_out(service, nothing):
    call("submit_video", "A fox", seed=nothing if nothing != [] else None, tags=nothing)
    (job,) = service.jobs.made.values()
    assert job.seed is None and job.tags == ()
    assert len(call("get_recent_videos", nothing)["videos"]) == 1
    assert call("get_frame", "one/video/fox.mp4", nothing if nothing != [] else None)["frame"] == 24


def test_a_list_of_tags_is_understood_too(service):
    call("submit_video", "A fox", tags=["series-1", "fox"])
    assert [job.tags for job in service.jobs.made.values()] == [("series-1", "fox")]


def test_the_same_request_is_not_made_twice_while_it_waits_or_renders(service, monkeypatch):
    first = call("submit_video", "A fox")["job_id"]
    assert call("submit_video", "A fox", seed=None, tags="")["job_id"] == first
    service.jobs.made[first] = replace(service.jobs.made[first], state=RUNNING, created=time.time() - 300)
    again = call("submit_video", "A fox")
    assert again["job_id"] == first and "before" in again["note"]
    other = [call("submit_video", "A fox", seed=str(seed))["job_id"] for seed in range(3)]
    assert len({first, *other}) == 4
    monkeypatch.setenv("LETTA_AGENT_ID", "agent-00000000-0000-4000-8000-000000000002")
    assert call("submit_video", "A fox")["job_id"] not in (first, *other)


@pytest.mark.parametrize("state", [COMPLETED, FAILED, "cancelled"])
def test_once_it_has_ended_the_same_request_is_a_new_wish(service, state):
    jobs = []
    for _ in range(4):
        jobs.append(call("submit_video", "A fox")["job_id"])
        assert call("submit_video", "A fox")["job_id"] == jobs[-1]
        service.jobs.made[jobs[-1]] = replace(service.jobs.made[jobs[-1]], state=state)
    assert len(set(jobs)) == 4 == len(service.jobs.made)


@pytest.mark.parametrize(
    ("named", "what"),
    [
        ({"width": "500"}, "width: 500"),
        ({"frames": "100"}, "8k+1"),
        ({"seed": "-1"}, "seed"),
        ({"tags": "Not-lower"}, "tags"),
        ({"seed": "seven"}, "whole number"),
        ({"seed": "__import__('os')"}, "whole number"),
        ({"seed": "9" * 30}, "whole number"),
    ],
)
def test_says_what_is_wrong_with_a_request(service, named, what):
    said = call("submit_video", "A fox", **named)
    assert said.startswith("Not submitted.") and what in said
    assert not service.jobs.made


def test_says_that_a_prompt_is_missing_or_too_long(service):
    assert "blank" in call("submit_video", "  ")
    assert "10000" in call("submit_video", "x" * 10_001)


def test_tells_how_far_a_job_is(service):
    id = call("submit_video", "A fox", tags="fox")["job_id"]
    waiting = {"job_id": id, "state": QUEUED, "prompt": "A fox", "position": 1, "tags": ["fox"]}
    assert call("check_video_status", f" {id} ") == waiting

    def now(**told):
        service.jobs.made[id] = replace(service.jobs.made[id], position=None, **told)
        return call("check_video_status", id)

    running = now(state=RUNNING, started=time.time() - 30, expected=90.0, box="one", seed_used=3)
    assert 29 <= running["running_for_s"] <= 40 and running["usually_takes_s"] == 90
    assert (running["box"], running["seed"]) == ("one", 3)
    assert now(state=FAILED, error="out of memory")["error"] == "out of memory"
    assert now(state=COMPLETED, video="one/video/fox.mp4")["video"] == "one/video/fox.mp4"


@pytest.mark.parametrize("id", ["", "no-job", "00000000-0000-4000-8000-000000000000", "../jobs", "\ud800", "a b\n"])
def test_says_that_there_is_no_such_job(service, id):
    assert call("check_video_status", id).startswith("Its status is not known. The studio refused this")


def test_lists_recent_videos(service):
    job = service.jobs.completed("one/video/fox.mp4", prompt="A fox " * 2000, seed_used=5)
    (service.config.boxes["one"].folder / "half.mp4").write_bytes(b"no video yet")
    half, fox = call("get_recent_videos")["videos"]
    assert half["video"] == "one/half.mp4" and half["not_ready"]
    assert fox.pop("prompt") == ("A fox " * 50)
    assert fox.pop("time").endswith("Z")
    wanted = {"video": "one/video/fox.mp4", "seed": 5, "seconds": 2.04, "size": "320x192", "tags": ["fox"]}
    assert fox == wanted | {"job_id": job.id}
    assert len(call("get_recent_videos", "1")["videos"]) == 1
    assert len(call("get_recent_videos", "many")["videos"]) == 2


@pytest.mark.parametrize(("at", "number"), [("first", 0), ("middle", 24), ("last", 48), ("1.5", 36), ("0.5 s", 12)])
def test_tells_of_a_frame(service, at, number):
    job = service.jobs.completed("one/video/fox.mp4")
    for video in ("one/video/fox.mp4", "/videos/one/video/fox.mp4", job.id):
        frame = call("get_frame", video, at)
        assert frame["frame"] == number and frame["seconds"] == pytest.approx(number / 24, abs=0.001)
        assert frame["video"] == "one/video/fox.mp4"
        assert 5 < frame["brightness_percent"] < 95 and frame["contrast_percent"] > 5
        assert len(frame["colours"]) > 1 and all(len(colour) == 7 for colour in frame["colours"])
    picture = service.get(frame["picture"].removeprefix(service.url))
    assert picture.status == 200 and picture.headers["Content-Type"] == "image/jpeg"


def test_sees_that_a_frame_is_black(service, monkeypatch):
    monkeypatch.setattr(clips, "pictures", lambda width, height, count, _: black(width, height, count))
    clips.make(service.config.boxes["one"].folder / "black.mp4", frames=9)
    assert call("get_frame", "one/black.mp4")["looks"] == "black"


def black(width, height, count):
    for _ in range(count):
        yield clips.Image.new("RGB", (width, height))


@pytest.mark.parametrize(
    ("video", "at", "what"),
    [
        ("one/video/none.mp4", "middle", "refused"),
        ("one/../../etc/passwd", "middle", "refused"),
        ("one/video/fox.mp4", "99", "refused"),
        ("one/video/fox.mp4", "soon", "seconds"),
        ("one/video/fox.mp4", "-1", "seconds"),
        ("\ud800", "first", "refused"),
        ("00000000-0000-4000-8000-000000000000", "first", "refused"),
    ],
)
def test_says_why_there_is_no_frame(service, video, at, what):
    said = call("get_frame", video, at)
    assert said.startswith("There is no frame") and what in said


def test_says_that_a_job_has_no_video_yet(service):
    id = call("submit_video", "A fox")["job_id"]
    assert "is queued" in call("get_frame", id)


def test_a_deploy_sets_what_differs_and_leaves_tools_of_others():
    sources = studio_tool_source.digests()
    good = {name: {"ours": True, "source": digest} for name, digest in sources.items()}
    now = {"tools": good, "url": "http://172.22.0.1:8189", "token": True}
    assert _differences(now, sources, now["url"]) == ([], [])
    assert _differences({"tools": {}, "url": None, "token": False}, sources, now["url"])[0] == [
        *(f"tool {name}" for name in sources), "the studio's address", "the studio's token"
    ]  # fmt: skip
    old = now | {"tools": good | {"get_frame": {"ours": True, "source": "older"}}}
    assert _differences(old, sources, now["url"]) == (["tool get_frame"], [])
    foreign = now | {"tools": good | {"get_frame": {"ours": False, "source": "theirs"}}, "token": False}
    assert _differences(foreign, sources, "http://10.0.0.1:8189") == (
        ["the studio's address", "the studio's token"], ["get_frame"]
    )  # fmt: skip


# --- a studio that is away, slow or odd ---------------------------------------------------------------------


@pytest.fixture
def hurried(monkeypatch):
    """Pauses that take no time."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


ALL = [
    ("submit_video", "A fox"),
    ("check_video_status", "00000000-0000-4000-8000-000000000000"),
    ("get_recent_videos", "5"),
    ("get_frame", "one/video/fox.mp4"),
]


@pytest.mark.parametrize(("tool", "argument"), ALL)
def test_says_that_there_is_no_studio(tool, argument, monkeypatch, hurried):
    monkeypatch.delenv("LETTABOX_STUDIO_URL", raising=False)
    assert "knows no studio" in call(tool, argument)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("LETTABOX_STUDIO_URL", f"http://127.0.0.1:{port}")
    assert "does not answer" in call(tool, argument)


def test_says_that_the_token_is_wrong(service, monkeypatch):
    monkeypatch.setenv("LETTABOX_STUDIO_TOKEN", "an older one")
    for tool, argument in ALL:
        assert "make studio-tools" in call(tool, argument)
    monkeypatch.delenv("LETTABOX_STUDIO_TOKEN")
    assert "make studio-tools" in call("submit_video", "A fox")


def test_says_that_the_database_is_away(service, hurried):
    service.jobs.away = True
    said = call("submit_video", "A fox")
    assert "is not well" in said and "again with the same arguments" in said


def message(connection):
    """A request or an answer, whole."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(65536)
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(re.search(rb"(?i)content-length: *([0-9]+)", head)[1])
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def test_an_answer_that_was_lost_is_asked_for_again(service, hurried, monkeypatch):
    """The studio takes the job, and the connection breaks before it says so."""
    through = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("LETTABOX_STUDIO_URL", f"http://127.0.0.1:{through.getsockname()[1]}")

    def cut_off():
        for number in range(2):
            client, _ = through.accept()
            with client, service.connected() as studio:
                studio.sendall(message(client))
                said = message(studio)
                if number == 1:
                    client.sendall(said)

    thread = threading.Thread(target=cut_off)
    thread.start()
    assert call("submit_video", "A fox")["state"] == "queued"
    thread.join(10)
    through.close()
    assert len(service.jobs.made) == 1


ODD = [
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 4\r\n\r\n<p/>",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4\r\n\r\n{oh}",
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{}",
    b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\noh!",
    b"SSH-2.0-OpenSSH_9.9\r\n",
    b"",
]


@pytest.fixture
def answering(monkeypatch, hurried):
    """Has something at the studio's address that says the same to everybody."""
    odd = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("LETTABOX_STUDIO_URL", f"http://127.0.0.1:{odd.getsockname()[1]}")
    threads = []

    def begin(answer):
        def serve():
            while True:
                try:
                    client, _ = odd.accept()
                except OSError:
                    return
                with client:
                    client.recv(65536)
                    client.sendall(answer)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[0].start()

    yield begin
    odd.shutdown(socket.SHUT_RDWR)
    threads[0].join(10)
    odd.close()


@pytest.mark.parametrize("answer", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize(("tool", "argument"), ALL)
def test_an_odd_answer_is_told_in_a_sentence(tool, argument, answer, answering):
    answering(answer)
    assert "the studio" in call(tool, argument).lower()


def test_an_answer_that_is_cut_off_is_none(answering):
    answering(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{"videos": []}')
    assert "cut off" in call("get_recent_videos")


@pytest.mark.parametrize(("tool", "argument"), ALL)
def test_a_slow_studio_takes_less_than_letta_gives_a_tool(tool, argument, monkeypatch):
    """Every connection waits until its time limit; what all of it takes is reckoned, not waited for."""
    spent = []

    class Slow:
        def __init__(self, host, port, timeout):
            self.timeout = timeout

        def request(self, *_):
            spent.append(self.timeout)
            raise TimeoutError("timed out")

        def close(self): ...

    monkeypatch.setattr("http.client.HTTPConnection", Slow)
    monkeypatch.setattr(time, "sleep", spent.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(spent))
    monkeypatch.setenv("LETTABOX_STUDIO_URL", "http://127.0.0.1:9")
    assert "does not answer (timed out)" in call(tool, argument)
    assert 30 < sum(spent) < 120
