"""The render simulator answers as ComfyUI did: field by field against the recordings."""

import pytest

from tests.unit.recordings import FOLDER, differences, recording, same
from tests.unit.simulator_process import Simulator, empty_clip, wait_for

# Moments, and numbers that count what came before.
TIME = r"(timestamp|_time)$"
NUMBER = r"(\.number|\.priority|\.prompt\[0\]|queue_\w+\[\d+\]\[0\])$"
FILE = r"filename$"
HOUR = 3600.0
INVALID = sorted(one.stem for one in FOLDER.glob("prompt_invalid_*.json"))


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    with Simulator(tmp_path_factory.mktemp("simulator"), "--cpu") as simulator:
        yield simulator


@pytest.fixture
def simulator(process):
    """The one process, with nothing queued, nothing remembered and no time spent in renders."""
    process.switch(render_seconds=0)
    process.call("POST", "/queue", {"clear": True})
    process.call("POST", "/interrupt")
    wait_for(lambda: process.call("GET", "/prompt").json["exec_info"]["queue_remaining"] == 0, "the queue is empty")
    process.call("POST", "/history", {"clear": True})
    process.call("POST", "/free", {"free_memory": True})
    return process


@pytest.mark.parametrize("name", ["features", "system_stats", "queue_idle", "get_prompt_idle", "history_unknown_id"])
def test_what_an_idle_server_says(simulator, name):
    # Which versions and how much memory is not ComfyUI's to say here; that its keys are all there is.
    own = r"^\.system\.(ram_|comfy_package|python|pytorch|.*_version|deploy|argv)|^\.devices\[0\]\.(name|.*vram_)"
    recorded = recording(name)
    same(recorded, recorded.asked(simulator), own)


@pytest.mark.parametrize("name", ["free", "queue_clear", "history_clear", "interrupt_global"])
def test_what_answers_with_nothing(simulator, name):
    recorded = recording(name)
    same(recorded, recorded.asked(simulator))


@pytest.mark.parametrize("name", INVALID)
def test_a_graph_that_is_refused(simulator, name):
    recorded = recording(name)
    same(recorded, recorded.asked(simulator))
    assert simulator.call("GET", "/queue").json == {"queue_running": [], "queue_pending": []}


def test_each_route_is_there_below_api_too(simulator):
    for name in ("system_stats", "features", "queue_idle", "get_prompt_idle", "history_unknown_id", "object_info"):
        path = recording(name).path
        plain, below = simulator.call("GET", path), simulator.call("GET", f"/api{path}")
        assert (below.status, below.json.keys()) == (plain.status, plain.json.keys())


def test_object_info(simulator):
    recorded = recording("object_info")
    answer = recorded.asked(simulator)
    assert answer.headers["Content-Type"] == recorded.content_type
    assert differences(recorded.json, {name: answer.json[name] for name in recorded.json}) == []
    one = simulator.call("GET", "/object_info/SaveVideo").json
    assert one == {"SaveVideo": recorded.json["SaveVideo"]}
    assert simulator.call("GET", "/object_info/NoSuchNode").json == {}


def test_models_are_offered_where_the_recording_has_none(simulator):
    lora = simulator.base / "models/loras/sub/one.safetensors"
    lora.parent.mkdir()
    lora.touch()
    (lora.parent / "half.safetensors.part").touch()
    info = simulator.call("GET", "/object_info/LoraLoaderModelOnly").json["LoraLoaderModelOnly"]
    assert info["input"]["required"]["lora_name"] == [["sub/one.safetensors"]]
    lora.unlink()


def test_a_clip(simulator):
    recorded = recording("prompt_valid")
    prompt_id = recorded.json["prompt_id"]
    same(recorded, recorded.asked(simulator, prompt_id=prompt_id), NUMBER)
    simulator.finished(prompt_id)
    for name in ("history_id_savevideo_ok", "history_all"):
        done = recording(name)
        done.json.pop("187827f9-343c-4cd8-8476-1504b9bdb105", None)  # its second job
        same(done, done.asked(simulator), NUMBER, TIME, FILE)


def test_an_identical_graph_makes_no_second_file_even_when_the_first_is_gone(simulator):
    recorded = recording("history_id_identical_resubmission_cached")
    ((prompt_id, entry),) = recorded.json.items()
    first = simulator.rendered(entry["prompt"][2])
    first.unlink()
    simulator.submit(entry["prompt"][2], prompt_id=prompt_id)
    simulator.finished(prompt_id)
    answer = recorded.asked(simulator)
    same(recorded, answer, NUMBER, TIME, FILE)
    assert answer.json[prompt_id]["outputs"]["5075"]["images"][0]["filename"] == first.name
    assert not first.exists()


def test_a_graph_of_which_one_output_is_wrong_runs_with_the_other(simulator):
    recorded = recording("prompt_partially_invalid_200")
    prompt_id = recorded.json["prompt_id"]
    same(recorded, recorded.asked(simulator, prompt_id=prompt_id), NUMBER)
    assert list(simulator.finished(prompt_id)["outputs"]) == ["5075"]


