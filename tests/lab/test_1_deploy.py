"""The main job: an empty box becomes a healthy server, and doing it again changes nothing."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.lab.conftest import ROOT
from tests.lab.watch import arguments_seen, commands_over_ssh, secrets_never_open


def test_the_first_deploy_brings_it_up_and_keeps_its_secrets(lab, laptop, box):
    with arguments_seen() as arguments, secrets_never_open(lab) as modes:
        done = laptop.pyinfra("-y", "-vvv", "--diff")
    assert done.code == 0, done.text[-6000:]
    assert set(box.containers()) == {"letta-postgres", "letta-redis", "letta-server", "letta-nginx"}
    assert modes.looks > 100 and modes.files >= 3, "the watcher was too slow to have seen anything"
    assert not modes.open, f"readable for others at some instant: {modes.open}"

    names = box.check("ls /etc/lettabox/secrets").split()
    assert len(names) == 3
    for name in names:
        secret = box.check(f"cat /etc/lettabox/secrets/{name}")
        assert re.fullmatch(r"[0-9a-f]{64}", secret)
        assert secret not in done.text, f"{name} is in the output of the deploy"
        assert not [one for one in arguments if secret in one], f"{name} was an argument of a process"
    # The sampler works: it saw what ran on the laptop and inside the box.
    assert any("deploy.py" in one for one in arguments) and any("alembic" in one for one in arguments)


def test_the_second_deploy_changes_nothing(deployed, laptop, box):
    containers, files = box.containers(), box.files()
    done = laptop.deploy()
    assert done.totals["success"] == 0, done.changed
    assert done.totals["no_change"] > 10
    assert box.containers() == containers
    assert box.files() == files


@pytest.mark.parametrize(
    ("how", "commands"),
    [
        # The lock, unless it only looks; the preflight; and one that reads for all operations, once before the table
        # of changes and once after.
        ("-y", 3),
        ("--dry", 2),
        ("", 4),
    ],
)
def test_a_deploy_that_changes_nothing_sends_few_commands(deployed, laptop, how, commands):
    """As counted by the box. A step that asks what cannot be read ahead shows here: see deploys/read_ahead.py."""
    with commands_over_ssh(deployed) as seen:
        done = laptop.run("bash", "-c", f"echo | {Path(sys.executable).with_name('pyinfra')} inventory deploy.py {how}")
    assert done.code == 0, done.text
    assert len(seen) == commands, seen


def test_a_dry_run_finds_nothing_to_do(deployed, laptop):
    done = laptop.pyinfra("--dry", "--json")
    assert done.code == 0, done.text
    changing = [one["name"] for one in json.loads(done.out)["plan"] if one["hosts_with_change"]]
    assert changing == []


def test_foreign_keys_of_daemon_json_are_kept(deployed, box):
    content = json.loads(box.check("cat /etc/docker/daemon.json"))
    assert content["labels"] == ["lab.keep=me"]
    assert content["live-restore"] is True
    info = json.loads(box.check("docker info --format '{{json .}}'"))
    assert info["LiveRestoreEnabled"] and "lab.keep=me" in info["Labels"]


def test_the_base_stays_under_its_name_and_is_pinned(deployed, box):
    recorded = json.loads(box.check("cat /var/lib/lettabox/images.json"))
    assert recorded["letta/letta:0.16.8"].startswith("sha256:")
    digests = box.check("docker image inspect --format '{{.RepoDigests}}' letta/letta:0.16.8")
    assert recorded["letta/letta:0.16.8"] in digests


def test_verbs_without_a_terminal_refuse_to_ask(deployed, laptop, box):
    containers = box.containers()
    for verb in ("deploy", "letta-stop"):
        done = laptop.make(verb)
        assert done.code != 0 and "Error 4" in done.text and "YES=1" in done.text
        assert deployed.name in done.text, "the verb did not say on which host it acts"
    assert box.containers() == containers


def test_a_value_is_printed_alone(deployed, laptop):
    # After an update of the checkout the virtual environment is renewed first, which must not show.
    (ROOT / "requirements/run.txt").touch()
    done = laptop.make("-s", "letta-password")
    assert re.fullmatch(r"[0-9a-f]{64}\n", done.out)
    assert laptop.make("-s", "letta-password").err == ""


def test_verbs_refuse_hosts_and_files_that_do_not_exist(deployed, laptop, tmp_path):
    done = laptop.make("letta-status", "HOST=nowhere")
    assert "Error 4" in done.text and f"there are: {deployed.name}" in done.text
    done = laptop.make("letta-status", f"INVENTORY={tmp_path}/none.yml")
    assert "Error 4" in done.text and "none.yml" in done.text
    done = laptop.make("letta-logs", "SERVICE=nginx", "FOLLOW=0")
    assert "Error 4" in done.text and "letta-nginx" in done.text
    logs = laptop.make("letta-logs", "SERVICE=letta-redis", "FOLLOW=0", "TAIL=2")
    assert logs.code == 0 and "letta-redis" in logs.out and "\x1b" not in logs.out


def test_verification_passes(deployed, laptop):
    done = laptop.make("verify")
    assert done.code == 0, done.text[-4000:]
    assert re.search(r"\d{2} passed", done.out)


def test_verification_fails_on_a_broken_server(deployed, laptop, box):
    box.check("docker stop letta-redis")
    try:
        done = laptop.make("verify")
        assert done.code != 0
        assert "test_healthy_and_kept_running[letta-redis]" in done.out
    finally:
        laptop.deploy()


def test_other_projects_reach_it_by_name(deployed, laptop, box, api):
    """The shipped example of a consumer, as it is."""
    deployed.copy_in(Path("docs/consumer"), "/srv/consumer")
    password = laptop.make("-s", "letta-password").out.strip()
    consumer = f"cd /srv/consumer && LETTA_API_KEY={password} docker compose run"
    assert box.check(f"{consumer} --rm -T app 2>/dev/null") == str(api.call("GET", "/v1/agents/count"))
    box.check(f"{consumer} -d --name neighbour app sleep 600")
    try:
        stop = laptop.make("letta-stop")
        assert stop.code != 0 and "neighbour" in stop.text and "YES=1" in stop.text
    finally:
        box.check("docker rm -f neighbour; rm -r /srv/consumer")
