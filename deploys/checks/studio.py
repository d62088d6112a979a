"""What stands in the way of the studio, of its workers, and of the link between GPU boxes and the host of Letta."""

import re
from collections.abc import Iterator

from deploys import studio
from deploys.checks import ports
from deploys.finding import Finding, Severity
from facts.fitness import HostState
from files.lettabox import neighbours
from inventory.schema import Inventory

USER = "lettabox-link"
UNITS = ("lettabox-studio.service", "lettabox-files.service")  # that listen
SSHD = ("sshd", "sshd-session")  # who listens for the tunnels of GPU boxes
GB = 1000**3
# Of the memory of a host, what the studio's may be without a word.
PART = 0.5


def findings(name: str, now: HostState, inventory: Inventory) -> Iterator[Finding]:
    """On a host of an inventory that has a GPU box."""
    for path in now.foreign_studio:
        unit = path.rpartition("/")[2]
        yield Finding(
            name,
            "studio-unit",
            f"there is a {path} that lettabox did not write",
            f"look: systemctl status {unit}; if it is not needed: systemctl disable --now {unit} && mv {path} /root/",
            cause="a deploy would replace it",
        )
    if now.seen.ss:
        yield from _ports(name, now, inventory)
    if name == inventory.letta and inventory.own_gpus:
        yield from _sshd(name, now)
    yield from _memory(name, now, inventory)


def _ports(name: str, now: HostState, inventory: Inventory) -> Iterator[Finding]:
    told = inventory.settings.studio
    ours = {one.pid for one in now.seen.processes if one.unit in UNITS} | ({1} if now.studio_socket else set())
    if now.foreign_studio:
        ours = set()
    if name == inventory.letta:
        for address in studio.addresses(inventory.settings):
            if other := neighbours.on_port(now.seen, address, told.port, "the studio", ours):
                yield ports.taken(name, other, "settings.studio.port")
                break
        if told.link == "tunnel":
            sshd = {one.pid for one in now.seen.listeners if one.process in SSHD}
            for gpu, port in inventory.tunnel_ports().items():
                if other := neighbours.on_port(now.seen, "127.0.0.1", port, f"the tunnel of {gpu}", sshd):
                    yield ports.taken(name, other, "settings.studio.link to direct, and no tunnel")
        return
    address = studio.files_address(inventory, name)
    if other := neighbours.on_port(now.seen, address, told.files_port, "the videos of this box", ours):
        yield ports.taken(name, other, "settings.studio.files_port")


def _sshd(name: str, now: HostState) -> Iterator[Finding]:
    """What keeps GPU boxes out, as far as it can be seen before our own settings of sshd are there."""
    why = ""
    for line in now.sshd:
        key, _, value = line.partition(" ")
        named = any(re.fullmatch(rf"{USER}(@.*)?", one) for one in value.split())
        if key == "include":
            why = "/etc/ssh/sshd_config has no line `Include /etc/ssh/sshd_config.d/*.conf`, so ours would not be read"
        elif key.startswith("allow") and not named:
            why = f"its {key} ({value}) leaves out the user {USER}"
        elif key.startswith("deny") and named:
            why = f"its {key} names the user {USER}"
    if why:
        yield Finding(
            name,
            "studio-link",
            f"its sshd would not let GPU boxes in: {why}",
            f"change that in /etc/ssh, then: sshd -t && systemctl reload ssh (for AllowUsers, add {USER}; for "
            f"AllowGroups its group, which has the same name)",
            cause="a GPU box of its own gets the database's password, and its tunnel, by SSH; its key may do no more",
        )


def _memory(name: str, now: HostState, inventory: Inventory) -> Iterator[Finding]:
    total, told = now.environment.memory.get("MemTotal"), inventory.settings.studio
    most = studio.memory(inventory.settings)
    if total and most > total * PART:
        yield Finding(
            name,
            "studio-memory",
            f"its studio may use {most / GB:.1f} GB of its {total / GB:.1f} GB of memory",
            f"lower settings.studio.cache ({told.cache}) or settings.studio.decoders ({told.decoders})",
            cause="it keeps decoded frames, and each frame that is decoded at the same time needs room besides",
            severity=Severity.WARNING,
        )
