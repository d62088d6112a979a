"""Faults of the environment on a deployed box: each is made for real beside the running stack and told by name."""

import pytest

from tests.lab.environment_faults import AWAY, context, script
from tests.lab.faults import Fault, expect, findings, made
from tests.lab.fingerprint import fingerprint

PLUGIN = "/usr/libexec/docker/cli-plugins/docker-compose"
USERS_PLUGIN = "/root/.docker/cli-plugins/docker-compose"  # it comes first
WARNING = "warning"
OLD_VOLUME = Fault(
    "the agents of an older set-up",
    # A copy of a database in use is one that was not shut down, as after `docker rm -f`.
    "docker volume create --label com.docker.compose.project=thoth thoth-dev-letta-postgres > /dev/null && "
    "cd /var/lib/docker/volumes && cp -a letta-postgres/_data/. thoth-dev-letta-postgres/_data/ && "
    "rm -f thoth-dev-letta-postgres/_data/postmaster.pid",
    "docker volume rm thoth-dev-letta-postgres",
    ["volume-leftover"],
    ("volume thoth-dev-letta-postgres", "a Postgres with a database named letta", "MB", "Compose project thoth"),
    WARNING,
)
FAULTS = [
    OLD_VOLUME,
    Fault(
        "a nameless volume with a database of Letta in it",
        # As the all-in-one image leaves one: only what is in it tells.
        f"docker volume create > {AWAY} && cd /var/lib/docker/volumes && cd $(cat {AWAY})/_data && mkdir global && "
        "echo 15 > PG_VERSION && cp -a ../../letta-postgres/_data/global/1262 "
        "../../letta-postgres/_data/global/pg_control global/",
        f"docker volume rm $(cat {AWAY}); rm {AWAY}",
        ["volume-leftover"],
        ("a Postgres with a database named letta", "pgvector/pgvector:pg15"),
        WARNING,
    ),
    Fault(
        "a volume of somebody else",
        "docker volume create grafana-data > /dev/null",
        "docker volume rm grafana-data",
        [],
    ),
    Fault(
        "a folder of Letta's clients in a Compose project",
        "mkdir -p /srv/thoth/.letta && cd /srv/thoth && echo '{}' > .letta/settings.local.json && "
        "echo 'services: {cache: {image: redis:8.0}}' > compose.yml && docker compose create --quiet-pull 2> /dev/null",
        "cd /srv/thoth && docker compose down -v 2> /dev/null; rm -r /srv/thoth",
        ["dot-letta"],
        ("/srv/thoth/.letta is there, with settings.local.json",),
        WARNING,
    ),
    Fault(
        "our data of another Postgres",
        f"echo 15 > {AWAY} && mount --bind {AWAY} /var/lib/docker/volumes/letta-postgres/_data/PG_VERSION",
        f"umount /var/lib/docker/volumes/letta-postgres/_data/PG_VERSION; rm {AWAY}",
        ["postgres-version"],
        ("written by Postgres 15", "pgvector/pgvector:0.8.0-pg17 is Postgres 17"),
    ),
    Fault(
        "Compose is gone",
        f"mv {PLUGIN} {AWAY}",
        f"mv {AWAY} {PLUGIN}",
        ["compose"],
        ("apt-get install --reinstall docker-compose",),
    ),
    Fault(
        "an old Compose before the distribution's",
        "mkdir -p /root/.docker/cli-plugins\n"
        + script(
            USERS_PLUGIN,
            """echo '{"SchemaVersion":"0.1.0","Vendor":"Docker Inc.","Version":"v2.17.3","ShortDescription":"x"}'""",
        ),
        "rm -r /root/.docker",
        ["compose"],
        ("Compose is 2.17.3 (/root/.docker/cli-plugins/docker-compose); 2.20.2 or newer",),
    ),
    Fault(
        "an old engine",
        script("/usr/local/bin/docker", '/usr/bin/docker "$@" | sed "s/^2[0-9][.][^ ]*/20.10.24/"'),
        "rm /usr/local/bin/docker",
        ["engine"],
        ("20.10.24", "25 or newer"),
    ),
    Fault(
        "a context of root that leads elsewhere",
        **context("/root", "tcp://192.0.2.7:2375"),
        ids=["docker-host"],
        words=("tcp://192.0.2.7:2375",),
    ),
    Fault(
        "a context of the login user that leads here",
        **context("/home/operator", "unix:///var/run/docker.sock"),
        ids=[],
    ),
    Fault(
        "another subnet than the network has",
        ":",
        ":",
        ["network"],
        ("exists with 172.22.0.0/16, settings say 172.30.0.0/16",),
        settings={"network": {"subnet": "172.30.0.0/16"}},
    ),
    Fault(
        "a subnet that another network has",
        "docker network create --subnet 172.30.4.0/24 thoth_default > /dev/null",
        "docker network rm thoth_default",
        ["network", "subnet"],
        ("overlaps network thoth_default (172.30.4.0/24)", "free there: 172.22.0.0/16"),
        settings={"network": {"subnet": "172.30.0.0/16"}},
    ),
]  # fmt: skip


@pytest.fixture(scope="module")
def untouched(deployed, laptop, box):
    """The deployed box, and after all faults the same box."""
    more = "sort /proc/self/mounts; ls -A /srv /home/operator; find /run -maxdepth 1 -name 'lab-*'"
    before = fingerprint(box) + box.check(more)
    yield deployed
    assert fingerprint(box) + box.check(more) == before
    assert findings(laptop) == []


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_each_fault_is_told_and_nothing_else(fault, untouched, laptop, box):
    expect(laptop, box, fault)


def test_the_command_to_look_into_a_leftover_works(untouched, laptop, box, api):
    """As it stands in the report, on a volume that nobody shut down."""
    agents = len(api.call("GET", "/v1/agents/?limit=1000"))
    with made(box, OLD_VOLUME):
        (found,) = findings(laptop)
        command = found["fix"].partition(": ")[2].partition("; only if")[0]
        assert f'count = "{agents}"' in box.check(command)
