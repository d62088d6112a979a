"""The agents' tools on the real Letta server: installed through its API, called by an agent in its sandbox."""

import json
import re
from functools import partial

import pytest
import requests
from lettabox import studio_tool_source
from lettabox.studio.config import Box as Rendering

from tests import clips
from tests.lab.conftest import Api
from tests.lab.tool_calls import calls
from tests.unit.studio_service import TOKEN, MemoryJobs, Service

TAG = "lettabox-studio"
VARIABLES = {"LETTABOX_STUDIO_URL", "LETTABOX_STUDIO_TOKEN"}
CLIP = "video/agents.mp4"
FORWARDER = "lab-studio"
ADDRESS = "172.22.0.1:8189"
SECRET = "/etc/lettabox/secrets/studio_token"
STATE = "cd / && PYTHONPATH=/opt/lettabox/src python3 -B -m lettabox.studio_tools_state"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clips.make(tmp_path_factory.mktemp("clips") / CLIP, width=320, height=192, frames=49)


@pytest.fixture(scope="module")
def studio(deployed, box, clip):
    """The real service in this process, with a ledger in memory, where letta-server looks for it; its URL here.

    tests/lab/test_7_studio.py has an agent ask the studio that a deploy brings.
    """
    service = Service({"one": Rendering(clip.parents[1])}, MemoryJobs())
    service.host = box.check("ip -4 route show default").split()[2]  # this machine, as the box sees it
    before = box.check(f"cat {SECRET} 2>/dev/null || :")
    with service:
        box.check(f"install -m 600 /dev/null {SECRET}; printf %s {TOKEN} > {SECRET}")
        box.check(
            f"systemd-run --quiet --collect --unit={FORWARDER} --socket-property=ListenStream={ADDRESS} "
            f"/usr/lib/systemd/systemd-socket-proxyd {service.host}:{service.port}"
        )
        try:
            box.check(f"curl -fsS -m 30 http://{ADDRESS}/jobs")
            yield f"http://{service.host}:{service.port}"
        finally:
            box.check(f"systemctl stop {FORWARDER}.socket {FORWARDER}.service; rm {SECRET}")
            if before:
                box.check(f"install -m 600 /dev/null {SECRET}; printf %s {before} > {SECRET}")


@pytest.fixture(scope="module")
def installed(studio, deployed, box, module_api):
    """What the verb says of a server that has none of the tools; afterwards they are gone again, if they were."""
    before = found(module_api)
    forget(module_api)
    yield box.check("lettabox studio tools")
    if not before:
        forget(module_api)


@pytest.fixture(scope="module")
def module_api(deployed, laptop):
    return Api(deployed, laptop.make("-s", "letta-password").out.strip())


def found(api):
    """{name: row} of the tools with our names."""
    rows = api.call("GET", "/v1/tools/", params={"names": studio_tool_source.NAMES, "limit": 100})
    return {row["name"]: row for row in rows}


def variables(api):
    """{name: row} of what all tools get in their environment."""
    (sandbox,) = api.call("GET", "/v1/sandbox-config/", params={"sandbox_type": "local"})
    return {row["key"]: row for row in api.call("GET", f"/v1/sandbox-config/{sandbox['id']}/environment-variable")}


def forget(api):
    for row in found(api).values():
        api.call("DELETE", f"/v1/tools/{row['id']}")
    if api.call("GET", "/v1/sandbox-config/", params={"sandbox_type": "local"}):
        for name, row in variables(api).items():
            if name in VARIABLES:
                api.call("DELETE", f"/v1/sandbox-config/environment-variable/{row['id']}")


def outcomes(said):
    """{tool or variable: what was done} of the verb's lines."""
    return dict(re.fullmatch(r"(?:tool|variable) (\w+): (.+)", line).groups() for line in said.splitlines())


def test_they_are_installed_and_a_second_run_changes_nothing(installed, box, module_api):
    assert set(outcomes(installed)) == {*studio_tool_source.NAMES, *VARIABLES}
    assert set(outcomes(installed).values()) == {"created"}
    tools = found(module_api)
    for name, tool in tools.items():
        assert tool["tags"] == [TAG] and tool["source_code"] == studio_tool_source.source(name)
        properties = tool["json_schema"]["parameters"]["properties"].values()
        assert all(one["type"] == "string" and one["description"] for one in properties)
    assert tools["submit_video"]["json_schema"]["parameters"]["required"] == ["prompt"]
    assert "render a video" in tools["submit_video"]["json_schema"]["description"]
    assert set(outcomes(box.check("lettabox studio tools")).values()) == {"unchanged"}
    assert found(module_api) == tools
    # A deploy sees by the fact that there is nothing to do.
    told = json.loads(box.check(STATE))
    assert told["url"] == f"http://{ADDRESS}" and told["token"] is True
    assert told["tools"] == {
        name: {"ours": True, "source": digest} for name, digest in studio_tool_source.digests().items()
    }