def test_a_prefix_outside_of_output(simulator):
    posted = recording("prompt_prefix_traversal")
    same(posted, posted.asked(simulator, prompt_id=posted.json["prompt_id"]), NUMBER)
    simulator.finished(posted.json["prompt_id"])
    recorded = recording("history_prefix_traversal")
    answer = recorded.asked(simulator)
    same(recorded, answer, NUMBER, TIME, r"exception_message$", r"traceback$", r"current_inputs\.video\[0\]$")
    (entry,) = answer.json.values()
    message = dict(entry["status"]["messages"])["execution_error"]["exception_message"]
    assert message.startswith("**** ERROR: Saving image outside the output folder is not allowed.\n full_output")
    assert not list(simulator.base.parent.glob("evil*"))


@pytest.fixture
def busy(simulator):
    """The three jobs of the recordings: one runs, two wait. Returns their ids."""
    simulator.switch(render_seconds=HOUR)
    ids = []
    for name in ("prompt_slow_11", "prompt_slow_12", "prompt_slow_13"):
        recorded = recording(name)
        same(recorded, recorded.asked(simulator, prompt_id=recorded.json["prompt_id"]), NUMBER)
        ids.append(recorded.json["prompt_id"])
    simulator.running(ids[0])
    return ids


def test_a_busy_queue(simulator, busy):
    for name in (
        "queue_running_pending",
        "get_prompt_busy",
        "api_job_in_progress",
        "api_job_pending",
        "history_id_not_finished_yet",
        "interrupt_not_running_id",
    ):
        recorded = recording(name)
        same(recorded, recorded.asked(simulator), NUMBER, TIME)
    # That one is not running, so it waits on.
    assert simulator.job(busy[1])["status"] == "pending"
    for name in ("queue_delete_pending", "api_job_deleted_404", "history_id_deleted_from_queue"):
        recorded = recording(name)
        same(recorded, recorded.asked(simulator))


def test_two_jobs_one_done_and_one_interrupted(simulator, busy):
    simulator.call("POST", f"/api/jobs/{busy[2]}/cancel")
    simulator.switch(render_seconds=0)
    simulator.finished(busy[1])
    # The second once more, under the same id, and interrupted this time: one entry, the new one.
    simulator.call("POST", "/free", {"free_memory": True})
    simulator.switch(render_seconds=HOUR)
    again = recording("prompt_slow_12")
    again.asked(simulator, prompt_id=busy[1])
    simulator.running(busy[1])
    wait_for(lambda: simulator.call("POST", "/interrupt") and simulator.job(busy[1])["status"] == "cancelled", "ended")
    for name in ("api_job_completed", "api_job_interrupted", "history_id_interrupted", "history_max_items_2"):
        recorded = recording(name)
        same(recorded, recorded.asked(simulator), NUMBER, TIME, FILE)


def test_the_list_of_jobs(simulator, busy):
    """Each state's job has the recorded fields, the newest first, page by page."""
    listed = recording("api_jobs_busy")
    wanted = {one["status"]: one for one in listed.json["jobs"]}
    free = (NUMBER, TIME, FILE, r"\.id$", r"prompt_id$", r"subfolder$", r"execution_error\.", r"nodeId$")

    simulator.call("POST", "/queue", {"delete": busy[1:]})
    simulator.call("POST", f"/api/jobs/{busy[0]}/cancel")
    simulator.finished(busy[0])
    simulator.switch(render_seconds=0)
    simulator.finished(simulator.submit(recording("prompt_prefix_traversal").body["prompt"]))
    simulator.rendered(empty_clip(color=1))
    simulator.rendered(empty_clip(color=2))
    two = recording("api_jobs_completed_limit2")
    # No third one is left for a next page.
    assert differences(two.json, two.asked(simulator).json | {"pagination": two.json["pagination"]}, free) == []
    page = simulator.call("GET", "/api/jobs?limit=1&offset=1&status=completed").json["pagination"]
    assert page == {"offset": 1, "limit": 1, "total": 2, "has_more": False}

    simulator.switch(render_seconds=HOUR)
    simulator.running(simulator.submit(empty_clip(color=3)))
    simulator.submit(empty_clip(color=4))
    answer = listed.asked(simulator).json
    states = ["pending", "in_progress", "completed", "completed", "failed", "cancelled"]
    assert [one["status"] for one in answer["jobs"]] == states
    assert answer["pagination"] == {**listed.json["pagination"], "total": len(states)}
    for one in answer["jobs"]:
        if one["status"] in wanted:
            assert differences(wanted[one["status"]], one, free) == []
    oldest = simulator.call("GET", "/api/jobs?limit=1&sort_order=asc").json
    assert oldest["jobs"][0]["status"] == "cancelled"
    assert oldest["pagination"]["has_more"] is True
    for query in ("status=no", "sort_order=no", "limit=0", "limit=x", "offset=x"):
        assert simulator.call("GET", f"/api/jobs?{query}").status == 400


def test_a_field_too_many_or_too_few_is_a_difference():
    recorded = {"a": 1, "b": [{"c": "x"}], "time": 1}
    assert differences(recorded, {"a": 1, "b": [{"c": "x"}], "time": 2}, (r"time$",)) == []
    assert differences(recorded, {"a": True, "b": [{"c": "x", "d": 1}, 2]}, (r"time$",)) == [
        ".a: int recorded, bool answered",
        ".b: 1 recorded, 2 answered",
        ".b[0].d: answered, not recorded",
        ".time: recorded, not answered",
    ]
    assert differences(recorded, {"a": 2, "b": [{"c": "y"}], "time": "1"}, (r"time$",)) == [
        ".a: 1 recorded, 2 answered",
        ".b[0].c: 'x' recorded, 'y' answered",
        ".time: int recorded, str answered",
    ]
