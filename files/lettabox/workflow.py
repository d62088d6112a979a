"""The workflow that makes this box's videos: in API form, with a manifest of its inputs, known to fit its ComfyUI."""

import hashlib
import json
from pathlib import Path
from typing import Any

from lettabox import (
    comfyui_api,
    files,
    paths,
    workflow_fit,
    workflow_form,
    workflow_manifest,
    workflow_source,
    workflow_state,
)
from lettabox.errors import FAILED, OK, UNHEALTHY, LettaboxError
from lettabox.settings import settings
from lettabox.workflow_fit import Fit, Models

WORKFLOW, MANIFEST = (paths.WORKFLOW / name for name in workflow_state.NAMES)


def deploy() -> None:
    """Make workflow.json and manifest.json anew from the settings and what the running ComfyUI says of its nodes.

    Raises LettaboxError with all that does not fit; the files before stay as they were then.
    """
    told = settings()["workflow"]
    try:
        graph, manifest, fit = _made(told)
    except LettaboxError as error:
        kept = "the workflow before is kept" if MANIFEST.is_file() else "there is no workflow yet"
        raise LettaboxError(f"{error}\n  {kept}; mend the cause and deploy again", error.code) from None
    text = json.dumps(graph, indent=1) + "\n"
    # The two are written one by one: whoever reads them can tell whether they belong together.
    manifest["sha256"] = hashlib.sha256(text.encode()).hexdigest()
    paths.WORKFLOW.mkdir(mode=0o755, exist_ok=True)
    files.write(WORKFLOW, text)
    files.write(MANIFEST, json.dumps(manifest, indent=1) + "\n")
    record = {"made_from": _made_from(told), "files": workflow_state.digest()}
    files.write(paths.WORKFLOW_APPLIED, json.dumps(record) + "\n")
    print(f"workflow: {manifest['source']}, for ComfyUI {manifest['comfyui_version']}", flush=True)
    for line in [*_unknown(manifest), *_coming(fit)]:
        print(f"workflow: WARNING: {line}", flush=True)


def _made(told: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], Fit]:
    """(workflow in API form, manifest, how it fits). Raises LettaboxError where it does not."""
    source, graph, known = _graph(told)
    manifest = workflow_manifest.find(graph, told["manifest"])
    fit = workflow_fit.fit(graph, known, _models(source))
    if fit.errors:
        raise LettaboxError("\n  ".join([f"workflow: {source.name} does not fit this ComfyUI:", *fit.errors]), FAILED)
    more = {
        "source": source.name,
        "comfyui_version": comfyui_api.version(),
        "required_classes": sorted({one["class_type"] for one in graph.values()}),
        "required_models": [list(one) for one in fit.models],
    }
    return graph, manifest | more, fit


def show() -> None:
    """Print the workflow in API form as a deploy would make it, whether it fits or not."""
    print(json.dumps(_graph(settings()["workflow"])[1], indent=1))


def check() -> int:
    """Print whether the deployed workflow fits the running ComfyUI, and return the exit code.

    OK; UNHEALTHY while models are still to be downloaded; FAILED when it will never run as it is.
    """
    graph, manifest = load()
    fit = workflow_fit.fit(graph, comfyui_api.object_info(), _models(None))
    if fit.errors:
        print("\n  ".join([f"workflow: {manifest['source']} does not fit this ComfyUI:", *fit.errors]))
        return FAILED
    if fit.coming:
        print("\n  ".join([f"workflow: {manifest['source']} cannot run yet:", *_coming(fit)]))
        return UNHEALTHY
    classes, models = len(manifest["required_classes"]), len(fit.models)
    print(f"workflow: {manifest['source']} fits ComfyUI: {classes} node classes and {models} models are there")
    return OK


def load(folder: Path | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
    """(workflow in API form, its manifest), of a folder or the deployed ones.

    Raises LettaboxError where there is none, or half of one.
    """
    graph_file, manifest_file = [folder / name for name in workflow_state.NAMES] if folder else (WORKFLOW, MANIFEST)
    try:
        text, manifest = graph_file.read_text(), json.loads(manifest_file.read_text())
        whole = hashlib.sha256(text.encode()).hexdigest() == manifest["sha256"]
    except FileNotFoundError:
        raise LettaboxError("workflow: none is deployed; deploy first (`make deploy`)") from None
    except (ValueError, LookupError, TypeError):
        whole = False
    if not whole:
        raise LettaboxError(
            f"workflow: {graph_file} and {manifest_file} do not belong together; deploy again (`make deploy`)"
        )
    return json.loads(text), manifest


def _graph(told: dict[str, Any]) -> tuple[workflow_source.Source, dict[str, Any], dict[str, Any]]:
    source = workflow_source.find(told["template"])
    known = comfyui_api.object_info()
    return source, workflow_source.to_graph(source, known), known


def _models(source: workflow_source.Source | None) -> Models:
    named = list(workflow_fit.named(source.workflow)) if source and source.form == "ui" else []
    return Models(
        [(folder, file) for folder, file in _declared()],
        {one["name"]: one["directory"] for one in named},
        {one["name"]: one["url"] for one in named},
    )


def _declared() -> list[list[str]]:
    """[folder, file] of the models that are to be here."""
    if not paths.MODELS_WANTED.is_file():
        return []
    told = json.loads(paths.MODELS_WANTED.read_text())["files"]
    return [[one["folder"], one["file"].rpartition("/")[2]] for one in told]


def _made_from(told: dict[str, Any]) -> str:
    own, tools = paths.WORKFLOW_WANTED, paths.WORKFLOW_TOOLS / "requirements.txt"
    return workflow_form.made_from(
        told,
        own.read_bytes() if own.is_file() else None,
        workflow_source.release(),
        hashlib.sha256(tools.read_bytes()).hexdigest() if tools.is_file() else "",
        _declared(),
    )


def _unknown(manifest: dict[str, Any]) -> list[str]:
    setting = workflow_manifest.SETTING
    return [
        f"no place for the {name} was found, so that it stays as it is; if there is one, set {setting}.{name}"
        for name in ("width", "height", "frames")
        if manifest[name] is None
    ]


def _coming(fit: Fit) -> list[str]:
    return [f"model {folder}/{file} is still to be downloaded: make models-status" for folder, file in fit.coming]
