"""Why a request was not done, in the one form that clients get: {"error": {field, value, problem, fix}}."""

import json
from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import ValidationError

SHOWN = 100  # characters of a refused value


class Problem(Exception):
    """`field` names what was wrong in the request; None where it was not the request."""

    def __init__(
        self,
        status: int,
        problem: str,
        fix: str,
        field: str | None = None,
        value: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.field = field
        self.value = value if value is None else _shown(value)
        self.problem = problem
        self.fix = fix
        self.headers = headers or {}

    def answer(self) -> web.Response:
        told = {"field": self.field, "value": self.value, "problem": self.problem, "fix": self.fix}
        body = json.dumps({"error": told}).encode()
        return web.Response(body=body, status=self.status, content_type="application/json", headers=self.headers)


def not_found(what: str, value: str, fix: str) -> Problem:
    return Problem(404, f"there is no such {what}", fix, what, value)


def unavailable(problem: str, fix: str, seconds: int = 5) -> Problem:
    """Something that this service needs does not answer; worth another try after these seconds."""
    return Problem(503, problem, fix, headers={"Retry-After": str(seconds)})


def invalid(status: int, whole: str, error: ValidationError, fixes: Mapping[str, str]) -> Problem:
    """The first thing that pydantic found in a whole query or body. `fixes` says of each field what to give."""
    first = error.errors(include_url=False, include_context=False)[0]
    problem = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        problem, _, fix = problem.partition("; ")
        return Problem(status, problem, fix or "see /openapi.json", whole, first["input"])
    field = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return Problem(status, "unknown name", f"one of: {', '.join(fixes) or 'none'}", field, first["input"])
    value = None if first["type"] == "missing" else first["input"]
    return Problem(status, problem, fixes[str(first["loc"][0])], field, value)


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    # A lone surrogate would not be UTF-8.
    return text[:SHOWN].encode("utf-8", "backslashreplace").decode()
