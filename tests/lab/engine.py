"""The Docker engine of this machine: found, or installed and started."""

import fcntl
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import requests
from docker.errors import DockerException

from tests.lab.report import LabError, step, tail
from tests.lab.waiting import wait_for

STATE = Path(__file__).resolve().parents[2] / ".lab" / "engine"
PID_FILE = STATE / "dockerd.pid"
LOG_FILE = STATE / "dockerd.log"


def connect(timeout: float = 900) -> docker.DockerClient:
    """A client of its own for each caller: the SDK's session is not made for several threads."""
    return docker.from_env(timeout=timeout)


def answers() -> str | None:
    """None when the daemon answers, else why not. A docker client on PATH would prove nothing."""
    try:
        client = connect(timeout=10)
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, requests.RequestException) as error:
        return str(error)
    return None


def ensure() -> None:
    if (why := answers()) is None:
        return
    if os.environ.get("DOCKER_HOST"):
        raise LabError(f"DOCKER_HOST names an engine that does not answer: {why}\nStart it, or unset DOCKER_HOST.")
    if os.geteuid() != 0:
        raise LabError(
            f"no Docker engine answers here ({why}), and only root can install or start one.\n"
            "Run as root: apt-get install -y docker.io iptables, then start dockerd."
        )
    if shutil.which("dockerd") is None:
        with step("install a Docker engine"):
            apt_install("docker.io", "iptables")
    with step("start the Docker engine"):
        _start()


def apt_install(*packages: str) -> None:
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise LabError(
            f"the lab needs {', '.join(packages)}; install it by hand (only root on Debian can have it done)"
        )
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"{' '.join(command)} failed:\n{tail(done.stdout + done.stderr)}")


def _start() -> None:
    if Path("/run/systemd/system").is_dir():
        done = subprocess.run(["systemctl", "start", "docker"], capture_output=True, text=True)
        if done.returncode != 0:
            raise LabError(f"systemctl start docker failed:\n{tail(done.stderr)}")
        wait_for("the Docker engine to answer", answers, 60)
        return
    STATE.mkdir(parents=True, exist_ok=True)
    with LOG_FILE.open("wb") as log:
        # A session of its own, so that it outlives the command that started it.
        daemon = subprocess.Popen(
            ["dockerd", "--pidfile", str(PID_FILE)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )

    def ready() -> str | None:
        if daemon.poll() is not None:
            raise LabError(f"dockerd ended with {daemon.returncode}")
        return answers()

    try:
        wait_for("the Docker engine to answer", ready, 60)
    except LabError as error:
        raise LabError(f"{error}\n{_log()}") from error


def _log() -> str:
    return f"the end of {LOG_FILE}:\n{tail(LOG_FILE.read_text(errors='replace'))}"


def _our_pid() -> int | None:
    """The pid of the dockerd that this lab started, if that very process still runs."""
    if not PID_FILE.exists():
        return None
    pid = int(PID_FILE.read_text())
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except FileNotFoundError:
        return None
    # A pid can be given to another process: ours names our pid file.
    return pid if os.fsencode(PID_FILE) in words else None


def stop() -> str:
    """Stop the engine that the lab started by hand; say what was done."""
    pid = _our_pid()
    if pid is None:
        return "no engine here was started by the lab: nothing stopped"
    os.kill(pid, signal.SIGTERM)
    # A dead process that nobody reaps keeps its pid but has no command line any more.
    wait_for(f"dockerd (pid {pid}) to end", lambda: "it still runs" if _our_pid() == pid else None, 60)
    return f"stopped dockerd (pid {pid})"


@contextmanager
def alone() -> Iterator[None]:
    """One process at a time: two labs share the engine and the images."""
    STATE.mkdir(parents=True, exist_ok=True)
    with (STATE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
