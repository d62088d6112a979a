"""Workflows: which form one is in, where its inputs are, whether it fits, and what is refused before connecting."""

import copy
import itertools
import json
import subprocess
import sys

import pytest
from lettabox import comfyui_api, workflow_fit, workflow_form, workflow_manifest
from lettabox.errors import LettaboxError
from lettabox.workflow_fit import Models

from inventory.load import load
from inventory.schema import Workflow
from tests import graphs
from tests.unit.test_settings import refusal, with_settings, write

UNTOLD = Workflow().manifest.to_json()


def told(**places):
    return UNTOLD | places


def place(node, name):
    return {"node": node, "input": name}


# --- the manifest ------------------------------------------------------------------------------------------


def test_every_place_of_a_workflow_with_two_stages_is_found():
    assert workflow_manifest.find(graphs.two_stages(), UNTOLD) == {
        "prompt": place("92:3", "text"),
        "seeds": [place("92:11", "noise_seed"), place("92:67", "noise_seed")],
        "width": place("92:89", "width"),
        "height": place("92:89", "height"),
        "frames": place("92:62", "value"),
        "output": "75",
        "enhancer": None,
    }


def test_a_prompt_that_a_model_may_rewrite_is_found_with_its_switch():
    found = workflow_manifest.find(graphs.enhanced(), UNTOLD)
    assert found["prompt"] == place("92:266", "value")
    assert found["enhancer"] == {"node": "92:330", "input": "value", "on": True}
    # A half of a number is written where the number is; of two numbers nobody knows.
    assert (found["width"], found["frames"]) == (place("92:257", "value"), None)


def test_ids_and_order_of_the_nodes_mean_nothing():
    graph = graphs.two_stages()
    new = {old: str(number) for number, old in enumerate(sorted(graph, reverse=True))}
    renamed = json.loads(json.dumps(graph))
    for one in renamed.values():
        for name, value in one["inputs"].items():
            if isinstance(value, list):
                one["inputs"][name] = [new[value[0]], value[1]]
    renamed = {new[old]: renamed[old] for old in sorted(graph)}
    expected = json.loads(json.dumps(workflow_manifest.find(graph, UNTOLD)), object_hook=lambda one: _renamed(one, new))
    assert workflow_manifest.find(renamed, UNTOLD) == expected


def _renamed(one, new):
    return {key: new[value] if key in ("node", "output") else value for key, value in one.items()}


def test_links_in_a_circle_and_long_rows_of_switches_come_to_an_end():
    graph = graphs.enhanced()
    graph["92:266"] = graphs.node("PrimitiveStringMultiline", value=("92:329", 0))
    with pytest.raises(LettaboxError, match="no text leads to what is saved"):
        workflow_manifest.find(graph, UNTOLD)
    graph = graphs.two_stages()
    for number in range(3000):
        graph[f"s{number}"] = graphs.node(
            "ComfySwitchNode", switch=True, on_false=(f"s{number + 1}", 0), on_true=(f"s{number + 1}", 0)
        )
    graph["s3000"] = graphs.node("PrimitiveString", value="far away")
    graph["92:3"]["inputs"]["text"] = ["s0", 0]
    assert workflow_manifest.find(graph, UNTOLD)["prompt"] == place("s3000", "value")


def test_what_is_unclear_is_named_with_the_candidates_and_the_setting():
    graph = graphs.two_stages()
    graph["76"] = graphs.node("SaveWEBM", images=("92:100", 0))
    with pytest.raises(LettaboxError, match=r"2 nodes save a video: 75 \(SaveVideo\), 76 \(SaveWEBM\)(.|\n)*\.output"):
        workflow_manifest.find(graph, UNTOLD)
    assert workflow_manifest.find(graph, told(output="75"))["output"] == "75"

    graph = graphs.two_stages()
    graph["92:5"] = graphs.node("CLIPTextEncode", text="another", clip=("92:60", 0))
    graph["92:82"]["inputs"]["positive"] = ["92:5", 0]
    with pytest.raises(LettaboxError) as caught:
        workflow_manifest.find(graph, UNTOLD)
    for words in ("2 places", '{node: "92:3", input: text}', '{node: "92:5", input: text}', "manifest.prompt"):
        assert words in str(caught.value)
    assert workflow_manifest.find(graph, told(prompt=place("92:5", "text")))["prompt"] == place("92:5", "text")


