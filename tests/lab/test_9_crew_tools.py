"""The crew's tools on the real Letta server: many at once lose nothing, its sandbox runs them, an agent calls them.

The stress runs the tools' sources in threads of the test's own process: a call in the sandbox costs seconds of CPU.
"""

import json
import os
import threading
import typing
from functools import partial

import pytest
import requests
from lettabox import crew_memory as memory
from lettabox import crew_tool_source

from tests.lab.conftest import Api
from tests.lab.tool_calls import calls

LONG = int(os.environ.get("LETTABOX_TEST_SCALE", "1")) > 1
THREADS, TIMES = (8, 10) if LONG else (4, 3)
WORKERS, IDEAS = (4, 4) if LONG else (3, 2)
NOW = "2026-01-15T16:31:18Z"
TAG = "lab-crew-tools"
RECORD, TEXTS = "/var/lib/lettabox/crew.json", "/var/lib/lettabox/crew-texts"


def function(name):
    """A tool, made of the source that Letta gets."""
    names = {one: getattr(typing, one) for one in typing.__all__}
    exec(compile(crew_tool_source.source(name), name, "exec"), names)
    return names[name]


def at_once(*jobs):
    """Do these at the same time; what one of them raises is raised here."""
    wrong = []

    def run(job):
        try:
            job()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for one in threads:
        one.start()
    for one in threads:
        one.join(600)
    assert not wrong, wrong
    assert not any(one.is_alive() for one in threads)


@pytest.fixture(scope="module")
def module_api(deployed, laptop):
    return Api(deployed, laptop.make("-s", "letta-password").out.strip())


@pytest.fixture
def block(module_api):
    made = module_api.call("POST", "/v1/blocks/", json={"label": "counter", "value": "0"})
    yield f"/v1/blocks/{made['id']}"
    module_api.call("DELETE", f"/v1/blocks/{made['id']}")


def client(api):
    """One for a thread of its own."""
    session = requests.Session()
    session.trust_env = False
    session.headers.update(api.session.headers)
    return session


# --- patch 0005 -------------------------------------------------------------------------------------------------


def test_a_block_that_changed_meanwhile_is_left_alone(module_api, block):
    url = module_api.server + block
    assert module_api.session.patch(url, json={"value": "1", "if_value": "0"}).status_code == 200
    before = module_api.session.get(url).json()
    stale = module_api.session.patch(url, json={"value": "2", "if_value": "0", "description": "x"})
    assert stale.status_code == 409, stale.text
    assert module_api.session.get(url).json() == before, "value, description, all of it"
    assert module_api.session.patch(url, json={"value": "2", "if_value": "1"}).json()["value"] == "2"
    assert module_api.session.patch(url, json={"value": "3"}).json()["value"] == "3", "a blind one is as ever"
    assert module_api.session.patch(url, json={"value": "", "if_value": "3"}).json()["value"] == ""
    assert module_api.session.patch(url, json={"value": "4", "if_value": ""}).json()["value"] == "4"


def counted(api, block, guarded):
    """What a block says after THREADS clients have each read it, and written one more, TIMES times."""
    refused, together = [], threading.Barrier(THREADS)

    def count():
        with client(api) as session:
            done = 0
            while done < TIMES:
                value = session.get(api.server + block, timeout=60).json()["value"]
                if value == "0" and not together.broken:
                    together.wait(60)  # all have read before the first one writes
                body = {"value": str(int(value) + 1)} | ({"if_value": value} if guarded else {})
                answer = session.patch(api.server + block, json=body, timeout=60)
                if answer.status_code == 409:
                    refused.append(value)
                    continue
                assert answer.ok, answer.text
                done += 1

    at_once(*[count] * THREADS)
    return int(api.session.get(api.server + block).json()["value"]), len(refused)


def test_many_who_read_and_swap_lose_nothing(module_api, block):
    value, refused = counted(module_api, block, guarded=True)
    assert value == THREADS * TIMES and refused >= THREADS - 1, "and they did meet"


def test_many_who_write_blindly_do_lose(module_api, block):
    """The test above can fail."""
    assert counted(module_api, block, guarded=False)[0] <= THREADS * TIMES - (THREADS - 1)


