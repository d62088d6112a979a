"""What a worker writes into the ledger. Each change is one transaction, and only the attempt that the ledger names
may make it.

A call that raised Unavailable may have been done. It may be made again: what was done already is taken as it is.
"""

import secrets
import time
import uuid
from dataclasses import dataclass
from typing import Any

import psycopg
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status

from lettabox.studio import render_queue
from lettabox.studio.database import Database
from lettabox.studio.job import COMPLETED, FAILED, QUEUED, RUNNING, SEEDS
from lettabox.studio.worker import verdict
from lettabox.studio.worker.output import Made

KEPT = 72  # hours that Procrastinate's rows of ended jobs stay
SILENT_WORKER = 86400  # seconds until Procrastinate's row of a worker that was killed goes


@dataclass(frozen=True)
class Attempt:
    """One try to render a job."""

    job: str
    number: int
    prompt_id: str
    prefix: str
    seed: int
    began: float  # by this box's clock
    prompt: str
    width: int | None
    height: int | None
    frames: int | None
    queue_job: int

    def __str__(self) -> str:
        return f"job {self.job}, attempt {self.number}"


@dataclass(frozen=True)
class Box:
    """What the ledger keeps of this box."""

    rest: float  # seconds until it may take a job
    failures: int  # in a row
    broken: str | None  # prompt_id after which ComfyUI needs a restart


_ATTEMPT = """
SELECT attempt.*, job.prompt, job.width AS job_width, job.height AS job_height, job.frames AS job_frames, job.queue_job
FROM studio.attempts AS attempt JOIN studio.jobs AS job ON job.id = attempt.job
"""