@pytest.mark.parametrize(
    ("kind", "words"), [("SaveVideo", "no node saves a video"), ("RandomNoise", r"no seed was found(.|\n)*\.seeds")]
)
def test_what_is_not_there_at_all_is_an_error(kind, words):
    graph = graphs.two_stages()
    for one in graph.values():
        if one["class_type"] == kind:
            one["class_type"] = "Something"
    with pytest.raises(LettaboxError, match=words):
        workflow_manifest.find(graph, UNTOLD)


def test_a_workflow_without_a_model_needs_only_to_be_told():
    graph = graphs.small()
    with pytest.raises(LettaboxError, match=r"no text leads(.|\n)*manifest\.prompt"):
        workflow_manifest.find(graph, UNTOLD)
    found = workflow_manifest.find(graph, told(prompt=place("4", "value"), seeds=[place("5", "value")]))
    assert found["width"] == place("1", "width") and found["frames"] == place("1", "batch_size")


@pytest.mark.parametrize(
    ("places", "words"),
    [
        ({"prompt": place("3", "text")}, ["manifest.prompt", "no node 3", "is 92:3 meant?"]),
        ({"prompt": place("92:3", "texts")}, ["node 92:3 (CLIPTextEncode) has no input texts", "text, clip"]),
        ({"prompt": place("92:11", "noise_seed")}, ["manifest.prompt", "'10', not a text"]),
        ({"seeds": [place("92:11", "noise_seed"), place("92:3", "text")]}, ["manifest.seeds[1]", "not a whole number"]),
        ({"output": "104"}, ["manifest.output", "no node 104", "lettabox workflow show"]),
    ],
)
def test_a_wrong_place_in_the_settings_is_refused_on_the_laptop_and_on_the_box(tmp_path, places, words):
    with pytest.raises(LettaboxError) as caught:
        workflow_manifest.find(graphs.two_stages(), told(**places))
    (tmp_path / "workflow.json").write_text(json.dumps(graphs.two_stages()))
    said = refusal(tmp_path, with_settings(workflow={"file": "workflow.json", "manifest": places}))
    for text in (str(caught.value), said):
        assert all(word in text for word in words), text


# --- one job -----------------------------------------------------------------------------------------------


def test_a_job_is_filled_into_a_copy_with_every_seed_of_its_own():
    graph = graphs.two_stages()
    before = copy.deepcopy(graph)
    manifest = workflow_manifest.find(graph, UNTOLD)
    last = 2**64 - 1
    filled = comfyui_api.fill(
        graph, manifest, prompt="a storm", seed=last, width=640, height=384, frames=25, prefix="video/1"
    )
    assert graph == before
    changed = {
        (node, name): one["inputs"][name]
        for node, one in filled.items()
        for name in one["inputs"]
        if one["inputs"][name] != before[node]["inputs"][name]
    }
    assert changed == {
        ("92:3", "text"): "a storm",
        ("92:11", "noise_seed"): last,
        ("92:89", "width"): 640,
        ("92:89", "height"): 384,
        ("92:62", "value"): 25,
        ("75", "filename_prefix"): "video/1",
    }
    assert filled["92:67"]["inputs"]["noise_seed"] == 0  # last + 1 would be refused
    assert comfyui_api.fill(graph, manifest, prompt="x", seed=7)["92:67"]["inputs"]["noise_seed"] == 8
    unknown = workflow_manifest.find(graphs.enhanced(), UNTOLD)
    with pytest.raises(LettaboxError, match=r"no known place for the frames; set settings\.workflow\.manifest\.frames"):
        comfyui_api.fill(graphs.enhanced(), unknown, prompt="x", seed=1, frames=25)


