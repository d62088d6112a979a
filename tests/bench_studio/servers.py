"""What is measured: the studio's file service as it runs on a box, and an nginx of our own, on loopback."""

import http.client
import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
BOX = "gpu1"
PATIENCE = 60.0  # seconds that a server may take to come up
NGINX = """daemon off; worker_processes 1; user {user}; pid {folder}/nginx.pid; error_log stderr;
events {{ worker_connections 512; }}
http {{
  access_log off; sendfile on; tcp_nopush off; keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


class Missing(Exception):
    """A program that the measurement needs is not installed."""


def needed() -> dict[str, str]:
    """{program: its version}. Raises Missing."""
    found = {}
    for name, package, words in (("ffmpeg", "ffmpeg", ["-version"]), ("nginx", "nginx-light", ["-v"])):
        path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if path is None:
            raise Missing(
                f"{name} is not installed; on Debian: sudo apt-get install {package}\n"
                "  the system's nginx need not run: `sudo systemctl disable --now nginx`"
            )
        said = subprocess.run([path, *words], capture_output=True, text=True, check=True)
        found[name] = (said.stdout or said.stderr).splitlines()[0].split(" Copyright")[0]
    return found


@contextmanager
def studio(folder: Path, output: Path, cache: int = 256 * 1024 * 1024) -> Iterator["Client"]:
    """The file service for this output folder; what it found out is kept in `folder`."""
    folder.mkdir(exist_ok=True)
    told = {"box": BOX, "boxes": {BOX: {"folder": str(output)}}, "cache": cache, "decoders": 2}
    (folder / "studio.json").write_text(json.dumps(told))
    port = _free_port()
    own = {
        "LETTABOX_STUDIO_CONFIG": str(folder / "studio.json"),
        "CACHE_DIRECTORY": str(folder),
        "PYTHONPATH": str(ROOT / "files"),
    }
    command = [sys.executable, "-m", "lettabox.studio", "files", "--listen", f"127.0.0.1:{port}"]
    with _running(command, port, os.environ | own):
        yield Client(port)


@contextmanager
def nginx(folder: Path, root: Path) -> Iterator["Client"]:
    folder.mkdir(exist_ok=True)
    port, user = _free_port(), pwd.getpwuid(os.getuid()).pw_name
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, port=port, root=root, user=user))
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    with _running([program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")], port, None):
        yield Client(port)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return one.getsockname()[1]


@contextmanager
def _running(command: list[str], port: int, environment: dict[str, str] | None) -> Iterator[None]:
    process = subprocess.Popen(command, env=environment)
    try:
        until = time.monotonic() + PATIENCE
        while not _listens(port):
            if process.poll() is not None:
                raise RuntimeError(f"{command} ended with {process.returncode}")
            if time.monotonic() > until:
                raise RuntimeError(f"{command} does not listen")
            time.sleep(0.01)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


class Client:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)

    def get(self, path: str) -> tuple[bytes, http.client.HTTPMessage]:
        """Raises RuntimeError for another answer than 200."""
        try:
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
        except http.client.RemoteDisconnected:  # nothing was asked for long enough
            self._connection.close()
            self._connection.request("GET", path)
            answer = self._connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {body[:200]!r}")
        return body, answer.headers

    def again(self) -> "Client":
        """Another connection."""
        return Client(self.port)
