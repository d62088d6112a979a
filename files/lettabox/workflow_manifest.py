"""Where in a workflow the prompt, the seeds, the size and the output are, found by what the nodes are.

Ids of nodes change with every edit in ComfyUI; classes and the links between them say what a node is for. A pure
function of the workflow in API form: {id: {"class_type", "inputs": {name: value, or [id, slot] for a link}}}.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lettabox import workflow_form
from lettabox.errors import USAGE, LettaboxError

Graph = dict[str, dict[str, Any]]
Place = tuple[str, str]  # id of the node, name of its input

OUTPUTS = ("SaveVideo", "SaveWEBM", "VHS_VideoCombine")
# What makes a sample differ from the last one, by class.
SEEDS = {
    "RandomNoise": "noise_seed",
    "KSampler": "seed",
    "KSamplerAdvanced": "noise_seed",
    "SamplerCustom": "noise_seed",
}
SWITCH, SIZE, MATH, EMPTY = "ComfySwitchNode", "GetImageSize", "ComfyMathExpression", "EmptyImage"
# Inputs through which a text reaches an encoder, a value its user.
CARRIERS = ("text", "value", "string", "prompt")
SETTING = "settings.workflow.manifest"


@dataclass
class Finder:
    """What is looked for in one workflow; `output` is the node that saves the video."""

    graph: Graph
    output: str

    def __post_init__(self) -> None:
        self.upstream = self._upstream_of(self.output)

    # Links

    def inputs(self, node: str) -> dict[str, Any]:
        return self.graph[node]["inputs"]

    def kind(self, node: str) -> str:
        return self.graph[node]["class_type"]

    def link(self, value: Any) -> tuple[str, int] | None:
        """(node, slot) where the value is a link to a node that exists."""
        match value:
            case [str(node), int(slot)] if node in self.graph:
                return node, slot
        return None

    def _upstream_of(self, node: str) -> list[str]:
        """The node and all that it needs, nearest first."""
        found, waiting = {node: None}, [node]
        for one in waiting:
            for value in self.inputs(one).values():
                link = self.link(value)
                if link and link[0] not in found:
                    found[link[0]] = None
                    waiting.append(link[0])
        return list(found)

    # The prompt

    def prompts(self) -> list[Place]:
        """Every text that is encoded as what is wanted; the undesired is the other side of the same nodes."""
        found: dict[Place, None] = {}
        for node in self.upstream:
            for name, value in self.inputs(node).items():
                if name in ("positive", "conditioning") and (link := self.link(value)):
                    found.update(dict.fromkeys(self._texts_of(link)))
        return list(found)

    def _texts_of(self, conditioning: tuple[str, int]) -> Iterator[Place]:
        """Places of the texts behind one output of a node that gives a conditioning."""
        seen, waiting = set(), [conditioning]
        while waiting:
            node, slot = one = waiting.pop()
            if one in seen:
                continue
            seen.add(one)
            inputs = self.inputs(node)
            if self.kind(node).startswith("CLIPTextEncode"):
                yield from self._literals(node, "text", str)
                continue
            # Nodes that take both sides give them in this order.
            sides = [name for name in ("positive", "negative") if name in inputs]
            names = sides[slot : slot + 1] or [name for name in inputs if name.startswith("conditioning")]
            waiting += [link for name in names if (link := self.link(inputs[name]))]

    def enhancer(self) -> dict[str, Any] | None:
        """The switch that has a model rewrite the prompt: {node, input, on}, or None where there is none."""
        for node in self.upstream:
            if self.kind(node) != SWITCH or not self._rewrites(self.inputs(node).get("on_true")):
                continue
            places = list(self._literals(node, "switch", bool))
            if len(places) == 1:
                where, name = places[0]
                return {"node": where, "input": name, "on": self.inputs(where)[name]}
        return None

    def _rewrites(self, value: Any) -> bool:
        link = self.link(value)
        return bool(link) and "prompt" in self.inputs(link[0])

    # Seeds

    def seeds(self) -> list[Place]:
        """Every seed, that of the base stage first: the one whose sampler needs no other sampler."""
        depths: dict[Place, int] = {}
        for node in self.upstream:
            name = SEEDS.get(self.kind(node))
            if name is None or name not in self.inputs(node):
                continue
            depth = min((self._depth(one) for one in self._samplers_of(node)), default=0)
            for place in self._literals(node, name, int):
                depths[place] = min(depth, depths.get(place, depth))
        return sorted(depths, key=lambda place: depths[place])

    def _samplers_of(self, node: str) -> list[str]:
        """The samplers that take this node's noise, or the node itself where it samples."""
        if "latent_image" in self.inputs(node):
            return [node]
        return [one for one in self.upstream if (self.link(self.inputs(one).get("noise")) or ("",))[0] == node]

    def _depth(self, sampler: str) -> int:
        link = self.link(self.inputs(sampler).get("latent_image"))
        before = self._upstream_of(link[0]) if link else []
        return sum("latent_image" in self.inputs(one) for one in before)

    # Size

    def sizes(self, name: str) -> list[Place]:
        """Places of width, height or frames: of the empty latent video, or else of the empty images."""
        whole = [one for one in self.upstream if {"width", "height", "length"} <= self.inputs(one).keys()]
        plain = [one for one in self.upstream if self.kind(one) == EMPTY]
        word = {"frames": "length"}.get(name, name) if whole else {"frames": "batch_size"}.get(name, name)
        found: dict[Place, None] = {}
        for node in whole or plain:
            found.update(dict.fromkeys(self._literals(node, word, int)))
        return list(found)

    # From an input to where its value is written

    def _literals(self, node: str, name: str, kind: type) -> Iterator[Place]:
        """Where the value of an input is written, following links through nodes that hand it on."""
        seen, waiting = set(), [(node, name)]
        while waiting:
            place = waiting.pop()
            if place in seen:
                continue
            seen.add(place)
            value = self.inputs(place[0]).get(place[1])
            if link := self.link(value):
                waiting += self._carried(*link)
            # For Python true is a number.
            elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):
                yield place

    def _carried(self, node: str, slot: int) -> list[Place]:
        """The inputs from which a node takes what it gives at an output."""
        inputs, kind = self.inputs(node), self.kind(node)
        if kind == SWITCH:
            return [(node, "on_false"), (node, "on_true")]
        if kind == SIZE:
            return self._measured(self.link(inputs.get("image")), ("width", "height")[slot] if slot in (0, 1) else "")
        if kind == MATH:
            operands = [name for name in inputs if name.startswith("values.")]
            return [(node, operands[0])] if len(operands) == 1 else []
        return [(node, name) for name in CARRIERS if name in inputs][:1]

    def _measured(self, image: tuple[str, int] | None, name: str) -> list[Place]:
        """The width or height of an image that is measured, through what only scales it."""
        for _ in self.graph:
            if image is None or name in self.inputs(image[0]):
                break
            image = self.link(self.inputs(image[0]).get("image"))
        return [(image[0], name)] if image and name in self.inputs(image[0]) else []


