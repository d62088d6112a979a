"""The work that no deploy can avoid: the bare commands on a fresh box, one after the other, without lettabox."""

import shlex
import time
from pathlib import Path

from tests.bench.deployed import Deployed, check
from tests.lab import Lab
from tests.lab.containers import File, put


def work(lab: Lab, there: Deployed, archive: Path) -> dict[str, float]:
    """{part: seconds} of the way from a fresh box to a healthy server."""
    put(lab.box, File("/root/managed.tar.gz", archive.read_bytes()))
    names = " ".join(map(shlex.quote, there.packages))
    apt = "DEBIAN_FRONTEND=noninteractive apt-get -q -y"
    seconds = {
        "packages": _timed(lab, f"{apt} update && {apt} install --no-install-recommends {names}"),
        # Some kilobytes; they are not counted.
        "": _timed(lab, "tar -C / -xzpf /root/managed.tar.gz"),
        "virtual environment": _timed(
            lab,
            "cd /opt/lettabox && python3 -m venv venv && "
            "venv/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements.txt",
        ),
    }
    seconds |= {f"pull of {name}": _timed(lab, f"docker pull -q {name}") for name in there.pulled}
    seconds["build of the patched image"] = _timed(
        lab, f"docker build -q --network none --build-arg BASE={there.base} -t {there.built} /opt/lettabox/letta_image"
    )
    for name in there.secrets:
        check(lab, f"umask 077; mkdir -p /etc/lettabox/secrets; printf {'5' * 64} > /etc/lettabox/secrets/{name}")
    for name in there.volumes:
        check(lab, f"docker volume create {name}")
    check(lab, f"docker network create --subnet {there.subnet} {there.network}")
    up = "docker compose --project-directory /opt/lettabox/letta up --detach --wait"
    seconds["first start of Postgres and Redis"] = _timed(lab, f"{up} letta-postgres letta-redis")
    # The proxy starts without the server, so it costs no time of its own.
    seconds["first start of the server, with migrations"] = _timed(lab, f"{up} letta-server letta-nginx")
    del seconds[""]
    return seconds


def _timed(lab: Lab, command: str) -> float:
    began = time.monotonic()
    check(lab, command)
    return time.monotonic() - began
