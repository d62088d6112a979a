"""In which of ComfyUI's two forms a workflow is, and whether it is one at all.

The API form is what POST /prompt takes: {id: {"class_type", "inputs"}}. The UI form is what the editor saves: a list of
nodes and a list of links. Both sides use this: the laptop before it connects, the box before it converts. Only the
standard library, and nothing else of lettabox.
"""

import hashlib
import json
from collections.abc import Iterator
from typing import Any, Literal

Form = Literal["api", "ui"]
LIMIT = 4 * 1024 * 1024  # bytes; the largest of ComfyUI's own templates has a tenth of that
_EXPORT = "export it from ComfyUI: File > Export (API)"


def parse(content: bytes) -> tuple[Form, dict[str, Any]]:
    """Return (form, workflow). Raises ValueError, which says what is wrong and what to do."""
    if len(content) > LIMIT:
        raise ValueError(f"larger than {LIMIT // 2**20} MiB, so hardly a workflow; {_EXPORT}")
    try:
        found = json.loads(content, parse_constant=_not_json)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise ValueError(f"not JSON ({str(error)[:100]}); {_EXPORT}") from None
    if not isinstance(found, dict):
        raise ValueError(f"a {_KINDS[type(found)]}, not a workflow; {_EXPORT}")
    if isinstance(found.get("nodes"), list):
        return "ui", _ui(found)
    if isinstance(found.get("prompt"), dict) and "class_type" not in found["prompt"]:
        raise ValueError(f"a request with a workflow below the key prompt; keep that part alone, or {_EXPORT}")
    return "api", _api(found)


_KINDS = {list: "list", str: "text", int: "number", float: "number", bool: "true or false", type(None): "null"}


def _not_json(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _ui(found: dict[str, Any]) -> dict[str, Any]:
    nodes = found["nodes"]
    if not isinstance(found.get("links"), list):
        raise ValueError(f"has nodes and no list of links; {_EXPORT}")
    good = [one for one in nodes if isinstance(one, dict) and isinstance(one.get("type"), str) and "id" in one]
    if len(good) < len(nodes):
        raise ValueError(f"{len(nodes) - len(good)} of its nodes have no id and type; {_EXPORT}")
    if not nodes:
        raise ValueError(f"has no nodes; {_EXPORT}")
    return found


def _api(found: dict[str, Any]) -> dict[str, Any]:
    if not found:
        raise ValueError(f"has no nodes; {_EXPORT}")
    for name, node in found.items():
        if not (isinstance(node, dict) and isinstance(node.get("class_type"), str)):
            raise ValueError(f"neither of ComfyUI's forms: {_short(name)} is no node with a class_type; {_EXPORT}")
        if not isinstance(node.get("inputs"), dict):
            raise ValueError(f"node {_short(name)} ({_short(node['class_type'])}) has no inputs; {_EXPORT}")
    return found


def _short(text: str) -> str:
    return ascii(text if len(text) <= 40 else f"{text[:40]}...")


def misplaced(graph: dict[str, Any], told: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(path below settings.workflow.manifest, what is wrong there and what to do) of places that do not exist.

    `told` is settings.workflow.manifest as plain data, `graph` the workflow in API form.
    """
    if told["output"] and told["output"] not in graph:
        yield ("output",), _no_node(graph, told["output"])
    places = {(name,): told[name] for name in ("prompt", "width", "height", "frames") if told[name]}
    places |= {("seeds", number): place for number, place in enumerate(told["seeds"])}
    for path, place in places.items():
        if problem := _place(graph, place, path == ("prompt",)):
            yield path, problem


def _place(graph: dict[str, Any], place: dict[str, str], text: bool) -> str:
    node, name = place["node"], place["input"]
    if node not in graph:
        return _no_node(graph, node)
    inputs, where = graph[node]["inputs"], f"node {node} ({graph[node]['class_type']})"
    if name not in inputs:
        return f"{where} has no input {name}; write one of its inputs: {', '.join(inputs) or 'none'}"
    value = inputs[name]
    # A link is replaced by what is filled in; for Python true is a number.
    good = isinstance(value, list) or (isinstance(value, str if text else int) and not isinstance(value, bool))
    kind = "a text" if text else "a whole number"
    return "" if good else f"input {name} of {where} is {_short(str(value))}, not {kind}; name another input"


def _no_node(graph: dict[str, Any], node: str) -> str:
    # Nodes of a subgraph have ids like 92:3; that its first part was left out is the likely slip.
    likely = [one for one in graph if one.endswith(f":{node}")][:5]
    hint = f"is {' or '.join(likely)} meant?" if likely else "sudo lettabox workflow show prints it with all ids"
    return f"the workflow has no node {node}; {hint}"


def made_from(told: dict[str, Any], content: bytes | None, release: str, tools: str, models: list[list[str]]) -> str:
    """A hash of all that the workflow of a box is made from.

    `told` is settings.workflow, `content` the operator's own file, `release` ComfyUI's, `tools` the hash of the
    converter's requirements, `models` the [folder, file] that are declared.
    """
    own = hashlib.sha256(content).hexdigest() if content is not None else ""
    words = [told, own, release, tools if is_converted(content) else "", sorted(models)]
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()


def is_converted(content: bytes | None) -> bool:
    """Whether the converter is needed: for ComfyUI's templates (None), and for a file in UI form."""
    return content is None or parse(content)[0] == "ui"
