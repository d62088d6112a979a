"""The box side of the lock: who has it is believed while it is held, and only then."""

import fcntl
import subprocess
import sys

import pytest
from lettabox import lock, paths
from lettabox.errors import BUSY, LettaboxError

TOLD = "token=abc\nuser=anna\nhost=laptop\npid=4711\ndoing=deploy of /x\naddress=\nholder=17\nbegan=0\nsince=today\n"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "RUN", tmp_path / "lettabox")
    monkeypatch.setattr(lock, "WAIT", 1)
    monkeypatch.delenv("LETTABOX_DEPLOY", raising=False)
    paths.RUN.mkdir()
    return paths.RUN


def free(run, name="deploy.lock"):
    return subprocess.run(["flock", "-n", run / name, "true"]).returncode == 0


@pytest.fixture
def deploying(run):
    """The lock is held by another process, a deploy of anna."""
    (run / "deploy").write_text(TOLD)
    hold = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, run / "deploy.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        yield run
        other.kill()


def test_it_is_held_during_the_block_and_free_after(run):
    with lock.held("outer"), lock.held("inner"):
        assert not free(run) and "doing=outer\n" in (run / "deploy").read_text()
    assert free(run) and (run / "deploy").read_text() == ""
    with pytest.raises(ZeroDivisionError), lock.held("failing"):
        raise ZeroDivisionError
    assert free(run)


def test_a_record_without_the_lock_means_nothing(run):
    (run / "deploy").write_text(TOLD)
    with lock.held("mine"):
        assert "anna" not in (run / "deploy").read_text()


def test_somebody_else_is_named(deploying):
    with pytest.raises(LettaboxError) as error, lock.held("mine"):
        pytest.fail("it went on")
    assert error.value.code == BUSY
    for told in ("anna on laptop", "process 4711", "deploy of /x", "sudo kill 17"):
        assert told in str(error.value)
    assert (deploying / "deploy").read_text() == TOLD


def test_a_deploys_own_verbs_are_part_of_it(deploying, monkeypatch):
    monkeypatch.setenv("LETTABOX_DEPLOY", "abc")
    with lock.held("mine"):
        assert (deploying / "deploy").read_text() == TOLD
    assert not free(deploying)


def test_a_deploy_that_lost_the_lock_begins_nothing(run, monkeypatch):
    (run / "deploy").write_text(TOLD)
    monkeypatch.setenv("LETTABOX_DEPLOY", "of somebody who had it before")
    with pytest.raises(LettaboxError, match="no longer has the lock"), lock.held("mine"):
        pytest.fail("it went on")


def test_what_a_dead_deploy_left_running_is_waited_for(run, monkeypatch):
    monkeypatch.setattr(lock, "WORK", 1)
    with (run / "work.lock").open("w") as work:
        fcntl.flock(work, fcntl.LOCK_SH)
        with pytest.raises(LettaboxError, match="left running has not ended"), lock.held("mine"):
            pytest.fail("it went on")
    with lock.held("mine"):
        assert free(run, "work.lock"), "one's own work must be able to hold it"
