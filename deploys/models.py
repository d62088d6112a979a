"""The models on a host with a GPU: which files are wanted, and the unit that downloads them by itself."""

import json

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, sources
from inventory.models import to_box
from inventory.schema import Model, Models
from operations import models as downloads
from operations import tree
from operations.tree import File

UNIT = "/etc/systemd/system/comfyui-models.service"


def unit(told: Models) -> File:
    """The systemd unit."""
    return sources.template(
        "models/comfyui-models.service.j2",
        command=layout.COMMAND,
        models=f"{layout.COMFYUI_DATA}/models",
        token=f"{layout.SECRETS_DIR}/models-token" if told.token else "",
    )


def listed(told: Models, wanted: dict[str, Model]) -> File:
    """What the box is to have."""
    return File((json.dumps(to_box(told, wanted), indent=1) + "\n").encode())


@deploy("Models")
def models() -> None:
    told = host.data.settings.models
    if not host.data.models:
        downloads.absent(name="No models")
        return
    wanted, service = listed(told, host.data.models), unit(told)
    tree.present(
        name="List and unit",
        files={
            layout.MODELS_WANTED: wanted,
            UNIT: service,
        },
    )
    downloads.started(name="Download", wanted=wanted.sha256, unit=service.sha256, token=told.token)
