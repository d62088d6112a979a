"""ComfyUI on a host with a GPU: its release, its unit, and the pins of its Python packages."""

import hashlib
import json

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, sources
from deploys.unit_file import quoted
from inventory.schema import ComfyUI, Settings, size
from operations import comfyui as service
from operations import packages, tree
from operations.tree import Directory, File

SYSUSERS = f'u comfyui - "ComfyUI" {layout.COMFYUI_DATA}\n'.encode()
# The group may look at what was made. Code is put into releases alone, so custom_nodes stays empty.
TMPFILES = f"""\
d {layout.COMFYUI_DATA} 0750 comfyui comfyui -
d {layout.COMFYUI_DATA}/models 0750 comfyui comfyui -
d {layout.COMFYUI_DATA}/input 0750 comfyui comfyui -
d {layout.COMFYUI_DATA}/output 0750 comfyui comfyui -
d {layout.COMFYUI_DATA}/temp 0750 comfyui comfyui -
d {layout.COMFYUI_DATA}/user 0750 comfyui comfyui -
d {layout.COMFYUI_DATA}/custom_nodes 0755 root root -
""".encode()


def constraints(told: ComfyUI) -> File:
    """The pins of its Python packages: the operator's, or ours."""
    return File(told.constraints.read_bytes()) if told.constraints else sources.file("files/comfyui/constraints.txt")


def release(told: ComfyUI) -> str:
    """`<commit>-<hash of where it comes from and of what it is installed with>`: the name of its folder."""
    nodes = {name: one.to_json() for name, one in told.custom_nodes.items()}
    made_of = json.dumps([told.git, constraints(told).sha256, nodes], sort_keys=True)
    return f"{told.revision}-{hashlib.sha256(made_of.encode()).hexdigest()[:8]}"


def unit(settings: Settings) -> File:
    """The systemd unit."""
    told, data = settings.comfyui, layout.COMFYUI_DATA
    folder = f"{layout.COMFYUI}/{release(told)}"
    words = [f"{folder}/venv/bin/python", "main.py", "--listen", "127.0.0.1", "--port", str(told.port)]
    # By default the database lies beside the code, whatever the base directory is.
    words += ["--base-directory", data, "--database-url", f"sqlite:///{data}/user/comfyui.db"]
    words += ["--disable-auto-launch", "--disable-api-nodes", "--disable-all-custom-nodes"]
    if told.custom_nodes:
        words += ["--whitelist-custom-nodes", *told.custom_nodes]
        words += ["--extra-model-paths-config", f"{folder}/custom_nodes.yaml"]
    return sources.template(
        "comfyui/comfyui.service.j2",
        c=told,
        data=data,
        folder=folder,
        command=" ".join(quoted(one) for one in [*words, *told.all_flags]),
        memory=size(told.memory) if told.memory else 0,
    )


@deploy("ComfyUI")
def comfyui() -> None:
    settings = host.data.settings
    wanted = unit(settings)
    packages.installed(name="Packages", packages=["git"])
    tree.present(
        name="Unit, user and pins",
        files={
            layout.COMFYUI_WANTED: wanted,
            layout.COMFYUI_CONSTRAINTS: constraints(settings.comfyui),
            "/etc/sysusers.d/lettabox-comfyui.conf": File(SYSUSERS),
            "/etc/tmpfiles.d/lettabox-comfyui.conf": File(TMPFILES),
        },
        directories={layout.COMFYUI: Directory()},
    )
    service.running(name="Checkout, packages and service", release=release(settings.comfyui), unit=wanted.sha256)
