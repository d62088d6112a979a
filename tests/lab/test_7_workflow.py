"""The workflow on a real box: ComfyUI's own template converted there, the operator's own, and those that do not fit."""

import json
import re
import sys

import pytest

from tests import graphs
from tests.lab.watch import commands_over_ssh

STEP = "Workflow | Workflow and manifest"
TEMPLATE = "template video_ltx2_t2v of comfyui-workflow-templates-json 0.1.47"
# What the template reads, as settings.models.set says too.
MODELS = (
    "checkpoints/ltx-2-19b-dev-fp8.safetensors",
    "text_encoders/gemma_3_12B_it_fp4_mixed.safetensors",
    "latent_upscale_models/ltx-2-spatial-upscaler-x2-1.0.safetensors",
    "loras/ltx-2-19b-distilled-lora-384.safetensors",
)
FILES = "/var/lib/lettabox/workflow"


@pytest.fixture(scope="module")
def settings(gpu_box):
    """An inventory with settings.workflow."""
    # A hub that is not there: nothing is locked, so nothing is downloaded.
    models = {"set": "ltx-2", "endpoint": "http://127.0.0.1:9"}
    return lambda **workflow: gpu_box.inventory(models=models, workflow=workflow)


@pytest.fixture(scope="module")
def first(deployed, laptop, gpu_box, settings):
    """The deploy that brings the template, as it was seen, and its inventory; afterwards nothing is left of it."""
    inventory = settings()
    yield gpu_box.first(inventory), inventory
    gpu_box.forget()
    laptop.deploy()


@pytest.fixture(scope="module")
def inventory(first):
    return first[1]


@pytest.fixture(scope="module")
def with_models(first, box):
    """The files of the models, for a ComfyUI that looks at their names alone."""
    for one in MODELS:
        box.check(f"install -D -o comfyui -g comfyui /dev/null /var/lib/comfyui/models/{one}")


def deployed_files(box):
    return json.loads(box.check(f"cat {FILES}/workflow.json")), json.loads(box.check(f"cat {FILES}/manifest.json"))


def run(box, command):
    """(exit code, what it said)"""
    return box.lab.exec(command)


def online(laptop, inventory):
    """The tests of `make verify` that look at a GPU box."""
    return laptop.run(sys.executable, "-m", "pytest", "-q", "tests/online", "-k", "comfyui", inventory=inventory)


def test_the_template_is_converted_on_the_box_and_its_places_are_found(first, box):
    done, _ = first
    assert f"workflow: {TEMPLATE}, for ComfyUI 0.33.0" in done.text, done.text[-3000:]
    for one in MODELS:
        assert f"WARNING: model {one} is still to be downloaded" in done.text
    graph, manifest = deployed_files(box)
    assert len(graph) > 30
    assert all({"class_type", "inputs"} <= node.keys() for node in graph.values())
    assert manifest["prompt"] == {"node": "92:3", "input": "text"}
    assert [one["node"] for one in manifest["seeds"]] == ["92:11", "92:67"]
    assert manifest["output"] == "75" and graph["75"]["class_type"] == "SaveVideo"
    assert (manifest["width"]["node"], manifest["frames"]["node"]) == ("92:89", "92:62")
    assert sorted("/".join(one) for one in manifest["required_models"]) == sorted(MODELS)
    code, said = run(box, "lettabox workflow check")
    assert code == 2 and said.count("still to be downloaded") == len(MODELS), said
    # Of the converter there is what was locked, and nothing that reports to somebody.
    there = box.check("ls /opt/lettabox/workflow-tools/venv/lib/python3*/site-packages")
    assert "comfy_cli" in there and not [one for one in ("mixpanel", "posthog", "httpx") if one in there], there


def test_a_second_deploy_changes_nothing(first, laptop, box, inventory):
    files = box.files()
    with commands_over_ssh(box.lab) as seen:
        done = laptop.deploy(inventory)
    assert done.totals["success"] == 0, done.changed
    assert box.files() == files
    assert len(seen) == 3, seen


