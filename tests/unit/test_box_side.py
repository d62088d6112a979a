"""The box side's decisions that need no Docker; the lab runs the rest for real."""

import json
import os

import pytest
from lettabox import compose, files, images, paths, secrets
from lettabox.errors import LettaboxError

from operations.engine import _merged

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def engine(monkeypatch, tmp_path):
    """A Docker engine of one local image and a registry: {reference: digests}; returns the calls."""
    monkeypatch.setattr(paths, "IMAGES", tmp_path / "images.json")
    local, registry, calls = {}, {}, []

    def inspect(kind, name):
        return [{"RepoDigests": [f"redis@{one}" for one in local[name]], "Id": "sha256:id"}] if name in local else []

    def docker(*words):
        calls.append(words)
        if words[0] == "pull":
            local[words[-1]] = registry[words[-1]]
        elif words[0] == "tag":
            local[words[2]] = local[words[1]]

    monkeypatch.setattr(images, "inspect", inspect)
    monkeypatch.setattr(images, "docker", docker)
    return local, registry, calls


def record():
    return json.loads(paths.IMAGES.read_text())


def test_the_first_pull_is_recorded_and_later_pulls_ask_for_it(engine):
    local, registry, calls = engine
    registry |= {"redis:8": [A], f"redis@{A}": [A]}
    assert images.pull("redis:8") == A
    assert record() == {"redis:8": A}
    local.clear()
    registry["redis:8"] = [B]  # the tag has moved
    assert images.pull("redis:8") == A
    assert calls[-2:] == [("pull", "--quiet", f"redis@{A}"), ("tag", f"redis@{A}", "redis:8")]


def test_an_image_that_was_there_before_is_recorded_without_a_pull(engine):
    local, _, calls = engine
    local["redis:8"] = [A]
    assert images.pull("redis:8") == A
    assert record() == {"redis:8": A} and calls == []
    local["redis:9"] = []  # loaded from a file: no registry has named it
    assert images.pull("redis:9") == "local:sha256:id"


def test_other_content_behind_a_name_is_refused(engine):
    local, _, _ = engine
    local["redis:8"] = [A]
    images.pull("redis:8")
    local["redis:8"] = [B]
    with pytest.raises(LettaboxError, match="recorded at its first pull"):
        images.pull("redis:8")
    assert record() == {"redis:8": A}


def test_a_digest_in_the_settings_wins_and_may_be_any_of_the_images(engine):
    local, _, calls = engine
    local["redis:8"] = [A, B]
    images.pull("redis:8")
    assert images.pull("redis:8", B) == B
    assert record() == {"redis:8": B} and calls == []


def test_a_file_is_never_readable_wider_than_its_mode(tmp_path, monkeypatch):
    modes = []
    change = os.fchmod
    monkeypatch.setattr(os, "fchmod", lambda fd, mode: (modes.append(os.fstat(fd).st_mode & 0o777), change(fd, mode)))
    old = os.umask(0)
    try:
        files.write(tmp_path / "secret", "x", mode=0o600)
    finally:
        os.umask(old)
    assert modes == [0o600]
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["secret"]


def test_secrets_are_kept_and_only_missing_ones_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SECRETS", tmp_path / "secrets")
    monkeypatch.setattr(os, "chown", lambda *_: None)
    assert secrets.create(["one", "two"]) == ["one", "two"]
    before = secrets.read("one")
    (paths.SECRETS / "one").chmod(0o644)
    (paths.SECRETS / "two").write_text("")
    paths.SECRETS.chmod(0o755)
    assert secrets.create(["one", "two"]) == ["two"]
    assert secrets.read("one") == before != secrets.read("two")
    assert (paths.SECRETS / "one").stat().st_mode & 0o777 == 0o600
    assert paths.SECRETS.stat().st_mode & 0o777 == 0o700
    with pytest.raises(LettaboxError, match="three"):
        secrets.read("three")


def test_containers_in_the_way_of_swapped_ports_are_found():
    wanted = {"server": {"ports": [{"published": "2"}]}, "nginx": {"ports": [{"published": "1"}]}, "redis": {}}
    now = {
        "server": {"Name": "/server", "HostConfig": {"PortBindings": {"8283/tcp": [{"HostPort": "1"}]}}},
        "redis": {"Name": "/redis", "HostConfig": {"PortBindings": None}},
    }
    assert compose._in_the_way(wanted, now) == ["server"]
    assert compose._in_the_way({"server": {"ports": [{"published": "1"}]}}, now) == []


def test_merging_into_daemon_json_keeps_what_is_there():
    before = {"runtimes": {"nvidia": {"path": "n"}}, "debug": False, "labels": ["a"]}
    wanted = {"runtimes": {"crun": {"path": "c"}}, "labels": ["b"]}
    assert _merged(before, wanted) == {
        "runtimes": {"nvidia": {"path": "n"}, "crun": {"path": "c"}},
        "debug": False,
        "labels": ["b"],
    }
