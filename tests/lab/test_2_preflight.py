"""The preflight alone: what it prints, its exit codes, what it costs, and that it leaves everything as it was."""

from tests.lab import watch
from tests.lab.faults import Fault, findings, made
from tests.lab.fingerprint import fingerprint

SQUATTER = Fault(
    name="a foreign listener",
    make="systemd-run --quiet --unit=lab-squatter python3 -m http.server --bind 127.0.0.1 11434 && "
    "for i in $(seq 100); do ss -Hltn | grep -q 127.0.0.1:11434 && exit 0; sleep 0.1; done; exit 1",
    undo="systemctl stop lab-squatter",
    ids=["port"],
    settings={"ollama": {"enabled": True}},
)


def test_a_deployed_box_has_no_findings(deployed, laptop):
    done = laptop.make("preflight")
    assert (done.code, done.out) == (0, "nothing found\n"), done.text
    assert findings(laptop) == []


def test_it_costs_at_most_four_channels(deployed, laptop):
    with watch.commands_over_ssh(deployed) as commands:
        assert findings(laptop) == []
    assert 1 <= len(commands) <= 4, commands


def test_a_refusal_leaves_the_box_as_it_was(deployed, laptop, box):
    inventory = laptop.inventory(**SQUATTER.settings)
    before = fingerprint(box)
    with made(box, SQUATTER):
        alone = laptop.make("preflight", inventory=inventory)
        deploys = [laptop.pyinfra(*options, inventory=inventory) for options in (["-y"], [], ["--dry"])]
    assert alone.code == 2 and "Error 1" in alone.err and "[port]" in alone.out, alone.text
    assert alone.out.endswith("1 to fix before a deploy, 0 to know of\n")
    for done in deploys:
        assert done.code == 1 and "nothing was changed on any host; 1 to fix first" in done.text
        assert "[port]" in done.text and "Traceback" not in done.text
    assert fingerprint(box) == before


def test_the_fingerprint_sees_what_a_deploy_might_do(deployed, box):
    before = fingerprint(box)
    for change, back in (
        ("touch /etc/lettabox/x", "rm /etc/lettabox/x"),
        ("chmod 700 /usr/local/bin/lettabox", "chmod 755 /usr/local/bin/lettabox"),
        ("docker volume create lab-x", "docker volume rm lab-x"),
        ("docker network create lab-x", "docker network rm lab-x"),
        ("docker tag letta/letta:0.16.8 x:1", "docker rmi x:1"),
        ("docker stop letta-nginx", "docker start letta-nginx"),
        ("systemctl disable cron", "systemctl enable cron"),
    ):
        box.check(change)
        try:
            assert fingerprint(box) != before, change
        finally:
            box.check(back)


def test_bad_usage_and_unreachable_hosts(deployed, laptop, lab):
    done = laptop.make("preflight", "HOST=nobody")
    assert done.code == 2 and "Error 4" in done.err and "HOST=nobody: no such host" in done.err
    content = {"hosts": {"gone": {"address": "127.0.0.1", "port": 1, "user": "x"}}}
    content["groups"] = {"letta": ["gone"]}
    (found,) = findings(laptop, laptop.write(content))
    assert (found["host"], found["id"], found["severity"]) == ("gone", "unreachable", "fatal")
    assert "Could not connect" in found["cause"]
