"""How GPU boxes of their own and the host of Letta reach each other: by SSH, or for the videos as settings.studio says.

A GPU box has a key, which the user lettabox-link of the host of Letta lets in, to the one or two things it may do.
"""

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, sources
from inventory.schema import Inventory
from operations import box_link as link
from operations import packages, tree
from operations.tree import Directory, File

UNIT = "lettabox-link.service"
# A login shell that gives the one answer there is, whatever it is asked.
SHELL = f"#!/bin/sh\nexec cat {layout.LINK_ANSWER}\n".encode()
ON_LETTA = f'u lettabox-link - "GPU boxes of lettabox" / {layout.LINK_SHELL}\n'.encode()
ON_GPU = b'u lettabox-link - "Tunnel of lettabox" /var/lib/lettabox-link\n'
SYSUSERS = "/etc/sysusers.d/lettabox-link.conf"


def at(address: str, port: int) -> str:
    """An address with its port, as units, URLs and keys write it."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def options(inventory: Inventory) -> dict[str, str]:
    """{GPU box of its own: what its key may do on the host of Letta}, in the words of an authorized_keys file."""
    answer = f'command="/bin/cat {layout.LINK_ANSWER}"'
    if inventory.settings.studio.link == "direct":
        return dict.fromkeys(inventory.own_gpus, f"restrict,{answer}")
    postgres = inventory.settings.postgres
    may = f'restrict,port-forwarding,permitopen="{at(postgres.bind, postgres.port)}"'
    return {name: f'{may},permitlisten="127.0.0.1:{port}",{answer}' for name, port in inventory.tunnel_ports().items()}


def tunnel(inventory: Inventory, name: str) -> File:
    """The unit of a GPU box that keeps its tunnel open."""
    settings = inventory.settings
    return sources.template(
        "studio/lettabox-link.service.j2",
        config=f"{layout.LINK}/ssh_config",
        database=at(settings.postgres.bind, settings.postgres.port),
        port=inventory.tunnel_ports()[name],
        files_port=settings.studio.files_port,
    )


def ssh_config(inventory: Inventory) -> File:
    """How a GPU box reaches the host of Letta."""
    address, port = inventory.hosts[inventory.letta].place
    return sources.template(
        "studio/ssh_config.j2",
        address=address,
        port=port,
        key=layout.LINK_KEY,
        known_hosts=f"{layout.LINK}/known_hosts",
    )


@deploy("Link")
def box_link() -> None:
    """On a GPU box of its own, before the host of Letta asks for its key."""
    packages.installed(name="Packages", packages=["openssh-client"])
    tree.present(
        name="How it reaches Letta",
        files={f"{layout.LINK}/ssh_config": ssh_config(host.data.inventory), SYSUSERS: File(ON_GPU)},
        directories={layout.LINK: Directory()},
    )
    link.key_born(name="A key of its own")


def gpu_boxes() -> None:
    """On the host of Letta: the GPU boxes of their own that may come in."""
    inventory: Inventory = host.data.inventory
    if not inventory.own_gpus:
        link.closed(name="No GPU boxes of their own")
        return
    sshd = sources.template(
        "studio/sshd.conf.j2", keys=layout.LINK_KEYS, forwards=inventory.settings.studio.link == "tunnel"
    )
    tree.present(
        name="How GPU boxes come in",
        files={layout.LINK_SSHD: sshd, layout.LINK_SHELL: File(SHELL, 0o755), SYSUSERS: File(ON_LETTA)},
        directories={layout.LINK: Directory()},
    )
    link.admitted(name="GPU boxes may come in", options=options(inventory))
