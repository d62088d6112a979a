"""The box: system, engine, command, secrets."""

import pytest

from deploys import layout


def test_the_engine_runs_and_is_started_at_boot(host):
    docker = host.service("docker")
    assert docker.is_running
    assert docker.is_enabled
    assert host.check_output("docker compose version --short").lstrip("v")[0] in "25"


def test_the_command_is_there_and_refuses_wrong_use_with_4(host):
    assert host.run("lettabox --help").rc == 0
    assert host.run("lettabox no-such-verb").rc == 4


@pytest.mark.parametrize("name", layout.SECRETS)
def test_secrets_are_for_root_alone(host, name):
    secret = host.file(f"{layout.SECRETS_DIR}/{name}")
    assert secret.is_file and secret.size >= 32
    assert (secret.user, secret.group, secret.mode) == ("root", "root", 0o600)
    folder = host.file(layout.SECRETS_DIR)
    assert (folder.user, folder.mode) == ("root", 0o700)


@pytest.mark.parametrize(
    "path", [layout.CODE, layout.PROJECT, layout.CONFIG, layout.STATE, layout.LOGS, "/run/lettabox"]
)
def test_the_folders_belong_to_root(host, path):
    folder = host.file(path)
    assert folder.is_directory and folder.user == "root"
    assert folder.mode & 0o022 == 0
