"""Which tests `make verify` has for which inventory. They are only listed here: nothing is connected to."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LETTA = {f"test_{name}.py" for name in ("0_box", "1_containers", "2_api", "3_deployed_state")}
GPU = {"test_4_comfyui.py"}
STUDIO = {"test_5_studio.py"}  # of the host of Letta, where any host has a GPU


def listed(folder, groups, *options):
    """(files that have tests, hosts that they are tests of, all that was said)"""
    hosts = {name: {"address": "192.0.2.1", "user": "root"} for name in {*groups["letta"], *groups["gpu"]}}
    inventory = folder / "inventory.yml"
    inventory.write_text(yaml.safe_dump({"hosts": hosts, "groups": groups}))
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", "tests/online"]
    done = subprocess.run(
        [*command, *options],
        cwd=ROOT,
        env=os.environ | {"LETTABOX_INVENTORY": str(inventory)},
        capture_output=True,
        text=True,
    )
    said = done.stdout + done.stderr
    files = set(re.findall(r"^tests/online/(\w+\.py)::", said, re.M))
    return files, set(re.findall(r"test_4_comfyui\.py::test_\w+\[([\w.-]+)\]", said)), said


@pytest.mark.parametrize(
    ("groups", "options", "files", "gpus"),
    [
        ({"letta": ["a"], "gpu": []}, [], LETTA, set()),
        ({"letta": ["a"], "gpu": ["a"]}, [], LETTA | GPU | STUDIO, {"a"}),
        ({"letta": ["a"], "gpu": ["b", "c"]}, [], LETTA | GPU | STUDIO, {"b", "c"}),
        ({"letta": ["a"], "gpu": ["b", "c"]}, ["--host", "c"], GPU, {"c"}),
        ({"letta": ["a"], "gpu": ["b", "c"]}, ["--host", "a"], LETTA | STUDIO, set()),
        ({"letta": ["a"], "gpu": ["a", "c"]}, ["--host", "a"], LETTA | GPU | STUDIO, {"a"}),
    ],
)
def test_a_host_is_looked_at_for_what_its_groups_say(tmp_path, groups, options, files, gpus):
    found, hosts, said = listed(tmp_path, groups, *options)
    assert (found, hosts) == (files, gpus), said
    assert "skipped" not in said and "error" not in said, said


def test_a_host_that_does_not_exist_is_named(tmp_path):
    found, _, said = listed(tmp_path, {"letta": ["a"], "gpu": []}, "--host", "z")
    assert not found and "HOST=z: no such host" in said, said
