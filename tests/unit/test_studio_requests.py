"""Who may do what, what a request may hold, and how it is refused."""

import json
import logging
import time
from collections.abc import Iterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any

import pytest
from lettabox.studio.web import service as service_
from lettabox.studio.web.routes import ROUTES
from pydantic import BaseModel

from tests import clips
from tests.unit.studio_service import BEARER, TOKEN, MemoryJobs, Service, folder

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("studio")
    clips.make(base / "clip.mp4", frames=9)
    return base


@pytest.fixture(scope="module")
def service(output: Path) -> Iterator[Service]:
    with Service(folder(output), MemoryJobs(), names=("studio.example",)) as one:
        yield one


@pytest.fixture(scope="module")
def closed(output: Path) -> Iterator[Service]:
    """Where reads need the token too."""
    with Service(folder(output), MemoryJobs(), read_token=True) as one:
        yield one


READS = [
    "/list_videos",
    "/videos/one/clip.mp4",
    "/frames/one/clip.mp4",
    "/jobs",
    "/jobs/x",
    "/metrics",
    "/openapi.json",
]
WRITES = ["/jobs", "/jobs/x/cancel"]


# The token


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    "given", [None, "", "Bearer", "Bearer ", "Bearer x", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
def test_writes_need_the_token(service: Service, path: str, given: str | None) -> None:
    headers = JSON | ({} if given is None else {"Authorization": given})
    answer = service.call("POST", path, '{"prompt": "a fox"}', headers)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")
    assert TOKEN not in answer.body.decode()


def test_nobody_has_the_empty_token(service: Service) -> None:
    service.studio.door._token, kept = b"", service.studio.door._token
    try:
        for given in ("Bearer ", "Bearer"):
            assert service.call("POST", "/jobs", "{}", JSON | {"Authorization": given}).status == 401
        assert service.call("POST", "/session", '{"token": ""}', JSON).status == 422
    finally:
        service.studio.door._token = kept


@pytest.mark.parametrize("path", READS)
def test_reads_are_free_or_need_it_too(service: Service, closed: Service, path: str) -> None:
    assert service.get(path).status in (200, 404)
    refused = closed.get(path)
    assert (refused.status, refused.headers["WWW-Authenticate"][:6]) == (401, "Bearer")
    assert closed.get(path, **BEARER).status in (200, 404)
    for one in (service, closed):
        assert one.get(path, Authorization="Bearer x").status == 401
    # Of a proxy in front.
    assert service.get(path, Authorization="Basic x").status in (200, 404)


def test_the_door_itself_is_open(closed: Service) -> None:
    assert closed.get("/").status in (200, 404)  # the page on which the token is typed
    assert closed.get("/health").json["reasons"] == []
    assert closed.get("/health", **BEARER).json["reasons"]


def cookie(service: Service) -> str:
    answer = service.call("POST", "/session", json.dumps({"token": TOKEN}), JSON)
    assert (answer.status, answer.body) == (204, b"")
    (morsel,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert (morsel["httponly"], morsel["samesite"], morsel["path"]) == (True, "Strict", "/")
    assert TOKEN not in answer.headers["Set-Cookie"]
    return f"{morsel.key}={morsel.value}"


def test_a_cookie_reads_and_does_not_write(closed: Service) -> None:
    mine = cookie(closed)
    for path in READS:
        assert closed.get(path, Cookie=mine).status in (200, 404)
    assert closed.get("/health", Cookie=mine).json["reasons"]
    for path in WRITES:
        assert closed.call("POST", path, '{"prompt": "a fox"}', JSON | {"Cookie": mine}).status == 401


def test_a_browser_that_signs_out_loses_its_cookie(closed: Service) -> None:
    name, _, value = cookie(closed).partition("=")
    answer = closed.call("DELETE", "/session", headers={"Cookie": f"{name}={value}"})
    assert answer.status == 204
    (morsel,) = SimpleCookie(answer.headers["Set-Cookie"]).values()
    assert (morsel.key, morsel.value, morsel["max-age"], morsel["path"]) == (name, "", "0", "/")


def test_a_wrong_cookie(closed: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    name, _, value = cookie(closed).partition("=")
    until, _, seal = value.partition(".")
    later = f"{int(until) + 1}.{seal}"
    for wrong in ("", "x", later, f"{until}.", f"{until}.{seal}x", f"-1.{seal}", f"²{until}.{seal}", "9" * 5000, TOKEN):
        assert closed.get("/jobs", Cookie=f"{name}={wrong}".encode()).status == 401, wrong
    assert closed.get("/jobs", Cookie=f"{name}={value}").status == 200
    monkeypatch.setattr("lettabox.studio.web.auth.time.time", lambda now=time.time(): now + 31 * 24 * 3600)
    assert closed.get("/jobs", Cookie=f"{name}={value}").status == 401


def test_a_session_needs_the_token(service: Service) -> None:
    answer = service.call("POST", "/session", '{"token": "x"}', JSON)
    assert (answer.status, answer.error["field"]) == (401, "token")
    assert "Set-Cookie" not in answer.headers


def test_the_token_is_in_no_log(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    service.jobs.away = True
    try:
        assert service.post("/jobs", {"prompt": "a fox"}).status == 503
    finally:
        service.jobs.away = False
    assert "POST '/jobs': 503" in caplog.text
    assert TOKEN not in caplog.text


# The address


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8189", "localhost", "LocalHost:1", "[::1]:8189", "172.22.0.1:8189", "Studio.example:80"],
)
def test_hosts_that_are_ours(service: Service, host: str) -> None:
    assert service.get("/jobs", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "", "127.0.0.1.evil", "[::1", "x:y:z", "studio"]
)
def test_other_hosts(service: Service, host: str) -> None:
    for path in ("/", "/jobs", "/nothing"):
        answer = service.get(path, Host=host)
        assert (answer.status, answer.error["field"]) == (421, "Host")


def test_a_request_without_host(service: Service) -> None:
    assert service.raw(b"GET /jobs HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 400")
    twice = b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\nConnection: close\r\n\r\n"
    assert service.raw(twice).split()[1] == b"400"


def test_no_other_origin(service: Service) -> None:
    for method in ("GET", "OPTIONS", "POST"):
        asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
        answer = service.call(method, "/jobs", headers=asked)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize(
    "path", ["/", "/jobs", "/nothing", "/videos/one/clip.mp4", "/frames/one/clip.mp4", "/jobs?x=1"]
)
def test_headers_of_every_answer(service: Service, path: str) -> None:
    headers = service.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy and "*" not in policy and "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Server"] == "lettabox"


# What a request holds


@pytest.mark.parametrize("model", [one for route in ROUTES for one in (route.query, route.body) if one])
def test_every_field_says_what_to_give(model: type[BaseModel]) -> None:
    assert [name for name, one in model.model_fields.items() if not one.description] == []


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 422, "prompt"),
        ({"prompt": ""}, 422, "prompt"),
        ({"prompt": " \n"}, 422, "prompt"),
        ({"prompt": "x" * 10001}, 422, "prompt"),
        ({"prompt": "a\0b"}, 422, "prompt"),
        ({"prompt": 5}, 422, "prompt"),
        ({"prompt": None}, 422, "prompt"),
        ({"prompt": "x", "seed": -1}, 422, "seed"),
        ({"prompt": "x", "seed": 2**53}, 422, "seed"),
        ({"prompt": "x", "seed": "5"}, 422, "seed"),
        ({"prompt": "x", "seed": True}, 422, "seed"),
        ({"prompt": "x", "seed": 1.5}, 422, "seed"),
        ({"prompt": "x", "seed": 10**400}, 422, "seed"),
        ({"prompt": "x", "width": 63}, 422, "width"),
        ({"prompt": "x", "width": 100}, 422, "width"),
        ({"prompt": "x", "height": 4160}, 422, "height"),
        ({"prompt": "x", "frames": 8}, 422, "frames"),
        ({"prompt": "x", "frames": 10}, 422, "frames"),
        ({"prompt": "x", "frames": 1033}, 422, "frames"),
        ({"prompt": "x", "tags": "fox"}, 422, "tags"),
        ({"prompt": "x", "tags": ["Fox"]}, 422, "tags.0"),
        ({"prompt": "x", "tags": ["a", "-a"]}, 422, "tags.1"),
        ({"prompt": "x", "tags": ["a\n"]}, 422, "tags.0"),
        ({"prompt": "x", "tags": ["a" * 64]}, 422, "tags.0"),
        ({"prompt": "x", "tags": [f"t{n}" for n in range(21)]}, 422, "tags"),
        ({"prompt": "x", "priority": 101}, 422, "priority"),
        ({"prompt": "x", "color": "red"}, 422, "color"),
        ([], 422, "body"),
        ("x", 422, "body"),
        (None, 400, "body"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_jobs_that_are_refused(service: Service, body: Any, status: int, field: str) -> None:
    before = len(service.jobs.made)
    answer = service.call("POST", "/jobs", "" if body is None else json.dumps(body), BEARER | JSON)
    error = answer.error
    assert (answer.status, error["field"]) == (status, field)
    assert error["problem"] and error["fix"]
    assert len(error["value"] or "") <= 100
    assert len(service.jobs.made) == before


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b'{"prompt": NaN}', b'{"prompt": "\\ud800"}', b"[" * 60000, b"{" * 100]
)
def test_what_is_no_json(service: Service, body: bytes) -> None:
    answer = service.call("POST", "/jobs", body, BEARER | JSON)
    assert answer.status in (400, 422)
    assert answer.error["fix"]


