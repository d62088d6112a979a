"""One GPU box and its queue: what ends, hangs, is refused or cancelled, and what becomes of the job."""

import asyncio
import subprocess
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from lettabox import mp4
from lettabox.errors import LettaboxError
from lettabox.studio import database, migrate
from lettabox.studio.database import Database
from lettabox.studio.job import CANCELLED, COMPLETED, ENDED, FAILED, QUEUED, RUNNING, Job, Wanted
from lettabox.studio.jobs import KeyReused, Unavailable
from lettabox.studio.worker import verdict
from lettabox.studio.worker.ledger import Ledger
from procrastinate.schema import SchemaManager

from tests.lab.conftest import ROOT
from tests.lab.gpu_boxes import GpuBox
from tests.lab.queues import FULL, ask, attempts, job_is, made, ran, ready, seen, submit, until
from tests.lab.submitter import SIZE
from tests.unit.simulator_process import empty_clip

QUICK = 0.4  # seconds of a render


# --- the database ------------------------------------------------------------------------------------------------


@pytest.fixture
def empty(studio_postgres, monkeypatch):
    """A database of its own, without a table."""
    name = f"empty_{uuid.uuid4().hex[:8]}"
    studio_postgres.run(f"CREATE DATABASE {name}")
    monkeypatch.setenv("PGDATABASE", name)
    yield
    studio_postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


def test_migrations_run_once_and_know_a_newer_database(empty):
    with pytest.raises(Unavailable, match="migrate"):
        ask("counts")
    with ThreadPoolExecutor(3) as pool:
        made = sorted(pool.map(lambda _: migrate.migrate(), range(3)), key=len)
    assert made[:2] == [[], []] and made[2][1:] == [f"studio/{step.name}" for step in migrate.our_steps()]
    job = submit("kept")
    assert migrate.migrate() == [] and ask("get", job.id) == job
    with psycopg.connect(autocommit=True) as connection:
        connection.execute("INSERT INTO studio.migrations (part, name) VALUES ('studio', '9999_later.sql')")
    with pytest.raises(LettaboxError, match=r"newer than this release, .* studio/9999_later"):
        migrate.migrate()


def test_a_step_that_fails_leaves_nothing(empty, monkeypatch):
    wrong = migrate.Step(migrate.OURS, "9000_wrong.sql", "CREATE TABLE studio.x (); SELECT 1 / 0")
    steps = [*migrate.our_steps(), wrong]
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "our_steps", lambda: steps)
        with pytest.raises(LettaboxError, match="9000_wrong"):
            migrate.migrate()
    assert migrate.migrate() == []
    with psycopg.connect() as connection:
        assert connection.execute("SELECT to_regclass('studio.x')").fetchone() == (None,)


def test_a_later_release_of_procrastinate_is_migrated(empty, monkeypatch):
    migrate.migrate()
    later = migrate.Step(migrate.QUEUE, "99.00.00_01_later.sql", "ALTER TABLE procrastinate_jobs ADD COLUMN later int")
    steps = [*migrate.queue_steps(), later]
    monkeypatch.setattr(migrate, "queue_steps", lambda: steps)
    assert migrate.migrate() == ["procrastinate/99.00.00_01_later.sql"] and migrate.migrate() == []


def test_tables_of_procrastinate_that_are_not_ours(empty):
    with psycopg.connect(autocommit=True) as connection:
        connection.execute(SchemaManager.get_schema())
    with pytest.raises(LettaboxError, match="no deploy made"):
        migrate.migrate()


def test_old_rows_of_procrastinate_go_and_the_ledger_stays(studio_postgres):
    jobs = [submit(f"old {number}") for number in range(3)]
    for job in jobs[:2]:
        ask("cancel", job.id)
    studio_postgres.run(
        "UPDATE procrastinate_events SET at = now() - interval '80 hours' WHERE job_id ="
        f" (SELECT queue_job FROM studio.jobs WHERE id = '{jobs[0].id}')"
    )

    async def forget():
        ledger = Database()
        await ledger.open()
        await Ledger(ledger, "gpu1", 3, 600).forget_old()
        await ledger.close()

    asyncio.run(forget())
    left = "SELECT job.id::text FROM studio.jobs AS job JOIN procrastinate_jobs AS row ON row.id = job.queue_job"
    there = {id for (id,) in studio_postgres.rows(left)}
    assert jobs[0].id not in there and {jobs[1].id, jobs[2].id} <= there
    assert ask("get", jobs[0].id).state == CANCELLED
    ask("cancel", jobs[2].id)


