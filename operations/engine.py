"""The Docker engine: running, enabled, and with the operator's keys in its daemon.json."""

import hashlib
import json
import shlex
from collections.abc import Generator
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation

from facts.engine import Engine, EngineState, daemon_settings
from operations.packages import install

DAEMON_JSON = "/etc/docker/daemon.json"
# How each supported distribution names Compose v2.
COMPOSE = {"debian": "docker-compose", "ubuntu": "docker-compose-v2"}


def missing_packages(now: EngineState, distribution: str) -> list[str]:
    """Debian packages to install; an engine or a plugin from elsewhere (docker-ce) counts as present."""
    wanted = []
    if not now.installed:
        wanted.append("docker.io")
    # Debian's engine does without: an installation that was cut off may have ended between the two.
    if distribution == "debian" and not (now.installed and now.client):
        wanted.append("docker-cli")
    if not now.compose.startswith("2") and not now.compose.startswith("5"):
        wanted.append(COMPOSE[distribution])
    return wanted


@operation()
def installed(distribution: str) -> Generator[StringCommand, None, None]:
    """Install the engine and Compose from the distribution, those of them that are missing."""
    missing = missing_packages(host.get_fact(Engine), distribution)
    if not missing:
        host.noop("the Docker engine and Compose are installed")
        return
    yield install(missing)


def _merged(before: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """`before` with `wanted` in it: a mapping such as `runtimes` keeps what it has besides."""
    both = {
        key: _merged(before[key], value) if isinstance(value, dict) and isinstance(before.get(key), dict) else value
        for key, value in wanted.items()
    }
    return before | both


@operation()
def running() -> Generator[StringCommand, None, None]:
    """Start the engine and have it started at boot."""
    now = host.get_fact(Engine)
    if now.active and now.enabled:
        host.noop("the Docker engine is active and enabled")
        return
    yield StringCommand("systemctl enable --now docker.service")


@operation()
def configured(daemon: dict[str, Any]) -> Generator[StringCommand, None, None]:
    """Merge `daemon` into daemon.json, keep every other key, and have the engine read it.

    The file is checked by dockerd itself before it takes its place. The engine is reloaded,
    never restarted: containers run on. Keys that dockerd only reads at its start wait for that.
    """
    before = daemon_settings(host.get_fact(Engine).daemon_json)
    after = _merged(before, daemon)
    if after == before:
        host.noop("daemon.json has the wanted keys")
        return
    if state.config.DIFF:
        for key, value in daemon.items():
            host.log(f"Will set {key} in {DAEMON_JSON}: {before.get(key)!r} -> {value!r}", logger.info)
    new, content = shlex.quote(f"{DAEMON_JSON}.lettabox-new"), json.dumps(after, indent=2) + "\n"
    digest = hashlib.sha256(content.encode()).hexdigest()
    yield StringCommand(
        # By its hash: cut off as it was sent, it may be empty, which dockerd takes for a good file.
        f"install -d -m 755 /etc/docker && cat > {new} && echo '{digest}  {new}' | sha256sum --check --quiet "
        f"&& dockerd --validate --config-file {new} >&2 "
        f"&& mv -fT {new} {DAEMON_JSON} && systemctl reload docker.service",
        _stdin=content,
    )
