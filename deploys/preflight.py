"""Before any change on any host: look at all of them, report everything at once, refuse or go on."""

import time
from collections.abc import Iterator
from typing import Any

import gevent
from pyinfra import host, inventory, state
from pyinfra.api.exceptions import PyinfraError
from pyinfra.api.output import echo
from pyinfra.context import ctx_host

from deploys import owner
from deploys.checks import comfyui as comfyui_checks
from deploys.checks import duplicates, gpu, room
from deploys.checks import host as host_checks
from deploys.checks import letta as letta_checks
from deploys.checks import models as model_checks
from deploys.checks import studio as studio_checks
from deploys.finding import Finding, Severity
from facts.fitness import Fitness, HostState


class Refused(PyinfraError):
    """The preflight found something fatal; no host was changed."""


def check() -> HostState:
    """Look at every host of this run once, and return what was seen on the current one.

    deploy.py runs once for each host at the same time, so the first caller looks and the
    others wait. Raises Refused with all findings of all hosts.
    """
    seen = look()
    found = findings(seen)
    fatal = [one for one in found if one.severity is Severity.FATAL]
    if fatal:
        report = "\n".join(map(str, found))
        raise Refused(f"nothing was changed on any host; {len(fatal)} to fix first\n{report}")
    if "told" not in _cache:
        _cache["told"] = True
        for one in found:
            echo(str(one), err=True)
    return seen[host.name]


def look() -> dict[str, HostState | None]:
    """{host: what was seen, or None for a host that cannot be reached}, for the hosts of this run."""
    if "preflight" not in _cache:
        hosts = list(inventory.get_active_hosts())
        _cache["preflight"] = {one.name: gevent.spawn(_look, one) for one in hosts}
    jobs = _cache["preflight"]
    seen: dict[str, HostState | None] = {name: job.get() for name, job in jobs.items()}
    return seen | {one.name: None for one in state.failed_hosts}


_cache: dict[str, Any] = {}


def _look(one: Any) -> HostState | None:
    with ctx_host.use(one):
        try:
            before = time.time()
            # As the login user: whether sudo works is one of the questions.
            seen = one.get_fact(Fitness, gpu=_has_gpu(one), link=_lets_in(one), _sudo=False)
            seen.environment.asked = (before, time.time())
            return seen
        except PyinfraError:
            return None  # pyinfra has printed why; it becomes a finding like any other


def findings(seen: dict[str, HostState | None]) -> list[Finding]:
    """All findings of all hosts, host by host, the fatal ones first."""
    return sorted(_findings(seen), key=lambda one: (one.host, one.severity is not Severity.FATAL))


def _findings(seen: dict[str, HostState | None]) -> Iterator[Finding]:
    for name, now in seen.items():
        if now is None or not now.os:
            yield Finding(
                name,
                "unreachable",
                "cannot be reached over SSH, or gave no answer",
                "check address, port, user, key and known_hosts of this host in the settings file, "
                "or leave it out of this run (--limit, HOST=)",
            )
            continue
        one = inventory.get_host(name)
        yield from host_checks.findings(name, now)
        if now.sudo:
            yield from room.findings(name, now, one.data.settings, one.groups, one.data.models)
        if "gpu" in one.groups and now.sudo:
            yield from comfyui_checks.findings(name, now, one.data.settings, alone="letta" not in one.groups)
            yield from model_checks.findings(name, now, one.data.settings, one.data.models)
        if one.data.inventory.groups.gpu and now.sudo:
            yield from studio_checks.findings(name, now, one.data.inventory)
        if "letta" in one.groups and now.sudo:
            yield from letta_checks.findings(name, now, one.data.settings)
            yield from duplicates.findings(name, now, one.data.settings)
            yield from owner.findings(name, now.seen.owner, owner.ours(one), one.data.takes_over)
        if _has_gpu(one):
            profile = one.data.settings.comfyui.profile
            yield from gpu.findings(
                name, now, studio=_renders(one), containers=_in_containers(one), profile=profile
            )


def _has_gpu(one: Any) -> bool:
    """Whether the settings give the host a GPU, by its group or for Ollama."""
    return _renders(one) or _in_containers(one)


def _renders(one: Any) -> bool:
    return "gpu" in one.groups and one.data.settings.comfyui.device == "cuda"


def _lets_in(one: Any) -> bool:
    """Whether GPU boxes of their own come in at the host by SSH."""
    return "letta" in one.groups and bool(one.data.inventory.own_gpus)


def _in_containers(one: Any) -> bool:
    ollama = one.data.settings.ollama
    return "letta" in one.groups and ollama.enabled and ollama.gpu
