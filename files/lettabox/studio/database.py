"""The studio's database: connections with time limits, and one kind of error for "it cannot be reached now".

Where it is and the password come by libpq's own variables (PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD).
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from procrastinate.exceptions import ConnectorException
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from lettabox.errors import UNHEALTHY, LettaboxError

PATIENCE = 10  # seconds that a transaction may take, with getting a connection
CONNECT = 4  # seconds to get a connection
STATEMENT = 8  # seconds a statement may run, in which it may wait 4 s for a lock
GONE = 10  # seconds after which a peer that acknowledges nothing is taken for dead
MIGRATE = "bring its tables up to date: deploy, or as root python -m lettabox.studio migrate"

ARGUMENTS = {
    "connect_timeout": CONNECT,
    "application_name": "lettabox-studio",
    "options": f"-c statement_timeout={STATEMENT}s -c lock_timeout=4s -c idle_in_transaction_session_timeout=15s",
    "keepalives_idle": GONE,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": GONE * 1000,
}
_OTHER_TABLES = (
    psycopg.errors.UndefinedTable,
    psycopg.errors.UndefinedColumn,
    psycopg.errors.UndefinedFunction,
    psycopg.errors.UndefinedObject,
    psycopg.errors.InvalidSchemaName,
)


class Unavailable(LettaboxError):
    """The database cannot be reached, or does not answer in time. What was asked may or may not have been done."""

    def __init__(self, why: str, next_: str = "look whether Postgres runs: sudo lettabox letta status") -> None:
        super().__init__(f"studio: the database cannot be used now: {why}\n  next: {next_}", UNHEALTHY)
        self.why = why


class Database:
    """Transactions on a few connections that are kept. `most`: how many at once."""

    def __init__(self, most: int = 4) -> None:
        self._most = most
        self._pool: AsyncConnectionPool | None = None

    async def open(self) -> None:
        """Begin to connect; whether that works is seen by the first transaction."""
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)  # each transaction says it, with the reason
        self._pool = AsyncConnectionPool(
            kwargs=ARGUMENTS | {"row_factory": dict_row},
            min_size=1,
            max_size=self._most,
            open=False,
            # A restart of Postgres kills what is kept here.
            check=AsyncConnectionPool.check_connection,
            # It waits twice as long after each failure; a short row of them finds Postgres soon after its return.
            reconnect_timeout=3,
        )
        await self._pool.open(wait=False)

    async def close(self) -> None:
        if self._pool:
            await self._pool.close(timeout=CONNECT)

    @property
    def pool(self) -> AsyncConnectionPool:
        """For Procrastinate, which takes a pool as it is. Raises Unavailable before `open`."""
        if self._pool is None:
            raise Unavailable("it was not opened", "report this")
        return self._pool

    @asynccontextmanager
    async def transaction(self, patience: float = PATIENCE) -> AsyncIterator[psycopg.AsyncConnection]:
        """A connection with a transaction that is committed at the end of the block, or rolled back by an exception.

        Rows come as dicts. Raises Unavailable; after that it is not known whether the transaction was committed.
        """
        try:
            async with asyncio.timeout(patience), self.pool.connection(timeout=min(CONNECT, patience)) as connection:
                yield connection
        except TimeoutError:
            raise Unavailable(f"no answer in {patience} s") from None
        except (PoolTimeout, PoolClosed) as error:
            raise Unavailable(f"no connection to it: {error}") from None
        except ConnectorException as error:
            # Procrastinate's name for an error of psycopg.
            if (trouble := _trouble(error.__cause__)) is not None:
                raise trouble from error
            raise
        except (psycopg.Error, OSError) as error:
            if (trouble := _trouble(error)) is not None:
                raise trouble from error
            raise


def _trouble(error: BaseException | None) -> Unavailable | None:
    """What an error says of the database itself; None for one that the caller made."""
    if isinstance(error, _OTHER_TABLES):
        return Unavailable(f"its tables are not those of this release: {_line(error)}", MIGRATE)
    if isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError, OSError)):
        return Unavailable(_line(error))
    return None


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