def test_the_limits_themselves(service: Service) -> None:
    wanted = {
        "prompt": "ü" * 10000, "seed": 2**53 - 1, "width": 4096, "height": 64, "frames": 1025,
        "tags": ["a" * 63, *(f"t{n}._-" for n in range(19))], "priority": -100,
    }  # fmt: skip
    answer = service.post("/jobs", wanted)
    assert answer.status == 201
    assert {name: answer.json[name] for name in wanted} == wanted
    assert service.get(answer.headers["Location"]).json == answer.json
    assert service.post("/jobs", {"prompt": "x", "tags": ["b", "a", "b"]}).json["tags"] == ["b", "a"]


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_only_json(service: Service, kind: str | None) -> None:
    answer = service.call("POST", "/jobs", '{"prompt": "x"}', BEARER | ({"Content-Type": kind} if kind else {}))
    assert (answer.status, answer.error["field"]) == (415, "Content-Type")


def test_too_much(service: Service) -> None:
    limit = service_.BODY_LIMIT
    fits = json.dumps({"prompt": "x"}).ljust(limit)
    assert service.call("POST", "/jobs", fits, BEARER | JSON).status == 201
    assert service.call("POST", "/jobs", fits + " ", BEARER | JSON).status == 413
    # And where it does not say so before.
    chunked = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
    chunked += f"Authorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    assert service.raw(chunked + 9 * (b"2000\r\n" + b" " * 0x2000 + b"\r\n") + b"0\r\n\r\n").startswith(b"HTTP/1.1 413")