# --- whether it fits ---------------------------------------------------------------------------------------


def fit(graph, there=(), declared=(), sources=None):
    return workflow_fit.fit(graph, graphs.object_info(there), Models(list(declared), {}, sources or {}))


def test_a_workflow_fits_whose_nodes_and_models_are_there():
    for graph in (graphs.two_stages(), graphs.enhanced(), graphs.small()):
        found = fit(graph, graphs.MODELS)
        assert (found.errors, found.coming) == ([], [])
    assert fit(graphs.two_stages(), graphs.MODELS).models == [
        ("checkpoints", graphs.CHECKPOINT),
        ("text_encoders", graphs.ENCODER),
        ("latent_upscale_models", graphs.UPSCALER),
    ]


def test_a_model_that_is_declared_is_awaited_and_another_one_is_named():
    found = fit(graphs.two_stages(), graphs.MODELS[:1], graphs.MODELS[1:2], {graphs.UPSCALER: "https://hub.example/x2"})
    assert found.coming == [("text_encoders", graphs.ENCODER)]
    assert len(found.errors) == 1
    for words in (f"latent_upscale_models/{graphs.UPSCALER}", "settings.models.files", "https://hub.example/x2"):
        assert words in found.errors[0]
    # The same file in another folder is another file, except where ComfyUI reads both.
    assert fit(graphs.two_stages(), graphs.MODELS[:1], [("loras", graphs.ENCODER), graphs.MODELS[2]]).errors
    assert not fit(graphs.two_stages(), graphs.MODELS[:1], [("clip", graphs.ENCODER), graphs.MODELS[2]]).errors


def test_missing_node_classes_are_named_with_their_nodes_and_the_setting():
    graph = graphs.two_stages()
    graph["92:100"]["class_type"] = "LTXVTiledDecode"
    (line,) = fit(graph, graphs.MODELS).errors
    assert "LTXVTiledDecode" in line and "92:100" in line and "settings.comfyui.custom_nodes" in line


@pytest.mark.parametrize(
    ("node", "changes", "words"),
    [
        ("75", {"format": "avi"}, ["node 75 (SaveVideo)", "format is 'avi'", "auto, mp4"]),
        ("75", {"codec": "av1"}, ["codec is 'av1'", "auto, h264"]),
        ("92:90", {"upscale_method": "bicubic"}, ["upscale_method", "nearest-exact, lanczos"]),
        ("92:89", {"width": 0}, ["width is 0", "below 1"]),
        ("92:97", {"fps": 500.0}, ["fps is 500.0", "above 120.0"]),
        ("92:97", {"fps": ["gone", 0]}, ["fps leads to node gone, which does not exist"]),
        ("92:97", {"fps": ["92:102", 3]}, ["output 3 of node 92:102, which has 1"]),
        ("92:97", {"fps": None}, ["input fps is missing"]),
    ],
)
def test_a_wrong_input_is_named_with_its_node(node, changes, words):
    graph = graphs.two_stages()
    inputs = graph[node]["inputs"] | changes
    graph[node]["inputs"] = {name: value for name, value in inputs.items() if value is not None}
    (line,) = fit(graph, graphs.MODELS).errors
    assert all(word in line for word in words), line


def test_the_models_that_a_workflow_in_ui_form_names_are_found_wherever_they_stand():
    one = {"name": "a.safetensors", "directory": "loras", "url": "https://hub.example/a"}
    ui = {
        "nodes": [{"id": 1, "type": "x", "properties": {"models": [one]}}],
        "definitions": {"subgraphs": [{"nodes": [{"properties": {"models": [one | {"name": "b.safetensors"}]}}]}]},
    }
    assert sorted(found["name"] for found in workflow_fit.named(ui)) == ["a.safetensors", "b.safetensors"]
    assert list(workflow_fit.named({"nodes": [], "definitions": [1, None, "x"]})) == []


