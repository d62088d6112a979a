"""The laptop's end of image-save and image-load, with a program that stands in for ssh."""

import hashlib
import os
import subprocess
import sys

import pytest
import yaml

SSH = """#!/bin/sh
# The box: what it sends is $HERE/box, what it gets becomes $HERE/got.
echo "$*" >> "$HERE/calls"
case "$*" in
  *"test -x"*) exit ${READY:-0} ;;
  *"image save"*) cat "$HERE/box"; exit ${CODE:-0} ;;
  *"image load"*) if [ "${CODE:-0}" != 0 ]; then echo "nothing was loaded: no" >&2; exit $CODE; fi; cat > "$HERE/got" ;;
esac
"""
DATA = os.urandom(3_000_000)


@pytest.fixture
def transfer(tmp_path):
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    (tmp_path / "box").write_bytes(DATA)
    content = {"hosts": {"box": {"address": "192.0.2.1", "user": "debian"}}, "groups": {"letta": ["box"]}}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(content))
    out = tmp_path / "out"
    out.mkdir()

    def run(*words, **environment):
        more = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "HERE": str(tmp_path),
            "LETTABOX_INVENTORY": str(tmp_path / "inventory.yml"),
        }
        command = [sys.executable, "-m", "inventory.transfer", *words]
        return subprocess.run(command, env=os.environ | more | environment, capture_output=True, text=True, timeout=60)

    run.folder, run.out = tmp_path, out
    return run


@pytest.mark.parametrize(("suffix", "how"), [(".tar", "none"), (".tar.gz", "gz"), (".tar.zst", "zst")])
def test_what_the_box_sends_becomes_the_file(transfer, suffix, how):
    path = transfer.out / f"images{suffix}"
    done = transfer("save", str(path))
    assert done.returncode == 0, done.stderr
    assert path.read_bytes() == DATA and list(transfer.out.iterdir()) == [path]
    assert hashlib.sha256(DATA).hexdigest() in done.stdout and "debian@192.0.2.1" in done.stderr
    calls = (transfer.folder / "calls").read_text()
    assert f"sudo -n lettabox image save --compression {how}" in calls and "-t" not in calls.split()


@pytest.mark.parametrize(("code", "exit_code"), [("1", 1), ("255", 2)])
def test_a_save_that_fails_leaves_no_file(transfer, code, exit_code):
    done = transfer("save", str(transfer.out / "images.tar"), CODE=code)
    assert done.returncode == exit_code
    assert list(transfer.out.iterdir()) == [] and "saved" not in done.stdout


def test_save_refuses_before_it_connects(transfer):
    (transfer.out / "there.tar").write_text("mine")
    for name, word in (("there.tar", "exists already"), ("images.zip", "*.tar.gz"), ("no/images.tar", "no folder")):
        done = transfer("save", str(transfer.out / name))
        assert done.returncode == 4 and word in done.stderr
    assert (transfer.out / "there.tar").read_text() == "mine"
    assert "image save" not in (transfer.folder / "calls").read_text()


def test_the_file_arrives_with_its_size_and_hash(transfer):
    path = transfer.out / "images.tar"
    path.write_bytes(DATA)
    done = transfer("load", str(path), "--sha256", "a" * 64)
    assert done.returncode == 0, done.stderr
    assert (transfer.folder / "got").read_bytes() == DATA
    assert f"image load --size {len(DATA)} --sha256 {'a' * 64}" in (transfer.folder / "calls").read_text()


def test_a_box_that_wants_no_more_of_it_has_the_word(transfer):
    path = transfer.out / "images.tar"
    path.write_bytes(DATA)
    done = transfer("load", str(path), CODE="1")
    assert done.returncode == 1
    assert "nothing was loaded: no" in done.stderr and "Traceback" not in done.stderr


def test_a_box_without_lettabox_and_one_that_is_away(transfer):
    path = transfer.out / "images.tar"
    path.write_bytes(DATA)
    done = transfer("load", str(path), READY="1")
    assert done.returncode == 4 and "`make deploy` first" in done.stderr
    done = transfer("load", str(path), READY="255")
    assert done.returncode == 2 and "cannot be reached" in done.stderr
    assert not (transfer.folder / "got").exists()


def test_a_file_must_be_named_and_there(transfer):
    for words, word in ((("load", ""), "FILE="), (("load", str(transfer.out / "none.tar")), "No such file")):
        done = transfer(*words)
        assert done.returncode == 4 and word in done.stderr, done.stderr