def test_pages_of_jobs(studio_postgres):
    """Of jobs that come between two pages none is shown, and none of the others is left out or shown twice."""
    tag = f"t{uuid.uuid4().hex[:8]}"
    jobs = [ask("submit", Wanted(f"page {number}", tags=(tag,), **SIZE)) for number in range(5)]
    found, cursor = [], None
    while True:
        page, cursor = ask("list", None, tag, 2, cursor)
        found += [job.id for job in page]
        ask("cancel", ask("submit", Wanted("between", tags=(tag,), **SIZE)).id)
        if cursor is None:
            break
    assert found == [job.id for job in reversed(jobs)]
    for job in jobs:
        ask("cancel", job.id)
    assert {job.id for job in ask("list", CANCELLED, tag, 500)[0]} > set(found)
    assert ask("list", QUEUED, tag) == ([], None)


# --- the box and its render --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def running(studio_postgres, tmp_path_factory):
    box = GpuBox("gpu1", tmp_path_factory.mktemp("faults") / "gpu1", studio_postgres.environment, QUICK)
    yield box.start()
    box.down()


@pytest.fixture
def one(running):
    """A GPU box that is idle and well."""
    running.simulator.switch(render_seconds=QUICK, fault="none")
    ready(running)
    return running


def test_comfyui_restarts_while_it_renders(studio_postgres, one):
    one.simulator.switch(render_seconds=30)
    job = job_is(submit("restart"), RUNNING)
    until("ComfyUI renders it", lambda: ran(one, job))
    one.kill_comfyui()
    one.start_comfyui()
    done = job_is(job, *ENDED)
    assert (done.state, done.attempts) == (COMPLETED, 2)
    assert [outcome for *_, outcome in attempts(studio_postgres, job)] == [verdict.LOST, verdict.COMPLETED]
    (first,), (second,) = studio_postgres.rows("SELECT seed FROM studio.attempts WHERE job = %s", job.id)
    assert first != second


def test_a_worker_that_is_stopped_leaves_the_render_and_finds_it_again(studio_postgres, one):
    one.simulator.switch(render_seconds=2)
    job = job_is(submit("stopped"), RUNNING)
    until("ComfyUI renders it", lambda: ran(one, job))
    began = time.monotonic()
    assert one.stop_worker() == 0
    assert time.monotonic() - began < 5
    assert ask("get", job.id).state == RUNNING
    one.start_worker()
    assert job_is(job, *ENDED).attempts == 1
    assert ran(one, job) == 1


def test_postgres_is_away_at_the_end_of_a_render(studio_postgres, one, monkeypatch):
    monkeypatch.setattr(database, "CONNECT", 1)
    one.simulator.switch(render_seconds=0.8)
    job = job_is(submit("away"), RUNNING)
    until("ComfyUI renders it", lambda: ran(one, job))
    studio_postgres.kill()
    with pytest.raises(Unavailable):
        ask("get", job.id)
    until("the file is whole", lambda: made(one, job) and not mp4.problem(made(one, job)[0]))
    studio_postgres.start()
    studio_postgres.up()
    assert job_is(job, *ENDED).attempts == 1
    assert ran(one, job) == 1


def test_postgres_that_does_not_answer_is_unavailable_in_time(studio_postgres, monkeypatch):
    monkeypatch.setattr(database, "CONNECT", 1)
    studio_postgres.pause()
    began = time.monotonic()
    try:
        with pytest.raises(Unavailable):
            ask("counts")
    finally:
        studio_postgres.unpause()
    assert time.monotonic() - began < 10


def test_only_one_worker_renders_on_a_box(one):
    second = subprocess.run(one.command, cwd=ROOT, env=one.environment, capture_output=True, text=True, timeout=60)
    assert second.returncode == 75 and "another worker" in second.stderr, second


# --- jobs and boxes that fail ----------------------------------------------------------------------------------------