def find(graph: Graph, told: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a workflow: {prompt, seeds, width, height, frames, output, enhancer}.

    Places are {"node", "input"}; width, height and frames are None where they cannot be found. `told` is
    settings.workflow.manifest, which comes first. Raises LettaboxError, which names the candidates and the setting.
    """
    wrong = [
        f"{SETTING}.{path[0]}{''.join(f'[{number}]' for number in path[1:])}: {problem}"
        for path, problem in workflow_form.misplaced(graph, told)
    ]
    if wrong:
        raise LettaboxError("\n  ".join(["workflow: the manifest in the settings does not fit it:", *wrong]), USAGE)
    output = _output(graph, told["output"])
    finder = Finder(graph, output)
    prompt = told["prompt"] or _one(finder, "prompt", finder.prompts())
    if prompt is None:
        raise _unclear("prompt", "no text leads to what is saved", finder, _texts(finder), '{node: "...", input: text}')
    seeds = told["seeds"] or [_place(one) for one in finder.seeds()]
    if not seeds:
        what = "no seed was found, and without a new one ComfyUI gives the last file again"
        raise _unclear("seeds", what, finder, [], '[{node: "...", input: noise_seed}]')
    sizes = {name: told[name] or _one(finder, name, finder.sizes(name)) for name in ("width", "height", "frames")}
    return {"prompt": prompt, "seeds": seeds, **sizes, "output": output, "enhancer": finder.enhancer()}


def _place(place: Place) -> dict[str, str]:
    return {"node": place[0], "input": place[1]}


def _one(finder: Finder, name: str, found: list[Place]) -> dict[str, str] | None:
    if len(found) > 1:
        raise _unclear(name, f"{len(found)} places could be the {name}", finder, found, "one of them")
    return _place(found[0]) if found else None


def _texts(finder: Finder) -> list[Place]:
    """What an operator may mean by the prompt, where the links do not tell."""
    return [
        (node, name)
        for node in finder.upstream
        for name, value in finder.inputs(node).items()
        if name in CARRIERS and isinstance(value, str)
    ]


def _unclear(name: str, what: str, finder: Finder, found: list[Place], write: str) -> LettaboxError:
    lines = [f'    {{node: "{node}", input: {name_}}}  {finder.kind(node)}' for node, name_ in found]
    candidates = ["  candidates:", *lines] if lines else []
    return LettaboxError(
        "\n".join([f"workflow: {what}", *candidates, f"  next: set {SETTING}.{name} to {write}"]), USAGE
    )


def _output(graph: Graph, told: str) -> str:
    if told:
        return told
    found = [node for node, one in graph.items() if one["class_type"] in OUTPUTS]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(f"{node} ({graph[node]['class_type']})" for node in found)
    if found:
        raise LettaboxError(
            f"workflow: {len(found)} nodes save a video: {listed}\n  next: set {SETTING}.output to one of them", USAGE
        )
    raise LettaboxError(
        f"workflow: no node saves a video (known are {', '.join(OUTPUTS)})\n"
        f"  next: add SaveVideo to the workflow, or set {SETTING}.output to the id of the node that does",
        USAGE,
    )
