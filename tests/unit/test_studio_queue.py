"""The parts of the render queue that need neither database nor ComfyUI."""

import os
import subprocess
import sys
import threading
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

import av
import psycopg
import pytest
from lettabox import comfyui_api
from lettabox.errors import BUSY, UNHEALTHY, LettaboxError
from lettabox.studio import jobs, migrate
from lettabox.studio.database import _trouble
from lettabox.studio.job import FAILED, QUEUED
from lettabox.studio.worker import output, process, verdict

PREFIX = "video/2026-11/5e1f-1"
NEVER = threading.Event()


def video(file: Path, frames: int = 5) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame(64, 32, "yuv420p")))
        container.mux(stream.encode(None))
    return file


# --- files ----------------------------------------------------------------------------------------------------


def test_a_whole_file_is_measured(tmp_path):
    video(tmp_path / f"{PREFIX}_00001_.mp4")
    made = output.look(tmp_path, f"{PREFIX}_00001_.mp4", PREFIX, time.time(), NEVER)
    assert (made.below, made.frames, made.width, made.height) == (f"{PREFIX}_00001_.mp4", 5, 64, 32)
    assert made.bytes == (tmp_path / made.below).stat().st_size
    assert output.whole(tmp_path, PREFIX, time.time(), NEVER) == made


def test_files_that_are_no_video_of_the_attempt(tmp_path):
    began = time.time()
    good = video(tmp_path / f"{PREFIX}_00001_.mp4")
    half = good.with_name(f"{good.name[:-9]}2_.mp4")
    half.write_bytes(good.read_bytes()[:48])
    late = good.with_name("5e1f-1_00003_.mp4")
    late.write_bytes(good.read_bytes()[:-20])
    text = good.with_name("5e1f-1_00004_.webm")
    text.write_text("no video")
    old = good.with_name("5e1f-1_00005_.mp4")
    old.write_bytes(good.read_bytes())
    os.utime(old, (began - 60, began - 60))
    link = good.with_name("5e1f-1_00006_.mp4")
    link.symlink_to(good)
    other = video(tmp_path / "video/2026-11/5e1f-10_00001_.mp4")
    for file, why in (
        (half, "cut off|has no"),
        (late, "not whole|decoded"),
        (text, "decoded"),
        (old, "older"),
        (link, "no file of this attempt"),
        (other, "no file of this attempt"),
    ):
        with pytest.raises(output.Unfit, match=why):
            output.look(tmp_path, str(file.relative_to(tmp_path)), PREFIX, began, NEVER)
    with pytest.raises(output.Unfit, match="no file of this attempt"):
        output.look(tmp_path, f"{PREFIX}_/../../../x.mp4", PREFIX, began, NEVER)
    with pytest.raises(output.Vanished):
        output.look(tmp_path, f"{PREFIX}_00009_.mp4", PREFIX, began, NEVER)
    # All are removed but those of attempt 10; what a link leads to stays.
    assert output.whole(tmp_path, PREFIX, began, NEVER).below == f"{PREFIX}_00001_.mp4"
    assert len(output.remove(tmp_path, PREFIX)) == 6
    assert list(good.parent.iterdir()) == [other]
    assert output.whole(tmp_path, PREFIX, began, NEVER) is None and output.remove(tmp_path / "no", PREFIX) == []


def test_looking_at_a_file_can_be_stopped(tmp_path):
    video(tmp_path / f"{PREFIX}_00001_.mp4")
    stop = threading.Event()
    stop.set()
    with pytest.raises(output.Stopped):
        output.look(tmp_path, f"{PREFIX}_00001_.mp4", PREFIX, time.time(), stop)


# --- whose fault it was ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exception", "error", "outcome"),
    [
        ("torch.OutOfMemoryError", "Allocation on device 0 would exceed allowed memory", verdict.OOM),
        ("torch.cuda.OutOfMemoryError", "CUDA out of memory. Tried to allocate 2 GiB", verdict.OOM),
        ("MemoryError", "", verdict.OOM),
        ("RuntimeError", "CUDA error: an illegal memory access was encountered", verdict.CUDA),
        ("torch.AcceleratorError", "unspecified launch failure", verdict.CUDA),
        ("RuntimeError", "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", verdict.CUDA),
        ("OSError", "[Errno 28] No space left on device", verdict.DISK),
        ("ValueError", "width must be even", verdict.ERROR),
        ("", "", verdict.ERROR),
    ],
)
def test_reports_of_failed_jobs(exception, error, outcome):
    assert verdict.of_failure(exception, error) == outcome


