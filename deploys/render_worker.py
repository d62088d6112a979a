"""The render worker of a GPU box; on one of its own, too, what shows its videos to the studio, and the way there."""

from collections.abc import Collection

from pyinfra import host
from pyinfra.api import deploy

from deploys import box_link as link
from deploys import layout, sources
from deploys import studio as studio_
from deploys.box_link import at
from inventory.schema import Inventory
from operations import box_link, tree
from operations import studio as services
from operations.tree import Directory, File

WORKER, FILES = "lettabox-worker.service", "lettabox-files.service"
SOCKET = "/run/lettabox-link"  # folder of the socket at which the tunnel shows the database


def worker(inventory: Inventory, name: str) -> File:
    """The unit that renders what is wanted."""
    settings, beside_letta = inventory.settings, name == inventory.letta
    tunnel = not beside_letta and settings.studio.link == "tunnel"
    # The tunnel's socket is named by the usual port.
    place = (SOCKET, 5432) if tunnel else (settings.postgres.bind, settings.postgres.port)
    return sources.template(
        "studio/lettabox-worker.service.j2",
        beside_letta=beside_letta,
        tunnel=tunnel,
        folder=studio_.OUTPUT,
        python=studio_.PYTHON,
        source=studio_.SOURCE,
        environment=studio_.database(*place),
    )


def videos(inventory: Inventory, name: str, weighted: bool = True) -> File:
    """The unit of a GPU box of its own that shows its videos to the studio."""
    settings = inventory.settings
    return sources.template(
        "studio/lettabox-files.service.j2",
        folder=studio_.OUTPUT,
        python=studio_.PYTHON,
        source=studio_.SOURCE,
        listen=at(studio_.files_address(inventory, name), settings.studio.files_port),
        memory=studio_.memory(settings),
        weights=weighted,
    )


def units(inventory: Inventory, name: str, weighted: bool = True) -> dict[str, tuple[File, str]]:
    """{unit: (its file, verb of its process or "")} of a GPU box."""
    found = {WORKER: (worker(inventory, name), "work")}
    if name == inventory.letta:
        return found
    found = {FILES: (videos(inventory, name, weighted), "files")} | found
    if inventory.settings.studio.link == "tunnel":
        found = {link.UNIT: (link.tunnel(inventory, name), "")} | found
    return found


@deploy("Render worker")
def render_worker(controllers: Collection[str]) -> None:
    """`controllers`: of control groups of version 2, as the host has them."""
    inventory: Inventory = host.data.inventory
    wanted = units(inventory, host.name, studio_.weights(controllers))
    files = studio_.files(wanted)
    if host.name != inventory.letta:
        files |= {
            layout.STUDIO_CONFIG: studio_.config(inventory, host.name),
            f"{layout.STUDIO}/requirements.txt": sources.file(studio_.REQUIREMENTS),
            "/etc/sysusers.d/lettabox-studio.conf": File(studio_.SYSUSERS),
        }
    tree.present(name="Units and settings", files=files, directories={layout.STUDIO: Directory()})
    others = [name for name in (link.UNIT, FILES) if name not in wanted]
    if host.name != inventory.letta:
        studio_.code()
        box_link.joined(name="What it gets from Letta", letta=inventory.letta, secrets=layout.STUDIO_SECRETS)
        others += [studio_.SOCKET, studio_.SERVICE]
    services.absent(name="Nothing else of the studio", units=others)
    services.running(name="Services", units=list(wanted))
