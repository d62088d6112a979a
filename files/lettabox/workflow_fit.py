"""Whether a ComfyUI can run a workflow, by what it says of its nodes: classes, inputs, choices, models.

A pure function of the workflow in API form, the answer to GET /object_info, and the models that are declared. POST
/prompt would say much of it too, but runs the workflow when it has nothing to say.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".pkl")
# The folder below models/ that an input reads, where its class does not tell otherwise.
FOLDERS = {
    "ckpt_name": "checkpoints",
    "text_encoder": "text_encoders",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "clip_name3": "text_encoders",
    "unet_name": "diffusion_models",
    "vae_name": "vae",
    "lora_name": "loras",
    "control_net_name": "controlnet",
}
OF_CLASS = {
    "LatentUpscaleModelLoader": "latent_upscale_models",
    "UpscaleModelLoader": "upscale_models",
    "CLIPVisionLoader": "clip_vision",
}
# ComfyUI reads each of these folders as the other one, too.
SAME = {"clip": "text_encoders", "unet": "diffusion_models"}


@dataclass(frozen=True)
class Models:
    """What is known of models besides those that ComfyUI offers."""

    declared: list[tuple[str, str]] = field(default_factory=list)  # (folder, path below it) of what is to be there
    folders: dict[str, str] = field(default_factory=dict)  # file -> folder that the workflow's author names
    sources: dict[str, str] = field(default_factory=dict)  # file -> URL that the workflow's author names

    def folder(self, class_: str, name: str, file: str) -> str:
        """The folder below models/ that an input's file belongs into."""
        told = OF_CLASS.get(class_) or FOLDERS.get(name) or self.folders.get(file.rpartition("/")[2])
        # For a loader of custom nodes: where the declared file of this name goes.
        return told or next((folder for folder, declared in self.declared if declared == file), "models")

    def is_declared(self, folder: str, file: str) -> bool:
        there = {(SAME.get(one, one), declared) for one, declared in self.declared}
        return (SAME.get(folder, folder), file) in there


def named(workflow: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The models that a workflow in UI form names by itself: {"name", "directory", "url"}, wherever they stand."""
    waiting: list[Any] = [workflow]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if all(isinstance(one.get(key), str) for key in ("name", "directory", "url")):
                yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


@dataclass
class Fit:
    """What keeps a workflow from running: for ever (`errors`), or until its models are downloaded (`coming`)."""

    models: list[tuple[str, str]] = field(default_factory=list)  # (folder, file) that the workflow reads
    classes: dict[str, list[str]] = field(default_factory=dict)  # missing class -> ids of its nodes
    wrong: list[str] = field(default_factory=list)  # one line for each wrong input
    absent: list[tuple[str, str]] = field(default_factory=list)  # models that are neither there nor declared
    coming: list[tuple[str, str]] = field(default_factory=list)  # models that are declared and not there yet
    sources: dict[str, str] = field(default_factory=dict)  # file -> where its workflow's author says that it is

    @property
    def errors(self) -> list[str]:
        """Why it will never run as it is, each with what to do."""
        lines = [
            f"node class {name} is missing (node {', '.join(nodes[:5])}); add the custom nodes that bring it to "
            "settings.comfyui.custom_nodes, or set a newer settings.comfyui.revision"
            for name, nodes in self.classes.items()
        ]
        lines += self.wrong
        lines += [
            f"model {folder}/{file} is not there and not declared; add it to settings.models.files"
            + (f" (the workflow says: {self.sources[file]})" if file in self.sources else "")
            for folder, file in self.absent
        ]
        return lines


def fit(graph: dict[str, dict[str, Any]], known: dict[str, Any], models: Models) -> Fit:
    """Compare a workflow with the nodes of a ComfyUI; `known` is its /object_info."""
    found = Fit(sources=models.sources)
    for node, one in graph.items():
        name = one["class_type"]
        if name not in known:
            found.classes.setdefault(name, []).append(node)
        elif isinstance(known[name], dict):
            _inputs(found, graph, known, node, models)
    return found


def _inputs(found: Fit, graph: dict[str, dict[str, Any]], known: dict[str, Any], node: str, models: Models) -> None:
    one = graph[node]
    where = f"node {node} ({one['class_type']})"
    sections = known[one["class_type"]].get("input", {})
    required = sections.get("required", {})
    # Inputs of inputs (resize_type.width) come and go with a choice; the server alone knows which.
    for name in required:
        if name not in one["inputs"] and not _grows(required[name]):
            found.wrong.append(f"{where}: its input {name} is missing; set it in ComfyUI and export it again")
    specs = {**sections.get("optional", {}), **required}
    for name, value in one["inputs"].items():
        if isinstance(value, list):
            if problem := _link(value, graph, known):
                found.wrong.append(f"{where}: its input {name} {problem}; connect it in ComfyUI and export it again")
        elif name in specs:
            _value(found, where, one["class_type"], name, value, specs[name], models)


def _grows(spec: Any) -> bool:
    return isinstance(spec, list) and bool(spec) and str(spec[0]).startswith("COMFY_AUTOGROW")


def _link(value: list[Any], graph: dict[str, dict[str, Any]], known: dict[str, Any]) -> str:
    """What is wrong with a link; "" when nothing is, or when it is a list of values."""
    match value:
        case [str(other), int(slot)]:
            pass
        case _:
            return ""
    if other not in graph:
        return f"leads to node {other}, which does not exist"
    told = known.get(graph[other]["class_type"])
    gives = len(told.get("output", [])) if isinstance(told, dict) else slot + 1
    return "" if 0 <= slot < gives else f"leads to output {slot} of node {other}, which has {gives}"


def _value(found: Fit, where: str, class_: str, name: str, value: Any, spec: Any, models: Models) -> None:
    choices = _choices(spec)
    if choices is None:
        if problem := _number(value, spec):
            found.wrong.append(f"{where}: {name} is {value}, {problem}; change it in ComfyUI and export it again")
        return
    if isinstance(value, str) and value.lower().endswith(SUFFIXES):
        model = (models.folder(class_, name, value), value)
        if model not in found.models:
            found.models.append(model)
            if value not in choices:
                (found.coming if models.is_declared(*model) else found.absent).append(model)
    elif value not in choices:
        offered = ", ".join(str(one) for one in choices[:8]) + (", ..." if len(choices) > 8 else "")
        found.wrong.append(
            f"{where}: {name} is {value!r}, and this ComfyUI offers {offered or 'nothing'}; choose one there and "
            "export it again"
        )


def _choices(spec: Any) -> list[Any] | None:
    """What an input may be, where it is a choice."""
    match spec:
        case [list(options), *_]:
            return options
        case ["COMBO", {"options": list(options), **more}] if not more.get("multiselect"):
            return options
        case ["COMFY_DYNAMICCOMBO_V3", {"options": list(options)}]:
            return [one.get("key") for one in options if isinstance(one, dict)]
    return None


def _number(value: Any, spec: Any) -> str:
    """What is wrong with a number; "" when nothing is."""
    match spec:
        case ["INT" | "FLOAT", dict(limits), *_]:
            if isinstance(value, bool) or not isinstance(value, int | float):
                return ""  # the server makes a number of it, or says so
            if value < limits.get("min", value):
                return f"below {limits['min']}"
            if value > limits.get("max", value):
                return f"above {limits['max']}"
    return ""
