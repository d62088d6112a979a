"""The render queue: each wanted video exists exactly once at the end, whatever died meanwhile.

Real Postgres, real workers and what plays the studio, all as processes that are killed with SIGKILL; ComfyUI is played
by the render simulator. LETTABOX_TEST_SCALE=10 kills more often and renders longer; LETTABOX_TEST_SEED repeats a run.
"""

import os
import random
import subprocess
import sys
import time

import psycopg
import pytest
from lettabox import mp4
from lettabox.studio.job import COMPLETED, ENDED, RUNNING, Wanted
from lettabox.studio.worker import verdict

from tests.lab.conftest import ROOT
from tests.lab.gpu_boxes import GpuBox, Postgres
from tests.lab.queues import FULL, LIMIT, ask, ask_all, attempts, exactly_once, job_is, ready, seen, submit, until
from tests.lab.submitter import SIZE, wanted
from tests.lab.waiting import wait_for

KILLS, JOBS, SECONDS = (60, 120, 3.0) if FULL else (6, 6, 0.8)
SHARED = ((2, 40), (4, 40)) if FULL else ((2, 4),)  # (boxes, jobs)
SHARED_SECONDS, LINEAR = (5.0, 0.9) if FULL else (2.0, 0.7)  # of a render; share of linear: 0.5 is one box alone
LOST_AFTER = 1.0  # seconds
OPEN = "SELECT 1 FROM studio.jobs WHERE state IN ('queued', 'running')"


@pytest.fixture
def make(studio_postgres, tmp_path):
    """GPU boxes that end with the test, on an empty ledger."""
    studio_postgres.run("TRUNCATE studio.jobs, studio.attempts, studio.boxes, procrastinate_jobs CASCADE")
    boxes = []

    def box(seconds: float = 1.0, **told: object) -> GpuBox:
        name = f"gpu{len(boxes) + 1}"
        boxes.append(GpuBox(name, tmp_path / name, studio_postgres.environment, seconds, **told))
        return boxes[-1]

    yield box
    for one in boxes:
        one.down()


class Victims:
    """What a kill may hit, and how it comes back."""

    def __init__(self, postgres: Postgres, boxes: list[GpuBox], count: int) -> None:
        self.postgres, self.boxes = postgres, boxes
        self._command = [sys.executable, "-m", "tests.lab.submitter", str(count)]
        self.start_studio()

    def start_studio(self) -> None:
        self.studio = subprocess.Popen(self._command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "files"})

    def kill(self, kind: str, chance: random.Random, longest: float) -> None:
        box = chance.choice(self.boxes)
        boxes = self.boxes if kind == "everything" else [box]
        worker, comfyui = kind in ("worker", "box", "everything"), kind in ("comfyui", "box", "everything")
        if kind in ("postgres", "everything"):
            self.postgres.kill()
        if kind in ("studio", "everything"):
            self.studio.kill()
            self.studio.wait()
        for one in boxes:
            if worker:
                one.kill_worker()
            if comfyui:
                one.kill_comfyui()
        time.sleep(chance.uniform(0, longest))
        if kind in ("postgres", "everything"):
            self.postgres.start()
        if kind in ("studio", "everything"):
            self.start_studio()
        for one in boxes:
            if comfyui:
                one.start_comfyui()
            if worker:
                one.start_worker()


def rendering(postgres: Postgres) -> str:
    """How many boxes render, for whoever reads a run."""
    try:
        return str(len(postgres.rows("SELECT 1 FROM studio.jobs WHERE state = 'running'")))
    except psycopg.OperationalError:
        return "nobody knows how many"  # the death before was Postgres's


