"""How an attempt ended, whose fault that was, and what follows from it."""

from dataclasses import dataclass

from lettabox.studio.job import FAILED, QUEUED
from lettabox.studio.worker.output import Made

COMPLETED = "completed"
CANCELLED = "cancelled"
SUPERSEDED = "superseded"  # the ledger has gone on without it

# The job's own fault: it would end so anywhere.
REFUSED, ERROR = "refused", "error"
# The box's, and perhaps the job's: it is tried again, some times.
OOM, CUDA, HANG, DISK, INTERRUPTED, VANISHED, BROKEN = (
    "oom",
    "cuda",
    "hang",
    "disk",
    "interrupted",
    "vanished",
    "broken",
)
# ComfyUI or the box died: the job is more likely the victim than the cause.
LOST, ABANDONED = "lost", "abandoned"
# The box could not: models are still downloaded, or ComfyUI is busy with what others asked it for.
UNREADY = "unready"

OF_JOB = (REFUSED, ERROR)
COUNTED = (OOM, CUDA, HANG, DISK, INTERRUPTED, VANISHED, BROKEN)
DEATHS = (LOST, ABANDONED)
OF_BOX = (OOM, CUDA, HANG, DISK, BROKEN, LOST, UNREADY)  # after which it takes its time
MOST_DEATHS = 10
LONGEST_REST = 300  # seconds


@dataclass(frozen=True)
class Verdict:
    outcome: str
    error: str = ""
    made: Made | None = None  # of a completed one


def of_failure(exception: str, error: str) -> str:
    """What ComfyUI's report of a failed job means."""
    said = f"{exception} {error}".lower()
    if "outofmemory" in said or "out of memory" in said or exception == "MemoryError":
        return OOM
    if "acceleratorerror" in said or "cuda error" in said or "cudnn" in said or "cublas" in said:
        return CUDA
    if "no space left" in said or "disk quota" in said:
        return DISK
    return ERROR


def follows(outcome: str, error: str, before: list[str], most: int) -> tuple[str, str]:
    """(State of the job, what is told of it) after an attempt that did not complete it.

    `before` has the outcomes of the attempts before, `most` is how many may fail.
    """
    if outcome in OF_JOB:
        return FAILED, error
    outcomes = [*before, outcome]
    failures = sum(one in COUNTED for one in outcomes)
    deaths = sum(one in DEATHS for one in outcomes)
    if outcome in COUNTED and failures >= most:
        return FAILED, f"{error}\n  it failed {failures} times, and is not tried again"
    if outcome in DEATHS and deaths >= MOST_DEATHS:
        return FAILED, f"{error}\n  ComfyUI or its box died {deaths} times in it, and it is not tried again"
    return QUEUED, error


def rest(failures: int) -> float:
    """Seconds that a box takes no job after so many failures in a row: the first may be the job's."""
    return 0 if failures < 2 else min(LONGEST_REST, 2.0 ** min(failures - 1, 10))
