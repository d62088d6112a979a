"""What clients do with jobs: ask for a video, look, cancel. Each call is one transaction on the ledger."""

import uuid
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from procrastinate.exceptions import ConnectorException

from lettabox.errors import USAGE, LettaboxError
from lettabox.studio import render_queue
from lettabox.studio.database import Database, Unavailable
from lettabox.studio.job import CANCELLED, ENDED, QUEUED, RUNNING, STATES, BoxSeen, Job, Wanted

__all__ = ["Jobs", "KeyReused", "Unavailable"]

LAST = 10  # renders whose median says how long the next one takes
MOST = 500  # jobs a call of `list` gives
TRIES = 5  # a job that is taken by a worker at the very moment is looked at again

# A job with what is computed of it: its place among those that wait, and how long the last ones of its size took.
# Each of the two looks at nothing for a job in another state, because that is said within it.
_SELECT = """
SELECT job.*, attempt.seed AS seed_used, line.position, usual.seconds AS expected
FROM studio.jobs AS job
LEFT JOIN studio.attempts AS attempt ON attempt.job = job.id AND attempt.number = job.attempts
LEFT JOIN LATERAL (
    SELECT 1 + count(*) AS position FROM studio.jobs AS other
    WHERE job.state = 'queued' AND other.state = 'queued'
      AND (other.priority > job.priority OR (other.priority = job.priority AND other.queue_job < job.queue_job))
) AS line ON true
LEFT JOIN LATERAL (
    SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended - started)) AS seconds
    FROM (
        SELECT ended, started FROM studio.jobs AS before
        WHERE job.state = 'running' AND before.state = 'completed'
          AND before.width IS NOT DISTINCT FROM job.width
          AND before.height IS NOT DISTINCT FROM job.height
          AND before.frames IS NOT DISTINCT FROM job.frames
        ORDER BY ended DESC LIMIT %(last)s
    ) AS last
) AS usual ON true
{where}
"""

# The same for jobs that have ended, of which neither is asked.
_SELECT_ENDED = """
SELECT job.*, attempt.seed AS seed_used, NULL AS position, NULL AS expected
FROM studio.jobs AS job
LEFT JOIN studio.attempts AS attempt ON attempt.job = job.id AND attempt.number = job.attempts
"""

_INSERT = """
INSERT INTO studio.jobs (id, key, queue_job, prompt, seed, width, height, frames, tags, priority)
VALUES (%(id)s, %(key)s, %(queue_job)s, %(prompt)s, %(seed)s, %(width)s, %(height)s, %(frames)s, %(tags)s, %(priority)s)
"""


class KeyReused(LettaboxError):
    """An Idempotency-Key that was used for another request."""

    def __init__(self, key: str) -> None:
        super().__init__(f"studio: the key {key!r} was used for another job; use a fresh one for this job", USAGE)


