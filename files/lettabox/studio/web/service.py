"""The way of a request: is it for us, which route is it, may it, is it valid; then its handler, and the answer."""

import asyncio
import json
import logging
import time
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from pydantic import BaseModel, ValidationError

from lettabox.studio.jobs import Unavailable
from lettabox.studio.web import auth, metrics, models, openapi
from lettabox.studio.web.problem import Problem, invalid, unavailable
from lettabox.studio.web.route import OPEN, WRITE, Call, Route, Table
from lettabox.studio.web.streamed import STALL, Streamed
from lettabox.studio.web.studio import Studio

log = logging.getLogger("lettabox.studio")

BODY_LIMIT = 64 * 1024  # bytes
BODY_TIME = 10.0  # seconds
ALWAYS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Server": "lettabox",
}


class Service:
    def __init__(self, studio: Studio, routes: tuple[Route, ...]) -> None:
        self._studio, self._table = studio, Table(routes)
        studio.described = json.dumps(openapi.describe(routes, studio.config.read_token))

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer, to the end. Raises ConnectionError where the client has gone."""
        began = time.monotonic()
        route: Route | None = None
        answer: web.StreamResponse | None = None
        status = metrics.GONE
        try:
            try:
                path, query = _target(request)
                self._studio.door.check_host(request)
                route, parameters = self._table.find(request.method, path)
                answer = await self._answer(route, parameters, query, request)
            except Problem as problem:
                answer = problem.answer()
                self._note(request, problem.status, problem.problem)
            except Unavailable as error:
                problem = unavailable(f"the database does not answer: {error.why}", "ask again later")
                answer = problem.answer()
                self._note(request, problem.status, problem.problem)
            except (ConnectionError, asyncio.CancelledError):
                raise
            except Exception as error:
                log.exception("%s %.200a", request.method, request.path)
                problem = Problem(
                    500, f"the studio failed: {type(error).__name__}", "look at its log: `make studio-logs`"
                )
                answer = problem.answer()
            answer.headers.update(ALWAYS)
            await self._send(answer, request)
            status = answer.status
            return answer
        finally:
            if isinstance(answer, Streamed):
                answer.close()
            method = request.method if route else "any"
            name = route.path if route else metrics.NO_ROUTE
            self._studio.metrics.done(method, name, status, time.monotonic() - began)

    async def _answer(
        self, route: Route, parameters: dict[str, str], query: str, request: web.BaseRequest
    ) -> web.StreamResponse:
        trusted = self._allowed(route, request)
        asked = _query(route.query, query)
        body = await _body(route.body, request) if route.body else None
        return await route.handler(self._studio, Call(request, parameters, asked, body, trusted))

    def _allowed(self, route: Route, request: web.BaseRequest) -> bool:
        """Whether the request may read all. Raises Problem where it may not do what it wants."""
        door = self._studio.door
        token = door.trusts(request)
        if route.access == WRITE and not token:
            raise auth.missing()
        reads = token or not self._studio.config.read_token or door.knows(request)
        if not reads and route.access != OPEN:
            raise auth.missing()
        return reads

    async def _send(self, answer: web.StreamResponse, request: web.BaseRequest) -> None:
        try:
            await answer.prepare(request)
            if isinstance(answer, Streamed) and request.method != "HEAD" and answer.status not in (204, 304):
                await answer.send(request)
            async with asyncio.timeout(STALL):
                await answer.write_eof()
        except (ConnectionError, TimeoutError) as error:
            if isinstance(error, ConnectionAbortedError):
                # It was not the client that ended it.
                log.warning("%s %.200a: broken off: %s", request.method, request.path, error)
            if request.transport is not None:
                # Else what is buffered would still be sent, to a client that does not take it, or takes it for all.
                request.transport.abort()
            raise ConnectionResetError(str(error)) from None

    @staticmethod
    def _note(request: web.BaseRequest, status: int, problem: str) -> None:
        if status >= 500:
            log.warning("%s %.200a: %s: %s", request.method, request.path, status, problem)


def _target(request: web.BaseRequest) -> tuple[str, str]:
    """(Path without escapes, query). Raises Problem where that is no text."""
    raw, _, query = request.raw_path.partition("?")
    try:
        raw.encode()
        query.encode()
        path = unquote(raw, errors="strict")
    except UnicodeError:
        raise Problem(400, "the address is not UTF-8", "write it in UTF-8, percent-encoded", "path", raw) from None
    if not path.startswith("/") or "\0" in path:
        raise Problem(400, "this is no path of a service", "ask for /path?query", "path", raw)
    return path, query


def _query(model: type[BaseModel], text: str) -> BaseModel:
    """Raises Problem for what the route does not know. An empty value is as good as none, as forms send it."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=50)
    except (ValueError, UnicodeError):
        raise Problem(400, "the query cannot be read", "write name=value&name=value in UTF-8", "query", text) from None
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise Problem(400, "it is there more than once", "give it once", twice, dict(pairs)[twice])
    try:
        return model.model_validate({name: value for name, value in pairs if value or name not in model.model_fields})
    except ValidationError as error:
        raise invalid(400, "query", error, models.fixes(model)) from None


async def _body(model: type[BaseModel], request: web.BaseRequest) -> BaseModel:
    if request.content_type != "application/json":
        fix = "send JSON with the header Content-Type: application/json"
        raise Problem(415, "the body is not said to be JSON", fix, "Content-Type", request.content_type)
    try:
        async with asyncio.timeout(BODY_TIME):
            body = await _read(request)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {BODY_TIME:g} s", "send it at once", "body") from None
    except web.RequestPayloadError:
        raise Problem(400, "the body broke off", "send all of it", "body") from None
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        if error.errors()[0]["type"] == "json_invalid":
            problem = f"the body is no JSON: {error.errors()[0]['ctx']['error']}"
            raise Problem(400, problem, "send one JSON object", "body") from None
        raise invalid(422, "body", error, models.fixes(model)) from None


async def _read(request: web.BaseRequest) -> bytes:
    too_big = Problem(413, "the body is too big", f"send at most {BODY_LIMIT} bytes", "body")
    if (request.content_length or 0) > BODY_LIMIT:
        raise too_big
    if request.headers.get("Expect", "").lower() == "100-continue":
        # aiohttp does this in its own dispatch only; until then curl holds a bigger body back.
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    body = bytearray()
    async for piece in request.content.iter_any():
        body += piece
        if len(body) > BODY_LIMIT:
            raise too_big
    return bytes(body)
