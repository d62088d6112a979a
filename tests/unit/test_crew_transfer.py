"""The laptop's end of crew-export and crew-import, with a program that stands in for ssh."""

import io
import json
import os
import resource
import signal
import stat
import subprocess
import sys
import time

import pytest
import yaml
from lettabox import crew_folder

from inventory import crew_transfer
from tests.lab.waiting import wait_for
from tests.unit import exported_crew

SSH = """#!/bin/sh
# The box: what it sends is $HERE/box, what it gets becomes $HERE/got.
echo "$*" >> "$HERE/calls"
case "$*" in
  *"test -x"*) exit ${READY:-0} ;;
  *"crew export"*) cat "$HERE/box"; if [ "$SLOW" ]; then touch "$HERE/waits"; exec sleep 60; fi; exit ${CODE:-0} ;;
  *"crew import --undo"*) echo "no unfinished import is here" ;;
  *"crew import"*) [ "${CODE:-0}" = 0 ] || { echo "nothing was imported: no" >&2; exit $CODE; }; cat > "$HERE/got" ;;
esac
"""


@pytest.fixture
def transfer(tmp_path, monkeypatch, capfd):
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    crew = exported_crew.write(tmp_path / "crew")
    with (tmp_path / "box").open("wb") as out:
        crew_folder.pack(crew, list(crew_folder.check(crew)["files"]), out)
    content = {"hosts": {"box": {"address": "192.0.2.1", "user": "debian"}}, "groups": {"letta": ["box"]}}
    (tmp_path / "inventory.yml").write_text(yaml.safe_dump(content))
    (tmp_path / "out").mkdir()

    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("HERE", str(tmp_path))
    monkeypatch.setenv("LETTABOX_INVENTORY", str(tmp_path / "inventory.yml"))

    def main(*words):
        monkeypatch.setattr(sys, "argv", ["crew_transfer", *words])
        return crew_transfer.main()

    def run(*words, **environment):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            code = main(*words)
        said = capfd.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    run.main, run.said, run.folder, run.out, run.crew = main, capfd.readouterr, tmp_path, tmp_path / "out", crew
    return run


def test_what_the_box_sends_becomes_a_folder_of_ones_own(transfer, monkeypatch):
    monkeypatch.setattr(crew_transfer, "checked_out", lambda: "some-commit")
    folder = transfer.out / "crew"
    done = transfer("export", "--wait", "5", "--anyway", str(folder))  # as make has it
    assert done.returncode == 0, done.stderr
    assert list(transfer.out.iterdir()) == [folder] and stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert crew_folder.check(folder) == crew_folder.check(transfer.crew)
    assert {stat.S_IMODE(one.stat().st_mode) for one in folder.rglob("*") if one.is_file()} == {0o600}
    assert f"exported {folder}: 2 agents" in done.stdout and "not in it:\n  secrets" in done.stdout
    calls = (transfer.folder / "calls").read_text()
    assert "sudo -n lettabox crew export --made-by some-commit --wait 5 --anyway" in calls


def test_an_empty_folder_will_do(transfer):
    (folder := transfer.out / "crew").mkdir()
    assert transfer("export", str(folder)).returncode == 0
    assert crew_folder.check(folder) and stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize(("code", "exit_code"), [("1", 1), ("75", 75), ("255", 2)])
def test_an_export_that_fails_leaves_nothing(transfer, code, exit_code):
    (transfer.folder / "box").write_bytes(b"" if code == "1" else (transfer.folder / "box").read_bytes())
    done = transfer("export", str(transfer.out / "crew"), CODE=code)
    assert done.returncode == exit_code and "exported" not in done.stdout
    assert list(transfer.out.iterdir()) == []


def test_what_arrives_damaged_leaves_nothing(transfer):
    whole = (transfer.folder / "box").read_bytes()
    for data, word in ((whole[:700], "cut short"), (whole.replace(b"blue", b"cyan"), "crew.json was changed")):
        (transfer.folder / "box").write_bytes(data)
        done = transfer("export", str(transfer.out / "crew"))
        assert done.returncode == 1 and word in done.stderr and len(done.stderr.splitlines()) == 2, done.stderr
        assert list(transfer.out.iterdir()) == []


def test_an_export_that_is_interrupted_leaves_nothing(transfer):
    command = [sys.executable, "-m", "inventory.crew_transfer", "export", str(transfer.out / "crew")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | {"SLOW": "1"}, **pipes) as process:
        waits = transfer.folder / "waits"
        wait_for("the box to be slow", lambda: None if waits.exists() else "not yet", 30, every=0.05)
        assert [one.name.endswith(".part") for one in transfer.out.iterdir()] == [True]
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.communicate(timeout=30)
    assert process.returncode == 130 and time.monotonic() - began < 20
    assert list(transfer.out.iterdir()) == []


def test_a_full_disk_is_said_and_leaves_nothing(transfer):
    # The largest file that this process may write.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        code = transfer.main("export", str(transfer.out / "crew"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert code == 1 and "File too large" in transfer.said().err
    assert list(transfer.out.iterdir()) == []


def test_an_export_refuses_before_it_connects(transfer):
    (transfer.out / "full").mkdir()
    (transfer.out / "full/mine").write_text("mine")
    (transfer.out / "file").write_text("mine")
    (transfer.out / "link").symlink_to(transfer.out / "nowhere")
    for name, word in (("full", "not empty"), ("file", "no folder"), ("link", "no folder"), ("no/crew", "no folder")):
        done = transfer("export", str(transfer.out / name))
        assert done.returncode == 4 and word in done.stderr and "DIR=" in done.stderr, done.stderr
    assert (transfer.out / "full/mine").read_text() == "mine"
    assert "crew export" not in (transfer.folder / "calls").read_text()


def test_the_folder_arrives_whole_with_the_crew_to_have(transfer):
    done = transfer("import", str(transfer.crew))
    assert done.returncode == 0, done.stderr
    line, tar = (transfer.folder / "got").read_bytes().split(b"\n", 1)
    assert json.loads(line) == {"document": None}
    (got := transfer.out / "got").mkdir()
    crew_folder.unpack(io.BytesIO(tar), got)
    assert crew_folder.check(got) == crew_folder.check(transfer.crew)


def test_an_import_refuses_before_it_connects(transfer):
    (transfer.crew / "crew.json").write_text("{}")
    for folder, word in ((transfer.crew, "crew.json was changed"), (transfer.out, "manifest.json is missing")):
        done = transfer("import", str(folder))
        assert done.returncode == 4 and word in done.stderr and "nothing was imported" in done.stderr, done.stderr
    assert transfer("import", str(transfer.out / "none")).returncode == 4
    assert "make crew-import DIR=" in transfer("import", "").stderr
    assert not (transfer.folder / "got").exists()


def test_a_box_that_wants_none_of_it_has_the_word(transfer):
    # More than fits into a pipe: the box leaves while it is still being sent.
    files = exported_crew.content()
    files["archival/director.jsonl"] *= 5000
    folder = exported_crew.write(transfer.folder / "large", files)
    done = transfer("import", str(folder), CODE="75")
    assert done.returncode == 75 and "nothing was imported: no" in done.stderr and "Traceback" not in done.stderr
    assert transfer("import", str(transfer.crew), READY="255").returncode == 2
    assert "make deploy" in transfer("import", str(transfer.crew), READY="1").stderr


def test_an_undo_needs_no_folder(transfer):
    done = transfer("undo", "")
    assert done.returncode == 0 and "no unfinished import" in done.stdout, done.stderr
    assert "crew import --undo" in (transfer.folder / "calls").read_text()
