"""The studio on the host of Letta: videos of all boxes, frames, the queue of jobs, the gallery.

It needs a box that renders; where group gpu is empty there is none.
"""

import ipaddress
import json
from collections.abc import Collection

from pyinfra import host
from pyinfra.api import deploy

from deploys import box_link as link
from deploys import layout, sources, studio_code
from deploys.box_link import at
from inventory.schema import Inventory, Settings, size
from operations import box_link, secrets, tree, venv
from operations import studio as services
from operations.tree import Directory, File

SOCKET, SERVICE = "lettabox-studio.socket", "lettabox-studio.service"
OF_GPU_BOXES = ["lettabox-worker.service", "lettabox-files.service", "lettabox-link.service"]
REQUIREMENTS = "requirements/studio.txt"
PYTHON = f"{layout.STUDIO}/venv/bin/python"
VENV = f"{layout.STUDIO}/venv/requirements.txt"
SOURCE = f"{layout.CODE}/src"
OUTPUT = f"{layout.COMFYUI_DATA}/output"
SYSUSERS = b'u lettabox-studio - "lettabox studio" /var/lib/lettabox-studio\n'
MB = 1024 * 1024
# Bytes that a process of the studio may have besides its frames: itself, and one decoder of a large video.
PROCESS, DECODER = 512 * MB, 256 * MB


def addresses(settings: Settings) -> list[str]:
    """Those that the studio listens on."""
    bind = settings.studio.bind
    if ipaddress.ip_address(bind).is_unspecified:
        return [bind]
    return list(dict.fromkeys([bind, settings.router_host]))


def memory(settings: Settings) -> int:
    """Bytes that a process of the studio may use."""
    return size(settings.studio.cache) + PROCESS + settings.studio.decoders * DECODER


def config(inventory: Inventory, name: str) -> File:
    """What the studio's processes on the host `name` are told."""
    settings, boxes = inventory.settings, {}
    told, here = settings.studio, {"folder": OUTPUT}
    if name in inventory.groups.gpu:
        boxes[name] = here
    listen, reads = addresses(settings), told.reads_need_token
    if name == inventory.letta:
        boxes |= {one: {"url": url} for one, url in urls(inventory).items()}
    else:
        listen, reads = [files_address(inventory, name)], told.link == "direct"
    document = {
        "box": name,
        "boxes": {one: boxes[one] for one in inventory.groups.gpu if one in boxes},
        "read_token": reads,
        "names": told.names,
        "addresses": listen,
        "cache": size(told.cache),
        "decoders": told.decoders,
        "attempts": told.attempts,
        "render_timeout": told.render_timeout,
        "lost_after": told.lost_after,
        "comfyui_port": settings.comfyui.port,
        "workflow": layout.WORKFLOW,
    }
    return File((json.dumps(document, indent=1) + "\n").encode())


def files_address(inventory: Inventory, name: str) -> str:
    """Where a GPU box of its own serves its videos."""
    return inventory.hosts[name].private_address if inventory.settings.studio.link == "direct" else "127.0.0.1"


def urls(inventory: Inventory) -> dict[str, str]:
    """{GPU box of its own: where the studio finds its videos}."""
    if inventory.settings.studio.link == "tunnel":
        return {name: f"http://{at('127.0.0.1', port)}" for name, port in inventory.tunnel_ports().items()}
    port = inventory.settings.studio.files_port
    return {name: f"http://{at(files_address(inventory, name), port)}" for name in inventory.own_gpus}


def database(host_: str, port: int) -> list[str]:
    """libpq's variables for the studio's database, without the password."""
    return [f"PGHOST={host_}", f"PGPORT={port}", "PGDATABASE=studio", "PGUSER=studio"]


def socket(settings: Settings) -> File:
    """The unit that listens for the studio."""
    listen = [at(one, settings.studio.port) for one in addresses(settings)]
    return sources.template("studio/lettabox-studio.socket.j2", listen=listen)


def weights(controllers: Collection[str]) -> bool:
    """Whether units may have weights, on a host with these controllers of control groups of version 2.

    With version 1 systemd takes the whole tree of a controller for its own once a unit uses it, and removes Docker's
    part of it with the unit's end: containers that run then take no `docker exec`, hence no health check, any more.
    """
    return {"cpu", "io"} <= set(controllers)


def service(inventory: Inventory, weighted: bool = True) -> File:
    """The unit of the studio itself."""
    settings = inventory.settings
    return sources.template(
        "studio/lettabox-studio.service.j2",
        folder=OUTPUT if inventory.letta in inventory.groups.gpu else "",
        python=PYTHON,
        source=SOURCE,
        environment=database(settings.postgres.bind, settings.postgres.port),
        memory=memory(settings),
        weights=weighted,
    )


def files(units: dict[str, tuple[File, str]]) -> dict[str, File]:
    """The files of {unit: (its file, verb of its process or "")}: they, and the lists of what each is started with."""
    found = {f"{layout.UNITS}/{name}": one for name, (one, _) in units.items()}
    for name, (_, verb) in units.items():
        # The database's tables are made, or changed, when the studio is started anew.
        code = {path for one in (verb, *(["migrate"] if verb == "serve" else [])) for path in studio_code.files(one)}
        more = [layout.STUDIO_CONFIG, VENV, *sorted(code)] if verb else []
        listed = [f"{layout.UNITS}/{name}", *more]
        found[f"{layout.STUDIO}/{name}.json"] = File((json.dumps(listed, indent=1) + "\n").encode())
    return found


def code() -> None:
    """What every process of the studio runs with."""
    venv.present(
        name="Virtual environment",
        path=f"{layout.STUDIO}/venv",
        requirements=f"{layout.STUDIO}/requirements.txt",
        sha256=sources.file(REQUIREMENTS).sha256,
    )


@deploy("Studio")
def studio(controllers: Collection[str]) -> None:
    """`controllers`: of control groups of version 2, as the host has them."""
    inventory: Inventory = host.data.inventory
    if not inventory.groups.gpu:
        box_link.closed(name="No GPU boxes")
        services.absent(name="No studio without a GPU box", units=[SOCKET, SERVICE, *OF_GPU_BOXES])
        return
    units = {
        SOCKET: (socket(inventory.settings), ""),
        SERVICE: (service(inventory, weights(controllers)), "serve"),
    }
    tree.present(
        name="Units, user and settings",
        files={
            layout.STUDIO_CONFIG: config(inventory, host.name),
            f"{layout.STUDIO}/requirements.txt": sources.file(REQUIREMENTS),
            "/etc/sysusers.d/lettabox-studio.conf": File(SYSUSERS),
            **files(units),
        },
        directories={layout.STUDIO: Directory()},
    )
    code()
    secrets.created(name="Secrets", names=layout.STUDIO_SECRETS)
    link.gpu_boxes()
    services.running(name="Database and services", units=[SOCKET, SERVICE])
    if host.name not in inventory.groups.gpu:
        services.absent(name="No worker on this box", units=OF_GPU_BOXES)