class Ledger:
    """`attempts`: how many of a job may fail; `lost_after`: seconds without a sign after which a box is given up."""

    def __init__(self, database: Database, box: str, attempts: int, lost_after: float) -> None:
        self._database = database
        self._box = box
        self._attempts = attempts
        self._lost_after = lost_after
        self._worker: int | None = None  # Procrastinate's id of this process

    async def beat(self, comfyui: bool, problem: str, job: str | None) -> Box:
        """Give a sign of life, and what the box does."""
        async with self._database.transaction() as connection:
            asked = await connection.execute(
                "INSERT INTO studio.boxes AS box (name, seen, comfyui, problem, job)"
                " VALUES (%s, clock_timestamp(), %s, %s, %s)"
                " ON CONFLICT (name) DO UPDATE SET seen = clock_timestamp(), comfyui = excluded.comfyui,"
                " problem = excluded.problem, job = excluded.job"
                " RETURNING failures, broken, greatest(0, extract(epoch FROM rest_until - clock_timestamp())) AS rest",
                [self._box, comfyui, problem, job],
            )
            row = await asked.fetchone()
            if self._worker is not None:
                await (await render_queue.within(connection)).update_heartbeat(self._worker)
        return Box(float(row["rest"] or 0), row["failures"], str(row["broken"]) if row["broken"] else None)

    async def mended(self) -> None:
        """ComfyUI was restarted."""
        async with self._database.transaction() as connection:
            await connection.execute("UPDATE studio.boxes SET broken = NULL WHERE name = %s", [self._box])

    # --- a job's way -----------------------------------------------------------------------------------------

    async def take(self) -> Attempt | None:
        """The next job for this box, if there is one: in the ledger it runs from here on."""
        async with self._database.transaction() as connection:
            queue = await render_queue.within(connection)
            if self._worker is None:
                await queue.prune_stalled_workers(SILENT_WORKER)
                self._worker = await queue.register_worker()
            fetched = await queue.fetch_job([render_queue.NAME], self._worker)
            if fetched is None:
                return None
            asked = await connection.execute(
                "UPDATE studio.jobs SET state = %s, box = %s, attempts = attempts + 1, started = clock_timestamp()"
                " WHERE id = %s AND state = %s RETURNING id, attempts, seed",
                [RUNNING, self._box, fetched.task_kwargs["job"], QUEUED],
            )
            row = await asked.fetchone()
            if row is None:  # somebody has changed the tables by hand
                await render_queue.end(connection, fetched.id)
                return None
            id, number = str(row["id"]), row["attempts"]
            await connection.execute(
                "INSERT INTO studio.attempts (job, number, box, prompt_id, prefix, seed, began)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)",
                [
                    id,
                    number,
                    self._box,
                    uuid.uuid4(),
                    f"video/{time.strftime('%Y-%m', time.gmtime())}/{id}-{number}",
                    secrets.randbelow(SEEDS) if row["seed"] is None else row["seed"],
                    time.time(),
                ],
            )
            return await self._one(connection, "WHERE attempt.job = %s AND attempt.number = %s", [id, number])

    async def current(self) -> Attempt | None:
        """What runs on this box by the ledger: what a worker was doing when it died, or did not see the end of."""
        where = "WHERE job.state = %s AND job.box = %s AND attempt.number = job.attempts"
        async with self._database.transaction() as connection:
            return await self._one(connection, where, [RUNNING, self._box])

    async def is_current(self, attempt: Attempt) -> bool:
        """Whether it is still this attempt that may complete the job."""
        async with self._database.transaction() as connection:
            return await _state(connection, attempt) is None

    async def complete(self, attempt: Attempt, made: Made) -> bool:
        """Record the job's video; whether this attempt was the one that might."""
        async with self._database.transaction() as connection:
            state = await _state(connection, attempt)
            if state is not None:
                return state == verdict.COMPLETED
            if not await _ended(connection, attempt, Status.SUCCEEDED):
                return False
            done = await connection.execute(
                "UPDATE studio.jobs SET state = %s, ended = clock_timestamp(), video = %s, error = ''"
                " WHERE id = %s AND attempts = %s AND state = %s",
                [COMPLETED, f"{self._box}/{made.below}", attempt.job, attempt.number, RUNNING],
            )
            if done.rowcount != 1:
                await connection.rollback()
                return False
            await connection.execute(
                "UPDATE studio.attempts SET outcome = %s, ended = clock_timestamp(), tidy = true,"
                " bytes = %s, frames = %s, width = %s, height = %s WHERE job = %s AND number = %s",
                [verdict.COMPLETED, made.bytes, made.frames, made.width, made.height, attempt.job, attempt.number],
            )
            await connection.execute(
                "UPDATE studio.boxes SET failures = 0, rest_until = NULL WHERE name = %s", [self._box]
            )
            return True

    async def fail(self, attempt: Attempt, outcome: str, error: str) -> str:
        """Record how an attempt came to nothing; what the job is then: queued, failed, or superseded."""
        async with self._database.transaction() as connection:
            if (state := await _state(connection, attempt)) is not None and state != outcome:
                return verdict.SUPERSEDED
            if state is None:
                if not await self._went_on(connection, attempt, outcome, error):
                    return verdict.SUPERSEDED
                await self._box_failed(connection, attempt, outcome)
            asked = await connection.execute("SELECT state FROM studio.jobs WHERE id = %s", [attempt.job])
            return (await asked.fetchone())["state"]

    async def _went_on(self, connection: Any, attempt: Attempt, outcome: str, error: str) -> bool:
        """Whether the job was this attempt's, and is failed or back in the queue now."""
        asked = await connection.execute(
            "SELECT outcome FROM studio.attempts WHERE job = %s AND number < %s", [attempt.job, attempt.number]
        )
        before = [row["outcome"] for row in await asked.fetchall()]
        state, told = verdict.follows(outcome, error, before, self._attempts)
        failed = state == FAILED
        if not await (_ended(connection, attempt, Status.FAILED) if failed else _put_back(connection, attempt)):
            return False
        done = await connection.execute(
            "UPDATE studio.jobs SET state = %s, error = %s, ended = CASE WHEN %s THEN clock_timestamp() END,"
            " box = CASE WHEN %s THEN box END WHERE id = %s AND attempts = %s AND state = %s",
            [state, told, failed, failed, attempt.job, attempt.number, RUNNING],
        )
        if done.rowcount != 1:
            await connection.rollback()
            return False
        await connection.execute(
            "UPDATE studio.attempts SET outcome = %s, error = %s, ended = clock_timestamp()"
            " WHERE job = %s AND number = %s",
            [outcome, error, attempt.job, attempt.number],
        )
        return True

    async def _box_failed(self, connection: Any, attempt: Attempt, outcome: str) -> None:
        if outcome not in verdict.OF_BOX:
            return
        asked = await connection.execute(
            "UPDATE studio.boxes SET failures = failures + 1, broken = CASE WHEN %s THEN %s::uuid ELSE broken END"
            " WHERE name = %s RETURNING failures",
            [outcome == verdict.CUDA, attempt.prompt_id, self._box],
        )
        if (row := await asked.fetchone()) is not None:
            await connection.execute(
                "UPDATE studio.boxes SET rest_until = clock_timestamp() + make_interval(secs => %s) WHERE name = %s",
                [verdict.rest(row["failures"]), self._box],
            )

    # --- what is left to tidy up -----------------------------------------------------------------------------

    async def untidy(self) -> list[Attempt]:
        """Attempts of this box that came to nothing: ComfyUI may still run them, and their files may be there."""
        where = "WHERE attempt.box = %s AND NOT attempt.tidy AND NOT (job.state = %s AND attempt.number = job.attempts)"
        async with self._database.transaction() as connection:
            asked = await connection.execute(_ATTEMPT + where, [self._box, RUNNING])
            return [_attempt(row) for row in await asked.fetchall()]

    async def tidied(self, attempt: Attempt) -> None:
        async with self._database.transaction() as connection:
            # The one without an outcome is that of a job that was cancelled.
            await connection.execute(
                "UPDATE studio.attempts SET tidy = true, outcome = coalesce(outcome, %s),"
                " ended = coalesce(ended, clock_timestamp()) WHERE job = %s AND number = %s",
                [verdict.CANCELLED, attempt.job, attempt.number],
            )

    # --- other boxes, and housekeeping -------------------------------------------------------------------------

    async def give_up_lost(self) -> list[str]:
        """Take the jobs of boxes that have given no sign for long, for others to render; a line for each."""
        silent = "box.seen < clock_timestamp() - make_interval(secs => %s)"
        query = f"""{_ATTEMPT} JOIN studio.boxes AS box ON box.name = job.box
            WHERE job.state = %s AND attempt.number = job.attempts AND job.box <> %s AND {silent}"""
        async with self._database.transaction() as connection:
            asked = await connection.execute(query, [RUNNING, self._box, self._lost_after])
            found = [(row["box"], _attempt(row)) for row in await asked.fetchall()]
        lines = []
        for box, attempt in found:
            error = f"box {box} has given no sign of life for {self._lost_after:g} s"
            async with self._database.transaction() as connection:
                if await _state(connection, attempt) is not None:
                    continue
                if not await self._went_on(connection, attempt, verdict.ABANDONED, error):
                    continue
                # Looked at again, and last, where it can no longer change: the box may be coming back just now.
                asked = await connection.execute(
                    f"SELECT 1 FROM studio.boxes AS box WHERE name = %s AND {silent} FOR UPDATE",
                    [box, self._lost_after],
                )
                if await asked.fetchone() is None:
                    await connection.rollback()
                    continue
            lines.append(f"{attempt}: {error}")
        return lines

    async def forget_old(self) -> None:
        """Delete Procrastinate's rows of jobs that ended days ago; the ledger keeps its own."""
        async with self._database.transaction() as connection:
            await (await render_queue.within(connection)).delete_old_jobs(
                KEPT, render_queue.NAME, include_failed=True, include_cancelled=True, include_aborted=True
            )

    async def leave(self) -> None:
        """Take leave of Procrastinate."""
        if self._worker is not None:
            async with self._database.transaction() as connection:
                await (await render_queue.within(connection)).unregister_worker(self._worker)

    async def _one(self, connection: Any, where: str, values: list[Any]) -> Attempt | None:
        row = await (await connection.execute(_ATTEMPT + where, values)).fetchone()
        return _attempt(row) if row else None


