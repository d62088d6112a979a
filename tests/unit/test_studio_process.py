"""The service as a process: its settings, its sockets, what systemd is told, and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from lettabox.errors import USAGE, LettaboxError
from lettabox.studio import config
from lettabox.studio.web import server

from tests import clips
from tests.unit.simulator_process import free_port, wait_for
from tests.unit.studio_service import padded

FILES = Path(__file__).resolve().parents[2] / "files"
TOKEN = "a-token-that-no-log-may-have"


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("studio")
    clip = clips.make(base / "clip.mp4", frames=9)
    padded(clip, base / "big.mp4", 30_000_000)
    return base


def settings(tmp_path: Path, output: Path, **told: Any) -> Path:
    path = tmp_path / "studio.json"
    path.write_text(json.dumps({"box": "one", "boxes": {"one": {"folder": str(output)}}} | told))
    return path


def environment(settings: Path, **more: str) -> dict[str, str]:
    """A database that is not there, as after the start of a box."""
    mine = {"PYTHONPATH": str(FILES), "LETTABOX_STUDIO_CONFIG": str(settings), "STUDIO_TOKEN": TOKEN}
    database = {"PGHOST": "127.0.0.1", "PGPORT": "1", "PGDATABASE": "studio", "PGUSER": "studio", "PGPASSWORD": "p-w"}
    return os.environ | mine | database | more


@contextmanager
def process(log: Path, env: dict[str, str], *words: str, **more: Any) -> Iterator[subprocess.Popen]:
    with log.open("wb") as file:
        one = subprocess.Popen(
            [sys.executable, "-m", "lettabox.studio", *words], env=env, stdout=file, stderr=subprocess.STDOUT, **more
        )
    try:
        yield one
    finally:
        if one.poll() is None:
            one.kill()
        one.wait()


def get(port: int, path: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def up(port: int) -> bool:
    try:
        return get(port, "/openapi.json")[0] == 200
    except OSError:
        return False


def test_serves_without_its_database_and_ends_soon(tmp_path: Path, output: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with process(log, environment(settings(tmp_path, output)), "serve", "--listen", f"127.0.0.1:{port}") as one:
        wait_for(lambda: up(port), f"it answers: {log.read_text()}")
        assert len(json.loads(get(port, "/list_videos")[1])["videos"]) == 2
        status, health = get(port, "/health")
        assert status == 503
        assert "database" in [reason["part"] for reason in json.loads(health)["reasons"]]
        assert get(port, "/list_videos?tag=fox")[0] == 503
        # A client that takes nothing of what it asked for.
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(b"GET /videos/one/big.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert slow.recv(10) == b"HTTP/1.1 2"
            began = time.monotonic()
            one.send_signal(signal.SIGTERM)
            assert one.wait(20) == 0, log.read_text()
            assert time.monotonic() - began < 10
    lines = log.read_text().splitlines()
    assert any("GET '/list_videos': 503" in line for line in lines), lines
    assert len(lines) <= 3, "one line for each request that failed"
    assert TOKEN not in log.read_text() and "p-w" not in log.read_text()


def test_the_file_service_of_a_box(tmp_path: Path, output: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    env = environment(settings(tmp_path, output))
    del env["STUDIO_TOKEN"]
    with process(log, env, "files", "--listen", f"127.0.0.1:{port}") as one:
        wait_for(lambda: up(port), "it answers")
        described = json.loads(get(port, "/openapi.json")[1])
        paths = {"/list_videos", "/videos/{box}/{path}", "/frames/{box}/{path}", "/health", "/metrics", "/openapi.json"}
        assert set(described["paths"]) == paths
        assert get(port, "/health") == (200, b'{"status": "ok", "reasons": []}')
        assert get(port, "/metrics")[0] == get(port, "/videos/one/clip.mp4")[0] == 200
        assert get(port, "/jobs")[0] == get(port, "/")[0] == 404
        one.send_signal(signal.SIGINT)
        assert one.wait(20) == 0
    assert log.read_text() == "", "quiet when all is well"


def test_sockets_of_systemd(tmp_path: Path, output: Path) -> None:
    """It takes all that it is given, says when it is ready, and goes on saying that it lives."""
    log, told = tmp_path / "log", tmp_path / "notify"
    env = environment(settings(tmp_path, output), NOTIFY_SOCKET=str(told), WATCHDOG_USEC="300000", LISTEN_FDS="2")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(told))
        notified.settimeout(20)
        first, second = socket.create_server(("127.0.0.1", 0)), socket.create_server(("127.0.0.1", 0))
        ports = first.getsockname()[1], second.getsockname()[1]
        # systemd starts it with the sockets as 3 and 4, and with its own process id in LISTEN_PID.
        start = f"exec 3<&{first.fileno()} 4<&{second.fileno()}; LISTEN_PID=$$ exec {sys.executable} -m lettabox.studio"
        with log.open("wb") as file:
            one = subprocess.Popen(
                ["bash", "-c", f"{start} serve"],
                env=env,
                pass_fds=(first.fileno(), second.fileno()),
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        first.close()
        second.close()
        try:
            assert notified.recv(100) == b"READY=1", log.read_text()
            assert [notified.recv(100) for _ in range(3)] == [b"WATCHDOG=1"] * 3
            assert [get(port, "/openapi.json")[0] for port in ports] == [200, 200]
            one.terminate()
            assert one.wait(20) == 0
            notified.setblocking(False)
            last = b""
            while last != b"STOPPING=1":
                last = notified.recv(100)
        finally:
            one.kill()
            one.wait()


def test_a_failure_to_start_is_one_line(tmp_path: Path, output: Path) -> None:
    log = tmp_path / "log"
    with process(log, environment(settings(tmp_path, output)), "serve") as one:
        assert one.wait(20) == USAGE
    assert log.read_text() == "no socket: systemd handed over none, and there is no --listen HOST:PORT\n"


@pytest.mark.parametrize(
    ("told", "listen", "only_files", "without", "says"),
    [
        ({}, "nonsense", False, "", "cannot listen on 'nonsense'"),
        ({}, "127.0.0.1:99999", False, "", "cannot listen"),
        ({}, "127.0.0.1:0", False, "STUDIO_TOKEN", "STUDIO_TOKEN is not set"),
        ({"read_token": True}, "127.0.0.1:0", True, "STUDIO_TOKEN", "STUDIO_TOKEN is not set"),
        ({"unheard": 1}, "127.0.0.1:0", False, "", "unheard"),
    ],
)
def test_what_keeps_it_from_starting(
    tmp_path: Path,
    output: Path,
    monkeypatch: pytest.MonkeyPatch,
    told: dict[str, Any],
    listen: str,
    only_files: bool,
    without: str,
    says: str,
) -> None:
    for name, value in environment(settings(tmp_path, output, **told)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv(without, raising=False)
    with pytest.raises(LettaboxError, match=says):
        server.serve((listen,), only_files)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "there is no"),
        ("{", "cannot be read"),
        ("[]", "does not fit"),
        ("{}", "does not fit"),
        ('{"box": "a", "boxes": {"b": {}}}', "either a folder or a url"),
        ('{"box": "a", "boxes": {"b": {"folder": "/x", "url": "http://x"}}}', "either a folder or a url"),
        ('{"box": "a", "boxes": {"b": {"folder": "/x", "port": 1}}}', "either a folder or a url"),
    ],
)
def test_settings_that_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, says: str) -> None:
    path = tmp_path / "studio.json"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("LETTABOX_STUDIO_CONFIG", str(path))
    with pytest.raises(LettaboxError, match=says):
        config.load()


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = {
        "box": "gpu1", "boxes": {"gpu1": {"folder": "/output"}, "gpu2": {"url": "http://127.0.0.1:18190/"}},
        "read_token": True, "names": ["Studio.example"], "addresses": ["127.0.0.1"], "cache": 5, "decoders": 1,
        "attempts": 4, "render_timeout": 5, "lost_after": 6, "comfyui_port": 7, "workflow": "/workflow",
    }  # fmt: skip
    (tmp_path / "studio.json").write_text(json.dumps(told))
    monkeypatch.setenv("LETTABOX_STUDIO_CONFIG", str(tmp_path / "studio.json"))
    found = config.load()
    assert found.boxes == {
        "gpu1": config.Box(Path("/output")),
        "gpu2": config.Box(url="http://127.0.0.1:18190"),
    }
    assert (found.names, found.workflow, found.attempts) == (("studio.example",), Path("/workflow"), 4)
