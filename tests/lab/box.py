"""The box: one container that is a bare Debian machine, with systemd as its first process and a door by SSH."""

import json
import socket

from tests.lab import containers, machine
from tests.lab.containers import File
from tests.lab.report import LabError, tail
from tests.lab.waiting import wait_for

# Where the lab-only forwarders listen inside the box, by the port they pass to (images/box/Dockerfile).
LISTENERS = {8283: 18283, 8284: 18284, 8188: 18188, 8189: 18189}
OPERATOR = {"uid": 1000, "gid": 37}


def daemon_json(mirror: str | None) -> bytes:
    """What some earlier administrator left for an engine still to come; a deploy must keep it."""
    settings: dict[str, object] = {"labels": ["lab.keep=me"]}
    if mirror:
        settings |= {"registry-mirrors": [f"http://{mirror}"], "insecure-registries": [mirror]}
    return (json.dumps(settings, indent=2) + "\n").encode()


def create(
    client,
    lab: str,
    image: str,
    network,
    ip: str,
    spec: str,
    source: str,
    mirror: str | None,
    key: str,
    ports: dict,
    name: str = "",
):
    """Create (not start) a box of the lab; `name`: another one than the lab's own."""
    name = name or lab
    environment = {"LAB_NAME_SERVERS": " ".join(machine.name_servers())}
    if client.info().get("CgroupVersion") == "1":
        # systemd 257 refuses the old control groups unless told twice.
        environment["SYSTEMD_PROC_CMDLINE"] = "systemd.unified_cgroup_hierarchy=0 SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"
    volume = client.volumes.create(f"{name}-docker", labels={containers.LABEL: lab})
    host = {
        # Not privileged: that asks for SYS_RESOURCE too, which a machine may not have to give.
        "CapAdd": ["ALL"],
        "CapDrop": ["SYS_RESOURCE"],
        "SecurityOpt": ["seccomp=unconfined", "apparmor=unconfined"],
        # The command line calls this systempaths=unconfined.
        "MaskedPaths": [],
        "ReadonlyPaths": [],
        "CgroupnsMode": "private",
        "Tmpfs": {"/run": "", "/run/lock": "", "/tmp": "exec"},
        "Binds": [f"{volume.name}:/var/lib/docker"],
    }
    box = containers.create(
        client,
        lab,
        name,
        image,
        network,
        ip,
        spec,
        ports,
        labels={containers.SOURCE: source},
        environment=environment,
        host=host,
    )
    containers.put(
        box,
        File("/etc/docker/daemon.json", daemon_json(mirror)),
        File("/home/operator/.ssh/authorized_keys", key.encode(), 0o600, **OPERATOR),
    )
    return box


def wait_until_up(box, ssh_port: int) -> None:
    wait_for("systemd in the box", lambda: _not_running(box), 120)
    wait_for(f"sshd at 127.0.0.1:{ssh_port}", lambda: _no_banner(ssh_port), 30)


def _not_running(box) -> str | None:
    box.reload()
    if box.status != "running":
        raise LabError(
            f"the box is {box.status}; the end of its log:\n{tail(box.logs(tail=30).decode(errors='replace'))}"
        )
    _, output = box.exec_run(["systemctl", "is-system-running"])
    state = output.decode(errors="replace").strip()
    if state == "degraded":
        _, failed = box.exec_run(["systemctl", "--failed", "--no-legend", "--plain"])
        raise LabError(f"units failed in the box:\n{failed.decode(errors='replace')}")
    return None if state == "running" else state


def _no_banner(port: int) -> str | None:
    # The engine's proxy accepts connections even when nobody listens behind it: only the banner counts.
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            banner = connection.recv(64)
    except OSError as error:
        return str(error)
    return None if banner.startswith(b"SSH-") else f"no SSH banner but {banner!r}"


def host_key(box) -> str:
    """The box's public host key, from the box itself and not by trust on first use."""
    kind, key = containers.run(box, ["cat", "/etc/ssh/ssh_host_ed25519_key.pub"]).split()[:2]
    return f"{kind} {key}"
