"""The box side of workflows, against the render simulator: deployed, checked, submitted, and one tiny clip."""

import json
import os
import subprocess
import sys
import uuid

import pytest
from lettabox import comfyui_api, mp4, paths, workflow, workflow_render, workflow_source, workflow_state
from lettabox.errors import FAILED, OK, UNHEALTHY, LettaboxError

from deploys import workflow as step
from files.lettabox import workflow_form
from inventory.schema import Model, Settings
from operations.tree import File
from tests import graphs
from tests.unit.simulator_process import Simulator, wait_for

PLACES = {"prompt": {"node": "4", "input": "value"}, "seeds": [{"node": "5", "input": "value"}]}


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("simulator"), "--cpu") as simulator:
        yield simulator


@pytest.fixture
def box(process, tmp_path, monkeypatch):
    """A box with a ComfyUI: `box.told` is what the last deploy was told, written by `box.write()`."""
    process.switch(render_seconds=0, fault="none")
    return Box(process, tmp_path, monkeypatch)


class Box:
    def __init__(self, simulator, folder, monkeypatch):
        self.simulator = simulator
        for name, path in {
            "SETTINGS": folder / "settings.json",
            "COMFYUI": folder / "comfyui",
            "COMFYUI_DATA": simulator.base,
            "COMFYUI_APPLIED": folder / "comfyui.json",
            "MODELS_WANTED": folder / "models.json",
            "WORKFLOW": folder / "workflow",
            "WORKFLOW_APPLIED": folder / "workflow/applied.json",
            "WORKFLOW_WANTED": folder / "own.json",
            "WORKFLOW_TOOLS": folder / "tools",
        }.items():
            monkeypatch.setattr(paths, name, path)
        for name in workflow_state.NAMES:
            monkeypatch.setattr(workflow, name.partition(".")[0].upper(), folder / "workflow" / name)
            paths.COMFYUI_APPLIED.write_text(json.dumps({"applied": "x", "release": "r"}))
        python = folder / "comfyui/r/venv/bin/python"
        python.parent.mkdir(parents=True)
        python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
        python.chmod(0o755)
        self.settings = Settings()

    def tell(self, graph=None, models=(), **more):
        """What a deploy writes: settings, the operator's own workflow, the models to have."""
        self.settings = Settings(workflow=more)
        told = {"comfyui": {"port": self.simulator.port}, "workflow": self.settings.workflow.model_dump(mode="json")}
        paths.SETTINGS.write_text(json.dumps(told))
        if graph:
            paths.WORKFLOW_WANTED.write_text(json.dumps(graph))
        self.models = {
            str(number): Model(repository="a/b", folder=folder, file=f"some/where/{file}")
            for number, (folder, file) in enumerate(models)
        }
        listed = [one.to_json() for one in self.models.values()]
        paths.MODELS_WANTED.write_text(json.dumps({"endpoint": "", "files": listed}))

    def have(self, models):
        for folder, file in models:
            path = self.simulator.base / "models" / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def ended(id):
    return wait_for(lambda: (job := comfyui_api.job(id)).state in comfyui_api.ENDED and job, f"{id} ends")


# --- deploy and check --------------------------------------------------------------------------------------


def test_a_workflow_is_deployed_with_its_manifest_and_found_as_it_was_made(box, capsys):
    box.tell(graphs.small(), manifest=PLACES)
    workflow.deploy()
    graph, manifest = workflow.load()
    assert graph == graphs.small()
    assert manifest["prompt"] == PLACES["prompt"] and manifest["output"] == "3"
    assert manifest["comfyui_version"] == "0.33.0" and manifest["required_models"] == []
    assert manifest["required_classes"] == sorted({one["class_type"] for one in graph.values()})
    assert "your own workflow, for ComfyUI 0.33.0" in capsys.readouterr().out
    assert workflow.check() == OK
    now = workflow_state.state()
    assert now["own"] and now["made_from"]
    # Changed by hand, in part or whole, it is not what was made.
    workflow.WORKFLOW.write_text(json.dumps(graphs.small("other")))
    assert workflow_state.state()["made_from"] == ""
    with pytest.raises(LettaboxError, match="do not belong together; deploy again"):
        workflow.load()


