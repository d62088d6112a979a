"""The studio's service on a free port, in a thread of the test's own process, and how tests talk to it."""

import asyncio
import http.client
import json
import random
import socket
import threading
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lettabox.studio.config import Box, Config
from lettabox.studio.job import CANCELLED, COMPLETED, ENDED, QUEUED, STATES, BoxSeen, Job, Wanted
from lettabox.studio.jobs import KeyReused, Unavailable
from lettabox.studio.web import studio as studio_
from lettabox.studio.web.server import Running

TOKEN = "the-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PATIENCE = 30  # seconds


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """What a refusal says."""
        assert set(self.json) == {"error"}
        return self.json["error"]


@dataclass
class MemoryJobs:
    """Jobs without a database. `away`: it does not answer."""

    made: dict[str, Job] = field(default_factory=dict)
    keys: dict[str, tuple[Wanted, str]] = field(default_factory=dict)
    seen: list[BoxSeen] = field(default_factory=list)
    away: bool = False
    asked: int = 0  # how often it was asked which jobs made videos

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def submit(self, wanted: Wanted, key: str | None = None) -> Job:
        self._there()
        if key in self.keys:
            before, id = self.keys[key]
            if before != wanted:
                raise KeyReused(key)
            return self.made[id]
        id = str(uuid.uuid4())
        told = {name: getattr(wanted, name) for name in ("width", "height", "frames", "tags", "priority", "seed")}
        job = Job(
            id=id, state=QUEUED, prompt=wanted.prompt, seed_used=None, created=time.time(), started=None, ended=None,
            box=None, attempts=0, video=None, error="", position=1, expected=None, **told,
        )  # fmt: skip
        self.made[id] = job
        if key is not None:
            self.keys[key] = wanted, id
        return job

    async def get(self, id: str) -> Job | None:
        self._there()
        return self.made.get(id)

    async def list(
        self, state: str | None = None, tag: str | None = None, limit: int = 50, cursor: str | None = None
    ) -> tuple[list[Job], str | None]:
        self._there()
        start = int(cursor or 0)
        found = [job for job in reversed(self.made.values()) if state in (None, job.state)]
        found = [job for job in found if tag is None or tag in job.tags]
        end = start + limit
        return found[start:end], str(end) if len(found) > end else None

    async def cancel(self, id: str) -> Job | None:
        self._there()
        job = self.made.get(id)
        if job and job.state not in ENDED:
            job = self.made[id] = replace(job, state=CANCELLED, ended=time.time(), position=None)
        return job

    async def counts(self) -> dict[str, int]:
        self._there()
        return {state: sum(job.state == state for job in self.made.values()) for state in STATES}

    async def of_videos(self, paths: Iterable[str]) -> dict[str, Job]:
        self.asked += 1
        self._there()
        by_video = {job.video: job for job in self.made.values() if job.video}
        return {path: by_video[path] for path in paths if path in by_video}

    async def boxes(self) -> "list[BoxSeen]":
        self._there()
        return self.seen

    def completed(self, video: str, **told: Any) -> Job:
        """A job that has made a video."""
        job = asyncio.run(self.submit(Wanted("a fox", tags=("fox",))))
        known = {"state": COMPLETED, "started": job.created, "ended": job.created + 9, "position": None, "box": "one"}
        job = self.made[job.id] = replace(job, **known | {"video": video, "seed_used": 7} | told)
        return job

    def _there(self) -> None:
        if self.away:
            raise Unavailable("no connection")


class Service:
    """Runs from `with` to its end; a context of its own loop in a thread."""

    host = "127.0.0.1"  # where it listens

    def __init__(self, boxes: dict[str, Box], jobs: MemoryJobs | None = None, **told: Any) -> None:
        """Without jobs it is the file service of a box."""
        self.config = Config(box="one", boxes=boxes, **told)
        self.jobs = jobs
        self.port = 0

    def __enter__(self) -> "Service":
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    async def _run(self, ready: threading.Event) -> None:
        self.loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self.studio = studio_.make(self.config, TOKEN, self.jobs, None)
        self.running = running = Running(self.studio, only_files=self.jobs is None)
        listening = socket.create_server((self.host, self.port))
        self.port = listening.getsockname()[1]
        await running.start([listening])
        ready.set()
        await self._stop.wait()
        await running.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """As somebody who has the token and sends JSON."""
        text = None if body is None else json.dumps(body)
        return self.call("POST", path, text, BEARER | {"Content-Type": "application/json"} | headers)

    def call(self, method: str, path: str, body: str | bytes | None = None, headers: Any = None) -> Answer:
        """One request; the path goes out as it is. `_` in the names of headers stands for `-`."""
        named = {name.replace("_", "-"): value for name, value in (headers or {}).items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.putrequest(method, path, skip_host="Host" in named, skip_accept_encoding=True)
            if body is not None:
                body = body.encode() if isinstance(body, str) else body
                named.setdefault("Content-Length", str(len(body)))
            for name, value in named.items():
                connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def raw(self, sent: bytes) -> bytes:
        """All that comes back for these bytes, until the service hangs up."""
        with self.connected() as one:
            one.sendall(sent)
            return b"".join(iter(lambda: one.recv(65536), b""))

    def connected(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), PATIENCE)


def folder(path: Path) -> dict[str, Box]:
    """One box that has its output here."""
    path.mkdir(exist_ok=True)
    return {"one": Box(path)}


def padded(clip: Path, path: Path, size: int, seed: int = 0) -> bytes:
    """A copy of a clip with a part behind its end that players skip, of `size` random bytes; its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = random.Random(seed).randbytes(size)
    data = clip.read_bytes() + (size + 8).to_bytes(4, "big") + b"free" + noise
    path.write_bytes(data)
    return data
