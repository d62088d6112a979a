"""`lettabox check`: is Letta running, healthy, reachable from here, and the only one?

Anybody may ask. Root sees all; others see what the health path tells, and Docker if they may ask it.
"""

import concurrent.futures
import itertools
import os
import shutil
import subprocess
import sys
import time
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from lettabox import compose, lock, neighbours, paths
from lettabox import letta as letta_
from lettabox.check_report import FAILING, STOPPED, UNHEALTHY, USAGE, Answer, Finding, Report, address_parts, ask_all
from lettabox.errors import LettaboxError
from lettabox.neighbours import Duplicate, Seen
from lettabox.settings import address, settings

# Service of the stack -> its part of the settings, for those that consumers talk to; the proxy last.
PUBLISHED = {"letta-server": "letta", "letta-nginx": "nginx"}
PROJECT = f"Compose project {neighbours.OUR_PROJECT} in {neighbours.OUR_FOLDER}"
START = "sudo lettabox check --start"
LOGS = "sudo lettabox letta logs --tail 50"
ENGINE = "systemctl status docker.service; sudo journalctl -u docker.service -n 50"
GONE = ("missing", "exited", "created", "dead")


def check(start: bool, as_json: bool, url: str) -> int:
    """Look, start what is stopped if that is wanted, tell, and return the exit code; `url` is one more address to ask.

    Raises LettaboxError: usage for an `url` that is none, unhealthy where the box gives no clear answer.
    """
    try:
        report = look(url)
        if report.startable and not start and not as_json and sys.stdin.isatty() and sys.stderr.isatty():
            print(report.text(), file=sys.stderr)
            print("Start it? [y/N] ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                return report.code
            start = True
        if report.startable and start:
            if os.geteuid() == 0:
                report = _started(url)
            elif (code := _as_root(as_json, url)) is not None:
                return code
    except LettaboxError as error:
        # A failure's ordinary code is 1, which says "stopped" here.
        raise LettaboxError(str(error), USAGE if error.code == USAGE else UNHEALTHY) from None
    if as_json:
        print(report.document())
    else:
        print(report.text(), file=sys.stderr if report.code else sys.stdout)
        if start and report.duplicates and any(one.startable for one in report.findings):
            print("Not started beside another Letta; if it must be: sudo lettabox letta start", file=sys.stderr)
        elif start and report.startable:
            print("Not started: that needs root.", file=sys.stderr)
    return report.code


def _as_root(as_json: bool, url: str) -> int | None:
    """Do it as root, by sudo; None where this user may not, or nobody can type the password."""
    command = [str(paths.COMMAND), "check"]
    options = ["--start", *(["--json"] if as_json else []), *(["--url", url] if url else [])]
    if shutil.which("sudo") is None:
        return None
    if sys.stdin.isatty():
        return subprocess.run(["sudo", *command, *options]).returncode
    if subprocess.run(["sudo", "-n", *command, "--help"], capture_output=True).returncode:
        return None
    return subprocess.run(["sudo", "-n", *command, *options]).returncode


def _started(url: str) -> Report:
    """Start engine and stack, and look until all is well or there is no hope of it."""
    print("Starting Letta.", file=sys.stderr)
    failed = []
    try:
        with redirect_stdout(sys.stderr), lock.held("lettabox check --start"):  # stdout is for the report
            if _engine():
                done = subprocess.run(["systemctl", "start", "docker.service"], capture_output=True, text=True)
                if done.returncode:
                    raise LettaboxError(f"systemctl start docker.service: {done.stderr.strip()}")
            letta_.start()
    except LettaboxError as error:
        failed = [Finding(UNHEALTHY, f"Letta could not be started: {error}", PROJECT, look=LOGS)]
    # After a stop of the engine the proxy's name server is away for some seconds.
    deadline = time.monotonic() + compose.RECOVERY
    report = look(url)
    while not failed and report.code == UNHEALTHY and time.monotonic() < deadline:
        time.sleep(0.5)
        report = look(url)
    report.findings = failed + report.findings
    return report


def look(url: str = "") -> Report:
    """Return what is wrong with Letta on this machine, having changed nothing."""
    extra = _extra(url)
    engine = _engine()
    deployed = paths.SETTINGS.is_file() and (paths.PROJECT / "compose.yml").is_file()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        # Meanwhile: it takes a third of the time of looking. Its error is nothing to who may not ask Docker.
        names = pool.submit(compose.services) if deployed and not engine else None
        seen = neighbours.gather(ask_docker=not engine)
    acknowledged = settings().get("acknowledged", []) if paths.SETTINGS.is_file() else []
    report = Report(duplicates=neighbours.find(seen, acknowledged), unseen=neighbours.unseen(seen, acknowledged))
    if not deployed:
        where = f"there is no {paths.SETTINGS}, or no {paths.PROJECT}/compose.yml"
        fix = "make deploy, in a checkout of lettabox"
        report.findings.append(Finding(STOPPED, "Letta is not deployed here", where, fix=fix))
        return report
    if engine:
        report.findings.append(engine)
        return report
    sees_containers = seen.engine == "answered"
    if not sees_containers and os.geteuid() == 0:
        what = "the Docker engine runs and does not answer"
        report.findings.append(Finding(UNHEALTHY, what, "unit docker.service", look=ENGINE))
    if sees_containers:
        now = compose.containers(names.result())
        states = {name: compose.state(now.get(name)) for name in names.result()}
        report.findings += _of_containers(states, now)
    if any(one.code == UNHEALTHY for one in report.findings):
        return report  # that it does not answer well is no news
    own = [address(part) for part in PUBLISHED.values()]
    report.answers = ask_all(own + [one for one in extra if one not in own])
    if report.findings:
        parts = dict(zip(own, PUBLISHED.values(), strict=True))
        report.duplicates += [
            _usurper(one, seen, parts[one.url]) for one in report.answers if one.healthy and one.url in parts
        ]
        return report
    report.findings += _of_answers(report.answers, sees_containers)
    if not report.findings and sees_containers and os.geteuid() == 0:
        # By the health path alone a server is healthy that can list no agents.
        said, good, more = letta_.api_state(states, now)
        report.api = said
        if not good:
            lines = [said, *(text for _, text in more if text)]
            report.findings.append(
                Finding(UNHEALTHY, "\n  ".join(lines), address("letta"), look="sudo lettabox letta status", fix=FAILING)
            )
    return report


def _extra(url: str) -> list[str]:
    """The address to ask besides the published ones; none for the server's names on letta-network."""
    if not url:
        return []
    try:
        _, host, _ = address_parts(url)
    except ValueError as error:
        raise LettaboxError(f"--url: {error}", USAGE) from None
    return [] if host in PUBLISHED else [url.rstrip("/")]


def _engine() -> Finding | None:
    """What is wrong with the Docker engine. It is not asked itself: that would start it, by its socket."""
    show = ["systemctl", "show", "--property", "ActiveState,StateChangeTimestamp", "docker.service"]
    told = subprocess.run(show, capture_output=True, text=True, env={**os.environ, "TZ": "UTC"}).stdout
    now = dict(line.split("=", 1) for line in told.splitlines())
    if now.get("ActiveState") == "active":
        return None
    return Finding(
        STOPPED,
        f"Letta is stopped: its Docker engine is {now.get('ActiveState') or 'not there'}",
        "unit docker.service",
        now.get("StateChangeTimestamp", ""),
        ENGINE,
        START,
        startable=True,
    )


def _of_containers(states: dict[str, str], now: dict[str, Any]) -> list[Finding]:
    bad = {name: state for name, state in states.items() if state != "healthy"}
    if len(bad) == len(states) and all(state in GONE for state in bad.values()):
        ended = max((one["State"]["FinishedAt"] for one in now.values()), default="")
        what = ", ".join(f"{name} {state}" for name, state in states.items())
        return [
            Finding(
                STOPPED, f"Letta is stopped: {what}", PROJECT, neighbours.moment(ended), LOGS, START, startable=True
            )
        ]
    return [_of_container(name, state, now.get(name)) for name, state in bad.items()]


def _of_container(name: str, state: str, one: dict[str, Any] | None) -> Finding:
    look, where, since, said = f"{LOGS} {name}", f"{name} of {PROJECT}", "", ""
    if one is not None:
        where = f"container {name} ({one['Id'][:12]}) of {PROJECT}"
        since = neighbours.moment(one["State"]["FinishedAt" if state in GONE else "StartedAt"])
        probes = (one["State"].get("Health") or {}).get("Log") or []
        failed = list(itertools.takewhile(lambda probe: probe["ExitCode"], reversed(probes)))
        if state in ("unhealthy", "paused") and probes:
            # Docker keeps the last five health checks, and no moment of a pause.
            since = f"{neighbours.moment(failed[-1]['Start'])} or before" if failed else "the last health check, "
            since += "" if failed else neighbours.moment(probes[-1]["End"])
        if state == "unhealthy" and failed:
            said = f": {failed[0]['Output'].strip()[-300:]}"
        elif state in ("exited", "restarting", "dead"):
            said = f", exit code {one['State']['ExitCode']}"
    fix = {
        "paused": f"sudo docker unpause {name}",
        "starting": "wait; sudo lettabox letta start waits until it is healthy and says why if it is not",
        **dict.fromkeys(GONE, START),
    }.get(state, "when the log has said why: sudo lettabox letta restart")
    return Finding(UNHEALTHY, f"{name} is {state}{said}", where, since, look, fix, startable=state in GONE)


def _of_answers(answers: list[Answer], sees_containers: bool) -> list[Finding]:
    silent = [one for one in answers if not one.healthy]
    own = {address(part) for part in PUBLISHED.values()}
    if not sees_containers and own <= {one.url for one in silent if one.refused}:
        where = ", ".join(sorted(own))
        return [Finding(STOPPED, "Letta is stopped: nobody listens", where, look=LOGS, fix=START, startable=True)]
    found = []
    for one in silent:
        fix = "sudo lettabox letta restart" if one.url in own else f"use {address('nginx')}, or mend this address"
        what = f"Letta cannot be reached from here: {one.said}"
        found.append(Finding(UNHEALTHY, what, one.url, look=f"curl -v {one.url}/v1/health/", fix=fix))
    return found


def _usurper(one: Answer, seen: Seen, part: str) -> Duplicate:
    """What listens at an address of ours, and answers like a Letta, while ours is stopped."""
    what = f"another Letta server ({one.version}) answers at {one.url}, the address of ours, which is stopped"
    bind, port = settings()[part]["bind"], settings()[part]["port"]
    who = neighbours.on_port(seen, bind, port, f"our {part}")
    if who is None:
        look = f"sudo ss -ltnp 'sport = :{port}'"
        return Duplicate("port", what, one.url, "unknown", "unknown", look, "end what that shows")
    return replace(who, what=f"{what}: {who.what}")