def test_curl_asks_first(service: Service) -> None:
    body = b'{"prompt": "x"}'
    head = (
        f"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    )
    head += f"Authorization: Bearer {TOKEN}\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n"
    with service.connected() as one:
        one.sendall(head.encode())
        assert one.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        one.sendall(body)
        assert one.recv(1000).startswith(b"HTTP/1.1 201")


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/list_videos?limit=0", "limit"),
        ("/list_videos?limit=1001", "limit"),
        ("/list_videos?limit=x", "limit"),
        ("/list_videos?limit=1&limit=2", "limit"),
        ("/list_videos?page=1", "page"),
        ("/list_videos?cursor=x", "cursor"),
        ("/list_videos?cursor=!", "cursor"),
        ("/list_videos?cursor=WyJhIiwgMV0", "cursor"),
        ("/list_videos?cursor=" + "W1tb" * 200, "cursor"),
        ("/list_videos?tag=A", "tag"),
        ("/list_videos?job=x", "job"),
        ("/list_videos?%ff=1", "query"),
        ("/list_videos?tag=%00", "tag"),
        ("/list_videos?" + "&".join(f"a{n}=1" for n in range(60)), "query"),
        ("/jobs?state=done", "state"),
        ("/jobs?cursor=-", "cursor"),
        ("/jobs/x?y=1", "y"),
        ("/videos/one/clip.mp4?download=x", "download"),
        ("/videos/one/clip.mp4?t=1", "t"),
        ("/frames/one/clip.mp4?t=-1", "t"),
        ("/frames/one/clip.mp4?t=nan", "t"),
        ("/frames/one/clip.mp4?t=inf", "t"),
        ("/frames/one/clip.mp4?t=1e999", "t"),
        ("/frames/one/clip.mp4?t=500", "t"),
        ("/frames/one/clip.mp4?index=-1", "index"),
        ("/frames/one/clip.mp4?index=9", "index"),
        ("/frames/one/clip.mp4?index=" + "9" * 5000, "index"),
        ("/frames/one/clip.mp4?at=start", "at"),
        ("/frames/one/clip.mp4?n=0", "n"),
        ("/frames/one/clip.mp4?n=65", "n"),
        ("/frames/one/clip.mp4?format=gif", "format"),
        ("/frames/one/clip.mp4?width=15", "width"),
        ("/frames/one/clip.mp4?quality=0", "quality"),
        ("/frames/one/clip.mp4?t=1&index=1", "query"),
        ("/frames/one/clip.mp4?part=1", "query"),
        ("/frames/one/clip.mp4?n=3&part=3", "query"),
        ("/frames/one/clip.mp4?n=3&part=1&sheet=1", "query"),
        ("/frames/one/clip.mp4?n=3&sheet=0", "query"),
        ("/health?x", "x"),
    ],
    ids=lambda value: value[:50],
)
def test_queries_that_are_refused(service: Service, path: str, field: str) -> None:
    answer = service.get(path)
    error = answer.error
    assert (answer.status, error["field"]) == (400, field)
    assert error["problem"] and error["fix"]
    assert len(error["value"] or "") <= 100


