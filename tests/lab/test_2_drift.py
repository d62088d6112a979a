"""One change, one repair: nothing else is touched."""

import json

import pytest

STACK = {"letta-postgres", "letta-redis", "letta-server", "letta-nginx"}


def recreated(before, after):
    return {name for name in STACK if before[name][0] != after[name][0]}


def restarted(before, after):
    return {name for name in STACK if before[name][1] != after[name][1]}


@pytest.mark.parametrize(
    ("settings", "affected"),
    [
        ({"nginx": {"read_timeout": 1799}}, {"letta-nginx"}),
        ({"redis": {"memory": "600m"}}, {"letta-redis"}),
        ({"postgres": {"max_connections": 150}}, {"letta-postgres"}),
        ({"letta": {"environment": {"LETTA_TRACK_ERRORED_MESSAGES": False}}}, {"letta-server"}),
        ({"letta": {"start_timeout": 500}}, set()),
    ],
)
def test_a_changed_setting_recreates_exactly_what_it_affects(restored, laptop, box, api, settings, affected):
    before = box.containers()
    inventory = laptop.inventory(**settings)
    plan = laptop.make("plan", inventory=inventory)
    assert plan.code == 0, plan.text
    assert box.containers() == before
    laptop.deploy(inventory)
    after = box.containers()
    assert recreated(before, after) == affected
    assert restarted(before, after) == affected
    again = laptop.deploy(inventory)
    assert again.totals["success"] == 0, again.changed
    assert api.call("GET", "/v1/agents/count") >= 0


def test_ports_can_be_swapped(restored, laptop, box, api):
    laptop.deploy(laptop.inventory(letta={"port": 8284}, nginx={"port": 8283}))
    # The forwards lead to the same numbers, so each now ends at the other one: both are the API.
    assert api.call("GET", "/v1/agents/count") >= 0
    assert "8284" in box.check("docker port letta-server") and "8283" in box.check("docker port letta-nginx")


@pytest.mark.parametrize("name", sorted(STACK))
def test_a_container_stopped_by_hand_is_started_and_no_other(deployed, laptop, box, name):
    before = box.containers()
    box.check(f"docker stop {name}")
    laptop.deploy()
    after = box.containers()
    assert recreated(before, after) == set()
    assert restarted(before, after) == {name}


@pytest.mark.parametrize(
    ("path", "edit"),
    [
        ("/opt/lettabox/letta/nginx.conf", "echo '# by hand' >>"),
        ("/opt/lettabox/letta/compose.yml", "sed -i s/8284/8285/"),
        ("/usr/local/bin/lettabox", "chmod 777"),
        ("/etc/lettabox/settings.json", "rm"),
        ("/opt/lettabox/src/lettabox/cli.py", "truncate -s 0"),
        ("/etc/lettabox/secrets/postgres_password", "chmod 644"),
    ],
)
def test_a_file_edited_by_hand_is_put_back_and_no_other(deployed, laptop, box, path, edit):
    before, containers = box.files(), box.containers()
    box.check(f"{edit} {path}")
    assert box.files().get(path) != before[path]
    laptop.deploy()
    after = box.files()
    # All but the mtime and the inode, which the repair gives anew.
    assert after[path].split()[2:] == before[path].split()[2:]
    assert {one: after[one] for one in after if one != path} == {one: before[one] for one in before if one != path}
    assert box.containers() == containers


def test_a_stray_file_in_our_folders_is_removed_and_a_stray_secret_is_kept(deployed, laptop, box):
    box.check("touch /opt/lettabox/letta/stray.yml /etc/lettabox/secrets/router_key")
    # Compose reads a file of this name unasked, be it a link.
    box.check("ln -s stray.yml /opt/lettabox/letta/compose.override.yml")
    laptop.deploy()
    assert box.check("ls /opt/lettabox/letta") == "compose.yml\ninit.sql\nnginx.conf"
    assert "router_key" in box.check("ls /etc/lettabox/secrets")
    box.check("rm /etc/lettabox/secrets/router_key")


def test_a_lost_secret_is_refused_while_there_is_data(deployed, laptop, box):
    box.check("mv /etc/lettabox/secrets/letta_encryption_key /root/")
    try:
        before, containers = box.files(), box.containers()
        done = laptop.pyinfra("-y")
        assert done.code == 1 and "[secrets-lost]" in done.text and "letta_encryption_key" in done.text
        assert (box.files(), box.containers()) == (before, containers)
    finally:
        box.check("mv /root/letta_encryption_key /etc/lettabox/secrets/")
    assert laptop.deploy().totals["success"] == 0


def test_an_image_that_was_removed_is_pulled_again_by_its_recorded_digest(restored, laptop, box):
    recorded = json.loads(box.check("cat /var/lib/lettabox/images.json"))["nginx:1.26"]
    box.check("docker rm -f letta-nginx && docker rmi nginx:1.26")
    laptop.deploy()
    assert recorded in box.check("docker image inspect --format '{{.RepoDigests}}' nginx:1.26")
    assert json.loads(box.check("cat /var/lib/lettabox/images.json"))["nginx:1.26"] == recorded


def test_a_digest_in_the_settings_is_held_to(restored, laptop, box):
    recorded = json.loads(box.check("cat /var/lib/lettabox/images.json"))["redis:8.0"]
    assert laptop.deploy(laptop.inventory(redis={"digest": recorded})).changed == [
        "Box | Folders and the command lettabox"  # settings.json
    ]
    containers = box.containers()
    wrong = laptop.pyinfra("-y", inventory=laptop.inventory(redis={"digest": "sha256:" + "0" * 64}))
    assert wrong.code == 1 and "redis@sha256:0000" in wrong.text, wrong.text
    assert box.containers() == containers


def test_an_image_that_changed_behind_its_name_is_refused(deployed, laptop, box):
    box.check("docker tag redis:8.0 lab/keep && docker tag nginx:1.26 redis:8.0")
    try:
        done = laptop.pyinfra("-y")
        assert done.code == 1 and "[image-changed]" in done.text and "redis:8.0" in done.text
    finally:
        box.check("docker tag lab/keep redis:8.0 && docker rmi lab/keep")
    assert laptop.deploy().totals["success"] == 0