def test_cancel_in_every_state(studio_postgres, one):
    one.simulator.switch(render_seconds=60)
    running = job_is(submit("running"), RUNNING)
    until("ComfyUI renders it", lambda: ran(one, running))
    prompt_id, _ = one.ran()[-1]
    queued = submit("queued")
    assert queued.position == 1
    assert ask("cancel", queued.id).state == CANCELLED
    assert ask("cancel", running.id).state == CANCELLED
    until("ComfyUI has stopped", lambda: one.simulator.job(prompt_id)["status"] == "cancelled", 20)
    one.simulator.switch(render_seconds=QUICK)
    after = job_is(submit("after"), *ENDED)
    assert after.state == COMPLETED
    assert ask("cancel", after.id).state == COMPLETED
    assert ask("cancel", str(uuid.uuid4())) is None and ask("cancel", "nonsense") is None
    assert not attempts(studio_postgres, queued)
    assert attempts(studio_postgres, running) == [(1, one.name, verdict.CANCELLED)]
    assert not made(one, queued) and not made(one, running) and not ran(one, queued)


def test_cancel_while_the_worker_is_dead_and_the_file_is_made(studio_postgres, one):
    job = job_is(submit("dead worker"), RUNNING)
    until("ComfyUI renders it", lambda: ran(one, job))
    one.kill_worker()
    until("the file is whole", lambda: made(one, job) and not mp4.problem(made(one, job)[0]))
    assert ask("cancel", job.id).state == CANCELLED
    one.start_worker()
    until("it is removed", lambda: not made(one, job))
    assert ask("get", job.id).state == CANCELLED


def test_a_cancel_and_a_completion_have_one_winner(studio_postgres, one):
    one.simulator.switch(render_seconds=0)
    winners = Counter()
    for number in range(40 if FULL else 4):
        job = job_is(submit(f"race {number}"), RUNNING, COMPLETED)
        time.sleep(number % 4 * 0.07)
        said = ask("cancel", job.id).state
        until("it is tidy", lambda: not studio_postgres.rows("SELECT 1 FROM studio.attempts WHERE NOT tidy"))
        assert ask("get", job.id).state == said
        assert len(made(one, job)) == (said == COMPLETED)
        winners[said] += 1
    print(dict(winners))


def test_keys_and_seeds(studio_postgres, one):
    asked = Wanted("a seed", seed=7, tags=("a", "b"), **SIZE)
    first, second = ask("submit", asked, "key"), ask("submit", asked, "key")
    assert first.id == second.id
    with pytest.raises(KeyReused):
        ask("submit", Wanted("a seed", seed=8, **SIZE), "key")
    with ThreadPoolExecutor(4) as pool:
        at_once = pool.map(lambda _: ask("submit", Wanted("at once", **SIZE), "another key").id, range(4))
    assert len(set(at_once)) == 1
    # The same prompt with the same seed: ComfyUI has all of it in its cache, and must write a file all the same.
    third = ask("submit", asked)
    assert third.id != first.id
    done = [job_is(job, *ENDED) for job in (first, third)]
    assert [(job.state, job.seed_used, job.attempts) for job in done] == [(COMPLETED, 7, 1)] * 2
    assert len({job.video for job in done}) == 2
    found = ask("of_videos", [job.video for job in done] + ["gpu1/no.mp4"])
    assert {path: job.id for path, job in found.items()} == {job.video: job.id for job in done}


def test_a_file_that_vanished_is_made_again(studio_postgres, one):
    job = job_is(submit("vanishes", seed=11), RUNNING)
    until("ComfyUI renders it", lambda: ran(one, job))
    one.kill_worker()
    until("ComfyUI has made it", lambda: any(entry["status"]["completed"] for entry in history(one, job)))
    made(one, job)[0].unlink()
    one.start_worker()
    done = job_is(job, *ENDED)
    assert (done.state, done.attempts, done.seed_used) == (COMPLETED, 2, 11)
    assert [outcome for *_, outcome in attempts(studio_postgres, job)] == [verdict.VANISHED, verdict.COMPLETED]
    assert [f"{one.name}/{file.relative_to(one.output)}" for file in made(one, job)] == [done.video]


def history(box: GpuBox, job: Job) -> list[dict]:
    told = box.simulator.call("GET", "/history").json.values()
    return [entry for entry in told if f"/{job.id}-" in str(entry["prompt"][2])]


