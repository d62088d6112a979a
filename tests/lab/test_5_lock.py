"""One deploy at a time: who comes second waits or refuses by name, and a lock that is lost stops its deploy."""

import contextlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import yaml

from tests.lab.conftest import ROOT
from tests.lab.waiting import wait_for

PYINFRA = str(Path(sys.executable).with_name("pyinfra"))
LOCK = "/run/lettabox/deploy.lock"


def free(box) -> bool:
    return box.check(f"flock -n {LOCK} echo free || echo held") == "free"


@contextlib.contextmanager
def asking(box, inventory):
    """A deploy that has shown its changes and waits for Enter; it is ended with the block."""
    environment = os.environ | {"LETTABOX_INVENTORY": str(inventory)}
    with subprocess.Popen(
        [PYINFRA, "inventory", "deploy.py"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as deploy:
        try:
            said = ""
            while "Press enter" not in said:
                said += (read := deploy.stderr.read(1))
                assert read, said
            yield deploy
        finally:
            deploy.kill()
            deploy.wait()
    wait_for("the box to free the lock", lambda: None if free(box) else "it is held", 10)


def second(laptop, inventory=None, wait="0", *options):
    return laptop.run("env", f"LETTABOX_WAIT={wait}", PYINFRA, "inventory", "deploy.py", *options, inventory=inventory)


def test_who_comes_second_is_told_who_is_first(deployed, laptop, box):
    assert free(box)
    files, containers = box.files(), box.containers()
    with asking(box, deployed.inventory_path) as first:
        refused = second(laptop, None, "0", "-y")
        assert refused.code == 1 and "Traceback" not in refused.text
        assert "nothing was changed on any host; one deploy at a time" in refused.text
        line = next(line for line in refused.text.splitlines() if line.startswith(f"{deployed.name}: locked by"))
        for told in (f"process {first.pid}", f"deploy of {ROOT} at ", " since 20", "(from "):
            assert told in line
        assert "LETTABOX_WAIT=600" in refused.text and re.search(r"sudo kill \d+ on", refused.text)
        began = time.monotonic()
        assert second(laptop, None, "2", "-y").code == 1
        assert time.monotonic() - began > 2
        # Who only looks needs no lock.
        assert second(laptop, None, "0", "--dry").code == 0
        assert laptop.make("letta-status").code == 0
        # Who changes something on the box needs it.
        for verb in ("letta-restart",):
            done = laptop.make(verb)
            assert "Error 75" in done.text and f"process {first.pid}" in done.text, done.text
        assert "Error 75" in laptop.make("letta-stop", "YES=1").text
    assert (box.files(), box.containers()) == (files, containers)
    assert second(laptop, None, "0", "-y").code == 0


def test_who_comes_second_goes_on_when_the_first_is_done(deployed, laptop, box):
    with asking(box, deployed.inventory_path) as first:
        command = [PYINFRA, "inventory", "deploy.py", "-y"]
        environment = os.environ | {"LETTABOX_INVENTORY": str(deployed.inventory_path)}
        waiting = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        said = ""
        while "waiting for it" not in said:
            said += (read := waiting.stderr.read(1))
            assert read, said
        assert f"process {first.pid}" in said
        first.stdin.write("\n")
        first.stdin.close()
        _, rest = waiting.communicate(timeout=60)
        assert waiting.returncode == 0, rest


def test_a_deploy_without_its_lock_stops_before_the_next_step(restored, laptop, box):
    inventory = laptop.inventory(nginx={"read_timeout": 77})
    before = box.containers()
    with asking(box, inventory) as deploy:
        box.check("kill -9 $(sed -n s/^holder=//p /run/lettabox/deploy)")
        wait_for("the lock", lambda: None if free(box) else "it is held", 10)
        deploy.stdin.write("\n")
        deploy.stdin.close()
        said = deploy.stderr.read()
        assert deploy.wait() == 1
    assert f"stopped before the next step on {restored.name}: the lock is not held" in said
    assert "Traceback" not in said and "deploy again" in said
    assert box.containers() == before and "77" not in box.check("grep read_timeout /opt/lettabox/letta/nginx.conf")


def test_a_client_that_fell_silent_loses_the_lock(deployed, box):
    """The process on the box, with its own limit: the deploy's is a minute."""
    box.lab.copy_in(ROOT / "deploys", "/root/deploys")
    began = time.monotonic()
    # It said that it would be back within 60 seconds, then within one.
    code, said = box.lab.exec("bash /root/deploys/lock.sh 0 1 60 '' token=silent < <(echo 60; echo 1; sleep 30)")
    assert code == 0 and said == "held\n" and 1 <= time.monotonic() - began < 10
    assert free(box)


def test_what_a_dead_deploy_left_running_is_waited_for(deployed, laptop, box):
    box.check("systemd-run --unit=lab-left sh -c 'exec 8>>/run/lettabox/work.lock; flock -s 8; sleep 5'")
    began = time.monotonic()
    done = second(laptop, None, "0", "-y")
    assert done.code == 0, done.text
    assert "waiting for what an earlier deploy left running" in done.text and "sleep 5" in done.text
    assert time.monotonic() - began > 3


def test_all_hosts_or_none(deployed, laptop, box):
    """Of two hosts one cannot be had, since both are one box: what was locked is free again, and nothing was done."""
    content = yaml.safe_load(deployed.inventory_path.read_text())
    ((name, one),) = content["hosts"].items()
    content["hosts"]["again"] = dict(one)
    one["private_address"] = "192.0.2.1"  # a GPU box of its own reaches that of Letta by it; nothing gets so far
    content["groups"]["gpu"] = ["again"]
    refused = second(laptop, laptop.write(content), "60", "-y")
    assert refused.code == 1 and "nothing was changed on any host" in refused.text
    assert f"{name} and again are one box" in refused.text or f"again and {name} are one box" in refused.text
    assert free(box)
