"""Containers, networks and volumes of one lab: made when missing, started when stopped, all labelled."""

import hashlib
import io
import ipaddress
import json
import socket
import tarfile
from dataclasses import dataclass

from docker.errors import APIError, NotFound

from tests.lab import machine
from tests.lab.report import LabError, tail

LABEL = "lettabox.lab"
SPEC = "lettabox.lab.spec"
SOURCE = "lettabox.lab.source"

# Outside 172.16.0.0/12, where the engine inside the box and the stack have their networks.
SUBNETS = [f"10.{second}.{third}.0/24" for second in (211, 97, 173, 233) for third in (61, 62, 63, 64)]


@dataclass(frozen=True)
class File:
    path: str
    data: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


def find(client, name: str):
    try:
        return client.containers.get(name)
    except NotFound:
        return None


def network(client, lab: str):
    """The lab's network, on a subnet that nothing else on this machine uses."""
    there = client.networks.list(names=[lab], filters={"label": f"{LABEL}={lab}"})
    if there:
        return there[0]
    taken = machine.routes()
    for other in client.networks.list():
        configs = other.attrs["IPAM"]["Config"] or []
        taken += [net for net in (ipaddress.ip_network(config["Subnet"]) for config in configs) if net.version == 4]
    for subnet in SUBNETS:
        if any(ipaddress.ip_network(subnet).overlaps(net) for net in taken):
            continue
        pool = {"Subnet": subnet}
        try:
            return client.networks.create(
                lab,
                driver="bridge",
                labels={LABEL: lab},
                check_duplicate=True,
                ipam={"Driver": "default", "Config": [pool]},
            )
        except APIError as error:
            # Another lab took that subnet since we looked.
            if "overlap" not in str(error):
                raise
    raise LabError(f"every subnet that the lab may use is taken on this machine: {', '.join(SUBNETS)}")


def address(network, host: int) -> str:
    return str(ipaddress.ip_network(network.attrs["IPAM"]["Config"][0]["Subnet"])[host])


def spec_of(**settings: object) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def create(
    client,
    lab: str,
    name: str,
    image: str,
    network,
    ip: str,
    spec: str,
    ports: dict[int, int],
    labels: dict[str, str] | None = None,
    environment: dict[str, str] | None = None,
    host: dict | None = None,
):
    """Create (not start) a container of the lab at a fixed address.

    `host` is the engine's own HostConfig: the SDK's friendlier form cannot say all that a box needs.
    """
    bindings = {
        f"{inside}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(outside)}] for inside, outside in ports.items()
    }
    endpoint = client.api.create_endpoint_config(ipv4_address=ip)
    made = client.api.create_container(
        image,
        name=name,
        hostname=name,
        labels={LABEL: lab, SPEC: spec, **(labels or {})},
        environment=environment or {},
        ports=[(inside, "tcp") for inside in ports],
        networking_config=client.api.create_networking_config({network.name: endpoint}),
        host_config={"NetworkMode": network.name, "PortBindings": bindings, **(host or {})},
    )
    return client.containers.get(made["Id"])


def start(container) -> None:
    try:
        container.start()
    except APIError as error:
        raise LabError(f"starting {container.name} failed: {error.explanation or error}") from error


def put(container, *files: File) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path.lstrip("/"))
            entry.mode, entry.uid, entry.gid, entry.size = file.mode, file.uid, file.gid, len(file.data)
            archive.addfile(entry, io.BytesIO(file.data))
    container.put_archive("/", packed.getvalue())


def published(container, port: int) -> int:
    """The port on 127.0.0.1 of this machine that leads to `port` of the container."""
    return int(container.attrs["HostConfig"]["PortBindings"][f"{port}/tcp"][0]["HostPort"])


def free_ports(count: int) -> list[int]:
    """Chosen here and not by the engine, which would choose anew at each restart of the container."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def run(container, command: list[str]) -> str:
    """Run a command inside that must work; its output."""
    code, output = container.exec_run(command)
    text = output.decode(errors="replace")
    if code != 0:
        raise LabError(f"{' '.join(command)} in {container.name} ended with {code}:\n{tail(text)}")
    return text


def remove_all(client, lab: str) -> list[str]:
    """Remove what carries the lab's label; the names of what was removed."""
    mine = {"label": f"{LABEL}={lab}"}
    gone = []
    for container in client.containers.list(all=True, filters=mine):
        container.remove(force=True, v=True)
        gone.append(container.name)
    for net in client.networks.list(filters=mine):
        net.remove()
        gone.append(f"network {net.name}")
    for volume in client.volumes.list(filters=mine):
        volume.remove()
        gone.append(f"volume {volume.name}")
    return gone
