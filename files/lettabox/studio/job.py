"""A video that somebody wants, and how far it is."""

from dataclasses import dataclass

QUEUED, RUNNING, COMPLETED, FAILED, CANCELLED = STATES = ("queued", "running", "completed", "failed", "cancelled")
SEEDS = 2**53  # beyond it, numbers of JSON are not exact in browsers, which the gallery runs in
ENDED = (COMPLETED, FAILED, CANCELLED)


@dataclass(frozen=True)
class Wanted:
    """What a client asks for; None: as the workflow has it, and for the seed a fresh one."""

    prompt: str
    seed: int | None = None
    width: int | None = None  # pixels
    height: int | None = None
    frames: int | None = None
    tags: tuple[str, ...] = ()
    priority: int = 0  # higher ones are rendered first


@dataclass(frozen=True)
class Job:
    """One row of the ledger. Times are seconds since 1970."""

    id: str  # a UUID
    state: str  # one of STATES
    prompt: str
    seed: int | None  # the one asked for
    seed_used: int | None  # the one of the last attempt
    width: int | None
    height: int | None
    frames: int | None
    tags: tuple[str, ...]
    priority: int
    created: float
    started: float | None  # of the last attempt
    ended: float | None
    box: str | None  # which renders or rendered it
    attempts: int
    video: str | None  # Video.path of the file, once completed
    error: str  # why it failed, or why the last attempt was lost
    position: int | None  # in the queue from 1, while queued
    expected: float | None  # seconds a render takes by those before it, while running


@dataclass(frozen=True)
class BoxSeen:
    """What a box's worker last told."""

    name: str
    seen: float  # when, seconds since 1970
    age: float  # seconds since then, by the database's clock
    comfyui: bool  # it takes jobs
    problem: str  # why it does not; "" where it does
    job: str | None  # what it renders
    seconds: float | None  # that its last renders took, the median