def test_laptop_and_box_name_what_it_is_made_from_alike_and_see_each_change(box, monkeypatch):
    monkeypatch.setattr(step, "release", lambda told: "r")
    box.have(graphs.MODELS)
    seen = []
    for graph, models, more in (
        (graphs.small(), [], {"manifest": PLACES}),
        (graphs.small("another"), [], {"manifest": PLACES}),
        (graphs.small("another"), graphs.MODELS, {"manifest": PLACES}),
        (graphs.small("another"), graphs.MODELS, {"manifest": PLACES | {"output": "3"}}),
    ):
        box.tell(graph, models, **more)
        workflow.deploy()
        there = workflow_state.state()["made_from"]
        own = File(paths.WORKFLOW_WANTED.read_bytes())
        assert there == step.made_from(box.settings, own, box.models)
        seen.append(there)
    assert len(set(seen)) == len(seen)
    # The converter is a part of what is made with it alone.
    told = box.settings.workflow.model_dump(mode="json")
    own = paths.WORKFLOW_WANTED.read_bytes()
    assert workflow_form.made_from(told, own, "r", "1", []) == workflow_form.made_from(told, own, "r", "2", [])
    assert workflow_form.made_from(told, None, "r", "1", []) != workflow_form.made_from(told, None, "r", "2", [])


def test_one_that_does_not_fit_is_refused_and_the_one_before_is_kept(box):
    box.tell(graphs.small(), manifest=PLACES)
    workflow.deploy()
    before = workflow.load(), workflow_state.state()
    bad = {"9": graphs.node("NoSuchNode", a=1), "8": graphs.node("LoraLoaderModelOnly", lora_name="x.pt")}
    box.tell(graphs.small() | bad, manifest=PLACES)
    with pytest.raises(LettaboxError) as caught:
        workflow.deploy()
    for words in ("NoSuchNode", "loras/x.pt", "custom_nodes", "settings.models.files", "the workflow before is kept"):
        assert words in str(caught.value)
    assert (workflow.load(), workflow_state.state()) == before


def test_models_that_are_declared_and_not_there_are_a_warning_and_exit_code_2(box, capsys):
    models = [("checkpoints", "later.safetensors")]
    loader = graphs.node("CheckpointLoaderSimple", ckpt_name="later.safetensors")
    box.tell(graphs.small() | {"9": loader}, models, manifest=PLACES)
    workflow.deploy()
    assert "WARNING: model checkpoints/later.safetensors is still to be downloaded" in capsys.readouterr().out
    assert workflow.check() == UNHEALTHY
    box.have(models)
    assert workflow.check() == OK
    box.simulator.base.joinpath("models", *models[0]).unlink()
    box.tell(manifest=PLACES)  # not declared any longer
    assert workflow.check() == FAILED


def test_without_a_comfyui_that_answers_nothing_is_said_to_fit(box):
    box.tell(graphs.small(), manifest=PLACES)
    workflow.deploy()
    paths.SETTINGS.write_text(json.dumps({"comfyui": {"port": 9}, "workflow": {"template": ""}}))
    for verb in (workflow.check, lambda: workflow_render.render(5)):
        with pytest.raises(LettaboxError, match="journalctl -u comfyui") as caught:
            verb()
        assert caught.value.code == UNHEALTHY


# --- where it comes from -----------------------------------------------------------------------------------

UI = {"nodes": [{"id": 1, "type": "SaveVideo"}], "links": []}


@pytest.fixture
def templates(box):
    """ComfyUI's virtual environment with a package of templates."""
    packages = paths.COMFYUI / "r/venv/lib/python3.13/site-packages"
    names = ("comfyui_workflow_templates_json/templates/a_video.json", "comfyui_workflow_templates_json/__init__.py")
    for name in names:
        (packages / name).parent.mkdir(parents=True, exist_ok=True)
        (packages / name).write_text(json.dumps(UI))
    about = packages / "comfyui_workflow_templates_json-0.1.47.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Name: comfyui-workflow-templates-json\nVersion: 0.1.47\n")
    (about / "RECORD").write_text("".join(f"{name},,\n" for name in names))
    return packages


def test_a_template_is_taken_from_the_package_that_comfyui_has(templates):
    found = workflow_source.find("a_video")
    assert (found.form, found.workflow) == ("ui", UI)
    assert found.name == "template a_video of comfyui-workflow-templates-json 0.1.47"
    with pytest.raises(LettaboxError, match=r"no template b_video; similar ones: a_video(.|\n)*workflow\.template"):
        workflow_source.find("b_video")


