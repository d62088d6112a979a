"""Whose turn it is: Procrastinate's jobs, one for each job of the ledger.

Used below its Worker, by its JobManager: what that fetches, ends and puts back is part of the very transaction that
changes the ledger, so that the two always say the same. (The Worker commits them apart, ends where Postgres is
away, and ends its job where it is stopped; a render goes on in ComfyUI through all of that.)
"""

import contextlib
from datetime import UTC, datetime

import psycopg
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from psycopg_pool import AsyncConnectionPool

NAME = "render"  # of the queue, and of the one task in it
ERRORS = (ConnectorException, psycopg.Error, OSError)  # of listening, which ends with the connection


class _OneConnection:
    """A pool of the connection that a transaction is open on."""

    def __init__(self, connection: psycopg.AsyncConnection) -> None:
        self._connection = connection

    def connection(self) -> contextlib.nullcontext:
        return contextlib.nullcontext(self._connection)


async def within(connection: psycopg.AsyncConnection) -> JobManager:
    """Procrastinate's jobs, changed in the transaction of this connection."""
    connector = PsycopgConnector()
    await connector.open_async(_OneConnection(connection))
    return JobManager(connector)


async def listening(pool: AsyncConnectionPool) -> JobManager:
    """For `listen_for_jobs`, which makes a connection of its own as the pool would."""
    connector = PsycopgConnector()
    await connector.open_async(pool)
    return JobManager(connector)


async def put(connection: psycopg.AsyncConnection, job: str, priority: int) -> int:
    """Put a job of the ledger into the queue; Procrastinate's id of it."""
    wanted = Job(
        id=None,
        queue=NAME,
        lock=None,
        queueing_lock=None,
        task_name=NAME,
        task_kwargs={"job": job},
        priority=priority,
    )
    put_ = await (await within(connection)).defer_job_async(wanted, connection=connection)
    assert put_.id is not None
    return put_.id


async def end(connection: psycopg.AsyncConnection, number: int, status: Status = Status.ABORTED) -> None:
    """End a job that a worker has. Raises procrastinate's ConnectorException where it has ended already."""
    manager = await within(connection)
    await manager.finish_job_by_id_async(job_id=number, status=status, delete_job=False)


async def put_back(connection: psycopg.AsyncConnection, number: int) -> None:
    """Let another worker have a job. Raises procrastinate's ConnectorException where nobody has it."""
    manager = await within(connection)
    # Long ago by any clock: this box's may be ahead of the database's.
    await manager.retry_job_by_id_async(job_id=number, retry_at=datetime.fromtimestamp(0, UTC))