def test_deaths_at_random_points(studio_postgres, make):
    seed = int(os.environ.get("LETTABOX_TEST_SEED") or random.randrange(10**6))
    print(f"LETTABOX_TEST_SEED={seed}")
    chance = random.Random(seed)
    boxes = [make(SECONDS, lost_after=8).start() for _ in range(2)]
    ready(*boxes)
    kinds = ["worker", "comfyui", "postgres", "studio", "box", "everything"]
    deaths = [*kinds, *chance.choices(kinds, k=KILLS - len(kinds))]
    chance.shuffle(deaths)
    began = time.monotonic()
    victims = Victims(studio_postgres, boxes, JOBS)
    for kind in deaths:
        time.sleep(chance.uniform(0.1, SECONDS))
        print(f"{time.monotonic() - began:.1f} s: {kind} dies, while {rendering(studio_postgres)} render")
        victims.kill(kind, chance, 2 * SECONDS if FULL else 0.3)
    assert victims.studio.wait(LIMIT) == 0
    studio_postgres.up()
    until("all jobs have ended", lambda: not studio_postgres.rows(OPEN), LIMIT + 10 * JOBS * SECONDS)
    jobs = ask_all("submit", [(wanted(number), f"wanted-{number}") for number in range(JOBS)])
    assert len({job.id for job in jobs}) == JOBS == sum(ask("counts").values())
    outcomes = exactly_once(studio_postgres, jobs, boxes)
    for number, job in enumerate(jobs):
        assert job.seed_used == number if number % 3 == 0 else job.seed is None
    print(f"{len(deaths)} deaths, {JOBS} jobs: {dict(outcomes)}, in {time.monotonic() - began:.0f} s")


def test_a_box_that_is_lost_and_comes_back_too_early(studio_postgres, make):
    """While another one renders its job: its own file is whole by then, and must not count."""
    lost, other = make(0.5, lost_after=LOST_AFTER).start(), make(2.5, lost_after=LOST_AFTER)
    ready(lost)
    job = job_is(submit("lost"), RUNNING)
    until("ComfyUI renders it", lost.ran)
    lost.hold_worker()
    other.start()
    until("the other renders it", other.ran)
    until("the lost box's file", lambda: lost.files() and not mp4.problem(lost.files()[0]))
    lost.release_worker()
    done = job_is(job, *ENDED)
    assert (done.state, done.box, done.attempts) == (COMPLETED, other.name, 2)
    assert [outcome for *_, outcome in attempts(studio_postgres, job)] == [verdict.ABANDONED, verdict.COMPLETED]
    exactly_once(studio_postgres, [job], [lost, other])


def test_a_box_whose_comfyui_stays_dead_gives_its_job_away(studio_postgres, make):
    dead, other = make(5.0, comfyui_away=0.5).start(), make(0.2)
    ready(dead)
    job = job_is(submit("given away"), RUNNING)
    until("ComfyUI renders it", dead.ran)
    dead.kill_comfyui()
    other.start()
    done = job_is(job, *ENDED)
    assert (done.state, done.box) == (COMPLETED, other.name)
    assert "ComfyUI does not" in seen(dead).problem
    more = [submit(f"more {number}") for number in range(2)]
    assert {job_is(one, *ENDED).box for one in more} == {other.name}
    dead.start_comfyui()
    exactly_once(studio_postgres, [job, *more], [dead, other])
    ready(dead)


@pytest.mark.parametrize(("number", "count"), SHARED)
def test_boxes_share_the_queue(studio_postgres, make, number, count):
    seconds = SHARED_SECONDS
    boxes = [make(seconds).start() for _ in range(number)]
    ready(*boxes)
    began = time.monotonic()
    jobs = ask_all("submit", [(Wanted(f"shared {one}", **SIZE),) for one in range(count)])
    wait_for("all are done", lambda: f"{len(left)} left" if (left := studio_postgres.rows(OPEN)) else None, LIMIT)
    took = time.monotonic() - began
    # On a machine with other work the simulator itself takes longer than it was told: few renders are measured by that.
    rendered = count * seconds if FULL else sum(box.rendered() for box in boxes)
    linear = rendered / number / took
    print(f"{number} boxes, {count} jobs of {seconds:g} s: {took:.1f} s, {linear:.3f} of linear throughput")
    exactly_once(studio_postgres, jobs, boxes)
    assert linear >= LINEAR
