"""The studio: healthy, closed to writers without the token, and it makes a real video."""

import json
import time
import uuid

import pytest
import requests

LEAST = {"width": 64, "height": 64, "frames": 9}  # what the studio takes at least
PATIENCE = 1800  # seconds for a small video on a real GPU, with the models to be loaded first


@pytest.fixture(scope="module")
def token(host):
    return host.check_output("lettabox studio token")


@pytest.fixture(scope="module")
def reader(token, settings):
    """A session that may look, with the token only where that is needed."""
    session = requests.Session()
    session.trust_env = False
    if settings.studio.reads_need_token:
        session.headers["Authorization"] = f"Bearer {token}"
    return session


@pytest.fixture(scope="module")
def writer(token):
    session = requests.Session()
    session.trust_env = False
    session.headers["Authorization"] = f"Bearer {token}"
    return session


def test_it_is_healthy(studio, writer):
    told = writer.get(f"{studio}/health", timeout=20).json()
    assert told == {"status": "ok", "reasons": []}


def test_it_listens_where_it_is_told_to_alone(host, settings):
    told = settings.studio
    lines = host.check_output(f"ss -Hltn sport = :{told.port}").splitlines()
    wide = {"0.0.0.0": "0.0.0.0", "::": "*"}.get(told.bind)
    wanted = {wide} if wide else {f"[{told.bind}]" if ":" in told.bind else told.bind, settings.router_host}
    assert {line.split()[3].rpartition(":")[0] for line in lines} == wanted


def test_writing_needs_the_token(studio):
    session = requests.Session()
    session.trust_env = False
    answer = session.post(f"{studio}/jobs", json={"prompt": "without a token"}, timeout=20)
    assert answer.status_code == 401, answer.text


def test_containers_of_the_network_reach_it(host, settings):
    url = f"http://{settings.router_host}:{settings.studio.port}/health"
    ask = f"curl -sS --noproxy '*' -m 20 {url}"
    said = host.run(f"docker exec letta-nginx {ask}")
    assert said.rc == 0 and "status" in json.loads(said.stdout), said.stdout + said.stderr


def test_a_wish_becomes_a_video_and_a_frame(studio, reader, writer, host, target, remove_video):
    if missing := models_missing(host, target):
        pytest.skip(f"a video needs the models: {missing}")
    tag = f"verify-{uuid.uuid4().hex[:8]}"
    wish = LEAST | {"prompt": "a paper boat on a pond, calm water", "tags": [tag]}
    answer = writer.post(f"{studio}/jobs", json=wish, timeout=20)
    if answer.status_code == 422:  # a workflow without a place for one of them
        answer = writer.post(f"{studio}/jobs", json={"prompt": wish["prompt"], "tags": [tag]}, timeout=20)
    assert answer.status_code == 201, answer.text
    job = answer.json()
    deadline = time.monotonic() + PATIENCE
    while job["state"] in ("queued", "running"):
        assert time.monotonic() < deadline, job
        time.sleep(0.5)
        job = reader.get(f"{studio}/jobs/{job['id']}", timeout=20).json()
    assert job["state"] == "completed", job
    remove_video(job["video"])
    videos = reader.get(f"{studio}/list_videos", params={"tag": tag}, timeout=20).json()["videos"]
    assert [one["path"] for one in videos] == [job["video"]] and videos[0]["ready"], videos
    part = reader.get(studio + videos[0]["url"], headers={"Range": "bytes=4-7"}, timeout=60)
    assert (part.status_code, part.content) == (206, b"ftyp"), part
    frame = reader.get(f"{studio}/frames/{job['video']}", params={"at": "last"}, timeout=60)
    assert frame.status_code == 200 and frame.content.startswith(b"\xff\xd8"), frame.text[:300]


def models_missing(host, target):
    """What the workflow lacks on the host of Letta, where that renders; "" where it lacks nothing."""
    name, inventory = target
    if name not in inventory.groups.gpu:
        return ""  # its GPU boxes are looked at in test_4_comfyui.py
    done = host.run("lettabox workflow check")
    return "" if done.rc == 0 else " ".join((done.stdout + done.stderr).split())
