"""kill -9 of a deploy at random points: whatever it leaves, the next deploy repairs.

The kills follow one another on one box, so each deploy starts from what all before it left. A deploy that cannot
go on from there ends by itself, before it is killed, and fails the test.
"""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.conftest import ROOT, Box, Laptop
from tests.lab.lab import Lab

SCALE = int(os.environ.get("LETTABOX_TEST_SCALE") or 1)
FIRST, CHANGE = (12, 8) if SCALE > 1 else (2, 1)  # kills in first deploys, and in those of a changed setting
LONGEST = (10 if SCALE > 1 else 30), 15  # seconds that such a deploy may go on; a first one takes more than 80


@pytest.fixture(scope="module")
def chance():
    seed = int(os.environ.get("LETTABOX_TEST_SEED") or random.randrange(10**6))
    print(f"LETTABOX_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def bare(lab):
    """A box of its own that nothing was deployed to."""
    one = Lab(f"{lab.name}-kill", ssh_port=None, forwards={})
    one.down()
    one.up()
    yield one
    one.down()


def killed(laptop: Laptop, inventory: Path, after: float) -> str:
    """The step that a deploy was at when it was killed after so many seconds; "" when it was done before, and well."""
    with subprocess.Popen(
        [str(Path(sys.executable).with_name("pyinfra")), "inventory", "deploy.py", "-y"],
        cwd=ROOT,
        env=os.environ | {"LETTABOX_INVENTORY": str(inventory)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as deploy:
        try:
            said, _ = deploy.communicate(timeout=after)
        except subprocess.TimeoutExpired:
            os.killpg(deploy.pid, signal.SIGKILL)
            said, _ = deploy.communicate()
            lines = [line for line in said.splitlines() if line.strip()]
            return next((line for line in reversed(lines) if "Starting operation" in line), lines[-1] if lines else "")
        assert deploy.returncode == 0, f"it did not go on from what was left:\n{said[-6000:]}"
        return ""


def secrets(box: Box) -> dict[str, str]:
    """{name: content} of the secrets that are complete."""
    said = box.check("cd /etc/lettabox/secrets 2>/dev/null || exit 0; for i in [a-z]*; do echo $i $(cat $i); done")
    return {name: rest[0] for name, *rest in map(str.split, said.splitlines()) if rest}


def kill(laptop: Laptop, box: Box, chance: random.Random, inventory: Path, longest: float) -> bool:
    """Whether a deploy was killed, at some time within `longest` seconds; the secrets outlive it."""
    before, after = secrets(box), chance.uniform(0.7, longest)
    began = time.monotonic()
    step = killed(laptop, inventory, after)
    took = time.monotonic() - began
    print(f"killed after {after:.1f} s: {step}" if step else f"done after {took:.1f} s, before a kill at {after:.1f} s")
    now = secrets(box)
    assert {name: now.get(name) for name in before} == before
    return bool(step)


def clean(laptop: Laptop, box: Box, inventory: Path) -> None:
    """The next deploy repairs, the one after has nothing to do, and nothing half-made is left."""
    before = secrets(box)
    began = time.monotonic()
    done = laptop.deploy(inventory)
    print(f"repaired in {time.monotonic() - began:.1f} s: {', '.join(done.changed) or 'nothing to do'}")
    again = laptop.deploy(inventory)
    assert again.totals["success"] == 0, again.changed
    now = secrets(box)
    assert {name: now[name] for name in before} == before and len(now) == 3
    assert set(box.containers()) == {"letta-postgres", "letta-redis", "letta-server", "letta-nginx"}
    assert box.check("docker ps -a --format '{{.Names}}' | wc -l") == "4"
    assert box.check("dpkg --audit") == ""
    assert box.check("find /opt /etc /usr/local /var/lib/lettabox -name '*.lettabox-new' -o -name venv.new") == ""


def test_first_deploys(bare, tmp_path_factory, chance):
    laptop, box = Laptop(bare, tmp_path_factory.mktemp("killed")), Box(bare)
    for _ in range(FIRST):
        while not kill(laptop, box, chance, bare.inventory_path, LONGEST[0]):
            clean(laptop, box, bare.inventory_path)
            bare.down()
            bare.up()
    clean(laptop, box, bare.inventory_path)


def cut_off_recreation(box: Box) -> None:
    """What `docker compose up` leaves when it is killed while it waits for the old container to stop."""
    if "_letta-server" in box.check("docker ps -a --format '{{.Names}}'"):
        return  # a kill has made the real one
    (old,) = json.loads(box.check("docker inspect letta-server"))
    labels = {**old["Config"]["Labels"], "com.docker.compose.replace": old["Id"]}
    options = shlex.join(f"--label={key}={value}" for key, value in labels.items())
    box.check(f"docker create {options} --name {old['Id'][:12]}_letta-server {old['Config']['Image']}")


def test_deploys_of_a_change(bare, tmp_path_factory, chance):
    laptop, box = Laptop(bare, tmp_path_factory.mktemp("killed")), Box(bare)
    for number in range(CHANGE):
        inventory = laptop.inventory(
            letta={"keepalive_interval": 10 + number},
            nginx={"read_timeout": 100 + number},
            redis={"memory": f"{600 + number}m"},
        )
        while not kill(laptop, box, chance, inventory, LONGEST[1]):
            inventory = laptop.inventory(letta={"keepalive_interval": chance.randrange(30, 90)})
        if number == CHANGE - 1:
            cut_off_recreation(box)
            inventory = laptop.inventory(letta={"keepalive_interval": 9})
        clean(laptop, box, inventory)
    if SCALE > 1:
        done = laptop.make("verify", inventory=inventory)
        assert done.code == 0, done.text[-4000:]
