"""The prompt and the seed of a video, from the workflow that ComfyUI notes in the file.

Whoever can write into the output folder can write anything there, so nothing of it is trusted to be what it should.
"""

import json
from typing import Any

from lettabox import workflow_form, workflow_manifest
from lettabox.errors import LettaboxError

NODES = 2_000  # of a workflow that is looked at
NOTHING_TOLD = {"prompt": None, "seeds": [], "width": None, "height": None, "frames": None, "output": ""}


def made_by(tags: dict[str, str]) -> tuple[str | None, int | None]:
    """(prompt, seed) by a file's tags; None for what cannot be told."""
    graph = _graph({name.lower(): value for name, value in tags.items()})
    if graph is None:
        return None, None
    prompt, seed = _places(graph)
    return _value(graph, prompt, str), _value(graph, seed, int)


def _graph(tags: dict[str, str]) -> workflow_manifest.Graph | None:
    """SaveVideo writes the tag `prompt`; VHS_VideoCombine puts the same into a JSON text in `comment`."""
    text = tags.get("prompt")
    if text is None:
        comment = _parsed(tags.get("comment", ""))
        text = comment.get("prompt") if isinstance(comment, dict) else None
    graph = _parsed(text) if isinstance(text, str) else text
    # Only what runs is a workflow: nodes with a class and inputs. Links into nothing are known to the finder.
    if not isinstance(graph, dict) or not 0 < len(graph) <= NODES:
        return None
    good = all(
        isinstance(one, dict) and isinstance(one.get("class_type"), str) and isinstance(one.get("inputs"), dict)
        for one in graph.values()
    )
    return graph if good else None


def _parsed(text: str) -> Any:
    if len(text) > workflow_form.LIMIT:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _places(graph: workflow_manifest.Graph) -> tuple[workflow_manifest.Place | None, workflow_manifest.Place | None]:
    """Where the prompt and the base seed are; where that is not clear, the first of those that could be it."""
    try:
        found = workflow_manifest.find(graph, NOTHING_TOLD)
    except LettaboxError:
        outputs = [node for node, one in graph.items() if one["class_type"] in workflow_manifest.OUTPUTS]
        finders = [workflow_manifest.Finder(graph, node) for node in outputs[:1]]
        prompts = [place for one in finders for place in one.prompts()]
        seeds = [place for one in finders for place in one.seeds()]
        return next(iter(prompts), None), next(iter(seeds), None)
    return tuple((place["node"], place["input"]) for place in (found["prompt"], found["seeds"][0]))


def _value(graph: workflow_manifest.Graph, place: workflow_manifest.Place | None, kind: type) -> Any:
    value = graph[place[0]]["inputs"].get(place[1]) if place else None
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