# --- the tools --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crew(deployed, module_api):
    """Two agents, the six blocks on both, and the tools, installed from their sources; {role: agent}, {label: id}."""
    blocks, agents, tools = {}, {}, []
    call = module_api.call
    try:
        for label in memory.LABELS:
            text = memory.write(label, memory.fresh(label, NOW), "", NOW)
            blocks[label] = call("POST", "/v1/blocks/", json={"label": label, "value": text, "limit": 8000})["id"]
        for name in crew_tool_source.NAMES:
            body = {"source_code": crew_tool_source.source(name), "source_type": "python", "tags": [TAG]}
            tools.append(call("PUT", "/v1/tools/", json=body))
        for role in ("director", "writer"):
            given = {"block_ids": list(blocks.values()), "include_base_tools": False}
            if role == "director":
                given["tool_ids"] = [tool["id"] for tool in tools]
            agents[role] = module_api.agent(f"lab {role}", deployed.model_url, **given)
        known = {"agents": {role: agent["id"] for role, agent in agents.items()}, "blocks": blocks}
        call("PATCH", f"/v1/agents/{agents['director']['id']}", json={"secrets": {"LETTABOX_CREW": json.dumps(known)}})
        yield agents, blocks, tools
    finally:
        for agent in agents.values():
            call("DELETE", f"/v1/agents/{agent['id']}")
        for id in blocks.values():
            call("DELETE", f"/v1/blocks/{id}")
        for tool in tools:
            call("DELETE", f"/v1/tools/{tool['id']}")


@pytest.fixture
def here(crew, module_api, monkeypatch):
    """The environment of a tool of the director, in this process."""
    agents, blocks, _ = crew
    monkeypatch.setenv("LETTA_BASE_URL", module_api.server)
    monkeypatch.setenv("LETTA_API_KEY", module_api.session.headers["Authorization"].removeprefix("Bearer "))
    monkeypatch.setenv("LETTA_AGENT_ID", agents["director"]["id"])
    known = {"agents": {role: agent["id"] for role, agent in agents.items()}, "blocks": blocks}
    monkeypatch.setenv("LETTABOX_CREW", json.dumps(known))
    module_api.call("PATCH", f"/v1/blocks/{blocks['production_queue']}", json={"value": fresh("production_queue")})


def fresh(label):
    return memory.write(label, memory.fresh(label, NOW), "", NOW)


def fields(api, crew, label="production_queue"):
    found, _, problems = memory.read(label, api.call("GET", f"/v1/blocks/{crew[1][label]}")["value"])
    assert problems == []
    return found


def test_letta_makes_the_schema_that_a_model_gets(crew):
    for name, tool in zip(crew_tool_source.NAMES, crew[2], strict=True):
        assert tool["name"] == tool["json_schema"]["name"] == name
        properties = tool["json_schema"]["parameters"]["properties"].values()
        assert all(one["type"] == "string" and one["description"] for one in properties)


def test_a_queue_that_many_work_at_loses_and_doubles_no_video(crew, here, module_api):
    queue, take, skip = map(function, ("queue_videos", "next_video", "skip_video"))

    def add(who):
        for one in range(IDEAS):
            said = json.loads(queue(f"idea {who} {one}\nthe same for all"))
            assert len(said.get("added", [])) + len(said.get("already_there", [])) == 2, said

    at_once(*(partial(add, who) for who in range(WORKERS)))
    queued = [memory.item(one) for one in fields(module_api, crew)["PENDING_VIDEOS"]]
    wanted = ["the same for all", *(f"idea {who} {one}" for who in range(WORKERS) for one in range(IDEAS))]
    assert sorted(one["text"] for one in queued) == sorted(wanted)
    assert len({one["id"] for one in queued}) == len(wanted) == fields(module_api, crew)["BATCH_TOTAL"]

    skipped = []

    def work():
        while (said := json.loads(take())).get("video_id"):
            told = skip(said["video_id"], "stress")
            if '"skipped"' in told:
                skipped.append(json.loads(told)["video_id"])

    at_once(*[work] * WORKERS)
    assert sorted(skipped) == sorted(one["id"] for one in queued), "each once, by one of them"
    after = fields(module_api, crew)
    assert after["QUEUE_STATUS"] == "complete" and after["PENDING_VIDEOS"] == []
    assert sorted(memory.item(one)["id"] for one in after["FAILED_RETRIES"]) == sorted(skipped)


