"""`pyinfra inventory ...` with the real pyinfra: the folder is taken, data arrives, errors are clean.

config.py leans on a private cache of pyinfra; these tests go red when pyinfra moves it.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TWO_HOSTS = """
hosts:
  box: {{address: 127.0.0.1, port: {0}, user: debian}}
  render: {{address: 127.0.0.1, port: {1}, user: root, key: key, known_hosts: known_hosts}}
groups: {{letta: [box], gpu: [render, box]}}
"""
ONE_HOST = """
hosts: {{box: {{address: 127.0.0.1, port: {0}, user: root}}}}
groups: {{letta: [box], gpu: []}}
"""


@pytest.fixture
def checkout(tmp_path):
    """A copy of what pyinfra reads, so that nothing is written to the repository."""
    folder = tmp_path / "checkout"
    shutil.copytree(
        ROOT / "inventory", folder / "inventory", ignore=shutil.ignore_patterns("lettabox.yml", "__pycache__")
    )
    shutil.copytree(ROOT / "files/lettabox", folder / "files/lettabox", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "config.py", folder)
    (tmp_path / "home").mkdir()
    return folder


def pyinfra(checkout, *arguments, settings=None):
    environ = {**os.environ, "HOME": str(checkout.parent / "home"), "PYINFRA_PROGRESS": "off"}
    environ.pop("LETTABOX_INVENTORY", None)
    environ.pop("SSH_AUTH_SOCK", None)
    if settings is not None:
        path = checkout.parent / "mine.yml"
        path.write_text(settings, encoding="utf-8")
        environ["LETTABOX_INVENTORY"] = str(path)
    return subprocess.run(
        [sys.executable, "-m", "pyinfra", *arguments],
        cwd=checkout,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def hosts(run):
    assert run.returncode == 0, run.stderr
    return {host["name"]: host for host in json.loads(run.stdout)}


@pytest.fixture
def two_hosts(tmp_path):
    for name in ("key", "known_hosts"):
        (tmp_path / name).touch()
    return TWO_HOSTS.format(2201, 2202)


@pytest.mark.parametrize("word", ["inventory", "inventory/", "./inventory", "./inventory/", "inventory/hosts.py"])
def test_every_spelling(checkout, two_hosts, word):
    found = hosts(pyinfra(checkout, word, "debug-inventory", "--json", settings=two_hosts))
    assert set(found) == {"box", "render"}
    assert {"letta", "gpu"} <= set(found["box"]["groups"])
    assert "gpu" in found["render"]["groups"] and "letta" not in found["render"]["groups"]
    known = {"letta", "gpu", "inventory", "hosts", "all"}
    assert {group for host in found.values() for group in host["groups"]} <= known


def test_host_data(checkout, two_hosts, tmp_path):
    found = hosts(pyinfra(checkout, "inventory", "debug-inventory", "--json", settings=two_hosts))
    box, render = found["box"]["data"], found["render"]["data"]
    assert box.pop("settings")["letta"]["port"] == render.pop("settings")["letta"]["port"] == 8283
    file = str(tmp_path / "mine.yml")
    for one in (box, render):
        assert one.pop("inventory")["groups"] == {"letta": ["box"], "gpu": ["render", "box"]}
    assert box.pop("models").keys() == render["models"].keys()
    assert box == {
        "ssh_hostname": "127.0.0.1", "ssh_port": 2201, "ssh_user": "debian",
        "ssh_strict_host_key_checking": "accept-new", "inventory_file": file, "_sudo": True,
        "changes": False, "asks": True, "inventory_name": "", "takes_over": "", "crew": {},
    }  # fmt: skip
    checkpoint = render.pop("models")["ltx-2-checkpoint"]
    assert (checkpoint["repository"], checkpoint["sha256"]) == ("Lightricks/LTX-2", "")
    assert render == {
        "ssh_hostname": "127.0.0.1", "ssh_port": 2202, "ssh_user": "root", "ssh_key": str(tmp_path / "key"),
        "ssh_known_hosts_file": str(tmp_path / "known_hosts"), "ssh_strict_host_key_checking": "yes",
        "inventory_file": file, "changes": False, "asks": True,
        "inventory_name": "", "takes_over": "", "crew": {},
    }  # fmt: skip


def test_without_gpu_hosts(checkout):
    found = hosts(pyinfra(checkout, "inventory", "debug-inventory", "--json", settings=ONE_HOST.format(2201)))
    assert set(found) == {"box"} and "gpu" not in found["box"]["groups"]
    ssh = checkout.parent / "home" / ".ssh"  # pyinfra remembers new host keys there but does not make it
    assert ssh.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("word", ["inventory", "inventory/hosts.py"])
def test_a_settings_error_is_one_clean_message(checkout, word):
    run = pyinfra(checkout, word, "debug-inventory", settings=ONE_HOST.format('"2201"'))
    assert run.returncode == 1
    message = "mine.yml:2: hosts.box.port = '2201': must be a whole number, not text; write digits only, without quotes"
    assert [line for line in run.stderr.splitlines() if line and not line.startswith("-->")] == [
        f"{checkout.parent}/{message}"
    ]
    assert run.stdout == ""
    assert not (checkout / "pyinfra-debug.log").exists()


def test_no_inventory_yet(checkout):
    run = pyinfra(checkout, "inventory", "debug-inventory")
    assert run.returncode == 1
    assert "no inventory yet: `cp inventory/lettabox.example.yml" in run.stderr
    assert "Traceback" not in run.stderr


# --- connections: a listener stands for a box; it hangs up at once ------------------------------------------


class Listener:
    """Counts connections to a port of this machine and closes them at once."""

    def __enter__(self):
        self.accepted = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()
        return self

    def _serve(self):
        while True:
            connection, _ = self._socket.accept()
            with connection:
                if connection.recv(4, socket.MSG_PEEK) == b"stop":
                    return
                self.accepted += 1

    def __exit__(self, *_):
        with socket.create_connection(("127.0.0.1", self.port)) as stop:
            stop.sendall(b"stop")
        self._thread.join()
        self._socket.close()


DEPLOY = """
from pyinfra import config, host, state
print("reached", host.name, sorted(h.name for h in state.failed_hosts), config.FAIL_PERCENT)
"""


def test_limit(checkout, two_hosts):
    with Listener() as box, Listener() as render:
        settings = TWO_HOSTS.format(box.port, render.port)
        (checkout.parent / "key").write_text("", encoding="utf-8")
        run = pyinfra(checkout, "inventory", "exec", "--limit", "letta", "-y", "--", "true", settings=settings)
    assert run.returncode == 1
    assert box.accepted > 0 and render.accepted == 0


@pytest.mark.parametrize("flags", [("-y",), (), ("--dry",)])
def test_no_host_can_be_reached(checkout, flags):
    (checkout / "deploy.py").write_text(DEPLOY, encoding="utf-8")
    with Listener() as box:
        run = pyinfra(checkout, "inventory", "deploy.py", *flags, settings=ONE_HOST.format(box.port))
    assert run.returncode == 1
    assert "No hosts remaining!" in run.stderr
    assert "Traceback" not in run.stderr and "reached" not in run.stdout
    assert not (checkout / "pyinfra-debug.log").exists()
    assert box.accepted > 0


# The same decision with a host that does connect: pyinfra's @local joins the unreachable one in the groups.
WITH_LOCAL = """
letta = [*letta, ("@local", {})]
"""


@pytest.mark.parametrize("flags", [("-y",), ("--dry",)])
def test_an_unreachable_host_is_left_to_the_preflight(checkout, flags):
    with (checkout / "inventory" / "hosts.py").open("a", encoding="utf-8") as file:
        file.write(WITH_LOCAL)
    (checkout / "deploy.py").write_text(DEPLOY, encoding="utf-8")
    with Listener() as box:
        run = pyinfra(checkout, "inventory", "deploy.py", *flags, settings=ONE_HOST.format(box.port))
    # deploy.py runs on the other host, knows of the failure, and nobody was asked whether to continue.
    assert "reached @local ['box'] 0" in run.stdout
    assert "continue?" not in run.stderr and "EOFError" not in run.stderr


TWO_LOCAL = """
# pyinfra allows one @local only; two of them are two hosts that need no SSH.
from pyinfra.connectors.local import LocalConnector
LocalConnector.make_names_data = staticmethod(lambda name: iter([("@local/" + name, {}, [])]))
letta = [("@local/good", {}), ("@local/bad", {})]
"""


def test_a_host_that_fails_later_stops_all(checkout):
    with (checkout / "inventory" / "hosts.py").open("a", encoding="utf-8") as file:
        file.write(TWO_LOCAL)
    (checkout / "deploy.py").write_text(
        "from pyinfra import host\nfrom pyinfra.operations import server\n"
        'server.shell(name="one fails", commands=["exit 1" if "bad" in host.name else "touch began"])\n'
        'server.shell(name="after", commands=["touch went-on"])\n',
        encoding="utf-8",
    )
    run = pyinfra(checkout, "inventory", "deploy.py", "-y", settings=ONE_HOST.format(1))
    assert run.returncode == 1
    assert (checkout / "began").exists(), run.stderr
    assert not (checkout / "went-on").exists(), run.stderr
    assert "Over 0% of hosts failed (50%)" in run.stderr and "Traceback" not in run.stderr


def test_sudo_reaches_facts_and_operations(checkout):
    """The flag is host data; here it is set for a host that needs no SSH, and the commands are looked at."""
    with (checkout / "inventory" / "hosts.py").open("a", encoding="utf-8") as file:
        file.write('letta = [("@local", {k: v for k, v in letta[0][1].items() if not k.startswith("ssh_")})]\n')
    (checkout / "deploy.py").write_text(
        "from pyinfra import host\nfrom pyinfra.facts.server import User\n"
        "from pyinfra.operations import python, server\n"
        "host.get_fact(User)\n"
        'server.shell(name="plain", commands=["true plain"])\n'
        'python.call(name="nested", function=lambda: server.shell(commands=["true nested"]))\n',
        encoding="utf-8",
    )
    (bin_folder := checkout.parent / "home" / "bin").mkdir()
    sudo = bin_folder / "sudo"
    sudo.write_text('#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n', encoding="utf-8")
    sudo.chmod(0o755)
    (checkout / "config.py").write_text(
        (checkout / "config.py").read_text(encoding="utf-8")
        + f'\nimport os\nos.environ["PATH"] = "{bin_folder}:" + os.environ["PATH"]\n',
        encoding="utf-8",
    )
    settings = ONE_HOST.format(1).replace("root", "debian")
    run = pyinfra(checkout, "inventory", "deploy.py", "-y", "-vvv", settings=settings)
    assert run.returncode == 0, run.stderr
    commands = [line for line in (run.stdout + run.stderr).splitlines() if ">>>" in line]
    for word in ("echo $USER", "true plain", "true nested"):
        assert [line for line in commands if word in line], (word, run.stderr)
        assert all("sudo" in line for line in commands if word in line), commands


# --- when pyinfra moves -------------------------------------------------------------------------------------


def test_without_pyinfras_cache_the_fallback_is_named(checkout):
    source = (checkout / "config.py").read_text(encoding="utf-8")
    (checkout / "config.py").write_text(
        "import pyinfra_cli.util\ndel pyinfra_cli.util.PYTHON_CODES\n" + source, encoding="utf-8"
    )
    run = pyinfra(checkout, "inventory", "debug-inventory", settings=ONE_HOST.format(1))
    assert run.returncode == 1
    assert "`pyinfra inventory/hosts.py deploy.py`" in run.stderr and "Traceback" not in run.stderr


def test_another_pyinfra_is_refused(checkout):
    source = (checkout / "config.py").read_text(encoding="utf-8")
    assert "~=3.10.0" in source
    (checkout / "config.py").write_text(source.replace("~=3.10.0", "~=3.11.0"), encoding="utf-8")
    run = pyinfra(checkout, "inventory", "debug-inventory", settings=ONE_HOST.format(1))
    assert run.returncode == 1
    assert "requires ~=3.11.0" in run.stderr and "Traceback" not in run.stderr