def test_make_verify_is_green_with_a_clip_and_red_without_comfyui(first, laptop, box, inventory, with_models):
    done = laptop.make("verify", inventory=inventory)
    assert done.code == 0, done.text[-4000:]
    assert "skipped" not in done.out, done.out
    assert box.check("find /var/lib/comfyui/output -type f") == ""
    box.check("systemctl stop comfyui")
    try:
        done = online(laptop, inventory)
    finally:
        box.check("lettabox comfyui start")
    assert done.code == 1, done.text
    for name in ("service_runs", "loopback", "the_workflow", "tiny_clip"):
        assert re.search(rf"FAILED tests/online/test_4_comfyui\.py::test_\w*{name}", done.out), done.out


def test_a_prompt_goes_through_the_template_to_a_file(first, box, with_models):
    """With the modules that the studio will use."""
    script = """
import time
from lettabox import comfyui_api as api, mp4, paths, workflow
graph, manifest = workflow.load()
small = {"width": 256, "height": 128, "frames": 9}
job = api.job(api.submit(api.fill(graph, manifest, prompt="a boat", seed=5, prefix="video/lab", **small), "lab"))
end = time.monotonic() + 60
while job.state not in api.ENDED and time.monotonic() < end:
    time.sleep(0.1)
    job = api.job(job.id)
assert job.state == api.COMPLETED, job
path = paths.COMFYUI_DATA / "output" / job.files[0]["subfolder"] / job.files[0]["filename"]
assert mp4.problem(path) == "", path
path.unlink()
print("made", path.name)
"""
    python = ["env", "PYTHONPATH=/opt/lettabox/src", "/opt/lettabox/venv/bin/python", "-B"]
    code, said = run(box, [*python, "-c", script])
    assert code == 0 and "made lab_0000" in said, said


def test_the_operators_own_workflow_takes_over_and_the_template_comes_back(first, laptop, box, settings, inventory):
    own = settings(**graphs.settings(laptop.folder))
    done = laptop.deploy(own)
    assert STEP in done.changed and "Workflow | Your own workflow" in done.changed, done.changed
    graph, manifest = deployed_files(box)
    assert graph == graphs.small() and manifest["source"] == "your own workflow"
    assert laptop.deploy(own).totals["success"] == 0
    # Without the setting the file goes too.
    assert STEP in laptop.deploy(inventory).changed
    assert deployed_files(box)[1]["source"] == TEMPLATE
    assert box.check("ls /etc/lettabox/workflow.json 2>/dev/null; :") == ""
    box.check(f"rm {FILES}/manifest.json")
    assert laptop.deploy(inventory).changed == [STEP]


def test_one_that_does_not_fit_is_refused_by_name_and_the_one_before_is_kept(first, laptop, box, settings, inventory):
    before = deployed_files(box)
    lora = {"lora_name": "not-declared.safetensors", "strength_model": 1.0}
    bad = {"8": graphs.node("LoraLoaderModelOnly", model=("9", 0), **lora), "9": graphs.node("LabNoSuchNode")}
    done = laptop.pyinfra("-y", inventory=settings(**graphs.settings(laptop.folder, graphs.small() | bad)))
    assert done.code == 1
    for words in (
        "node class LabNoSuchNode is missing (node 9)",
        "settings.comfyui.custom_nodes",
        "model loras/not-declared.safetensors is not there and not declared",
        "the workflow before is kept",
    ):
        assert words in done.text, done.text[-3000:]
    assert deployed_files(box) == before
    laptop.deploy(inventory)


def test_a_wrong_place_is_refused_before_connecting_and_in_a_template_on_the_box(first, laptop, box, settings):
    own = graphs.settings(laptop.folder)
    own["manifest"]["prompt"] = {"node": "40", "input": "value"}
    with commands_over_ssh(box.lab) as seen:
        done = laptop.pyinfra("-y", inventory=settings(**own))
    assert done.code == 1 and seen == []
    assert "settings.workflow.manifest.prompt: the workflow has no node 40" in done.text, done.text
    code, said = run(box, "lettabox workflow show")
    assert code == 0 and "92:3" in json.loads(said)
    before = deployed_files(box)
    done = laptop.pyinfra("-y", inventory=settings(manifest={"prompt": {"node": "3", "input": "text"}}))
    assert done.code == 1 and "has no node 3; is 92:3 meant?" in done.text, done.text[-3000:]
    assert deployed_files(box) == before
