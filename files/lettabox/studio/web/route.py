"""What a line of the route table is, and which line a request is for."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import BaseModel

from lettabox.studio.web.models import Nothing
from lettabox.studio.web.problem import Problem, not_found

if TYPE_CHECKING:
    from lettabox.studio.web.studio import Studio

# Who may: everybody, those that may read, those that have the token.
OPEN, READ, WRITE = "open", "read", "write"


class Image:
    """An answer that is an image."""


class VideoFile:
    """An answer that is a video, or a part of one."""


@dataclass(frozen=True)
class Text:
    """An answer of this media type."""

    kind: str


@dataclass(frozen=True)
class Call:
    """One request, as far as the table says what it may hold."""

    request: web.BaseRequest
    path: Mapping[str, str]  # the parameters in the path
    query: Any  # an instance of Route.query
    body: Any  # of Route.body
    trusted: bool  # it may read all


Handler = Callable[["Studio", Call], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Route:
    method: str  # GET is HEAD too
    path: str  # a template; {path} may have slashes
    handler: Handler
    summary: str
    answers: Mapping[int, Any]  # those of success: status -> model, Image, VideoFile, Text, dict or None
    access: str = READ
    query: type[BaseModel] = Nothing
    body: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()  # statuses of its own, besides those that any may have
    headers: Mapping[str, dict] = field(default_factory=dict)  # of the request: name -> schema
    files: bool = False  # a box's own file service has it too

    @property
    def name(self) -> str:
        return self.handler.__name__

    @cached_property
    def parameters(self) -> list[str]:
        return re.findall(r"{(\w+)}", self.path)

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        text = re.escape(self.path).replace(r"\{path\}", "(?P<path>.+)")
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", text), re.DOTALL)

    def errors(self, read_token: bool) -> set[int]:
        """Statuses of refusals: of a request that is none, with another host, or too many connections."""
        every = {400, 421, 500, 503}
        if self.access == WRITE or (read_token and self.access == READ):
            every.add(401)
        if self.body:
            every |= {408, 413, 415, 422}
        return every | set(self.refusals)


class Table:
    """Finds the route of a request."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._fixed: dict[str, list[Route]] = {}
        self._others: list[tuple[re.Pattern[str], list[Route]]] = []
        for route in routes:
            if not route.parameters:
                self._fixed.setdefault(route.path, []).append(route)
        for path in dict.fromkeys(route.path for route in routes if route.parameters):
            same = [route for route in routes if route.path == path]
            self._others.append((same[0].pattern, same))

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route, and its parameters in the path. Raises Problem: 404, or 405."""
        routes, parameters = self._fixed.get(path, []), {}
        for pattern, several in self._others if not routes else ():
            if found := pattern.fullmatch(path):
                routes, parameters = several, found.groupdict()
                break
        if not routes:
            raise not_found("path", path, "see /openapi.json")
        wanted = "GET" if method == "HEAD" else method
        for route in routes:
            if route.method == wanted:
                return route, parameters
        allowed = sorted({route.method for route in routes} | ({"HEAD"} if routes[0].method == "GET" else set()))
        fix = f"use {' or '.join(allowed)}"
        raise Problem(405, "this path has no such method", fix, "method", method, {"Allow": ", ".join(allowed)})
