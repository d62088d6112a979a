"""A deploy that fails explains itself, keeps its secrets, and the next one repairs it."""

import subprocess
from pathlib import Path

import pytest

from tests.lab.watch import arguments_seen

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def secrets(deployed, box):
    return [box.check(f"cat /etc/lettabox/secrets/{name}") for name in box.check("ls /etc/lettabox/secrets").split()]


def test_a_crashing_container_fails_the_deploy_with_its_log(restored, laptop, box, secrets):
    before = box.containers()
    # The Postgres image refuses to start without a password: a container that crashes again and again.
    inventory = laptop.inventory(nginx={"image": "pgvector/pgvector:0.8.0-pg17"})
    with arguments_seen() as arguments:
        done = laptop.pyinfra("-y", "-vvv", "--diff", "--debug", inventory=inventory)
    assert done.code == 1
    assert "letta-nginx" in done.text and "crashed again and again" in done.text
    assert "POSTGRES_PASSWORD" in done.text, "the container's own words are missing"
    after = box.containers()
    assert {name for name in before if before[name] != after[name]} == {"letta-nginx"}
    for secret in secrets:
        assert secret not in done.text
        assert not [one for one in arguments if secret in one]


def test_a_container_that_never_becomes_healthy_fails_it_too(restored, laptop):
    inventory = laptop.inventory(nginx={"image": "redis:8.0"}, letta={"start_timeout": 15})
    done = laptop.pyinfra("-y", inventory=inventory)
    assert done.code == 1
    assert "not healthy after 15 s: letta-nginx" in done.text
    assert "Ready to accept connections" in done.text


def test_no_secret_is_in_plans_logs_or_the_working_tree(deployed, laptop, box, secrets):
    inventory = laptop.inventory(letta={"keepalive_interval": 22}, nginx={"read_timeout": 99})
    with arguments_seen() as arguments:
        plan = laptop.make("plan", inventory=inventory)
    assert any("--dry" in one for one in arguments)
    assert plan.code == 0 and "LETTA_KEEPALIVE_INTERVAL" in plan.text, plan.text
    logs = {
        name: box.check(f"docker logs {name} 2>&1") for name in box.check("docker ps -a --format '{{.Names}}'").split()
    }
    assert "Using database" in logs["letta-server"], "the server's log is not the one expected"
    journal = box.check("journalctl --no-pager -o cat")
    for secret in secrets:
        assert secret not in plan.text
        assert not [one for one in arguments if secret in one]
        assert [name for name, text in logs.items() if secret in text] == []
        assert secret not in journal
        found = subprocess.run(
            ["grep", "-rlF", "--exclude-dir=.venv", "-f", "-", str(ROOT)],
            input=secret,
            capture_output=True,
            text=True,
        )
        assert found.stdout == "" and found.returncode == 1, found.stderr


def test_the_stock_image_fails_the_check_that_ours_passed(deployed, box):
    """The build verified the patched image; on upstream's own the same check must find the leaks."""
    verify = "/app/.venv/bin/python /opt/lettabox/verify.py"
    image = box.check("docker inspect --format '{{.Config.Image}}' letta-server")
    run = "docker run --rm --network none --entrypoint /bin/sh"
    assert "ok" in box.check(f"{run} {image} -c '{verify}' 2>&1")
    mount = "-v /opt/lettabox/letta_image/lettabox:/opt/lettabox:ro"
    code, said = deployed.exec(["sh", "-c", f"{run} {mount} letta/letta:0.16.8 -c '{verify}' 2>&1"])
    assert code == 1
    for check in ("server_password", "migration", "start_script", "desktop_uri"):
        assert f"{check}: a secret reaches the log" in said
    assert "tool_environment: a secret reaches a tool" in said
    assert "a tool misses ['LETTA_IMPORTED=False', 'TEXT=" in said


def test_a_base_that_a_patch_does_not_fit_fails_the_build(deployed, box):
    box.check(
        "rm -rf /root/misfit && cp -r /opt/lettabox/letta_image /root/misfit && "
        "sed -i 's/Using internal PostgreSQL/Using inner PostgreSQL/' /root/misfit/lettabox/patches/0001*.patch"
    )
    code, said = deployed.exec(
        ["sh", "-c", "docker build --force-rm --build-arg BASE=letta/letta:0.16.8 --tag misfit /root/misfit 2>&1"]
    )
    assert code != 0
    assert "does not fit letta-0.16.8: letta/server/startup.sh, line 51" in said
    assert "misfit" not in box.check("docker images --format '{{.Repository}}'")
