"""Whether the studio can do its work, and what to do where it cannot. Never waits long, whatever hangs."""

import asyncio
import json
from typing import Any

from aiohttp import web

from lettabox.studio.job import BoxSeen
from lettabox.studio.jobs import Unavailable
from lettabox.studio.web.local import Local
from lettabox.studio.web.metrics import KIND
from lettabox.studio.web.problem import Problem
from lettabox.studio.web.remote import Remote
from lettabox.studio.web.route import Call
from lettabox.studio.web.studio import Studio

PATIENCE = 2.0  # seconds, for each part
SILENT = 60.0  # seconds without a sign of life of a worker


async def get_health(studio: Studio, call: Call) -> web.StreamResponse:
    """Who may not read learns only whether it is well."""
    reasons = [*await _libraries(studio), *(await _queue(studio) if studio.jobs else [])]
    told = {"status": "unhealthy" if reasons else "ok", "reasons": reasons if call.trusted else []}
    status = 503 if reasons else 200
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "5"} if reasons else {})
    return web.Response(body=json.dumps(told).encode(), status=status, content_type="application/json", headers=headers)


async def get_metrics(studio: Studio, call: Call) -> web.StreamResponse:
    queue = None
    try:
        async with asyncio.timeout(PATIENCE):
            queue = await studio.jobs.counts() if studio.jobs else {}
            videos = await studio.listing.count()
    except (Unavailable, TimeoutError, Problem):
        videos = studio.listing.last_count()
    boxes = {name: not box.problem for name, box in studio.boxes.items()}
    text = studio.metrics.text(studio.connections, queue, boxes, videos, studio.frames.figures())
    return web.Response(body=text, headers={"Content-Type": KIND, "Cache-Control": "no-store"})


async def get_openapi(studio: Studio, call: Call) -> web.StreamResponse:
    return web.Response(text=studio.described, content_type="application/json")


async def _libraries(studio: Studio) -> list[dict[str, Any]]:
    problems = await asyncio.gather(*(_problem(box) for box in studio.boxes.values()))
    reasons = []
    for (name, box), problem in zip(studio.boxes.items(), problems, strict=True):
        if isinstance(box, Local):
            fix = f"look whether ComfyUI runs on {name}: `make comfyui-status`"
        else:
            fix = f"look whether {name} is on, and at its lettabox-files.service and lettabox-link.service"
        if problem:
            reasons.append(_reason("library", name, problem, fix))
    return reasons


async def _problem(box: Local | Remote) -> str:
    """Why its videos are not seen, looked at now if that is quick."""
    try:
        async with asyncio.timeout(PATIENCE):
            await box.videos(fresh=False)
    except (TimeoutError, Problem):
        return box.problem or "its videos are still being looked at"
    return box.problem


async def _queue(studio: Studio) -> list[dict[str, Any]]:
    try:
        async with asyncio.timeout(PATIENCE):
            seen = {one.name: one for one in await studio.jobs.boxes()}
    except Unavailable as error:
        return [_reason("database", None, error.why, "look whether Postgres runs: sudo lettabox letta status")]
    except TimeoutError:
        problem = f"no answer in {PATIENCE:g} s"
        return [_reason("database", None, problem, "look whether Postgres runs: sudo lettabox letta status")]
    return [reason for name in studio.boxes for reason in _worker(name, seen.get(name))]


def _worker(name: str, seen: BoxSeen | None) -> list[dict[str, Any]]:
    fix = f"look at lettabox-worker.service on {name}: `make worker-logs HOST={name}`"
    if seen is None:
        return [_reason("worker", name, "it was never seen", fix)]
    if seen.age > SILENT:
        return [_reason("worker", name, f"no sign of life for {seen.age:.0f} s", fix)]
    if not seen.comfyui:
        return [_reason("comfyui", name, seen.problem, f"look at ComfyUI on {name}: `make comfyui-status`")]
    return []


def _reason(part: str, box: str | None, problem: str, fix: str) -> dict[str, Any]:
    return {"part": part, "box": box, "problem": problem, "fix": fix}