def _attempt(row: dict[str, Any]) -> Attempt:
    return Attempt(
        job=str(row["job"]),
        number=row["number"],
        prompt_id=str(row["prompt_id"]),
        prefix=row["prefix"],
        seed=row["seed"],
        began=row["began"],
        prompt=row["prompt"],
        width=row["job_width"],
        height=row["job_height"],
        frames=row["job_frames"],
        queue_job=row["queue_job"],
    )


async def _state(connection: Any, attempt: Attempt) -> str | None:
    """None while the job is this attempt's, else its outcome, or that it was superseded."""
    asked = await connection.execute(
        "SELECT attempt.outcome, job.state, job.attempts FROM studio.attempts AS attempt"
        " JOIN studio.jobs AS job ON job.id = attempt.job WHERE attempt.job = %s AND attempt.number = %s",
        [attempt.job, attempt.number],
    )
    row = await asked.fetchone()
    if row is None:
        return verdict.SUPERSEDED
    if row["outcome"] is None and row["state"] == RUNNING and row["attempts"] == attempt.number:
        return None
    return row["outcome"] or verdict.SUPERSEDED


# Procrastinate's row is changed first, as everywhere: two that need both never wait for each other. It says whether
# somebody has it, not who: the ledger's row, changed after it, names the attempt.


async def _ended(connection: Any, attempt: Attempt, status: Status) -> bool:
    return await _moved(connection, render_queue.end(connection, attempt.queue_job, status))


async def _put_back(connection: Any, attempt: Attempt) -> bool:
    return await _moved(connection, render_queue.put_back(connection, attempt.queue_job))


async def _moved(connection: Any, change: Any) -> bool:
    """Whether Procrastinate had the job as one that is worked on; if not, the transaction is rolled back."""
    try:
        await change
    except ConnectorException as error:
        if not isinstance(error.__cause__, psycopg.errors.RaiseException):
            raise
        await connection.rollback()
        return False
    return True