def test_a_comfyui_without_templates_and_a_missing_converter_are_said(box, templates):
    with pytest.raises(LettaboxError, match=r"there is no .*tools/venv/bin/python; deploy"):
        workflow_source.to_graph(workflow_source.find("a_video"), {})
    subprocess.run(["rm", "-r", str(templates)], check=True)
    with pytest.raises(LettaboxError, match=r"brings no templates(.|\n)*settings\.workflow\.file"):
        workflow_source.find("a_video")
    paths.COMFYUI_APPLIED.unlink()
    with pytest.raises(LettaboxError, match="no ComfyUI on this box; deploy first"):
        workflow_source.find("a_video")


@pytest.mark.parametrize(
    ("code", "out", "err", "words"),
    [
        (1, "", "Workflow is missing 'nodes'", "cannot be converted:(.|\n)*missing 'nodes'(.|\n)*Export"),
        (0, "{}", "", "made no workflow of your own workflow: has no nodes"),
        (0, "Killed", "", "made no workflow of your own workflow: not JSON"),
    ],
)
def test_a_converter_that_fails_is_quoted(box, monkeypatch, code, out, err, words):
    done = subprocess.CompletedProcess([], code, out, err)
    monkeypatch.setattr(workflow_source, "_converted", lambda told, name: done)
    box.tell(UI)
    with pytest.raises(LettaboxError, match=words):
        workflow.deploy()
    assert not paths.WORKFLOW.exists()


# --- jobs --------------------------------------------------------------------------------------------------


def test_a_job_is_followed_to_its_file_and_one_that_nobody_knows_is_lost(box):
    box.tell(graphs.small(), manifest=PLACES)
    workflow.deploy()
    graph, manifest = workflow.load()
    filled = comfyui_api.fill(graph, manifest, prompt="x", seed=1, width=64, frames=5, prefix="video/mine")
    job = ended(comfyui_api.submit(filled, "me"))
    assert job.state == comfyui_api.COMPLETED
    assert job.files == [{"filename": "mine_00001_.mp4", "subfolder": "video", "type": "output"}]
    assert mp4.problem(box.simulator.base / "output/video/mine_00001_.mp4") == ""
    unknown = str(uuid.uuid4())
    assert comfyui_api.job(unknown) == comfyui_api.Job(unknown, comfyui_api.LOST)


def test_a_failed_job_says_at_which_node_and_why(box):
    box.tell()
    box.simulator.switch(fault="oom")
    job = ended(comfyui_api.submit(graphs.small("oom"), "me"))
    assert job.state == comfyui_api.FAILURE
    assert "node 2 (CreateVideo): torch.OutOfMemoryError" in job.error


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"1": graphs.node("NoSuchNode")}, "node 1: the node class NoSuchNode is not installed"),
        ({"1": graphs.node("EmptyImage")}, "prompt_no_outputs"),
        (
            graphs.small() | {"3": graphs.node("SaveVideo", video=("2", 0), filename_prefix="x", codec="auto")},
            r"node 3 \(SaveVideo\): Required input is missing: format",
        ),
        ({"nodes": [], "links": []}, "in API form"),
    ],
)
def test_what_comfyui_refuses_is_said_in_words(box, graph, words):
    box.tell()
    with pytest.raises(LettaboxError, match=words):
        comfyui_api.submit(graph, "me")


def test_a_missing_model_is_named_and_half_a_workflow_does_not_run(box):
    box.tell()
    box.simulator.switch(render_seconds=600)
    graph = graphs.small("half") | {
        "6": graphs.node("SaveVideo", video=("2", 0), filename_prefix="half", format="avi", codec="auto")
    }
    with pytest.raises(LettaboxError, match=r"node 6 \(SaveVideo\).*format.*'avi' not in"):
        comfyui_api.submit(graph, "me")
    wait_for(lambda: comfyui_api.waiting() == 0, "the other half is gone")
    loader = graphs.node("CheckpointLoaderSimple", ckpt_name="none.safetensors")
    graph = graphs.two_stages() | {"92:1": loader}
    with pytest.raises(LettaboxError, match=r"node 92:1 .*ckpt_name none\.safetensors is not there"):
        comfyui_api.submit(graph, "me")


# --- the tiny clip -----------------------------------------------------------------------------------------


@pytest.fixture
def owned(monkeypatch):
    """Decoding as another user is for root alone."""
    run = subprocess.run

    def as_ourselves(*words, user, group, extra_groups, **more):
        assert (user, group, extra_groups) == ("comfyui", "comfyui", [])
        return run(*words, **more)

    monkeypatch.setattr(workflow_render.subprocess, "run", as_ourselves)


