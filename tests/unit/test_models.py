"""The download of the models, against a hub of its own: interrupted, cheated, refused, and never twice."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path

import pytest
from lettabox import fetch, models, models_progress, models_state, paths, unit
from lettabox.errors import LettaboxError

from operations.models import NOTHING, difference
from tests.lab.fake_hub import Hub, commit_id, content

ROOT = Path(__file__).parents[2]
TOKEN = "hf_0123456789abcdef"
BIG, SMALL = 6 * 2**20, 700_000
REPOSITORIES = {
    "lab/open": {
        "commits": [
            {
                "big.safetensors": {"size": BIG},
                "vae/small.safetensors": {"size": SMALL},
                "config.json": {"size": 40, "lfs": False},
            }
        ]
    },
    "lab/gated": {"gated": True, "commits": [{"weights.safetensors": {"size": SMALL}}]},
}


@pytest.fixture
def hub():
    with Hub() as one:
        one.control(repositories=REPOSITORIES, token=TOKEN)
        yield one


@pytest.fixture(autouse=True)
def box(monkeypatch, tmp_path):
    """The folders of a box, and a download that runs as somebody else than root."""
    for name, path in {"MODELS": "models", "MODELS_STATE": "state", "MODELS_WANTED": "models.json"}.items():
        monkeypatch.setattr(paths, name, tmp_path / path)
    paths.MODELS.mkdir()
    paths.MODELS_STATE.mkdir()
    monkeypatch.setattr(models, "SPARE", 1)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def model(name, file, size, repository="lab/open", folder="checkpoints", **more):
    known = {"revision": commit_id(repository, 0), "sha256": hashlib.sha256(content(file, size)).hexdigest()}
    return {"name": name, "repository": repository, "file": file, "folder": folder, "size": size, **known, **more}


ALL = [
    model("big", "big.safetensors", BIG),
    model("small", "vae/small.safetensors", SMALL, folder="vae"),
    model("config", "config.json", 40, folder="text_encoders/x"),
]
BIG_PATH = "checkpoints/big.safetensors"


def want(hub, *wanted):
    paths.MODELS_WANTED.write_text(json.dumps({"endpoint": hub.url, "files": list(wanted)}))


def there():
    return {str(path.relative_to(paths.MODELS)) for path in paths.MODELS.rglob("*") if path.is_file()}


def fetched(hub):
    """The requests for files, as (server, file's name, first byte asked for)."""
    return [
        (one["server"], one["path"].rpartition("/")[2].partition("?")[0], one["range"].removeprefix("bytes="))
        for one in hub.requests
        if "/api/models" not in one["path"]
    ]


def failed():
    return models_progress.read()["failed"]


def test_everything_comes_verified_the_small_ones_first(hub):
    want(hub, *ALL)
    assert models.download("") == 0
    assert there() == {BIG_PATH, "vae/small.safetensors", "text_encoders/x/config.json"}
    for one in ALL:
        assert hashlib.sha256(models_state.place(one).read_bytes()).hexdigest() == one["sha256"]
    order = [file for server, file, _ in fetched(hub) if server == "hub"]
    assert order == ["config.json", "config.json", "small.safetensors", "big.safetensors"]
    assert models_state.missing() == [] and failed() == {}


def test_what_is_unchanged_is_neither_fetched_nor_read_again(hub):
    want(hub, *ALL)
    assert models.download("") == 0
    path = models_state.place(ALL[0])
    before = path.stat()
    path.write_bytes(bytes(BIG))  # whoever read it would see that
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    hub.requests.clear()
    assert models.download("") == 0 and hub.requests == []
    os.utime(path)  # a change that can be seen
    assert [one["name"] for one in models_state.missing()] == ["big"]
    assert models.download("") == 0
    assert path.read_bytes() == content("big.safetensors", BIG)


def test_a_connection_that_is_cut_goes_on_where_it_ended(hub, box):
    want(hub, ALL[0])
    once = 30 * fetch.PIECE
    hub.control(cut_after=once)
    assert models.download("") == 0
    sent = [one for one in hub.requests if one["server"] == "cdn"]
    assert len(sent) == 4 and sum(one["sent"] for one in sent) == BIG
    assert [one["range"] for one in sent] == ["", *(f"bytes={n * once}-" for n in (1, 2, 3))]
    assert box == [1.0, 1.0, 1.0]


def test_a_server_that_gives_no_parts_starts_over(hub):
    want(hub, ALL[0])
    models_state.part(ALL[0]).parent.mkdir()
    models_state.part(ALL[0]).write_bytes(content("big.safetensors", BIG)[:1000])
    hub.control(ignore_range=True)
    assert models.download("") == 0
    assert fetched(hub)[-1] == ("cdn", "big.safetensors", "1000-")
    assert models_state.place(ALL[0]).read_bytes() == content("big.safetensors", BIG)


@pytest.mark.parametrize(
    ("kept", "requests"),
    [
        (content("big.safetensors", BIG)[:-1], [f"{BIG - 1}-"]),
        (content("big.safetensors", BIG), []),  # killed before it was put into its place
        (content("big.safetensors", BIG) + b"more", [""]),
        (bytes(1000), ["1000-", ""]),  # what a power cut left: found wrong, and fetched once more
        (bytes(BIG), [""]),
    ],
)
def test_what_an_earlier_run_left_is_used_as_far_as_it_is_right(hub, kept, requests):
    want(hub, ALL[0])
    part = models_state.part(ALL[0])
    part.parent.mkdir()
    part.write_bytes(kept)
    stray = part.with_name("big.safetensors.0123456789ab.part")  # of another version
    stray.write_bytes(b"stray")
    assert models.download("") == 0
    assert [first for server, _, first in fetched(hub) if server == "cdn"] == requests
    assert there() == {BIG_PATH}
    assert models_state.place(ALL[0]).read_bytes() == content("big.safetensors", BIG)


def test_a_wrong_checksum_is_refused_by_name_and_the_old_file_stays(hub, capsys):
    want(hub, *ALL)
    old = models_state.place(ALL[0])
    old.parent.mkdir()
    old.write_bytes(b"the old one")
    hub.control(wrong=["big.safetensors"])
    assert models.download("") == 1
    assert old.read_bytes() == b"the old one"
    assert there() == {BIG_PATH, "vae/small.safetensors", "text_encoders/x/config.json"}, "the others came, and no part"
    assert list(failed()) == ["big"] and "wrong checksum" in failed()["big"] and ALL[0]["sha256"] in failed()["big"]
    assert [one["name"] for one in models_state.missing()] == ["big"]
    hub.control(wrong=[])
    assert models.download("") == 0 and old.read_bytes() == content("big.safetensors", BIG) and failed() == {}


def test_a_file_that_is_there_already_is_hashed_once_and_taken_if_right(hub, monkeypatch):
    want(hub, *ALL[:2])
    for one, data in ((ALL[0], content("big.safetensors", BIG)), (ALL[1], bytes(SMALL))):
        models_state.place(one).parent.mkdir()
        models_state.place(one).write_bytes(data)
    hub.control(status=503)
    monkeypatch.setattr(fetch, "TRIES", 1)
    assert models.download("") == 2
    assert [file for _, file, _ in fetched(hub)] == ["small.safetensors"]
    assert models_state.place(ALL[1]).read_bytes() == bytes(SMALL)
    looked = []
    monkeypatch.setattr(hashlib, "sha256", lambda *data: looked.append(data) or hashlib.new("sha256", *data))
    assert not any(models._adopt(one, models_progress.Progress()) for one in models_state.missing()) and not looked


def test_a_gated_repository_needs_the_token_which_no_other_host_sees(hub, capsys):
    one = model("secret", "weights.safetensors", SMALL, repository="lab/gated")
    want(hub, one)
    assert models.download("") == 1
    for word in ("lab/gated is gated (HTTP 401)", f"{hub.url}/lab/gated", "settings.models.token"):
        assert word in failed()["secret"]
    assert models.download("hf_somebody_else") == 1
    assert "HTTP 403" in failed()["secret"] and "as the owner" in failed()["secret"]
    hub.requests.clear()
    assert models.download(TOKEN) == 0
    assert [(one["server"], one["authorization"]) for one in hub.requests] == [("hub", f"Bearer {TOKEN}"), ("cdn", "")]
    told = capsys.readouterr()
    kept = "".join(path.read_text() for path in paths.MODELS_STATE.iterdir())
    assert TOKEN not in told.out + told.err + kept


def test_what_is_not_locked_is_named_and_not_fetched(hub, capsys):
    open_one = ALL[1]
    want(hub, ALL[0] | {"sha256": ""}, open_one, model("x", "config.json", 40, folder="x") | {"revision": ""})
    assert models.download("") == 0
    assert there() == {"vae/small.safetensors"} and list(failed()) == ["big", "x"]
    assert "make models-lock" in failed()["big"]


def test_a_disk_that_is_too_full_is_told_before_a_byte_is_fetched(hub, monkeypatch):
    want(hub, *ALL)
    usage = namedtuple("usage", "free")
    needed = sum(one["size"] for one in ALL) + models.SPARE
    monkeypatch.setattr(models.shutil, "disk_usage", lambda _: usage(needed - 1))
    assert models.download("") == 1
    assert hub.requests == [] and not there() and failed().keys() == {"big", "small", "config"}
    assert "too full" in failed()["big"] and "du -xh" in failed()["big"]
    # What lies there already counts.
    models_state.part(ALL[0]).parent.mkdir(exist_ok=True)
    models_state.part(ALL[0]).write_bytes(content("big.safetensors", BIG)[:2])
    assert models.download("") == 0


def test_a_file_that_is_gone_or_of_another_size_is_refused(hub):
    gone = model("gone", "gone.safetensors", SMALL)
    other = ALL[1] | {"size": SMALL + 1}
    more = ALL[2] | {"size": 39}
    want(hub, gone, other, more)
    assert models.download("") == 1 and not there()
    assert "has no gone.safetensors at revision" in failed()["gone"] and "make models-lock UPDATE=1" in failed()["gone"]
    assert f"has {SMALL} bytes of it, and {SMALL + 1} are locked" in failed()["small"]
    assert "has 40 bytes of it" in failed()["config"]


def test_a_hub_that_does_not_answer_is_tried_again_ever_more_rarely(hub, box):
    want(hub, ALL[0])
    hub.control(status=500)
    assert models.download("") == 2
    assert len(fetched(hub)) == fetch.TRIES == len(box) + 1
    assert box == sorted(box) and box[:3] == [1, 2, 4] and box[-1] == fetch.LONGEST
    assert "HTTP 500" in failed()["big"] and "tried again" in failed()["big"]
    hub.control(status=0)
    assert models.download("") == 0
    paths.MODELS_WANTED.write_text(json.dumps({"endpoint": "http://127.0.0.1:9", "files": [ALL[1]]}))
    assert models.download("") == 2 and "127.0.0.1:9: " in failed()["small"] and "refused" in failed()["small"]


def test_root_and_a_second_download_are_refused(hub, monkeypatch):
    want(hub)
    with models._alone(), pytest.raises(LettaboxError, match="another download"):
        models.download("")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(LettaboxError, match="must belong to comfyui"):
        models.download("")


GOOD = {"unit": "u", "wanted": "w", "ready": True, "running": False, "missing": [], "keys": {}}


@pytest.mark.parametrize(
    ("now", "token", "why"),
    [
        ({}, "", ""),
        ({"missing": ["big"], "running": True}, "", ""),
        ({"missing": ["big"]}, "", "there is no big"),
        ({"wanted": "other", "running": True}, "", "the list of the models differs"),
        ({"unit": None}, "", "its unit differs"),
        ({"ready": False, "running": True}, "", "not started with this list"),
        ({"keys": {"models-token": "f"}}, "LAB_TOKEN", ""),
        ({"keys": {"models-token": "f"}}, "", "its token differs"),
        (NOTHING, "", "the list of the models differs"),
    ],
)
def test_a_deploy_starts_the_download_for_a_reason(now, token, why):
    found = difference(GOOD | now, "w", "u", token, False)
    assert why in found and bool(why) is bool(found)
    assert difference(GOOD | now, "w", "u", "LAB_TOKEN", True), "a new token is always one"


RUN = """
import json, os, sys
from pathlib import Path
from lettabox import models, paths
folder = Path(sys.argv[1])
paths.MODELS, paths.MODELS_STATE, paths.MODELS_WANTED = folder / "models", folder / "state", folder / "models.json"
models.SPARE = 1
os.geteuid = lambda: 1000
sys.exit(models.download(""))
"""


def test_a_download_that_is_killed_again_and_again_comes_to_its_end(hub, tmp_path):
    want(hub, *ALL)
    hub.control(rate=3_000_000)
    kills = 4
    for number in range(kills + 1):
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, str(tmp_path)], env=os.environ | {"PYTHONPATH": str(ROOT / "files")}
        )
        before = sum(one["sent"] for one in hub.requests)
        if number < kills:
            # After some more bytes, wherever that is.
            target = before + random.Random(number).randrange(BIG // 6)
            while run.poll() is None and sum(one["sent"] for one in hub.requests) <= target:
                hub.ended.wait(0.002)
            run.send_signal(signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL, "it was quicker than the test"
        else:
            hub.control(rate=0)
            assert run.wait() == 0
    for one in ALL:
        assert hashlib.sha256(models_state.place(one).read_bytes()).hexdigest() == one["sha256"]
    asked = [first for server, file, first in fetched(hub) if server == "cdn" and file == "big.safetensors"]
    assert any(asked), "no run went on where another one was killed"


def rows(capsys, monkeypatch, active):
    monkeypatch.setattr(unit, "show", lambda *_: {"ActiveState": active})
    capsys.readouterr()
    code = models.status(True)
    document = json.loads(capsys.readouterr().out)
    assert document["code"] == code
    models.status(False)
    return code, document, capsys.readouterr().out


def test_the_status_says_of_each_where_it_is(hub, capsys, monkeypatch):
    want(hub, *ALL, model("later", "x.safetensors", 10, folder="x") | {"size": 0})
    code, document, text = rows(capsys, monkeypatch, "inactive")
    assert code == 1 and [one["state"] for one in document["files"]] == ["missing"] * 3 + ["not locked"]
    assert "0 of 4 are there, 7.0 MB to come; nothing is downloading" in text and "make models-lock" in text
    part = models_state.part(ALL[0])
    part.parent.mkdir()
    part.write_bytes(bytes(BIG // 2))
    progress = models_progress.Progress()
    progress.begin("big", "downloading", BIG)
    code, document, text = rows(capsys, monkeypatch, "active")
    assert code == 2 and document["running"]
    assert [one["state"] for one in document["files"]] == ["downloading", "waiting", "waiting", "not locked"]
    assert document["files"][0]["have"] == BIG // 2
    want(hub, *ALL)
    hub.control(wrong=["config.json"])
    assert models.download("") == 1
    code, document, text = rows(capsys, monkeypatch, "failed")
    assert code == 1 and [one["state"] for one in document["files"]] == ["there", "there", "failed"]
    assert "config: wrong checksum" in text and "2 of 3 are there" in text
    hub.control(wrong=[])
    assert models.download("") == 0
    code, document, text = rows(capsys, monkeypatch, "inactive")
    assert code == 0 and text.splitlines()[-1] == "3 of 3 are there" and document["left"] == 0


def test_the_progress_knows_the_rate_and_is_written_once_a_second(monkeypatch):
    now = [1000.0]
    progress = models_progress.Progress(lambda: now[0])
    progress.begin("big", "downloading", 100_000)
    written = []
    write = models_progress.files.write
    monkeypatch.setattr(models_progress.files, "write", lambda *words: written.append(now[0]) or write(*words))
    for step in range(31):
        progress.tell(40_000 + step * 100)
        now[0] += 0.1
    assert len(written) == 3
    assert models_progress.read()["rate"] == pytest.approx(1000, rel=0.05)
