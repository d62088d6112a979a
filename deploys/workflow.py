"""The workflow that makes videos: the operator's own, or a template that ComfyUI brings, converted on the box."""

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout, sources
from deploys.comfyui import release
from files.lettabox import workflow_form
from inventory.schema import Model, Settings
from operations import tree, venv
from operations import workflow as workflow_operations
from operations.tree import Directory, File

REQUIREMENTS = "requirements/workflow_tools.txt"


def made_from(settings: Settings, own: File | None, wanted: dict[str, Model]) -> str:
    """The same hash as the box makes of what its workflow was made from."""
    return workflow_form.made_from(
        settings.workflow.model_dump(mode="json"),
        own.content if own else None,
        release(settings.comfyui),
        sources.file(REQUIREMENTS).sha256,
        [[one.folder, one.file.rpartition("/")[2]] for one in wanted.values()],
    )


@deploy("Workflow")
def workflow() -> None:
    settings = host.data.settings
    told = settings.workflow.file
    own = File(told.read_bytes()) if told else None
    if own:
        tree.present(name="Your own workflow", files={layout.WORKFLOW_WANTED: own})
    if workflow_form.is_converted(own.content if own else None):
        requirements = sources.file(REQUIREMENTS)
        tree.present(
            name="What the converter is made of",
            files={f"{layout.WORKFLOW_TOOLS}/requirements.txt": requirements},
            directories={layout.WORKFLOW_TOOLS: Directory()},
        )
        venv.present(
            name="Converter",
            path=f"{layout.WORKFLOW_TOOLS}/venv",
            requirements=f"{layout.WORKFLOW_TOOLS}/requirements.txt",
            sha256=requirements.sha256,
            alone=True,
        )
    workflow_operations.deployed(
        name="Workflow and manifest",
        made_from=made_from(settings, own, host.data.models),
        own=own is not None,
    )
