"""The live hosts of the inventory, seen from outside: over SSH and through the real APIs."""

import contextlib
import socket
import subprocess
import time

import pytest
import requests
import testinfra

from inventory.load import find, load
from inventory.remote import pick, ssh_config


def pytest_addoption(parser):
    parser.addoption("--host", help="which host, where the inventory has several")


def chosen(config):
    """(inventory, {group: names of its hosts that are looked at}): all, or the one that --host names."""
    if "chosen" not in _cache:
        inventory, name = load(find()), config.getoption("--host")
        groups = {"letta": inventory.groups.letta, "gpu": inventory.groups.gpu}
        if name:
            pick(inventory, None, name)  # says which there are, if there is none of the name
            groups = {group: [one for one in names if one == name] for group, names in groups.items()}
        _cache["chosen"] = inventory, groups
    return _cache["chosen"]


_cache = {}


def pytest_ignore_collect(collection_path, config):
    """What is of a group without a host has no tests, rather than skipped ones."""
    if not collection_path.name.startswith("test_"):
        return None
    inventory, groups = chosen(config)
    if collection_path.name == "test_5_studio.py" and not inventory.groups.gpu:
        return True
    group = "gpu" if collection_path.name == "test_4_comfyui.py" else "letta"
    return not groups[group] or None


def pytest_generate_tests(metafunc):
    """A test of a GPU box is one of each of them."""
    if "gpu" in metafunc.fixturenames:
        names = chosen(metafunc.config)[1]["gpu"]
        if not names:  # the file was named by hand
            raise pytest.UsageError("there is no host of group gpu to look at")
        metafunc.parametrize("gpu", names, scope="session", indirect=True)


@pytest.fixture(scope="session")
def target(pytestconfig):
    """(name of the host of Letta, inventory)."""
    inventory, groups = chosen(pytestconfig)
    return groups["letta"][0], inventory


@pytest.fixture(scope="session")
def gpu(request, pytestconfig):
    """(name of a host with a GPU, inventory)."""
    return request.param, chosen(pytestconfig)[0]


@pytest.fixture(scope="session")
def settings(pytestconfig):
    return chosen(pytestconfig)[0].settings


@pytest.fixture(scope="session")
def config_file(target, tmp_path_factory):
    return write_config(target, tmp_path_factory)


@pytest.fixture(scope="session")
def gpu_config_file(gpu, tmp_path_factory):
    return write_config(gpu, tmp_path_factory)


def write_config(target, tmp_path_factory):
    path = tmp_path_factory.mktemp("ssh") / "config"
    # One connection for all commands; without a ControlPath testinfra opens one for each.
    path.write_text(f"ControlPath {path.parent}/%C\n{ssh_config(target[1].hosts[target[0]])}")
    return path


@pytest.fixture(scope="session")
def host(target, config_file):
    with connected(target, config_file) as host:
        yield host


@pytest.fixture(scope="session")
def gpu_host(gpu, gpu_config_file):
    with connected(gpu, gpu_config_file) as host:
        yield host


@contextlib.contextmanager
def connected(target, config_file):
    machine = target[1].hosts[target[0]]
    sudo = str(machine.user != "root").lower()
    yield testinfra.get_host(f"ssh://{machine.address}?ssh_config={config_file}&sudo={sudo}&controlpersist=60")
    # The shared connection stays behind as a process of its own.
    subprocess.run(["ssh", "-F", config_file, "-O", "exit", machine.address], capture_output=True, check=True)


@contextlib.contextmanager
def tunnel(target, config_file, bind, port):
    """A local port that leads to the published port of a service on the host."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        local = free.getsockname()[1]
    there = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
    ssh = subprocess.Popen(
        [
            "ssh",
            "-F",
            config_file,
            "-o",
            "ExitOnForwardFailure=yes",
            "-o",
            "ControlPath=none",  # a connection of its own, which lasts as long as this process
            "-N",
            "-L",
            f"127.0.0.1:{local}:[{there}]:{port}",
            target[1].hosts[target[0]].address,
        ],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            assert ssh.poll() is None, f"ssh ended: {ssh.stderr.read()}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", local), timeout=1):
                break
            assert time.monotonic() < deadline, "the tunnel did not come up in 20 s"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{local}"
    finally:
        ssh.terminate()
        ssh.wait()


@pytest.fixture(scope="session")
def server(target, config_file, settings):
    """URL of letta-server itself."""
    with tunnel(target, config_file, settings.letta.bind, settings.letta.port) as url:
        yield url


@pytest.fixture(scope="session")
def proxy(target, config_file, settings):
    """URL of letta-nginx."""
    with tunnel(target, config_file, settings.nginx.bind, settings.nginx.port) as url:
        yield url


@pytest.fixture(scope="session")
def comfyui(gpu, gpu_config_file, settings):
    """URL of ComfyUI."""
    with tunnel(gpu, gpu_config_file, "127.0.0.1", settings.comfyui.port) as url:
        yield url


@pytest.fixture(scope="session")
def studio(target, config_file, settings):
    """URL of the studio."""
    with tunnel(target, config_file, settings.studio.bind, settings.studio.port) as url:
        yield url


@pytest.fixture
def remove_video(target, tmp_path_factory):
    """Removes a video, named by its box, at the end of the test."""
    inventory, paths = target[1], []
    yield paths.append
    for path in paths:
        name, _, below = path.partition("/")
        one = (name, inventory)
        with connected(one, write_config(one, tmp_path_factory)) as box:
            box.check_output("rm %s", f"/var/lib/comfyui/output/{below}")


@pytest.fixture(scope="session")
def api(host):
    """A session of requests that carries the server password."""
    session = requests.Session()
    session.trust_env = False  # a proxy of the environment must not get the password
    session.headers["Authorization"] = f"Bearer {host.check_output('lettabox letta password')}"
    return session
