"""Every route of /openapi.json, with what its description allows and what it does not: never a failure of ours,
and never an answer that the description does not have."""

import os
from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, assume, given, settings
from lettabox.studio.job import BoxSeen
from lettabox.studio.web.routes import ROUTES
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests import clips
from tests.unit.studio_service import BEARER, MemoryJobs, Service, folder

SCALE = int(os.environ.get("LETTABOX_TEST_SCALE") or 1)
CONFORMS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
# The same ones in every run, unless there is time for many.
FUZZ = settings(
    max_examples=8 if SCALE == 1 else 30 * SCALE,
    deadline=None,
    database=None,
    derandomize=SCALE == 1,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    base = tmp_path_factory.mktemp("studio")
    clips.make(base / "clip.mp4", frames=9)
    (base / "half.mp4").write_bytes((base / "clip.mp4").read_bytes()[:300])
    (base / "index.html").write_text("<p>")
    with Service(folder(base), MemoryJobs(), read_token=True) as one:
        one.jobs.completed("one/clip.mp4")
        one.jobs.seen = [BoxSeen("one", 0, age=1, comfyui=True, problem="", job=None, seconds=None)]
        one.studio.gallery = base
        yield one


@pytest.fixture(scope="module")
def description(service: Service) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_url(f"{service.url}/openapi.json", headers=BEARER)


OPERATIONS = [(route.path, route.method) for route in ROUTES]
# Of the others' descriptions, nothing is left that would not fit.
PICKY = [(route.path, route.method) for route in ROUTES if route.query.model_fields or route.body]
each = pytest.mark.parametrize(("path", "method"), OPERATIONS, ids=lambda value: value)


@each
def test_requests_that_fit(description: schemathesis.BaseSchema, path: str, method: str) -> None:
    @FUZZ
    @given(case=description[path][method].as_strategy(generation_mode=GenerationMode.POSITIVE))
    def run(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=BEARER, checks=[*CONFORMS, ignored_auth], timeout=30)

    run()


@pytest.mark.parametrize(("path", "method"), PICKY, ids=lambda value: value)
def test_requests_that_do_not_fit(description: schemathesis.BaseSchema, path: str, method: str) -> None:
    @FUZZ
    @given(case=description[path][method].as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def run(case: schemathesis.Case) -> None:
        answer = case.call(headers=BEARER, timeout=30)
        # A parameter without a value is as good as none, whatever its type.
        assume("=&" not in f"{answer.request.url}&")
        case.validate_response(answer, checks=[*CONFORMS, negative_data_rejection])

    run()


@pytest.mark.parametrize("head", [False, True], ids=["", "head"])
@pytest.mark.parametrize(("path", "method"), [one for one in OPERATIONS if "{" in one[0]], ids=lambda value: value)
def test_with_what_is_there(
    description: schemathesis.BaseSchema, service: Service, path: str, method: str, head: bool
) -> None:
    there = {"box": "one", "path": "clip.mp4", "id": next(iter(service.jobs.made)), "file": "index.html"}
    method = "HEAD" if head and method == "GET" else method

    @FUZZ
    @given(case=description[path][method].as_strategy())
    def run(case: schemathesis.Case) -> None:
        case.path_parameters = {name: there[name] for name in case.path_parameters}
        case.call_and_validate(headers=BEARER, checks=CONFORMS, timeout=30)

    run()


def test_the_description_is_valid(service: Service) -> None:
    """Every route of the table is in it, and no other."""
    described = service.get("/openapi.json", **BEARER).json
    assert described["openapi"] == "3.1.0"
    methods = {(path, method) for path, one in described["paths"].items() for method in one if method != "head"}
    assert ("/jobs", "post") in methods and len(methods) == len(ROUTES)
    assert described["paths"]["/jobs"]["post"]["security"] == [{"bearer": []}]
    assert described["components"]["schemas"]["NewJob"]["additionalProperties"] is False
