"""`make demo` as a new user runs it: once, again, and away."""

import os
import re
import subprocess
import time
from pathlib import Path

import docker
import pytest

from tests.lab import engine
from tests.lab.lab import DEFAULT_NAME, Lab

ROOT = Path(__file__).parents[2]


def make(*words):
    """make, with no inventory named: the demo makes its own."""
    environment = {name: value for name, value in os.environ.items() if name != "LETTABOX_INVENTORY"}
    return subprocess.run(
        ["make", *words], cwd=ROOT, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def client():
    engine.ensure()
    client = docker.from_env()
    if client.containers.list(all=True, filters={"name": f"^{DEFAULT_NAME}$"}):
        pytest.skip(f"a demo is here already ({DEFAULT_NAME}), and it is not this test's to remove")
    yield client
    Lab().down()
    client.close()


def containers():
    code, out = Lab().exec("docker ps -q --no-trunc | xargs docker inspect --format '{{.Id}} {{.State.StartedAt}}'")
    assert code == 0, out
    return sorted(out.split("\n"))


def ours(client):
    label = {"label": f"lettabox.lab={DEFAULT_NAME}"}
    return [
        *client.containers.list(all=True, filters=label),
        *client.networks.list(filters=label),
        *client.volumes.list(filters=label),
    ]


def test_demo_again_and_away(client):
    first = make("demo")
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]
    assert re.search(r"\d{2} passed", first.stdout) and "make demo-down" in first.stdout
    before = containers()
    assert len(before) >= 4

    began = time.monotonic()
    second = make("demo")
    assert second.returncode == 0, second.stdout[-3000:] + second.stderr[-3000:]
    assert time.monotonic() - began < 60
    assert re.search(r"Grand total +\d+ +- +- +\d+", second.stderr + second.stdout), second.stderr[-2000:]
    assert containers() == before

    if not (ROOT / "inventory/lettabox.yml").exists():  # an operator's own file comes before the demo's
        status = make("letta-status")
        assert status.returncode == 0 and "Letta 0.16.8" in status.stdout
        assert DEFAULT_NAME in status.stderr

    assert make("demo-down").returncode == 0
    assert ours(client) == []
    assert client.ping()