def test_an_empty_value_is_none(service: Service) -> None:
    assert service.get("/list_videos?limit=50&cursor=&tag=&box=&job=").json == service.get("/list_videos").json


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/jobs", "GET, HEAD, POST"),
        ("PUT", "/videos/one/clip.mp4", "GET, HEAD"),
        ("GET", "/session", "DELETE, POST"),
        ("HEAD", "/jobs/x/cancel", "POST"),
        ("TRACE", "/", "GET, HEAD"),
        ("PROPFIND", "/health", "GET, HEAD"),
    ],
)
def test_other_methods(service: Service, method: str, path: str, allowed: str) -> None:
    answer = service.call(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, allowed)


@pytest.mark.parametrize(
    "path", ["/nothing/here", "/jobs/", "//jobs", "/videos", "/videos/one", "/videos/two/clip.mp4", "/%00"]
)
def test_what_is_not_there(service: Service, path: str) -> None:
    assert service.get(path).status in (400, 404)


def test_the_same_key_is_the_same_job(service: Service) -> None:
    first = service.post("/jobs", {"prompt": "a fox"}, Idempotency_Key="k1")
    again = service.post("/jobs", {"prompt": "a fox"}, Idempotency_Key="k1")
    other = service.post("/jobs", {"prompt": "a bear"}, Idempotency_Key="k1")
    assert (first.status, again.status, other.status) == (201, 201, 409)
    assert first.json["id"] == again.json["id"]
    assert other.error["field"] == "Idempotency-Key"
    for wrong in ("", "x" * 201, "\x7f"):
        assert service.post("/jobs", {"prompt": "a fox"}, Idempotency_Key=wrong).status == 400


