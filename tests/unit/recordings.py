"""What ComfyUI 0.33.0 answered when it was asked (--cpu, no models), and how an answer is compared with that.

Each file in comfyui_recordings/ is {request, request_body, status, content_type, json}, recorded by us from the real
program; of object_info.json only some classes are kept.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.simulator_process import Answer, Simulator

FOLDER = Path(__file__).with_name("comfyui_recordings")


@dataclass(frozen=True)
class Recording:
    name: str
    method: str
    path: str
    body: object
    status: int
    content_type: str | None
    json: Any

    def asked(self, simulator: Simulator, **more: object) -> Answer:
        """What the simulator answers to the same request, with some fields added to its body."""
        body = {**self.body, **more} if more else self.body
        return simulator.call(self.method, self.path, body)


def recording(name: str) -> Recording:
    data = json.loads((FOLDER / f"{name}.json").read_text())
    method, path = data["request"].split()
    return Recording(name, method, path, data["request_body"], data["status"], data["content_type"], data["json"])


def same(recorded: Recording, answer: Answer, *free: str) -> None:
    """Compare with the recording. `free` are patterns of paths whose value may differ, but not its type."""
    assert answer.status == recorded.status
    assert answer.headers.get("Content-Type") == recorded.content_type
    if isinstance(recorded.json, dict) and "_raw" in recorded.json:
        assert answer.body.decode() == recorded.json["_raw"]
        return
    assert differences(recorded.json, answer.json, free) == []


def differences(recorded: Any, got: Any, free: tuple[str, ...] = (), path: str = "") -> list[str]:
    """Where the two are not the same: fields that are too many or missing, other types, other values."""
    if type(recorded) is not type(got):
        return [f"{path}: {type(recorded).__name__} recorded, {type(got).__name__} answered"]
    if any(re.search(one, path) for one in free):
        return []
    if isinstance(recorded, dict):
        found = [f"{path}.{key}: recorded, not answered" for key in recorded.keys() - got.keys()]
        found += [f"{path}.{key}: answered, not recorded" for key in got.keys() - recorded.keys()]
        for key in recorded.keys() & got.keys():
            found += differences(recorded[key], got[key], free, f"{path}.{key}")
        return sorted(found)
    if isinstance(recorded, list):
        found = []
        if len(recorded) != len(got):
            found.append(f"{path}: {len(recorded)} recorded, {len(got)} answered")
        for index, (one, other) in enumerate(zip(recorded, got, strict=False)):
            found += differences(one, other, free, f"{path}[{index}]")
        return found
    return [] if recorded == got else [f"{path}: {recorded!r} recorded, {got!r} answered"]
