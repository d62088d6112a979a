"""The render simulator as a process of its own on a free port, and how tests talk to it."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAIN = Path(__file__).resolve().parents[1] / "lab" / "comfyui_simulator" / "main.py"
PATIENCE = 30  # seconds


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_for(wanted: Callable[[], Any], what: str) -> Any:
    """What `wanted` gives as soon as it is true. Raises AssertionError when it never is."""
    end = time.monotonic() + PATIENCE
    while not (found := wanted()):
        assert time.monotonic() < end, f"{what}: not within {PATIENCE} s"
        time.sleep(0.02)
    return found


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Simulator:
    """Runs from `with` to its end. `base` is its base directory; what it prints is in `log`."""

    def __init__(self, base: Path, *flags: str, **environment: str) -> None:
        self.base = base
        self.port = free_port()
        self.log = base / "log"
        self._words = [sys.executable, str(MAIN), "--port", str(self.port), "--base-directory", str(base), *flags]
        self._environment = os.environ | environment

    def __enter__(self) -> "Simulator":
        self.start()
        return self

    def start(self, **environment: str) -> None:
        """Start it, at first or after an end, with more in its environment, and wait until it answers."""
        told = self._environment | environment
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._words, env=told, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for(self._answers, "the simulator answers")
        except BaseException:
            self.process.kill()
            raise

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        try:
            return self.call("GET", "/system_stats").status == 200
        except urllib.error.URLError:
            return False

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            assert self.end() == 0, self.log.read_text()

    def end(self) -> int:
        """End it as systemd would; the exit status, negative where it had to be killed."""
        self.process.terminate()
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(PATIENCE)

    def call(self, method: str, path: str, body: object = None, **headers: str) -> Answer:
        """One request; a body that is no text is sent as JSON."""
        text = body if isinstance(body, str) or body is None else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            data=None if text is None else text.encode(),
            headers=named,
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return Answer(answer.status, dict(answer.headers), answer.read())
        except urllib.error.HTTPError as error:
            return Answer(error.code, dict(error.headers), error.read())

    def switch(self, **wanted: object) -> None:
        assert self.call("PUT", "/simulator", wanted).status == 200

    def submit(self, graph: dict, **more: object) -> str:
        """Send a graph; its id."""
        answer = self.call("POST", "/prompt", {"prompt": graph, "prompt_id": str(uuid.uuid4()), **more})
        assert answer.status == 200, answer.body
        return answer.json["prompt_id"]

    def job(self, prompt_id: str) -> dict:
        return self.call("GET", f"/api/jobs/{prompt_id}").json

    def finished(self, prompt_id: str) -> dict:
        """Its entry in the history, once it has one."""
        return wait_for(lambda: self.call("GET", f"/history/{prompt_id}").json.get(prompt_id), f"{prompt_id} ends")

    def running(self, prompt_id: str) -> None:
        wait_for(lambda: self.job(prompt_id)["status"] == "in_progress", f"{prompt_id} runs")

    def rendered(self, graph: dict, **more: object) -> Path:
        """The file that a graph with one output makes."""
        entry = self.finished(self.submit(graph, **more))
        (shown,) = entry["outputs"].values()
        (file,) = shown["images"]
        return self.base / file["type"] / file["subfolder"] / file["filename"]


def empty_clip(prefix: str = "video/clip", **image: int) -> dict:
    """A graph that needs no model."""
    return {
        "1": {
            "class_type": "EmptyImage",
            "inputs": {"width": 64, "height": 64, "batch_size": 8, "color": 65280, **image},
        },
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 24.0}},
        "3": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["2", 0], "filename_prefix": prefix, "format": "auto", "codec": "auto"},
        },
    }
