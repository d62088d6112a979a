"""What tests of the render queue ask and wait for."""

import asyncio
import os
from collections import Counter
from pathlib import Path

from lettabox import mp4
from lettabox.studio.job import COMPLETED, BoxSeen, Job, Wanted
from lettabox.studio.jobs import Jobs
from lettabox.studio.worker import verdict

from tests.lab.gpu_boxes import GpuBox, Postgres
from tests.lab.submitter import SIZE
from tests.lab.waiting import wait_for

SCALE = int(os.environ.get("LETTABOX_TEST_SCALE") or 1)
FULL = SCALE > 1
LIMIT = 300 if FULL else 120  # seconds to wait for anything; far more than it takes


def ask_all(method: str, calls: list[tuple]) -> list:
    """The answers of Jobs to several calls of one kind."""

    async def call():
        jobs = Jobs()
        await jobs.open()
        try:
            return [await getattr(jobs, method)(*values) for values in calls]
        finally:
            await jobs.close()

    return asyncio.run(call())


def ask(method: str, *values: object):
    """A call of Jobs."""
    return ask_all(method, [values])[0]


def submit(prompt: str, **told: object) -> Job:
    return ask("submit", Wanted(prompt, **SIZE | told))


def until(what: str, true, seconds: float = LIMIT) -> None:
    wait_for(what, lambda: None if true() else "not yet", seconds, every=0.05)


def job_is(job: Job, *states: str) -> Job:
    """The job, as soon as it is in one of these states."""
    until(f"job {job.id} is {states}", lambda: ask("get", job.id).state in states)
    return ask("get", job.id)


def seen(box: GpuBox) -> BoxSeen:
    return next(one for one in ask("boxes") if one.name == box.name)


def ready(*boxes: GpuBox) -> None:
    until("all boxes take jobs", lambda: {one.name for one in ask("boxes") if one.comfyui} >= {b.name for b in boxes})


def attempts(postgres: Postgres, job: Job) -> list[tuple]:
    """(Number, box, outcome) of each attempt."""
    asked = "SELECT number, box, outcome FROM studio.attempts WHERE job = %s ORDER BY number"
    return postgres.rows(asked, job.id)


def exactly_once(postgres: Postgres, jobs: list[Job], boxes: list[GpuBox]) -> Counter:
    """Each job has its one whole file, and nothing else is there, neither on disk nor in the queue; the outcomes."""
    until("all is tidy", lambda: not postgres.rows("SELECT 1 FROM studio.attempts WHERE NOT tidy"))
    files = {f"{box.name}/{file.relative_to(box.output)}": file for box in boxes for file in box.files()}
    now = ask_all("get", [(job.id,) for job in jobs])
    assert [job.state for job in now] == [COMPLETED] * len(jobs), [(job.id, job.state, job.error) for job in now]
    assert sorted(files) == sorted(job.video for job in now)
    assert all(f"/{job.id}-{job.attempts}_" in job.video for job in now)
    assert [mp4.problem(file) for file in files.values()] == [""] * len(jobs)
    # What ComfyUI was told, over all its lives, is what the ledger says it was told; nothing was told twice.
    told = [prompt for box in boxes for prompt, _ in box.ran()]
    rows = postgres.rows("SELECT prompt_id::text, job::text, number, outcome FROM studio.attempts")
    assert max(Counter(told).values()) == 1
    assert set(told) <= {prompt for prompt, *_ in rows}
    last = {job.id: job.attempts for job in now}
    for _, job, number, outcome in rows:
        # A job was only rendered again after an attempt that came to nothing.
        assert (outcome == verdict.COMPLETED) == (number == last[job]), (job, number, outcome)
    assert not postgres.rows("SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing')")
    return Counter(outcome for *_, outcome in rows)


def ran(box: GpuBox, job: Job) -> int:
    """How often its ComfyUI began to render a job."""
    return sum(f"/{job.id}-" in prefix for _, prefix in box.ran())


def made(box: GpuBox, job: Job) -> list[Path]:
    return [file for file in box.files() if file.name.startswith(job.id)]
