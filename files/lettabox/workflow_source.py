"""Where the workflow of this box comes from, and how it gets into API form.

By default that is a template of the package that ComfyUI's own requirements install; it is in UI form and is converted
with what this ComfyUI says of its nodes, because the two forms differ by just that.
"""

import difflib
import importlib.metadata
import json
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lettabox import comfyui_state, paths, workflow_form
from lettabox.errors import USAGE, LettaboxError

PACKAGE = "comfyui-workflow-templates"  # the first part of the names of several
FOLDER = "templates"
CONVERTER = Path(__file__).with_name("workflow_converter.py")
CONVERSION = 120  # seconds; it takes one
WARNINGS = 5
_EXPORT = "\n  next: export it yourself (File > Export (API)) and set settings.workflow.file"


@dataclass(frozen=True)
class Source:
    """A workflow as it was found."""

    name: str  # what it is, for messages
    form: workflow_form.Form
    workflow: dict[str, Any]


def release() -> str:
    """The release of ComfyUI that was last found healthy. Raises LettaboxError where there is none."""
    if found := comfyui_state.recorded().get("release"):
        return found
    raise LettaboxError("workflow: there is no ComfyUI on this box; deploy first (`make deploy`)")


def venv() -> Path:
    """The virtual environment that ComfyUI runs in."""
    return paths.COMFYUI / release() / "venv"


def find(template: str) -> Source:
    """The operator's own workflow, or else the template. Raises LettaboxError when it is not there, or is none."""
    if paths.WORKFLOW_WANTED.is_file():
        name, path, fix = "your own workflow", paths.WORKFLOW_WANTED, "mend settings.workflow.file, and deploy"
    else:
        name, path = _template(template)
        fix = "set settings.workflow.template to another one, or settings.workflow.file to a file of yours"
    try:
        form, workflow = workflow_form.parse(path.read_bytes())
    except ValueError as error:
        raise LettaboxError(f"workflow: {name} ({path}): {error}\n  next: {fix}", USAGE) from None
    return Source(name, form, workflow)


def _template(template: str) -> tuple[str, Path]:
    packages = sorted((venv() / "lib").glob("python3.*/site-packages"))
    found: dict[str, tuple[str, Path]] = {}
    for one in importlib.metadata.distributions(path=[str(path) for path in packages]):
        if not one.name.replace("_", "-").startswith(PACKAGE):
            continue
        for file in one.files or []:
            if file.parent.name == FOLDER and file.suffix == ".json":
                name = f"template {file.stem} of {one.name} {one.version}"
                found[file.stem] = (name, Path(str(one.locate_file(file))))
    if template in found:
        return found[template]
    if not found:
        raise LettaboxError(
            f"workflow: ComfyUI {release()} brings no templates ({PACKAGE}-* is not in {venv()})\n"
            "  next: set settings.workflow.file to a workflow of your own",
            USAGE,
        )
    close = difflib.get_close_matches(template, found, n=5)
    hint = f"similar ones: {', '.join(close)}" if close else f"it has {len(found)} others"
    raise LettaboxError(
        f"workflow: ComfyUI {release()} has no template {template}; {hint}\n"
        "  next: set settings.workflow.template to one of its own, or settings.workflow.file to a file of yours",
        USAGE,
    )


def to_graph(source: Source, object_info: dict[str, Any]) -> dict[str, Any]:
    """The workflow in API form. Raises LettaboxError with the converter's last words."""
    if source.form == "api":
        return source.workflow
    done = _converted(json.dumps({"workflow": source.workflow, "object_info": object_info}), source.name)
    said = done.stderr.strip().splitlines()
    if done.returncode:
        raise LettaboxError(
            "\n    ".join([f"workflow: {source.name} cannot be converted:", *said[-WARNINGS:]]) + _EXPORT
        )
    for line in said[:WARNINGS]:
        print(f"workflow: converter: {line}", flush=True)
    try:
        return workflow_form.parse(done.stdout.encode())[1]
    except ValueError as error:
        raise LettaboxError(f"workflow: the converter made no workflow of {source.name}: {error}", USAGE) from None


def _converted(told: str, name: str) -> subprocess.CompletedProcess[str]:
    """Run the converter: a program of somebody else, with no root, no network, and a home that is gone afterwards."""
    python = paths.WORKFLOW_TOOLS / "venv/bin/python"
    if not python.is_file():
        raise LettaboxError(f"workflow: it has to be converted, and there is no {python}; deploy (`make deploy`)")
    alone = ["unshare", "--net", "setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    with tempfile.TemporaryDirectory(prefix="lettabox-") as home:
        shutil.chown(home, "nobody", "nogroup")
        try:
            return subprocess.run(
                [*alone, "--no-new-privs", str(python), "-I", "-B", str(CONVERTER)],
                input=told,
                capture_output=True,
                text=True,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOME": home, "DO_NOT_TRACK": "1"},
                timeout=CONVERSION,
            )
        except subprocess.TimeoutExpired:
            raise LettaboxError(f"workflow: {name} is not converted after {CONVERSION} s{_EXPORT}") from None
