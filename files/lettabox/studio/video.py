"""What is known of a video, and of a file that is none yet."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Video:
    """A file below an output folder. What is None is not known."""

    path: str  # <box>/<path below its output folder>; names it in URLs
    name: str  # the file's own name
    box: str
    size: int  # bytes
    time: float  # when it was written, seconds since 1970
    mtime_ns: int
    ready: bool  # it is whole and can be played
    problem: str = ""  # why it is not
    duration: float | None = None  # seconds
    fps: float | None = None
    frames: int | None = None
    width: int | None = None
    height: int | None = None
    audio: bool | None = None
    prompt: str | None = None  # of the workflow in the file's own tags, or of the job
    seed: int | None = None
    job: str | None = None  # id of the job that made it
    tags: tuple[str, ...] = ()  # of the job
