"""The box side's decisions that need no Docker; the lab runs the rest for real."""

import concurrent.futures
import json
import os
import time

import pytest
from lettabox import compose, files, images, paths, secrets
from lettabox.errors import LettaboxError

from operations.engine import _merged

A, B = "sha256:" + "a" * 64, "sha256:" + "b" * 64


@pytest.fixture
def engine(monkeypatch, tmp_path):
    """A Docker engine of one local image and a registry: {reference: digests}; with the calls and a pull."""
    monkeypatch.setattr(paths, "IMAGES", tmp_path / "images.json")
    monkeypatch.setattr(paths, "LOADED", tmp_path / "loaded.json")
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
    return local, registry, calls, lambda name, digest="": images.pull(name, digest, docker)


def record():
    return json.loads(paths.IMAGES.read_text())


def test_the_first_pull_is_recorded_and_later_pulls_ask_for_it(engine):
    local, registry, calls, pull = engine
    registry |= {"redis:8": [A], f"redis@{A}": [A]}
    assert pull("redis:8") == A
    assert record() == {"redis:8": A}
    local.clear()
    registry["redis:8"] = [B]  # the tag has moved
    assert pull("redis:8") == A
    assert calls[-2:] == [("pull", f"redis@{A}"), ("tag", f"redis@{A}", "redis:8")]


def test_an_image_that_was_there_before_is_recorded_without_a_pull(engine):
    local, _, calls, pull = engine
    local["redis:8"] = [A]
    assert pull("redis:8") == A
    assert record() == {"redis:8": A} and calls == []
    local["redis:9"] = []  # loaded from a file: no registry has named it
    assert pull("redis:9") == "local:sha256:id"


def test_other_content_behind_a_name_is_refused(engine):
    local, _, _, pull = engine
    local["redis:8"] = [A]
    pull("redis:8")
    local["redis:8"] = [B]
    with pytest.raises(LettaboxError, match="recorded at its first pull"):
        pull("redis:8")
    assert record() == {"redis:8": A}


def test_a_digest_in_the_settings_wins_and_may_be_any_of_the_images(engine):
    local, _, calls, pull = engine
    local["redis:8"] = [A, B]
    pull("redis:8")
    assert pull("redis:8", B) == B
    assert record() == {"redis:8": B} and calls == []


DOCKER = """#!/bin/sh
# Stands in for docker where only the order of its calls matters; `slow` never ends by itself.
echo "begin $*" >> $LOG
case "$1 $2" in
  "image inspect") [ -e "$HERE/$3" ] || { echo "Error: No such image: $3" >&2; exit 1; }
                   echo '[{"RepoDigests": [], "Id": "sha256:id"}]' ;;
  "pull slow:1") exec sleep 300 ;;
  "pull bad:1") echo "manifest unknown"; exit 1 ;;
  "pull "*) sleep 0.3; touch "$HERE/$2" ;;
  "build "*) touch "$HERE/patched:1" ;;
esac
echo "end $*" >> $LOG
"""


@pytest.fixture
def docker_log(tmp_path, monkeypatch):
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(paths, "IMAGES", tmp_path / "images.json")
    monkeypatch.setattr(paths, "LOADED", tmp_path / "loaded.json")
    return lambda: (tmp_path / "log").read_text().splitlines()


def test_pulls_run_side_by_side_and_a_build_waits_only_for_its_base(docker_log, capsys):
    with images.Preparation(
        {"base:1": "", "redis:1": ""}, {"patched:1": images.Build(paths.IMAGE_CONTEXT, "base:1", {})}
    ) as ready:
        ready.wait(["patched:1", "redis:1"])
    lines = docker_log()
    begin, end = lines.index, {name: lines.index(f"end pull {name}") for name in ("base:1", "redis:1")}
    assert max(begin("begin pull base:1"), begin("begin pull redis:1")) < min(end.values())
    build = next(number for number, line in enumerate(lines) if line.startswith("begin build"))
    assert build > end["base:1"]
    assert set(record()) == {"base:1", "redis:1"}
    assert "redis:1: pulled" in capsys.readouterr().out


def test_a_pull_that_fails_ends_the_others_and_says_why(docker_log):
    began = time.monotonic()
    with (
        pytest.raises(LettaboxError, match=r"docker pull bad:1:\nmanifest unknown"),
        images.Preparation(
            {"bad:1": "", "slow:1": ""}, {"patched:1": images.Build(paths.IMAGE_CONTEXT, "slow:1", {})}
        ) as ready,
    ):
        ready.wait(["slow:1"])
    assert time.monotonic() - began < 30
    assert not [line for line in docker_log() if line.startswith("begin build")]


def test_a_failure_among_many_that_ended_before_is_not_overlooked(docker_log):
    good = [f"good:{n}" for n in range(20)]
    # The order of what has ended is a matter of chance.
    with (
        pytest.raises(LettaboxError, match="manifest unknown"),
        images.Preparation(dict.fromkeys(["bad:1", *good], ""), {}) as ready,
    ):
        concurrent.futures.wait(ready._jobs.values())
        ready.wait(["bad:1", *good])


def test_an_image_that_is_there_is_neither_pulled_nor_built(docker_log, tmp_path):
    for name in ("base:1", "patched:1"):
        (tmp_path / name).touch()
    with images.Preparation({"base:1": ""}, {"patched:1": images.Build(paths.IMAGE_CONTEXT, "base:1", {})}) as ready:
        ready.wait(["base:1", "patched:1"])
    assert {line.split()[1] for line in docker_log()} == {"image"}


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
