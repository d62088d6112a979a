"""The database's tables: Procrastinate's and ours, made and brought up to date in order, one by one.

What was done is recorded in studio.migrations, each step in the transaction that did it: a run that was cut off is
gone on with by the next one.
"""

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import psycopg
from procrastinate.schema import SchemaManager

from lettabox.errors import FAILED, LettaboxError
from lettabox.studio.database import ARGUMENTS, Unavailable

LOCK = 0x1E77AB0C  # of pg_advisory_lock; any number that nobody else takes
WAIT = 60  # seconds for another run to end
STATEMENT = 600  # seconds that a step may take: a big table is rewritten
QUEUE, OURS = "procrastinate", "studio"
WHOLE = "(the whole schema)"

TABLE = """
CREATE SCHEMA IF NOT EXISTS studio;
CREATE TABLE IF NOT EXISTS studio.migrations (
    part text NOT NULL,                     -- procrastinate or studio
    name text NOT NULL,                     -- of the SQL file
    applied timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (part, name)
);
"""


@dataclass(frozen=True)
class Step:
    part: str
    name: str
    text: str


def migrate() -> list[str]:
    """Bring the tables up to date; the steps that were made, none where they were.

    Raises Unavailable, or LettaboxError where the database is of a newer release or a step fails.
    """
    options = f"-c lock_timeout={WAIT}s -c statement_timeout={STATEMENT}s"
    try:
        connection = psycopg.connect(**ARGUMENTS | {"options": options}, autocommit=True)
    except psycopg.Error as error:
        raise Unavailable(" ".join(str(error).split())) from None
    with connection:
        try:
            connection.execute("SELECT pg_advisory_lock(%s)", [LOCK])
        except psycopg.errors.LockNotAvailable:
            raise LettaboxError(
                f"studio: somebody else has been migrating the database for {WAIT} s; wait for that, then try again"
            ) from None
        connection.execute(TABLE)
        return [_make(connection, step) for step in _missing(connection)]


def _missing(connection: psycopg.Connection) -> list[Step]:
    """What is to be done, in order. Raises LettaboxError for a database of a newer release."""
    done = {(part, name) for part, name in connection.execute("SELECT part, name FROM studio.migrations")}
    queue, ours = queue_steps(), our_steps()
    if newer := sorted(done - {(step.part, step.name) for step in queue + ours} - {(QUEUE, WHOLE)}):
        names = ", ".join("/".join(one) for one in newer)
        raise LettaboxError(
            f"studio: the database is newer than this release, which does not know {names}\n"
            "  next: deploy the release that made it, or a later one",
            FAILED,
        )
    missing = [step for step in queue + ours if (step.part, step.name) not in done]
    if any(part == QUEUE for part, _ in done):
        return missing
    (there,) = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
    if there:
        raise LettaboxError(
            "studio: the database has tables of Procrastinate that no deploy made\n"
            "  next: give the studio a database of its own",
            FAILED,
        )
    return [Step(QUEUE, WHOLE, SchemaManager.get_schema()), *ours]


def _make(connection: psycopg.Connection, step: Step) -> str:
    # The whole schema is what all steps so far come to.
    names = [one.name for one in queue_steps()] if step.name == WHOLE else []
    try:
        with connection.transaction():
            connection.execute(step.text)
            for name in [step.name, *names]:
                connection.execute("INSERT INTO studio.migrations (part, name) VALUES (%s, %s)", [step.part, name])
    except psycopg.Error as error:
        raise LettaboxError(
            f"studio: step {step.part}/{step.name} of the database failed, and was taken back: {error}", FAILED
        ) from None
    return f"{step.part}/{step.name}"


def queue_steps() -> list[Step]:
    """Procrastinate's own steps, in its order."""
    files = sorted(Path(SchemaManager.get_migrations_path()).glob("*.sql"))
    return [Step(QUEUE, one.name, one.read_text()) for one in files]


def our_steps() -> list[Step]:
    files = sorted((resources.files("lettabox.studio") / "migrations").iterdir(), key=lambda one: one.name)
    return [Step(OURS, one.name, one.read_text()) for one in files if one.name.endswith(".sql")]
