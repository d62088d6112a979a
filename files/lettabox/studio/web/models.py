"""What requests may hold and what answers do hold: these models validate the first and describe both in /openapi.json.

A field's description ends the sentence "give ...": a refusal says it as the fix.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from lettabox.studio import job

TAG = r"^[a-z0-9][a-z0-9._-]{0,62}$"
UUID = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"
# Postgres keeps no NUL, and no other control character but white space is of use to a text encoder.
PROMPT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"
CURSOR = r"^[A-Za-z0-9_=-]+$"
PAGE = 1000  # entries of one page at most

Limit = Annotated[int, Field(ge=1, le=PAGE, description=f"a number of entries in 1..{PAGE}")]
Cursor = Annotated[str | None, Field(pattern=CURSOR, max_length=1000, description="what `next` said before")]
Tag = Annotated[str, Field(pattern=TAG)]
OneTag = Annotated[str | None, Field(pattern=TAG, description="a tag of a-z 0-9 . _ -, 63 characters at most")]
Size = Annotated[int | None, Field(ge=64, le=4096, multiple_of=64, description="pixels: a multiple of 64 in 64..4096")]
Id = Annotated[str | None, Field(pattern=UUID, description="a job's id as POST /jobs gave it")]
Flag = Annotated[bool, Field(description="1 or 0")]


class Asked(BaseModel):
    """A query or a body: unknown names are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Nothing(Asked):
    """A query that has no parameters."""


class ListVideos(Asked):
    limit: Limit = 50
    cursor: Cursor = None
    tag: OneTag = None
    box: str | None = Field(None, max_length=100, description="the name of a GPU box")
    job: Id = None


class GetVideo(Asked):
    download: Flag = False


class GetFrame(Asked):
    t: float | None = Field(None, ge=0, le=864000, allow_inf_nan=False, description="seconds from the start")
    index: int | None = Field(None, ge=0, le=100_000_000, description="a frame's number from 0")
    at: Literal["first", "middle", "last"] | None = Field(None, description="first, middle or last")
    n: int | None = Field(None, ge=1, le=64, description="a number of evenly spaced frames in 1..64")
    sheet: Flag | None = Field(None, description="1 for all n frames in one image, or 0; only with n")
    part: int | None = Field(None, ge=0, le=63, description="which of the n frames, from 0; only with n")
    format: Literal["jpeg", "webp", "png"] = Field("jpeg", description="jpeg, webp or png")
    width: int | None = Field(None, ge=16, le=4096, description="pixels in 16..4096")
    quality: int | None = Field(None, ge=1, le=100, description="1..100; not for png")

    @model_validator(mode="after")
    def _fits(self) -> "GetFrame":
        given = [name for name in ("t", "index", "at", "n") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other; give one of them")
        if self.n is None and (self.part is not None or self.sheet is not None):
            raise ValueError("part and sheet need n; give n, or leave them out")
        if self.n is not None and self.part is not None and (self.part >= self.n or self.sheet):
            raise ValueError("part is one of 0..n-1 and excludes sheet=1; give one that is, and no sheet")
        if self.n is not None and self.n > 1 and self.part is None and self.sheet is False:
            raise ValueError("several frames are one sheet, or one part of them; give part, or sheet=1")
        return self


class ListJobs(Asked):
    state: Literal[job.STATES] | None = Field(None, description=f"one of {', '.join(job.STATES)}")
    tag: OneTag = None
    limit: int = Field(50, ge=1, le=500, description="a number of entries in 1..500")
    cursor: Cursor = None


class NewJob(Asked):
    model_config = ConfigDict(strict=True)

    prompt: str = Field(min_length=1, max_length=10000, pattern=PROMPT, description="a text of 1..10000 characters")
    seed: int | None = Field(None, ge=0, lt=job.SEEDS, description="a whole number in 0..2^53-1, or nothing")
    width: Size = None
    height: Size = None
    frames: int | None = Field(None, ge=9, le=1025, description="a number of frames 8k+1 in 9..1025: 9, 17, ... 121")
    tags: tuple[Tag, ...] = Field((), max_length=20, description="up to 20 tags of a-z 0-9 . _ -, 63 characters each")
    priority: int = Field(0, ge=-100, le=100, description="a whole number in -100..100; higher ones come first")

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("it is blank")
        return prompt

    @field_validator("frames")
    @classmethod
    def _fits_the_model(cls, frames: int | None) -> int | None:
        if frames is not None and frames % 8 != 1:
            raise ValueError("LTX renders 8k+1 frames")
        return frames


class NewSession(Asked):
    model_config = ConfigDict(strict=True)

    token: str = Field(min_length=1, max_length=1000, description="what `make -s studio-token` prints")


Time = Annotated[str, Field(json_schema_extra={"format": "date-time"}, description="UTC")]


class Video(BaseModel):
    path: str = Field(description="<box>/<path below its output folder>")
    name: str
    box: str
    size: int = Field(description="bytes")
    time: Time = Field(description="when it was written, UTC")
    ready: bool = Field(description="it is whole and can be played")
    problem: str = Field(description="why it is not ready; else empty")
    duration: float | None = Field(description="seconds")
    fps: float | None
    frames: int | None
    width: int | None
    height: int | None
    audio: bool | None
    prompt: str | None
    seed: int | None
    job: str | None = Field(description="id of the job that made it")
    tags: list[str]
    url: str
    poster: str | None = Field(description="an image; null while it is not ready")


class Videos(BaseModel):
    videos: list[Video]
    next: str | None = Field(description="cursor of the next page; null: this is the last one")
    unreachable: list[str] = Field(description="boxes that do not answer; their videos are listed as last known")


class Job(BaseModel):
    id: str
    state: Literal[job.STATES]
    prompt: str
    seed: int | None = Field(description="the one asked for; null: a fresh one for each attempt")
    seed_used: int | None = Field(description="the one of the last attempt")
    width: int | None
    height: int | None
    frames: int | None
    tags: list[str]
    priority: int
    created: Time
    started: Time | None
    ended: Time | None
    box: str | None
    attempts: int
    video: str | None = Field(description="path of the video, once completed")
    error: str = Field(description="why it failed, or why the last attempt was lost; else empty")
    position: int | None = Field(description="in the queue from 1, while queued")
    expected: float | None = Field(description="seconds a render takes by those before it, while running")
    url: str | None = Field(description="of the video, once completed")
    poster: str | None


class Jobs(BaseModel):
    jobs: list[Job]
    next: str | None


class Wrong(BaseModel):
    field: str | None
    value: str | None = Field(description="what was given, cut to 100 characters")
    problem: str
    fix: str


class Error(BaseModel):
    error: Wrong


class Reason(BaseModel):
    part: str = Field(description="database, or a box's worker, comfyui or library")
    box: str | None
    problem: str
    fix: str


class Health(BaseModel):
    status: Literal["ok", "unhealthy"]
    reasons: list[Reason] = Field(description="empty for those without the token where reads need one")


def fixes(model: type[BaseModel]) -> dict[str, str]:
    """{field: what to give}."""
    return {name: f"give {one.description}" for name, one in model.model_fields.items()}
