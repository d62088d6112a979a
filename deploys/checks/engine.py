"""The Docker engine, its command line and Compose, and the control groups that they need."""

import json
import re
from collections.abc import Iterator

from deploys.finding import Finding, Severity
from facts.environment import DockerTarget
from facts.fitness import HostState

OLDEST_ENGINE = 25  # the first with start_interval, by which a start is noticed at once
OLDEST_COMPOSE = (2, 20, 2)  # the first that knows it
HERE = {"unix:///var/run/docker.sock", "unix:///run/docker.sock"}
# What the distributions call Compose; a deploy installs it where their engine has none.
COMPOSE_PACKAGES = {"docker-compose", "docker-compose-v2"}


def findings(name: str, now: HostState) -> Iterator[Finding]:
    """What is wrong with the engine that is there, or with the one that a deploy would install."""
    yield from _control_groups(name, now)
    yield from _target(name, now)
    if now.environment.podman:
        yield Finding(
            name,
            "podman",
            f"{now.environment.podman} is not Docker: it starts podman",
            "apt-get remove podman-docker (Podman itself may stay); a deploy then installs Docker beside it",
            cause="lettabox works with Docker; under that name it would make its containers with Podman",
        )
        return
    if now.engine and now.service != "active":
        yield Finding(
            name,
            "engine-foreign",
            "runs a Docker engine that is not docker.service (snap, rootless); a second one would hide its data",
            "remove that engine, or have it run as docker.service",
        )
    major = now.engine.partition(".")[0]
    if major.isdecimal() and int(major) < OLDEST_ENGINE:
        yield Finding(
            name,
            "engine",
            f"runs Docker engine {now.engine}; health checks need {OLDEST_ENGINE} or newer",
            "upgrade the engine by the way it was installed",
        )
    yield from _client(name, now)
    if now.daemon_json:
        try:
            good = isinstance(json.loads(now.daemon_json), dict)
        except ValueError:
            good = False
        if not good:
            yield Finding(
                name,
                "daemon-json",
                "/etc/docker/daemon.json is not a JSON object, so it cannot be merged",
                "mend it and check with: dockerd --validate --config-file /etc/docker/daemon.json",
            )


def _client(name: str, now: HostState) -> Iterator[Finding]:
    """The command docker, and Compose as its plugin."""
    there = now.environment
    if not there.dockerd:
        return  # a deploy installs all of it
    if there.unfinished:
        return  # an installation that was cut off: a deploy completes it
    packages = there.packages
    if not there.client_command:
        if "docker.io" in packages and "docker-cli" not in packages and now.os.startswith("debian"):
            return  # a package of its own there, and a deploy adds it
        broken = packages & {"docker-cli", "docker-ce-cli"} or packages & {"docker.io"}
        fix = f"apt-get install --reinstall {broken.pop()}" if broken else "apt-get install docker-ce-cli"
        if not packages:
            fix = "install Docker's command line by the way the engine was installed"
        yield Finding(name, "docker-client", f"there is an engine ({there.dockerd}) and no command docker", fix)
        return
    if not there.compose:
        installed = sorted(packages & {*COMPOSE_PACKAGES, "docker-compose-plugin"})
        if installed:
            yield Finding(
                name,
                "compose",
                f"`docker compose` does not work, although the package {installed[0]} is installed",
                f"apt-get install --reinstall {installed[0]}; then look at: docker compose version",
                cause=f"what it is at {there.compose_path} cannot be run" if there.compose_path else "",
            )
        elif "docker.io" not in packages:
            yield Finding(
                name,
                "compose",
                "the Docker engine has no Compose plugin, and is none of the distribution's",
                "apt-get install docker-compose-plugin, or install it by the way the engine was installed",
                cause="a deploy adds Compose to the distribution's own engine only",
            )
        return
    version = re.match(r"(\d+)\.(\d+)(?:\.(\d+))?", there.compose)
    if version and tuple(int(one or 0) for one in version.groups()) < OLDEST_COMPOSE:
        oldest = ".".join(map(str, OLDEST_COMPOSE))
        yield Finding(
            name,
            "compose",
            f"Compose is {there.compose} ({there.compose_path}); {oldest} or newer is needed",
            "upgrade it by the way it was installed; one in a home's .docker/cli-plugins hides the system's: remove it",
            cause="older ones refuse start_interval in a health check",
        )


def _target(name: str, now: HostState) -> Iterator[Finding]:
    """Somebody's `docker` goes to another engine than docker.service."""
    for target in now.environment.docker_targets:
        if target.endpoint in HERE:
            continue
        unset = "unset DOCKER_HOST where it is set (/etc/environment, ~/.profile, ~/.bashrc)"
        if target.via != "DOCKER_HOST":
            unset = f"as {'root' if target.whose == 'root' else 'that user'}: docker context use default"
        if target.via.endswith("DOCKER_CONTEXT"):
            unset = unset.replace("docker context use default", "unset DOCKER_CONTEXT where it is set")
        if target.whose == "root":
            yield Finding(
                name,
                "docker-host",
                f"root's docker goes to {_where(target)}, not to this host's engine",
                unset,
                cause=f"{target.via}; the whole stack would be made there",
            )
        else:
            yield Finding(
                name,
                "docker-user",
                f"the login user's docker goes to {_where(target)}, not to the engine that Letta runs on",
                f"{unset}; or mind it: `docker ps` shows another engine there, `sudo docker ps` the right one",
                cause=target.via,
                severity=Severity.WARNING,
            )


def _where(target: DockerTarget) -> str:
    rootless = re.fullmatch(r"unix:///run/user/(\d+)/docker\.sock", target.endpoint)
    if rootless:
        return f"{target.endpoint}, a rootless engine of user {rootless[1]}"
    return target.endpoint or "a context that does not exist"


def _control_groups(name: str, now: HostState) -> Iterator[Finding]:
    groups = now.environment.cgroups
    if not groups:
        yield Finding(
            name,
            "cgroups",
            "no control groups are mounted at /sys/fs/cgroup; no Docker engine runs without",
            "boot the host with systemd; in a container or a jail, have it given its own control groups",
        )
        return
    # Of version 2 is what has it at the top; hybrid is version 1 with systemd's own beside it.
    unified = groups.get("/sys/fs/cgroup", ("", ""))[0] == "cgroup2"
    if unified:
        found = now.environment.controllers
    else:
        found = {option for kind, options in groups.values() if kind == "cgroup" for option in options.split(",")}
        if "devices" not in found:
            yield Finding(
                name,
                "cgroups",
                "control groups of version 1 without the controller devices; no Docker engine runs without",
                "boot with systemd.unified_cgroup_hierarchy=1, for version 2",
            )
    if "memory" not in found:
        yield Finding(
            name,
            "cgroup-memory",
            f"the memory controller of control groups (version {2 if unified else 1}) is missing",
            "take cgroup_disable=memory off the kernel's command line, or add cgroup_enable=memory, and boot",
            cause="Docker drops the containers' memory limits then: one of them can take all memory of the host",
            severity=Severity.WARNING,
        )
