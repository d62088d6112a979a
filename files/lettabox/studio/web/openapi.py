"""The service described for machines, from the same table and models that dispatch and validate."""

from typing import Any

from pydantic.json_schema import models_json_schema

from lettabox.studio.web import models
from lettabox.studio.web.route import OPEN, WRITE, Image, Route, Text, VideoFile

REFERENCE = "#/components/schemas/{model}"
MEDIA = {
    Image: {f"image/{name}": {"schema": {"type": "string", "format": "binary"}} for name in ("jpeg", "webp", "png")},
    VideoFile: {
        f"video/{name}": {"schema": {"type": "string", "format": "binary"}}
        for name in ("mp4", "webm", "quicktime", "x-matroska")
    },
}
SECURITY = {"bearer": {"type": "http", "scheme": "bearer"}}
SESSION = {"session": {"type": "apiKey", "in": "cookie", "name": "studio_session"}}


def describe(routes: tuple[Route, ...], read_token: bool) -> dict[str, Any]:
    """An OpenAPI 3.1 document of these routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, read_token)
        if route.method == "GET":
            paths[route.path]["head"] = _head(paths[route.path]["get"])
    bodies = [(route.body, "validation") for route in routes if route.body]
    answers = [(answer, "serialization") for route in routes for answer in _models(route)]
    _, schemas = models_json_schema([*bodies, *answers, (models.Error, "serialization")], ref_template=REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {"title": "lettabox studio", "version": "1", "description": "Videos, frames of them, and jobs."},
        "paths": paths,
        "components": {"schemas": schemas["$defs"], "securitySchemes": SECURITY | (SESSION if read_token else {})},
    }


def _models(route: Route) -> list[type]:
    return [one for one in route.answers.values() if isinstance(one, type) and issubclass(one, models.BaseModel)]


def _operation(route: Route, read_token: bool) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": route.name,
        "summary": route.summary,
        "parameters": [*_in_path(route), *_in_query(route), *_in_headers(route)],
        "responses": {str(status): _answer(answer) for status, answer in sorted(route.answers.items())}
        | {str(status): _answer(models.Error) for status in sorted(route.errors(read_token) - route.answers.keys())},
    }
    if route.body:
        reference = {"$ref": REFERENCE.format(model=route.body.__name__)}
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": reference}}}
    if route.access == WRITE:
        made["security"] = [{"bearer": []}]
    elif read_token and route.access != OPEN:
        made["security"] = [{"bearer": []}, {"session": []}]
    return made


def _head(get: dict[str, Any]) -> dict[str, Any]:
    answers = {status: {"description": one["description"]} for status, one in get["responses"].items()}
    return {**get, "operationId": f"{get['operationId']}_head", "responses": answers}


def _in_path(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in route.parameters
    ]


def _in_query(route: Route) -> list[dict[str, Any]]:
    described = route.query.model_json_schema().get("properties", {})
    return [
        {"name": name, "in": "query", "required": False, "allowEmptyValue": True, "schema": _without_null(schema)}
        for name, schema in described.items()
    ]


def _in_headers(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"} | schema}
        for name, schema in route.headers.items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query has no null: a parameter is there or not."""
    options = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    rest = {key: value for key, value in schema.items() if key not in ("anyOf", "title")}
    if rest.get("default", "") is None:
        del rest["default"]
    return rest | options[0] if len(options) == 1 else rest


def _answer(answer: Any) -> dict[str, Any]:
    if answer is None:
        return {"description": "no content"}
    if answer in MEDIA:
        return {"description": answer.__name__, "content": MEDIA[answer]}
    if isinstance(answer, Text):
        return {"description": answer.kind, "content": {answer.kind: {"schema": {"type": "string"}}}}
    if answer is bytes:
        return {"description": "a file", "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
    if answer is dict:
        return {"description": "a document", "content": {"application/json": {"schema": {"type": "object"}}}}
    reference = {"$ref": REFERENCE.format(model=answer.__name__)}
    return {"description": answer.__name__, "content": {"application/json": {"schema": reference}}}
