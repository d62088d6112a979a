"""The models as declared and locked: the sets, the lock file, and `make models-lock` against a hub of its own."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from inventory import comfyui, models
from inventory.hub import Hub as Client
from inventory.load import SettingsError, load
from inventory.models_lock import lock
from inventory.schema import Models, Settings
from tests.lab.fake_hub import Hub, commit_id, content

ROOT = Path(__file__).parents[2]
TOKEN = "hf_0123456789abcdef"
REPOSITORIES = {
    "lab/open": {
        "commits": [
            {"big.safetensors": {"size": 5000, "seed": "old"}},
            {
                "big.safetensors": {"size": 5000},
                "vae/small.safetensors": {"size": 300},
                "config.json": {"size": 40, "lfs": False},
                "empty.json": {"size": 0, "lfs": False},
            },
        ]
    },
    "lab/gated": {"gated": True, "commits": [{"w.safetensors": {"size": 700}, "c.json": {"size": 9, "lfs": False}}]},
}


def sha256(path, size):
    return hashlib.sha256(content(path, size)).hexdigest()


@pytest.fixture
def hub():
    with Hub() as one:
        one.control(repositories=REPOSITORIES, token=TOKEN)
        yield one


def model(file, repository="lab/open", folder="checkpoints", **more):
    return {"repository": repository, "file": file, "folder": folder, **more}


def told(**files):
    return Models.model_validate({"set": "none", "files": files})


def results(hub, old=None, token=None, update=False, **files):
    client = Client(hub.url, token, "LAB_TOKEN")
    return {one.name: one for one in lock(told(**files), old or {}, client, update)}


def test_each_set_names_files_that_land_in_different_places():
    for name, files in comfyui.SETS.items():
        declared = Models.model_validate({"set": name}).declared
        assert list(declared) == list(files)
        assert not any(one.locked for one in declared.values()), "nothing is known of them before the lock"
    assert len(comfyui.SETS["lightricks"]) == 18


def test_a_file_of_the_settings_replaces_that_of_the_set():
    mine = {"ltx-2-checkpoint": model("mine.safetensors")}
    declared = Models.model_validate({"files": mine}).declared
    assert declared["ltx-2-checkpoint"].file == "mine.safetensors"
    assert list(declared) == list(comfyui.SETS["ltx-2"])


def test_two_models_in_one_place_are_refused_by_name():
    with pytest.raises(ValueError, match=r"lands on models/checkpoints/x\.safetensors, as a does"):
        told(a=model("x.safetensors"), b=model("below/x.safetensors"))
    with pytest.raises(ValueError, match=r"as ltx-2-upscaler does; .* use the name ltx-2-upscaler"):
        file = "ltx-2-spatial-upscaler-x2-1.0.safetensors"
        Models.model_validate({"files": {"mine": model(file, folder="latent_upscale_models")}})
    told(a=model("x.safetensors"), b=model("x.safetensors", folder="loras"))


def test_the_lightricks_set_wants_its_custom_nodes():
    nodes = {
        "ltxv": {"git": "https://mirror.example/ComfyUI-LTXVideo.git", "revision": "a" * 40},
        "math": {"git": "/srv/ComfyMath", "revision": "b" * 40},
    }
    Settings.model_validate({"models": {"set": "lightricks"}, "comfyui": {"custom_nodes": nodes}})
    del nodes["math"]
    with pytest.raises(ValueError, match="needs the custom nodes ComfyMath; add them") as caught:
        Settings.model_validate({"models": {"set": "lightricks"}, "comfyui": {"custom_nodes": nodes}})
    assert "evanspearman/ComfyMath.git" in str(caught.value) and "LTXVideo" not in str(caught.value)


def test_the_lock_reads_revision_size_and_hash_of_every_kind_of_file(hub):
    hub.control(page=1)  # the list comes in as many pages as there are files
    found = results(
        hub, a=model("big.safetensors"), b=model("vae/small.safetensors", folder="vae"), c=model("config.json")
    )
    main = commit_id("lab/open", 1)
    assert {one.state for one in found.values()} == {"locked"}
    sizes = {"a": ("big.safetensors", 5000), "b": ("vae/small.safetensors", 300), "c": ("config.json", 40)}
    for name, (path, size) in sizes.items():
        entry = found[name].entry
        assert (entry.revision, entry.size, entry.sha256) == (main, size, sha256(path, size))
    # Only what has no hash there is fetched, and the list once.
    assert [one["path"] for one in hub.requests if "resolve" in one["path"]] == [
        f"/lab/open/resolve/{main}/config.json",
        f"/api/resolve-cache/models/lab/open/{main}/config.json",
    ]
    assert len([one for one in hub.requests if "/revision/" in one["path"]]) == 1


def test_what_cannot_be_locked_is_named_and_stays_empty(hub):
    found = results(
        hub,
        good=model("big.safetensors"),
        typo=model("bgi.safetensors"),
        nothing=model("empty.json"),
        nowhere=model("x.bin", repository="lab/gone"),
        later=model("vae/small.safetensors", revision=commit_id("lab/open", 0)),
        moved=model("big.safetensors", revision="f" * 40, folder="loras"),
    )
    assert found.pop("good").entry
    assert {one.state for one in found.values()} == {"NOT LOCKED"} and not any(one.entry for one in found.values())
    assert "no file bgi.safetensors" in found["typo"].why and "big.safetensors" in found["typo"].why
    assert "is empty" in found["nothing"].why
    assert "lab/gone is not open to you (HTTP 401)" in found["nowhere"].why
    assert "no file vae/small.safetensors at revision" in found["later"].why
    assert f"no lab/open at revision {'f' * 40}" in found["moved"].why


def test_a_gated_repository_wants_licence_and_token(hub):
    wanted = {"a": model("c.json", repository="lab/gated")}
    why = results(hub, **wanted)["a"].why
    assert "lab/gated is gated (HTTP 401)" in why and f"{hub.url}/lab/gated" in why and "LAB_TOKEN" in why
    why = results(hub, token="hf_wrong", **wanted)["a"].why
    assert "(HTTP 403)" in why and "owner of the token in LAB_TOKEN" in why
    found = results(hub, token=TOKEN, **wanted)["a"]
    assert found.entry.sha256 == sha256("c.json", 9)


def test_the_token_goes_to_the_hub_alone(hub):
    # A small file kept as LFS has its hash in the list; so have the hub redirect one that has not.
    results(hub, token=TOKEN, a=model("config.json"), b=model("c.json", repository="lab/gated", folder="x"))
    assert {one["authorization"] for one in hub.requests} == {f"Bearer {TOKEN}"}
    client = Client(hub.url, TOKEN)
    client.sha256("lab/open", commit_id("lab/open", 1), "big.safetensors", 5000)
    assert [one["authorization"] for one in hub.requests if one["server"] == "cdn"] == [""]


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch):
    client, asked = Client("http://127.0.0.1:9"), []
    get = client.session.get
    monkeypatch.setattr(client.session, "get", lambda url, **words: asked.append(url) or get(url, **words))
    found = lock(told(a=model("a"), b=model("b", repository="lab/other")), {}, client, False)
    assert all("http://127.0.0.1:9 cannot be reached" in one.why and "refused" in one.why for one in found)
    assert len(asked) == 1


def test_what_is_locked_stays_until_it_is_updated_or_declared_otherwise(hub):
    file = {"a": model("big.safetensors")}
    hub.control(repositories={"lab/open": {"commits": REPOSITORIES["lab/open"]["commits"][:1]}})
    old = {name: one.entry for name, one in results(hub, **file).items()}
    hub.control(repositories=REPOSITORIES)
    kept = results(hub, old, **file)["a"]
    assert (kept.state, kept.entry) == ("as before", old["a"])
    news = results(hub, old, update=True, **file)["a"]
    assert news.state == "changed" and news.entry.sha256 == sha256("big.safetensors", 5000) != old["a"].sha256
    other = results(hub, old, a=model("config.json"))["a"]
    assert (other.state, other.entry.file) == ("changed", "config.json")
    hub.control(repositories={})
    assert (found := results(hub, old, update=True, **file)["a"]).state == "NOT UPDATED" and found.entry == old["a"]


def test_what_the_settings_say_wins_and_must_agree_with_the_hub(hub):
    revision = commit_id("lab/open", 1)
    full = model("big.safetensors", revision=revision, sha256="a" * 64, size=7)
    assert results(hub, a=full)["a"].state == "in the settings" and not hub.requests
    why = results(hub, a=model("big.safetensors", sha256="a" * 64))["a"].why
    assert "the settings say sha256 aaaa" in why


def test_an_entry_holds_for_its_repository_file_and_revision_alone():
    entry = models.Entry(repository="lab/open", file="a.bin", revision="1" * 40, sha256="2" * 64, size=3)

    def known(**fields):
        return models.wanted(told(a=model("a.bin", **fields)), {"a": entry})["a"]

    assert known().locked and known().sha256 == "2" * 64
    assert known(sha256="4" * 64).sha256 == "4" * 64 and known(size=9).size == 9
    assert not known(revision="5" * 40).locked
    assert not known(repository="lab/other").locked
    assert not models.wanted(told(a=model("b.bin")), {"a": entry})["a"].locked
    assert not models.wanted(told(b=model("a.bin")), {"a": entry})["b"].locked


GOOD = {"repository": "a/b", "file": "c", "revision": "1" * 40, "sha256": "2" * 64, "size": 3}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", ["not JSON", "remove the file"]),
        ('"\udcff"', ["not JSON"]),
        ("[]", ["the file"]),
        ({"version": 2, "models": {}}, ["version"]),
        ({"version": 1}, ["models"]),
        ({"version": 1, "models": {"x": {**GOOD, "size": "3"}}}, ["models.x.size", "remove models.x.size there"]),
        ({"version": 1, "models": {"x": {**GOOD, "size": 0}}}, ["models.x.size"]),
        ({"version": 1, "models": {"x": {**GOOD, "sha256": "2" * 63}}}, ["models.x.sha256", "SHA-256"]),
        ({"version": 1, "models": {"x": {**GOOD, "revision": "main"}}}, ["models.x.revision", "full commit"]),
        ({"version": 1, "models": {"x": {**GOOD, "revision": ""}}}, ["models.x.revision", "is empty"]),
        ({"version": 1, "models": {"x": {**GOOD, "file": "../c"}}}, ["models.x.file"]),
        ({"version": 1, "models": {"x": {**GOOD, "more": 1}}}, ["models.x.more"]),
        ({"version": 1, "models": {"/": GOOD}}, ["models./"]),
    ],
)
def test_a_broken_lock_is_one_clear_error(tmp_path, content, words):
    path = tmp_path / "models.lock.json"
    text = content if isinstance(content, str) else json.dumps(content)
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(SettingsError) as caught:
        models.read_lock(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "make models-lock" in message and "\n" not in message
    assert all(word in message for word in words), message


def test_no_lock_is_an_empty_one_and_what_is_written_is_read(tmp_path):
    assert models.read_lock(tmp_path / "models.lock.json") == {}
    entries = {"x": models.Entry(**GOOD)}
    (tmp_path / "models.lock.json").write_text(models.to_text(entries))
    assert models.read_lock(models.lock_path(tmp_path / "any.yml")) == entries


def run(inventory, *words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "inventory.models_lock", *words],
        cwd=ROOT,
        env=os.environ | {"LETTABOX_INVENTORY": str(inventory)} | environment,
        capture_output=True,
        text=True,
    )


def write(folder, hub, files, **more):
    path = folder / "mine.yml"
    content = {
        "hosts": {"box": {"address": "192.0.2.1", "user": "root"}},
        "groups": {"letta": ["box"], "gpu": ["box"]},
        "settings": {"models": {"set": "none", "endpoint": hub.url, "token": "LAB_TOKEN", "files": files, **more}},
    }
    path.write_text(yaml.safe_dump(content))
    return path


def test_the_verb_writes_the_lock_beside_the_settings_and_says_what_is_missing(hub, tmp_path):
    files = {"a": model("big.safetensors"), "secret": model("c.json", repository="lab/gated")}
    inventory = write(tmp_path, hub, files)
    first = run(inventory)
    assert first.returncode == 1, first.stderr
    assert "lab/gated is gated" in first.stdout and "secret" in first.stderr
    path = tmp_path / "models.lock.json"
    assert list(models.read_lock(path)) == ["a"]
    second = run(inventory, LAB_TOKEN=TOKEN)
    assert second.returncode == 0, second.stdout + second.stderr
    assert list(models.read_lock(path)) == ["a", "secret"]
    assert TOKEN not in second.stdout + second.stderr + path.read_text()
    before = path.stat()
    third = run(inventory, LAB_TOKEN=TOKEN)
    assert third.returncode == 0 and "stays as it is" in third.stdout
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert models.wanted(load(inventory).settings.models, models.read_lock(path))["a"].locked


def test_the_verb_refuses_broken_settings_lock_and_token(hub, tmp_path):
    inventory = write(tmp_path, hub, {"a": model("big.safetensors")})
    broken = run(inventory, LAB_TOKEN="two\nlines")
    assert broken.returncode == 4 and "LAB_TOKEN" in broken.stderr and "two" not in broken.stderr
    (tmp_path / "models.lock.json").write_text("{")
    broken = run(inventory)
    assert broken.returncode == 4 and "models.lock.json: not JSON" in broken.stderr and "Traceback" not in broken.stderr