def test_a_job_is_cancelled(service: Service) -> None:
    id = service.post("/jobs", {"prompt": "a fox"}).json["id"]
    answer = service.post(f"/jobs/{id}/cancel")
    assert (answer.status, answer.json["state"]) == (200, "cancelled")
    assert service.post("/jobs/00000000-0000-0000-0000-000000000000/cancel").status == 404


def test_without_database(service: Service) -> None:
    service.jobs.away = True
    try:
        for answer in (service.get("/jobs"), service.get("/jobs/x"), service.post("/jobs", {"prompt": "x"})):
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
            assert "database" in answer.error["problem"]
        (reason,) = [one for one in service.get("/health").json["reasons"] if one["part"] == "database"]
        assert reason["fix"]
        assert b"studio_database_up 0.0" in service.get("/metrics").body
        assert service.get("/videos/one/clip.mp4").status == 200
    finally:
        service.jobs.away = False


def test_a_mistake_of_ours_is_told_without_its_details(
    service: Service, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("the inside")

    monkeypatch.setattr(service.jobs, "list", fails)
    answer = service.get("/jobs")
    assert answer.status == 500
    assert b"the inside" not in answer.body
    assert "the inside" in caplog.text


def test_metrics(service: Service) -> None:
    for _ in range(3):
        service.get("/videos/one/gone.mp4")
    service.get("/a/scanner/was/here")
    text = service.get("/metrics").body.decode()
    assert 'studio_requests_total{method="GET",route="/videos/{box}/{path}",status="404"}' in text
    assert 'studio_box_up{box="one"} 1.0' in text
    assert 'studio_videos{box="one"} 1.0' in text
    assert 'studio_jobs{state="queued"}' in text
    assert "studio_database_up 1.0" in text
    assert "gone.mp4" not in text and "scanner" not in text


def test_the_gallery(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "index.html").write_text("<p>hello")
    (tmp_path / "gallery.js").write_text("1")
    (tmp_path.parent / "beside.js").write_text("2")
    monkeypatch.setattr(service.studio, "gallery", tmp_path)
    page = service.get("/")
    assert (page.status, page.body, page.headers["Content-Type"]) == (200, b"<p>hello", "text/html; charset=utf-8")
    assert page.headers["Cache-Control"] == "no-cache"
    assert service.get("/", If_None_Match=page.headers["ETag"]).status == 304
    assert service.get("/gallery.js").headers["Content-Type"].startswith("text/javascript")
    (tmp_path / "folder").mkdir()
    for path in ("/beside.js", "/..%2fbeside.js", "/.", "/..", "/gallery.css", "/folder", f"/{'a' * 300}", "/%0A"):
        assert service.get(path).status == 404


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /jobs\r\n\r\n",
        b"GET /jobs HTTP/9.9\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20000 + b"\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET http://evil.example/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /jobs\xff\xfe HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nCookie: \xff=;;=\x80\r\nRange: x\r\nConnection: close\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n" * 100 + b"GET\r\n\r\n",
    ],
    ids=lambda sent: repr(sent[:24]),
)
def test_what_is_no_http(service: Service, sent: bytes) -> None:
    """Refused, or taken as a request; never a failure of ours, and the service goes on."""
    with service.connected() as one:
        one.sendall(sent)
        one.shutdown(1)
        try:
            answer = b"".join(iter(lambda: one.recv(65536), b""))
        except ConnectionResetError:
            answer = b""
    status = int(answer.split()[1]) if answer else 400
    assert status < 500, answer
    assert service.get("/jobs").status == 200
