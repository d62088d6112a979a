"""`lettabox check` on a real box: each thing that can be wrong, made for real, and a real second Compose project."""

import json
import os
from pathlib import Path

import pytest
import yaml

CONSUMER = "/srv/check-consumer"
LONG = float(os.environ.get("LETTABOX_TEST_SCALE") or 1) > 1


@pytest.fixture(scope="module")
def check(deployed, box):
    """Run a command on the box: (exit code, output); by default the check itself. Letta runs again afterwards."""
    deployed.copy_in(Path("docs/consumer"), CONSUMER)
    box.check("command -v make || apt-get install -y --no-install-recommends make")
    box.check("id stranger || useradd stranger")

    def run(command="lettabox check"):
        return deployed.exec(f"cd {CONSUMER} && export LETTA_API_KEY=$(lettabox letta password) && {command}")

    yield run
    deployed.exec("docker unpause letta-server; systemctl start docker.service; docker rm -f check-other")
    deployed.exec(f"cd {CONSUMER} && LETTA_API_KEY=x docker compose --profile own-letta down --volumes --timeout 0")
    box.check("lettabox check || lettabox letta start")


SCRIPT = "python3 lettabox-check"
STRANGER = f"su stranger -s /bin/sh -c '{SCRIPT}%s' </dev/null"


def test_all_is_well(check, laptop, box):
    # Neighbours that must not be taken for a second Letta.
    box.check("docker run -d --name check-other -v letta-postgres:/x:ro --network letta-network nginx:1.26 sleep 600")
    code, said = check()
    assert (code, len(said.splitlines())) == (0, 1), said
    assert "Letta 0.16.8, " in said and "http://127.0.0.1:8284" in said and "the only one" in said
    box.check("docker rm -f check-other")
    made = laptop.make("check")
    assert made.code == 0 and "the only one" in made.out, made.text
    document = json.loads(laptop.make("-s", "check", "JSON=1").out)
    assert document["code"] == 0 and [one["healthy"] for one in document["answers"]] == [True, True]
    # Who may not ask Docker still gets an answer, which says what it leaves out.
    code, said = check(STRANGER % "")
    assert code == 0 and "fine" in said and "no permission" in said and "the only one" not in said, said
    # Who may use sudo gets all of it.
    assert check(f"su operator -c '{SCRIPT}'") == check()


def test_wrong_use_is_4(check):
    for command in ("lettabox check --bogus", f"{SCRIPT} --url foo"):
        code, said = check(command)
        assert code == 4, said


def test_an_address_of_a_project_must_answer_too(check):
    code, said = check("LETTA_BASE_URL=http://127.0.0.1:8238 " + SCRIPT)
    assert code == 2 and "http://127.0.0.1:8238" in said and "http://127.0.0.1:8284" in said, said


def test_a_second_project(check, laptop):
    """The shipped example: a project that checks before `make dev`, with a Letta of its own behind a profile."""
    code, said = check("make dev")
    assert code == 0 and said.splitlines()[-1].isdecimal(), said
    # Until it is healthy takes half a minute on two cores, and adds nothing to be found.
    code, said = check("make own-letta" if LONG else "make own-letta WAIT=")
    assert code == 0, said
    code, said = check("make dev")
    assert code == 2 and "Error 3" in said and "docker compose run" not in said, said
    _names_it(said, "started 2")
    made = laptop.make("check")
    assert made.code == 2 and "Error 3" in made.text, made.text
    _names_it(made.text, "started 2")
    # Stopped, it is one start away from being taken for the right one.
    assert check("docker compose --profile own-letta stop --timeout 0")[0] == 0
    code, said = check()
    assert code == 3, said
    _names_it(said, "stopped 2")
    assert check("make own-letta-down")[0] == 0
    assert check()[0] == 0


def _names_it(said, since):
    for words in (
        "image letta/letta:0.16.8",
        "container check-consumer-own-letta-1",
        "127.0.0.1:9283",
        since,
        f"Compose project check-consumer, service own-letta, in {CONSUMER}",
        "docker logs --tail 50 check-consumer-own-letta-1",
        "docker rm check-consumer-own-letta-1",
    ):
        assert words in said, said


def test_a_host_process(check, box, laptop):
    box.check("mkdir -p /root/check/bin && echo 'import time; time.sleep(600)' > /root/check/bin/letta")
    box.check("systemd-run --quiet --unit check-letta python3 /root/check/bin/letta server")
    try:
        code, said = check()
        assert code == 3 and "/root/check/bin/letta server" in said, said
        assert "systemctl disable --now check-letta.service" in said
        code, said = check(STRANGER % "")  # processes are seen by all
        assert code == 3 and "check-letta.service" in said, said
        _may_stay(check, laptop)
    finally:
        box.check("systemctl stop check-letta")
    assert laptop.deploy().changed == ["Box | Folders and the command lettabox"]
    assert check()[0] == 0


def _may_stay(check, laptop):
    """What the settings acknowledge, neither the deploy nor the check calls a second Letta."""
    (known,) = json.loads(check("lettabox check --json")[1])["duplicates"]
    told = yaml.safe_load(laptop.lab.inventory_path.read_text())
    told["settings"]["acknowledged"] = [known["key"]]
    laptop.deploy(laptop.write(told))
    code, said = check()
    assert code == 0 and "the only one" in said, said
    # Who cannot tell whether it is the one that may stay says that.
    code, said = check(STRANGER % "")
    assert code == 0 and "the only one" not in said and "is one that was acknowledged" in said, said


def test_a_server_that_hangs_is_2(check, box):
    box.check("docker pause letta-server")
    try:
        code, said = check()
        assert code == 2 and "letta-server is paused" in said and "docker unpause letta-server" in said, said
    finally:
        box.check("docker unpause letta-server")


def test_a_stopped_engine_is_1_and_not_started_by_the_question(check, box):
    box.check("systemctl stop docker.service")  # its socket still listens, and would start it
    code, said = check()
    assert code == 1 and "Docker engine is inactive" in said, said
    assert check("systemctl is-active docker.service")[1].strip() == "inactive"
    code, said = check("lettabox check --start")
    assert code == 0 and said.splitlines()[-1].endswith("the only one here"), said


def test_stopped_is_1_and_a_start_is_offered(check, box):
    box.check("docker stop --time 2 letta-nginx letta-server letta-redis letta-postgres")
    code, said = check("lettabox check </dev/null")
    assert code == 1 and "letta-server exited" in said and "lettabox check --start" in said and "[y/N]" not in said, (
        said
    )
    code, said = check(STRANGER % " --start")
    assert code == 1 and "nobody listens" in said and "needs root" in said, said
    # `script` is a terminal: there it asks, and no is an answer.
    code, said = check("echo n | script --quiet --return --command 'lettabox check' /dev/null")
    assert code == 1 and "Start it? [y/N]" in said and "Starting" not in said, said
    code, said = check("echo y | script --quiet --return --command 'make letta' /dev/null")
    assert code == 0 and "Start it? [y/N]" in said and "letta-server: healthy" in said, said
    assert check()[0] == 0