def test_what_was_changed_is_set_right_and_what_is_not_ours_is_left(installed, box, module_api):
    tools = found(module_api)
    changed = {"source_code": tools["get_frame"]["source_code"] + "\n# another\n", "tags": [TAG, "crew"]}
    module_api.call("PATCH", f"/v1/tools/{tools['get_frame']['id']}", json=changed)
    module_api.call("DELETE", f"/v1/tools/{tools['submit_video']['id']}")
    source = 'def submit_video(prompt: str) -> str:\n    """Mine.\n\n    Args:\n        prompt (str): x.\n    """\n'
    mine = module_api.call("PUT", "/v1/tools/", json={"source_code": source})
    # A token that was given anew on the box.
    secret = box.check(f"cat {SECRET}")
    box.check(f"printf %s another > {SECRET}")
    try:
        told = json.loads(box.check(STATE))
        assert told["token"] is False and told["tools"]["submit_video"]["ours"] is False
        said = box.check("lettabox studio tools")
        assert secret not in said and "another" not in said.replace("another tool", "")
        assert json.loads(box.check(STATE))["token"] is True
    finally:
        box.check(f"printf %s {secret} > {SECRET}")
        module_api.call("DELETE", f"/v1/tools/{mine['id']}")
    done = outcomes(said)
    assert done["get_frame"] == "changed" and done["LETTABOX_STUDIO_TOKEN"] == "changed"
    assert done["submit_video"].startswith("ANOTHER TOOL") and mine["id"] in done["submit_video"]
    done = outcomes(box.check("lettabox studio tools"))
    assert done["submit_video"] == "created" and done["LETTABOX_STUDIO_TOKEN"] == "changed"
    after = found(module_api)["get_frame"]
    assert after["id"] == tools["get_frame"]["id"], "agents that have it keep it"
    assert after["source_code"] == tools["get_frame"]["source_code"] and set(after["tags"]) == {TAG, "crew"}


def test_an_agent_calls_each_of_them(installed, studio, deployed, box, module_api):
    tools = found(module_api)
    agent = module_api.agent("video maker", deployed.model_url, tool_ids=[tool["id"] for tool in tools.values()])

    says = partial(calls, deployed, module_api, agent)
    try:
        # As a model in strict mode: null for all that it leaves out.
        left_out = dict.fromkeys(("seed", "width", "height", "frames"))
        asked = {"prompt": "A fox 🦊\nin 'the' snow", "tags": "fox night", **left_out}
        first, again = says(("submit_video", asked), ("submit_video", asked))
        job = json.loads(first)
        assert job["state"] in ("queued", "running")
        seen = requests.get(f"{studio}/jobs/{job['job_id']}", timeout=10).json()
        assert (seen["prompt"], seen["tags"]) == (asked["prompt"], ["fox", "night"])
        assert json.loads(again)["job_id"] == job["job_id"]

        status, listed, frame, missing = says(
            ("check_video_status", {"job_id": job["job_id"]}),
            ("get_recent_videos", {"limit": None}),
            ("get_frame", {"video": recent(studio), "at": None}),
            ("get_frame", {"video": "one/none.mp4", "at": "first"}),
        )
        assert json.loads(status)["job_id"] == job["job_id"]
        assert recent(studio) in [video["video"] for video in json.loads(listed)["videos"]]
        looked = json.loads(frame)
        assert looked["frame"] == 24 and looked["colours"] and looked["picture"].startswith(f"http://{ADDRESS}/frames/")
        assert missing.startswith("There is no frame. The studio refused this")
    finally:
        module_api.call("DELETE", f"/v1/agents/{agent['id']}")
    token = box.check(f"cat {SECRET}")
    assert token not in json.dumps([first, again, status, listed, frame, missing])


def recent(studio):
    """The clip, as the studio calls it."""
    videos = requests.get(f"{studio}/list_videos", timeout=10).json()["videos"]
    return next(video["path"] for video in videos if video["path"].endswith(f"/{CLIP}"))