def test_archival_entries_are_made_once_and_found(crew, here, module_api):
    start, pick = function("start_ab_test"), function("pick_winner")
    assert json.loads(start("a dragon", "at dawn\nat dusk"))["variations"] == ["[A] at dawn", "[B] at dusk"]
    said = json.loads(pick("B", "warm light"))
    assert said["winner"] == "B" and "not_archived" not in said, said
    assert "before" in json.loads(pick("B", "warm light"))["note"]
    for agent in crew[0].values():
        path = f"/v1/agents/{agent['id']}/archival-memory"
        assert module_api.call("GET", path, params={"search": "a griffin"}) == [], "it does search"
        found = module_api.call("GET", path, params={"search": "a dragon"})
        assert len(found) == 1 and sorted(found[0]["tags"]) == ["ab-test", "winner-b"] and "at dusk" in found[0]["text"]


def test_a_member_is_asked_once_and_answers_later(crew, here, deployed, module_api):
    ask, check = function("ask_crew"), function("check_reply")
    script = f"{deployed.model_control_url}/_script"
    requests.delete(script, timeout=5).raise_for_status()
    replies = [{"content": "A fox in the snow, at dawn.", "delay_s": 3}]
    requests.post(script, json={"replies": replies}, timeout=5).raise_for_status()
    said = json.loads(ask("writer", "a prompt for 'a fox', please", "0"))
    assert said["state"] == "still working"
    told = json.loads(ask("writer", "a prompt for 'a fox', please"))
    assert (told["state"], told["reply"]) == ("completed", "A fox in the snow, at dawn.")
    assert told["run_id"] == said["run_id"], "a call that is repeated"
    assert json.loads(check(said["run_id"])) == told
    writer = crew[0]["writer"]["id"]
    heard = module_api.call("GET", f"/v1/agents/{writer}/messages", params={"limit": 100})
    asked = [one for one in heard if one["message_type"] == "user_message"]
    assert [one["content"] for one in asked] == ["[Message from director] a prompt for 'a fox', please"]


def test_an_agent_calls_them_in_the_sandbox(crew, here, deployed, module_api):
    director = crew[0]["director"]
    queued, changed = calls(
        deployed, module_api, director,
        ("queue_videos", {"ideas": "1. a fox, 'quoted'\n2. an owl 🦉", "batch": None}),
        ("update_memory", {"block": "user_style", "field": "mood", "value": "dark", "action": None}),
    )  # fmt: skip
    assert json.loads(queued)["added"] == ["[b1-1] a fox, 'quoted'", "[b1-2] an owl 🦉"]
    assert "no field 'mood'. Its fields are" in changed
    assert fields(module_api, crew)["PENDING_VIDEOS"] == json.loads(queued)["added"]


def test_what_models_wrote_is_repaired_on_the_box(crew, deployed, box, module_api):
    agents, blocks, _ = crew
    written = "# User style\n- **Mood preferences**: dark\n- Disliked elements: [neon, 'red']\nThe user is in a hurry."
    module_api.call("PATCH", f"/v1/blocks/{blocks['user_style']}", json={"value": written})
    record = {"agents": {role: agent["id"] for role, agent in agents.items()}, "blocks": blocks}
    box.check(f"test ! -e {RECORD}; printf %s '{json.dumps(record)}' > {RECORD}")
    try:
        assert box.check("lettabox crew repair --dry-run").startswith("user_style: to repair\n")
        assert module_api.call("GET", f"/v1/blocks/{blocks['user_style']}")["value"] == written
        assert box.check("lettabox crew repair").startswith("user_style: repaired")
        found = fields(module_api, crew, "user_style")
        assert (found["MOOD_PREFERENCES"], found["DISLIKED_ELEMENTS"]) == ("dark", ["neon", "red"])
        assert box.check(f"stat -c %a {TEXTS}/*") == "600" and box.check(f"cat {TEXTS}/*") == written
        assert box.check("lettabox crew repair") == "nothing to repair"
    finally:
        box.check(f"rm -rf {RECORD} {TEXTS}")