def test_a_file_that_outlived_comfyui_is_taken(studio_postgres, one):
    job = job_is(submit("outlives"), RUNNING)
    until("ComfyUI renders it", lambda: ran(one, job))
    one.kill_worker()
    until("the file is whole", lambda: made(one, job) and not mp4.problem(made(one, job)[0]))
    one.kill_comfyui()
    one.start_comfyui()
    one.start_worker()
    done = job_is(job, *ENDED)
    assert (done.state, done.attempts, ran(one, job)) == (COMPLETED, 1, 1)
    assert len(made(one, job)) == 1


def test_a_refused_workflow_fails_at_once(studio_postgres, one):
    job = job_is(submit("refused", width=20000), *ENDED)
    assert (job.state, job.attempts) == (FAILED, 1)
    assert "width" in job.error and "16384" in job.error, job.error
    # What the job cannot help is the box's: models that are still to come.
    model = one.folder / "models/checkpoints/lab.safetensors"
    model.rename(model.with_suffix(".later"))
    job = submit("no model")
    until("the box says so", lambda: "lab.safetensors" in ask("get", job.id).error)
    model.with_suffix(".later").rename(model)
    assert job_is(job, *ENDED).state == COMPLETED


def test_out_of_memory_is_freed_and_tried_again(studio_postgres, one):
    one.simulator.switch(fault="oom")
    job = job_is(submit("big"), *ENDED)
    assert [outcome for *_, outcome in attempts(studio_postgres, job)] == [verdict.OOM, verdict.COMPLETED]


def test_a_broken_gpu_takes_no_jobs_until_comfyui_is_restarted(studio_postgres, one):
    one.simulator.switch(fault="cuda")
    job = submit("cuda")
    until("the box says so", lambda: "needs a restart" in seen(one).problem)
    assert [outcome for *_, outcome in attempts(studio_postgres, job)] == [verdict.CUDA]
    one.kill_worker()
    one.start_worker()
    until("it still says so", lambda: seen(one).age < 1 and "needs a restart" in seen(one).problem)
    one.kill_comfyui()
    one.start_comfyui()
    assert job_is(job, *ENDED).state == COMPLETED
    assert ran(one, job) == 2


@pytest.mark.skipif(not FULL, reason="three restarts; the rules are a unit test's")
def test_a_gpu_that_fails_again_and_again_gives_the_job_up_and_rests(studio_postgres, one):
    one.simulator.switch(fault="cuda")
    job = submit("doomed")
    for failures in range(1, 4):
        until(
            "it fails",
            lambda ended=failures: (
                [outcome for *_, outcome in attempts(studio_postgres, job)] == [verdict.CUDA] * ended
            ),
        )
        one.kill_comfyui()
        one.start_comfyui("cuda" if failures < 3 else "none")
    done = job_is(job, *ENDED)
    assert (done.state, done.attempts, made(one, job)) == (FAILED, 3, [])
    assert "CUDA error" in done.error and "failed 3 times" in done.error
    until("the box rests", lambda: "takes no job for" in seen(one).problem)


@pytest.fixture(scope="module")
def impatient(running):
    """The box with a worker that gives up a render after a second; the last tests use it."""
    running.stop_worker()
    running.tell(render_timeout=1)
    running.start_worker()
    return running


@pytest.mark.parametrize("fault", ["hang", "partial"] if FULL else ["partial"])
def test_a_render_that_hangs_is_given_up(studio_postgres, impatient, one, fault):
    one.simulator.switch(fault=fault)
    job = submit(fault)
    until("it is given up", lambda: attempts(studio_postgres, job)[:1] == [(1, one.name, verdict.HANG)])
    assert ask("get", job.id).state == QUEUED
    one.kill_comfyui()
    one.start_comfyui()
    assert job_is(job, *ENDED).state == COMPLETED
    assert len(made(one, job)) == 1


def test_what_others_ask_comfyui_for_is_no_fault_of_a_job(studio_postgres, impatient, one):
    one.simulator.switch(render_seconds=600)
    theirs = one.simulator.submit(empty_clip())
    one.simulator.running(theirs)
    job = submit("behind them")
    until("it goes back", lambda: (1, one.name, verdict.UNREADY) in attempts(studio_postgres, job))
    assert "behind what others asked" in ask("get", job.id).error
    one.simulator.switch(render_seconds=0)
    assert job_is(job, *ENDED).state == COMPLETED
    assert ran(one, job) == 1
    assert one.simulator.job(theirs)["status"] == "completed"
