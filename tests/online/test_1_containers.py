"""The containers: healthy, limited, on the right data, listening no wider than asked."""

import pytest

from deploys import layout, letta_image

SERVICES = {
    "letta-postgres": "postgres",
    "letta-redis": "redis",
    "letta-server": "letta",
    "letta-nginx": "nginx",
}
DATA = {
    "letta-postgres": {"/var/lib/postgresql/data": "letta-postgres"},
    "letta-server": {"/root/.letta": "letta-home", "/var/lib/letta": "letta-data"},
}


@pytest.mark.parametrize("name", SERVICES)
def test_healthy_and_kept_running(host, name):
    state = host.docker(name).inspect()
    assert state["State"]["Health"]["Status"] == "healthy"
    assert state["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert state["Config"]["Labels"]["com.docker.compose.project"] == "letta"


@pytest.mark.parametrize("name", SERVICES)
def test_logs_and_memory_are_limited(host, name, settings):
    limits = host.docker(name).inspect()["HostConfig"]
    assert limits["LogConfig"]["Config"] == {
        "max-size": settings.logs.max_size,
        "max-file": str(settings.logs.max_file),
    }
    assert limits["Memory"] > 0


@pytest.mark.parametrize("name", SERVICES)
def test_data_is_on_the_named_volumes_and_nowhere_else(host, name):
    mounts = [one for one in host.docker(name).inspect()["Mounts"] if one["Type"] == "volume"]
    assert {one["Destination"]: one["Name"] for one in mounts} == DATA.get(name, {})


@pytest.mark.parametrize("name", SERVICES)
def test_listens_where_asked_and_nowhere_else(host, name, settings):
    wanted = getattr(settings, SERVICES[name])
    published = [one for all_ in host.docker(name).inspect()["NetworkSettings"]["Ports"].values() for one in all_ or []]
    assert published == [{"HostIp": wanted.bind, "HostPort": str(wanted.port)}]
    family = "tcp6" if ":" in wanted.bind else "tcp"
    assert host.socket(f"{family}://{wanted.bind}:{wanted.port}").is_listening


def test_the_server_runs_the_patched_image(host, settings):
    assert host.docker("letta-server").inspect()["Config"]["Image"] == letta_image.name(settings)


def test_no_secret_is_in_the_container_configuration(host):
    secrets = [host.file(f"{layout.SECRETS_DIR}/{name}").content_string for name in layout.SECRETS]
    for name in SERVICES:
        found = [secret for secret in secrets if secret in str(host.docker(name).inspect())]
        assert not found, f"docker inspect {name} shows a secret"  # the values stay out of the report


def test_the_network_is_the_declared_one(host, settings):
    ask = f"docker network inspect --format '{{{{range .IPAM.Config}}}}{{{{.Subnet}}}}{{{{end}}}}' {layout.NETWORK}"
    assert host.check_output(ask) == str(settings.network.subnet)


def test_the_database_has_its_extensions(host):
    ask = "docker exec letta-postgres psql -U letta -d letta -Atc 'SELECT extname FROM pg_extension'"
    assert {"vector", "uuid-ossp"} <= set(host.check_output(ask).split())