def test_what_follows_from_an_attempt():
    assert verdict.follows(verdict.REFUSED, "no such width", [], 3) == (FAILED, "no such width")
    assert verdict.follows(verdict.ERROR, "bad", [verdict.LOST], 3) == (FAILED, "bad")
    assert verdict.follows(verdict.OOM, "full", [verdict.OOM], 3) == (QUEUED, "full")
    assert verdict.follows(verdict.OOM, "full", [verdict.HANG, verdict.LOST], 3) == (QUEUED, "full")
    state, told = verdict.follows(verdict.OOM, "full", [verdict.OOM, verdict.HANG], 3)
    assert state == FAILED and told.startswith("full\n") and "3 times" in told
    # Deaths around a job are no failures of it, but they end, too.
    assert verdict.follows(verdict.LOST, "gone", [verdict.LOST] * 8 + [verdict.OOM] * 2, 3)[0] == QUEUED
    assert verdict.follows(verdict.LOST, "gone", [verdict.ABANDONED] * 9, 3)[0] == FAILED
    # A box without its models says nothing about the job.
    assert verdict.follows(verdict.UNREADY, "no model", [verdict.UNREADY] * 50, 3)[0] == QUEUED


def test_a_box_rests_longer_after_each_failure():
    assert [verdict.rest(number) for number in (0, 1, 2, 3, 4)] == [0, 0, 2, 4, 8]
    assert verdict.rest(2000) == verdict.LONGEST_REST


def test_missing_files_are_told_from_other_refusals():
    def said(*errors):
        return {"node_errors": {"1": {"errors": list(errors), "class_type": "X"}}}

    model = {"type": "value_not_in_list", "extra_info": {"input_name": "ckpt_name", "received_value": "a.safetensors"}}
    choice = {"type": "value_not_in_list", "extra_info": {"input_name": "device", "received_value": "gpu"}}
    assert comfyui_api.missing_only(said(model, model))
    assert not comfyui_api.missing_only(said(model, choice))
    assert not comfyui_api.missing_only(said(model, {"type": "value_bigger_than_max"}))
    assert not comfyui_api.missing_only({"error": {"type": "missing_node_type"}, "node_errors": {}})


# --- one at a time ---------------------------------------------------------------------------------------------


def test_a_folder_has_one_worker_until_its_process_dies(tmp_path):
    code = f"""
import sys, time
from pathlib import Path
from lettabox.studio.worker import process
with process.alone(Path({str(tmp_path)!r})):
    print("has it", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": "files"}, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout.readline() == "has it\n"
        with pytest.raises(LettaboxError, match="another worker") as refused, process.alone(tmp_path):
            pass
        assert refused.value.code == BUSY
        other.kill()
    with process.alone(tmp_path):
        pass
    with pytest.raises(LettaboxError) as missing, process.alone(tmp_path / "no"):
        pass
    assert missing.value.code == UNHEALTHY


# --- the database, without one -----------------------------------------------------------------------------------


def test_cursors_come_back_as_they_were():
    row = {"created": datetime(2026, 11, 21, 17, 5, 1, 999_999, UTC), "id": uuid.uuid4()}
    cursor = jobs._cursor(row)
    assert cursor.isalnum() or set(cursor) <= set("0123456789abcdef_")
    assert jobs._place(cursor) == row


@pytest.mark.parametrize(
    "cursor", ["", "1", "_", "x_y", "1_z", "-1_" + "0" * 32, "9" * 40 + "_" + "0" * 32, "²_" + "0" * 32]
)
def test_what_is_no_cursor(cursor):
    with pytest.raises(ValueError, match="no cursor"):
        jobs._place(cursor)


def test_which_errors_are_the_databases():
    assert "refused" in _trouble(psycopg.OperationalError("connection\n  refused")).why
    assert "migrate" in str(_trouble(psycopg.errors.UndefinedTable("studio.jobs")))
    assert _trouble(psycopg.errors.CheckViolation("x")) is None and _trouble(None) is None


def test_migrations_are_numbered_without_a_gap():
    names = [step.name for step in migrate.our_steps()]
    assert [int(name.split("_")[0]) for name in names] == list(range(1, len(names) + 1))
    assert migrate.queue_steps()[0].name.startswith("00.00.00_01")