# --- the operator's own file -------------------------------------------------------------------------------

UI = {"nodes": [{"id": 1, "type": "SaveVideo"}], "links": []}


def test_both_forms_are_told_apart():
    assert workflow_form.parse(json.dumps(UI).encode()) == ("ui", UI)
    assert workflow_form.parse(json.dumps(graphs.small()).encode())[0] == "api"
    assert workflow_form.is_converted(None) and workflow_form.is_converted(json.dumps(UI).encode())
    assert not workflow_form.is_converted(json.dumps(graphs.small()).encode())


BAD = [
    (b"", "not JSON"),
    (b"\x89PNG\r\n", "not JSON"),
    (b"[1, 2]", "a list, not a workflow"),
    (b'"text"', "a text, not a workflow"),
    (b"null", "a null, not a workflow"),
    (b"{}", "has no nodes"),
    (b'{"nodes": [], "links": []}', "has no nodes"),
    (b'{"nodes": [{"id": 1, "type": "x"}]}', "no list of links"),
    (b'{"nodes": [{"id": 1}, 5], "links": []}', "2 of its nodes have no id and type"),
    (b'{"version": 1, "1": {"class_type": "x", "inputs": {}}}', "neither of ComfyUI's forms: 'version'"),
    (b'{"1": {"class_type": 5, "inputs": {}}}', "neither of ComfyUI's forms: '1'"),
    (b'{"1": {"class_type": "x", "inputs": []}}', "node '1' ('x') has no inputs"),
    (b'{"1": {"class_type": "x", "inputs": {"a": NaN}}}', "NaN is no JSON number"),
    (b'{"prompt": {"1": {"class_type": "x", "inputs": {}}}}', "below the key prompt"),
    (b"[" * 100_000, "not JSON"),
    (b" " * (workflow_form.LIMIT + 1), "larger than 4 MiB"),
]


@pytest.mark.parametrize(("content", "words"), BAD, ids=itertools.count())
def test_what_is_no_workflow_is_refused_before_connecting(tmp_path, content, words):
    (tmp_path / "mine.json").write_bytes(content)
    said = refusal(tmp_path, with_settings(workflow={"file": "mine.json"}))
    assert "settings.workflow.file" in said and words in said
    assert said.count("\n") == 0 and len(said) < 400, said
    with pytest.raises(ValueError, match=r"export|keep"):
        workflow_form.parse(content)


def test_a_workflow_of_the_operators_is_taken_and_its_path_stays_on_the_laptop(tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(graphs.small()))
    settings = load(write(tmp_path, with_settings(workflow={"file": "mine.json"}))).settings
    assert settings.workflow.file == tmp_path / "mine.json"
    assert "mine.json" not in settings.model_dump_json()


# --- the converter -----------------------------------------------------------------------------------------


def test_the_converter_is_a_program_of_its_own():
    """It is under the GPL: nothing of ours imports it, and without its own environment it does not even start."""
    imported = [
        path.name
        for path in (graphs.FILES / "lettabox").glob("*.py")
        if "comfy_cli" in path.read_text() or "import workflow_converter" in path.read_text()
    ]
    assert imported == ["workflow_converter.py"]
    converter = graphs.FILES / "lettabox" / "workflow_converter.py"
    done = subprocess.run([sys.executable, "-I", "-B", converter], input="{}", capture_output=True, text=True)
    assert done.returncode == 1 and "No module named 'comfy_cli'" in done.stderr


def test_an_unknown_key_of_a_place_is_refused_with_the_likely_one(tmp_path):
    for manifest, where in (
        ({"prompt": {"nod": "1", "input": "x"}}, "manifest.prompt.nod"),
        ({"seeds": [{"node": "1", "input": "x"}, {"node": "1", "inputs": "x"}]}, "manifest.seeds[1].inputs"),
    ):
        said = refusal(tmp_path, with_settings(workflow={"manifest": manifest}))
        assert where in said and "did you mean" in said, said
