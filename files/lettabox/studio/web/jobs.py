"""Jobs: what clients want rendered. The queue itself is lettabox.studio.jobs."""

import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from lettabox.studio import job
from lettabox.studio.jobs import KeyReused
from lettabox.studio.web.listing import addresses, iso
from lettabox.studio.web.models import NewJob
from lettabox.studio.web.problem import Problem, not_found
from lettabox.studio.web.route import Call
from lettabox.studio.web.studio import Studio

KEY = "Idempotency-Key"
KEY_LIMIT = 200  # characters


async def list_jobs(studio: Studio, call: Call) -> web.StreamResponse:
    asked = call.query
    try:
        found, following = await studio.jobs.list(asked.state, asked.tag, asked.limit, asked.cursor)
    except ValueError:
        raise Problem(400, "this is no cursor", "give what `next` said, or none", "cursor", asked.cursor) from None
    return _json({"jobs": [shape(one) for one in found], "next": following})


async def post_job(studio: Studio, call: Call) -> web.StreamResponse:
    asked: NewJob = call.body
    wanted = job.Wanted(**asked.model_dump() | {"tags": tuple(dict.fromkeys(asked.tags))})
    key = _key(call.request)
    try:
        made = await studio.jobs.submit(wanted, key)
    except KeyReused:
        fix = "send a new key for a new job, or the same body for the same one"
        raise Problem(409, "this key was sent with another body before", fix, KEY, key) from None
    return _json(shape(made), 201, {"Location": f"/jobs/{made.id}"})


async def get_job(studio: Studio, call: Call) -> web.StreamResponse:
    return _json(_there(await studio.jobs.get(call.path["id"]), call))


async def cancel_job(studio: Studio, call: Call) -> web.StreamResponse:
    return _json(_there(await studio.jobs.cancel(call.path["id"]), call))


def shape(one: job.Job) -> dict[str, Any]:
    """As clients see it: models.Job."""
    times = {name: None if (at := getattr(one, name)) is None else iso(at) for name in ("created", "started", "ended")}
    places = addresses(one.video) if one.video else {"url": None, "poster": None}
    return asdict(one) | times | places


def _there(one: job.Job | None, call: Call) -> dict[str, Any]:
    if one is None:
        raise not_found("job", call.path["id"], "GET /jobs says which there are")
    return shape(one)


def _key(request: web.BaseRequest) -> str | None:
    key = request.headers.get(KEY)
    if key is not None and not (0 < len(key) <= KEY_LIMIT and key.isascii() and key.isprintable()):
        raise Problem(
            400, "this is no key", f"send 1..{KEY_LIMIT} printable ASCII characters, such as a UUID", KEY, key
        )
    return key


def _json(told: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    headers = {"Cache-Control": "private, no-store"} | (headers or {})
    return web.Response(body=json.dumps(told).encode(), status=status, content_type="application/json", headers=headers)