class Jobs:
    """The ledger, as the studio's clients see it. Every call ends within 10 s and raises Unavailable if it must."""

    def __init__(self) -> None:
        self._database = Database()

    async def open(self) -> None:
        """Begin to connect; works, too, while the database is away."""
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def submit(self, wanted: Wanted, key: str | None = None) -> Job:
        """Queue a job; with a key that was used for the same request before, return that one's job.

        Raises KeyReused where that request was another one.
        """
        id = str(uuid.uuid4())
        async with self._database.transaction() as connection:
            if key is not None:
                # Two requests with one key at a time: the second waits here for the first.
                await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"studio {key}"])
                asked = await connection.execute("SELECT * FROM studio.jobs WHERE key = %s", [key])
                if (before := await asked.fetchone()) is not None:
                    if _wanted(before) != wanted:
                        raise KeyReused(key)
                    return _job(await self._row(connection, str(before["id"])))
            number = await render_queue.put(connection, id, wanted.priority)
            values = asdict(wanted) | {"id": id, "key": key, "queue_job": number, "tags": list(wanted.tags)}
            await connection.execute(_INSERT, values)
            return _job(await self._row(connection, id))

    async def get(self, id: str) -> Job | None:
        """The job of an id; None where there is none, or that is no UUID."""
        if not _is_uuid(id):
            return None
        async with self._database.transaction() as connection:
            row = await self._row(connection, id)
        return _job(row) if row else None

    async def list(
        self, state: str | None = None, tag: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[Job], str | None]:
        """(Jobs, the newest first, and where the next ones begin if there are more).

        Raises ValueError for a cursor that is none, and for an unknown state.
        """
        if state is not None and state not in STATES:
            raise ValueError(f"{state!r} is none of {', '.join(STATES)}")
        limit = max(1, min(limit, MOST))
        clauses, values = [], {"last": LAST, "limit": limit + 1}
        for clause, name, value in (
            ("job.state = %(state)s", "state", state),
            ("job.tags @> ARRAY[%(tag)s]", "tag", tag),
            ("(job.created, job.id) < (%(created)s, %(id)s)", "cursor", cursor),
        ):
            if value is not None:
                clauses.append(clause)
                values |= _place(value) if name == "cursor" else {name: value}
        where = f"WHERE {' AND '.join(clauses)} " if clauses else ""
        query = _SELECT.format(where=f"{where}ORDER BY job.created DESC, job.id DESC LIMIT %(limit)s")
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(query, values)).fetchall()
        more = len(rows) > limit
        rows = rows[:limit]
        return [_job(row) for row in rows], _cursor(rows[-1]) if more else None

    async def cancel(self, id: str) -> Job | None:
        """Take a job out of the queue, or away from its worker, which then stops it; one that ended stays as it is.

        The state is cancelled at once. A worker that completes the job at this moment either was first, or throws its
        file away.
        """
        if not _is_uuid(id):
            return None
        for _ in range(TRIES):
            async with self._database.transaction() as connection:
                row = await self._row(connection, id)
                if row is None or row["state"] in ENDED or await _cancelled(connection, row):
                    return _job(await self._row(connection, id)) if row else None
                await connection.rollback()
        raise Unavailable(f"job {id} changed its state {TRIES} times while it was cancelled", "cancel it again")

    async def counts(self) -> dict[str, int]:
        """How many jobs are in each state."""
        async with self._database.transaction() as connection:
            asked = await connection.execute("SELECT state, count(*) AS number FROM studio.jobs GROUP BY state")
            return dict.fromkeys(STATES, 0) | {row["state"]: row["number"] for row in await asked.fetchall()}

    async def of_videos(self, paths: "list[str]") -> dict[str, Job]:  # quoted: `list` is a method here
        """The jobs that made these videos, by Video.path."""
        async with self._database.transaction() as connection:
            asked = await connection.execute(f"{_SELECT_ENDED} WHERE job.video = ANY(%s)", [paths])
            return {row["video"]: _job(row) for row in await asked.fetchall()}

    async def boxes(self) -> "list[BoxSeen]":
        """What each box's worker last told."""
        query = """
            SELECT box.*, extract(epoch FROM clock_timestamp() - seen) AS age, usual.seconds
            FROM studio.boxes AS box
            LEFT JOIN LATERAL (
                SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM ended - started)) AS seconds
                FROM (
                    SELECT ended, started FROM studio.jobs AS job
                    WHERE job.box = box.name AND state = 'completed' ORDER BY ended DESC LIMIT %(last)s
                ) AS last
            ) AS usual ON true
            ORDER BY name
        """
        async with self._database.transaction() as connection:
            rows = await (await connection.execute(query, {"last": LAST})).fetchall()
        return [
            BoxSeen(
                name=row["name"],
                seen=row["seen"].timestamp(),
                age=float(row["age"]),
                comfyui=row["comfyui"],
                problem=row["problem"],
                job=str(row["job"]) if row["job"] else None,
                seconds=row["seconds"],
            )
            for row in rows
        ]

    async def _row(self, connection: Any, id: str) -> dict[str, Any] | None:
        query = _SELECT.format(where="WHERE job.id = %(id)s")
        return await (await connection.execute(query, {"last": LAST, "id": id})).fetchone()


async def _cancelled(connection: Any, row: dict[str, Any]) -> bool:
    """Whether the job still was in the state of this row, and is cancelled now.

    Procrastinate's row first, as everywhere: two that need both never wait for each other.
    """
    queue = await render_queue.within(connection)
    # For a running job this wakes its worker.
    await queue.cancel_job_by_id_async(row["queue_job"], abort=row["state"] == RUNNING)
    if row["state"] == RUNNING:
        try:
            await render_queue.end(connection, row["queue_job"])
        except ConnectorException:
            return False  # the worker was first
    done = await connection.execute(
        "UPDATE studio.jobs SET state = %s, ended = clock_timestamp() WHERE id = %s AND state = %s AND attempts = %s",
        [CANCELLED, row["id"], row["state"], row["attempts"]],
    )
    return done.rowcount == 1


def _job(row: dict[str, Any]) -> Job:
    return Job(
        id=str(row["id"]),
        state=row["state"],
        prompt=row["prompt"],
        seed=row["seed"],
        seed_used=row["seed_used"],
        width=row["width"],
        height=row["height"],
        frames=row["frames"],
        tags=tuple(row["tags"]),
        priority=row["priority"],
        created=row["created"].timestamp(),
        started=row["started"].timestamp() if row["started"] else None,
        ended=row["ended"].timestamp() if row["ended"] else None,
        box=row["box"],
        attempts=row["attempts"],
        video=row["video"],
        error=row["error"],
        position=row["position"] if row["state"] == QUEUED else None,
        expected=row["expected"],
    )


def _wanted(row: dict[str, Any]) -> Wanted:
    names = ("prompt", "seed", "width", "height", "frames", "priority")
    return Wanted(**{name: row[name] for name in names}, tags=tuple(row["tags"]))


def _is_uuid(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text.lower()
    except (ValueError, AttributeError):
        return False


def _cursor(row: dict[str, Any]) -> str:
    """The place of a job among all, in letters that need no quoting in a URL."""
    since = row["created"] - datetime(1970, 1, 1, tzinfo=UTC)
    return f"{(since.days * 86400 + since.seconds) * 1_000_000 + since.microseconds}_{row['id'].hex}"


def _place(cursor: str) -> dict[str, Any]:
    number, _, id = cursor.partition("_")
    try:
        if not number.isascii() or not number.isdigit():
            raise ValueError
        seconds, microseconds = divmod(int(number), 1_000_000)
        created = datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)
        return {"created": created, "id": uuid.UUID(hex=id)}
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{cursor[:80]!r} is no cursor; take the one that the last answer gave") from None