def left(box):
    return [path for path in (box.simulator.base / "output").rglob("*") if workflow_render.FOLDER in str(path)]


def test_a_tiny_clip_is_made_decoded_and_removed(box, owned, capsys):
    box.tell()
    first, second = workflow_render.render(60), workflow_render.render(60)
    assert (first["frames"], first["codec"], first["size"]) == (24, "h264", "256x256")
    assert first["file"] != second["file"] and first["bytes"] > 1000
    assert left(box) == []
    workflow_render.show(first, as_json=True)
    assert json.loads(capsys.readouterr().out) == first


def test_a_clip_that_is_not_made_is_a_failure(box, owned):
    box.tell()
    box.simulator.switch(fault="oom")
    with pytest.raises(LettaboxError, match=r"is failed: node .*OutOfMemoryError") as caught:
        workflow_render.render(60)
    assert caught.value.code == FAILED
    assert left(box) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), "cannot be played: .* is cut off"),
        (lambda path: path.write_bytes(path.read_bytes().replace(b"avc1", b"xxxx")), "cannot be decoded"),
        (lambda path: path.unlink(), "is completed, but there is no"),
        (lambda path: os.utime(path, (1, 1)), "is older than the job"),
    ],
)
def test_a_file_that_does_not_play_or_is_not_of_the_job_is_a_failure(box, owned, monkeypatch, spoil, words):
    box.tell()
    job = comfyui_api.job

    def spoilt(id):
        found = job(id)
        for one in found.files:
            spoil(box.simulator.base / "output" / one["subfolder"] / one["filename"])
        return found

    monkeypatch.setattr(comfyui_api, "job", spoilt)
    with pytest.raises(LettaboxError, match=words) as caught:
        workflow_render.render(60)
    assert caught.value.code == FAILED
    assert left(box) == []


def test_half_a_file_of_a_job_that_never_ends_is_removed(tmp_path, owned, monkeypatch):
    with Simulator(tmp_path, "--cpu") as simulator:
        box = Box(simulator, tmp_path, monkeypatch)
        box.tell()
        simulator.switch(fault="partial")
        with pytest.raises(LettaboxError, match="is still in_progress"):
            workflow_render.render(2)
        assert left(box) == []


def test_a_clip_that_takes_too_long_is_given_up_and_taken_out_of_the_queue(box, owned):
    box.tell()
    box.simulator.switch(render_seconds=300)
    with pytest.raises(LettaboxError, match="is still in_progress"):
        workflow_render.render(1)
    wait_for(lambda: comfyui_api.waiting() == 0, "it is gone")
    assert left(box) == []


def test_files_that_are_not_whole_do_not_play(tmp_path):
    def box(name, length):
        return length.to_bytes(4, "big") + name + bytes(max(length - 8, 0))

    path = tmp_path / "clip.mp4"
    whole = box(b"ftyp", 16) + box(b"moov", 24) + box(b"mdat", 40)
    for content, words in (
        (whole, ""),
        (box(b"ftyp", 16) + bytes([0, 0, 0, 1]) + b"mdat" + (24).to_bytes(8, "big") + bytes(8) + box(b"moov", 8), ""),
        (box(b"ftyp", 16) + box(b"moov", 8) + bytes(4) + b"mdat" + bytes(9), ""),
        (whole[:-1], "'mdat' at byte 40 is cut off"),
        (whole[:36], "'moov' at byte 16 is cut off"),
        (box(b"ftyp", 16) + box(b"free", 8) + box(b"mdat", 24), "it has no moov (48 bytes)"),
        (bytes(48), "it has no ftyp and no moov and no mdat"),
        (b"", "it has no ftyp"),
    ):
        path.write_bytes(content)
        said = mp4.problem(path)
        assert (words in said) if words else said == "", (content[:40], said)


def test_the_state_of_a_bare_box_is_told_with_the_standard_library_alone(tmp_path):
    """As the deploy asks: before there is anything, with the system's Python."""
    ask = [sys.executable, "-S", "-B", "-m", "lettabox.workflow_state"]
    done = subprocess.run(
        ask, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(graphs.FILES)}, cwd=tmp_path
    )
    assert json.loads(done.stdout) == {"made_from": "", "own": False}, done.stderr
