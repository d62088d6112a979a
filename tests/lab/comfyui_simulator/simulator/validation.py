"""What POST /prompt finds wrong with a graph, in ComfyUI's words."""

import traceback
from dataclasses import dataclass, field

from simulator.interface import choices

LONG_LIST = 20
CONVERTED = {"INT": int, "FLOAT": float, "STRING": str, "BOOLEAN": bool}


@dataclass
class Verdict:
    error: dict | None = None
    outputs: list[str] = field(default_factory=list)
    node_errors: dict[str, dict] = field(default_factory=dict)


def validate(graph: dict, classes: dict[str, dict]) -> Verdict:
    """What of the graph can run. Numbers and texts in it become what their input's type says, in place."""
    outputs = []
    for name, node in graph.items():
        # A graph in the editor's format fails here (500), as in ComfyUI.
        kind = node.get("class_type")
        if kind not in classes:
            return Verdict(_missing_class(name, node, kind))
        if classes[kind]["output_node"]:
            outputs.append(name)
    if not outputs:
        return Verdict(_error("prompt_no_outputs", "Prompt has no outputs"))

    check = _Check(graph, classes)
    good, reasons = [], []
    for name in outputs:
        if check.output(name):
            good.append(name)
        else:
            reasons += [f"{one['message']}: {one['details']}" for one in check.found[name]]
            check.blame(name)
    if good:
        return Verdict(None, good, check.node_errors)
    error = _error("prompt_outputs_failed_validation", "Prompt outputs failed validation", "\n".join(reasons))
    return Verdict(error, [], check.node_errors)


def _error(kind: str, message: str, details: str = "", **extra: object) -> dict:
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


def _missing_class(name: str, node: dict, kind: str | None) -> dict:
    title = node.get("_meta", {}).get("title", kind)
    message = f"Node '{title}' not found. The custom node may not be installed."
    return _error("missing_node_type", message, f"Node ID '#{name}'", node_id=name, class_type=kind, node_title=title)


class _Check:
    """Walks the graph from its outputs; each node is looked at once."""

    def __init__(self, graph: dict, classes: dict[str, dict]) -> None:
        self.graph = graph
        self.classes = classes
        self.found: dict[str, list[dict]] = {}  # node: what is wrong with itself
        self.valid: dict[str, bool] = {}  # node: it and all it needs
        self.node_errors: dict[str, dict] = {}

    def output(self, name: str) -> bool:
        try:
            return self._node(name)
        except (KeyError, IndexError, TypeError, RecursionError) as problem:
            extra = {
                "exception_type": type(problem).__name__,
                "traceback": traceback.format_tb(problem.__traceback__),
            }
            wrong = _error("exception_during_validation", "Exception when validating node", str(problem), **extra)
            self.found[name], self.valid[name] = [wrong], False
            return False

    def blame(self, output: str) -> None:
        for name, errors in self.found.items():
            if errors:
                kind = self.graph[name]["class_type"]
                entry = {"errors": errors, "dependent_outputs": [], "class_type": kind}
                self.node_errors.setdefault(name, entry)["dependent_outputs"].append(output)

    def _node(self, name: str) -> bool:
        if name in self.valid:
            return self.valid[name]
        node = self.graph[name]
        info = self.classes[node["class_type"]]["input"]
        errors: list[dict] = []
        valid = True
        for category in ("required", "optional"):
            for field_name, spec in info.get(category, {}).items():
                if field_name in node["inputs"]:
                    valid = self._input(node["inputs"], field_name, spec, errors) and valid
                elif category == "required":
                    errors.append(_missing_input(field_name))
        self.found[name] = errors
        self.valid[name] = valid and not errors
        return self.valid[name]

    def _input(self, inputs: dict, name: str, spec: list, errors: list[dict]) -> bool:
        """Whether the node that the input is linked to, if any, is valid; what is wrong here goes into errors."""
        kind, extra = spec[0], (spec[1] if len(spec) > 1 else {})
        value = inputs[name]
        told = {"input_name": name, "input_config": [kind, extra]}
        if isinstance(value, list):
            if len(value) != 2:
                message = "Bad linked input, must be a length-2 list of [node_id, slot_index]"
                errors.append(_error("bad_linked_input", message, name, **told, received_value=value))
                return True
            source, slot = value
            received = self.classes[self.graph[source]["class_type"]]["output"][slot]
            if not _fits(received, kind):
                details = f"{name}, received_type({received}) mismatch input_type({kind})"
                message = "Return type mismatch between linked nodes"
                found = {**told, "received_type": received, "linked_node": value}
                errors.append(_error("return_type_mismatch", message, details, **found))
                return True
            return self._node(source)
        if wrong := _wrong_value(inputs, name, kind, extra, told):
            errors.append(wrong)
        return True


def _missing_input(name: str) -> dict:
    return _error("required_input_missing", "Required input is missing", name, input_name=name)


def _fits(received: str, wanted: object) -> bool:
    if not isinstance(wanted, str):
        return False
    return "*" in (received, wanted) or set(received.split(",")) <= set(wanted.split(","))


def _wrong_value(inputs: dict, name: str, kind: object, extra: dict, told: dict) -> dict | None:
    value = inputs[name]
    if isinstance(kind, str) and kind in CONVERTED:
        try:
            value = inputs[name] = CONVERTED[kind](value)
        except (TypeError, ValueError) as problem:
            found = {**told, "received_value": value, "exception_message": str(problem)}
            message = f"Failed to convert an input value to a {kind} value"
            return _error("invalid_input_type", message, f"{name}, {value}, {problem}", **found)
    told = {**told, "received_value": value}
    if "min" in extra and value < extra["min"]:
        return _error("value_smaller_than_min", f"Value {value} smaller than min of {extra['min']}", name, **told)
    if "max" in extra and value > extra["max"]:
        return _error("value_bigger_than_max", f"Value {value} bigger than max of {extra['max']}", name, **told)
    allowed = choices(kind, extra)
    if allowed is None or value in allowed:
        return None
    # A list of hundreds of models is not sent back.
    long = len(allowed) > LONG_LIST
    shown = f"(list of length {len(allowed)})" if long else str(allowed)
    if long:
        told["input_config"] = None
    return _error("value_not_in_list", "Value not in list", f"{name}: '{value}' not in {shown}", **told)
