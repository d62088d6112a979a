"""The crew at work on the real server: one message of a person, and three videos that can be played.

The model is scripted (crew_play.py); the agents, their tools, the studio, its worker and Letta are the real ones.
"""

import io
import json

import av
import pytest
import requests
from lettabox import crew_memory

from tests.lab import crew_play, crews
from tests.lab.conftest import Api
from tests.lab.waiting import wait_for

MODEL, EMBEDDING = "openai-proxy/gpt-4o", "lab/text-embedding-3-small"
PERSON = "Create 3 videos of mythical creatures."
LIKING = "I prefer dark moody aesthetics."
PATIENCE = 1200  # seconds; agents take some 60 where nothing else runs
ENDED = {"completed", "failed", "cancelled"}
pytestmark = pytest.mark.timeout(3000)  # of a test with its fixtures: the deploy, and the crew at its slowest


@pytest.fixture(scope="module")
def crew(deployed, laptop, gpu_box, box):
    """A deploy that brings studio and crew; afterwards neither is there."""
    provider = {"type": "openai", "base_url": f"{deployed.model_url}/v1"}
    settings = {"providers": {"lab": provider}, "crew": {"model": MODEL, "embedding": EMBEDDING}}
    requests.delete(f"{deployed.model_control_url}/_script", timeout=10).raise_for_status()
    gpu_box.first(gpu_box.inventory(**settings))
    api = Api(deployed, laptop.make("-s", "letta-password").out.strip())
    yield Crew(deployed, box, api)
    crews.forget(api, box)
    crews.forget_tools(api)
    crews.forget_providers(api, box, "lab")
    box.check("rm /var/lib/lettabox/providers.json")
    gpu_box.forget()
    laptop.deploy()


class Crew:
    """Looks at the crew by Letta's API and the studio's, and scripts its model."""

    def __init__(self, lab, box, api):
        self.lab, self.box, self.api = lab, box, api
        self.record = json.loads(box.check("cat /var/lib/lettabox/crew.json"))
        self.studio_url = f"http://127.0.0.1:{lab.forwards[8189]}"

    def script(self, replies):
        control = self.lab.model_control_url
        requests.delete(f"{control}/_script", timeout=10).raise_for_status()
        requests.delete(f"{control}/_requests", timeout=10).raise_for_status()
        requests.post(f"{control}/_script", json={"replies": replies}, timeout=10).raise_for_status()

    def requests(self, role):
        """What the model was asked by an agent: the messages of each request."""
        seen = requests.get(f"{self.lab.model_control_url}/_requests", timeout=10).json()["requests"]
        chats = [one["body"]["messages"] for one in seen if one["path"].endswith("/chat/completions")]
        return [messages for messages in chats if crew_play.title(role) in str(messages[0]["content"])]

    def say(self, role, text):
        """What an agent answers a person with."""
        body = {"messages": [{"role": "user", "content": text}]}
        path = f"/v1/agents/{self.record['agents'][role]}/messages"
        said = self.api.call("POST", path, json=body, timeout=PATIENCE)["messages"]
        return [one["content"] for one in said if one["message_type"] == "assistant_message"][-1]

    def returns(self, role, tool):
        """What a tool has returned to an agent, oldest first."""
        path = f"/v1/agents/{self.record['agents'][role]}/messages"
        found = self.api.call("GET", path, params={"limit": 200, "order": "asc"})
        mine = [one for one in found if one["message_type"] == "tool_return_message" and one["name"] == tool]
        assert all(one["status"] == "success" for one in mine), mine
        return [one["tool_return"] for one in mine]

    def block(self, label):
        """The fields of a block, which must be as the strict writer leaves it."""
        row = self.api.call("GET", f"/v1/blocks/{self.record['blocks'][label]}")
        fields, _, problems = crew_memory.read(label, row["value"])
        assert problems == []
        return fields

    def items(self, label, field):
        return [crew_memory.item(text) for text in self.block(label)[field]]

    def runs(self, role):
        return self.api.call("GET", "/v1/runs/", params={"agent_id": self.record["agents"][role], "limit": 100})

    def archived(self, role):
        path = f"/v1/agents/{self.record['agents'][role]}/archival-memory"
        return [one["text"] for one in self.api.call("GET", path, params={"limit": 100})]

    def studio(self, path):
        answer = requests.get(self.studio_url + path, timeout=30)
        answer.raise_for_status()
        return answer


@pytest.fixture(scope="module")
def made(crew):
    """The batch, from one message; all that acts in the background has ended too. What the director answered."""
    crew.script(crew_play.batch())
    said = crew.say("director", PERSON)

    def busy():
        states = {role: [run["status"] for run in crew.runs(role)] for role in crew.record["agents"]}
        return None if all(runs and set(runs) <= ENDED for runs in states.values()) else str(states)

    wait_for("the crew to end", busy, PATIENCE)
    return said


def test_one_message_makes_three_videos(made, crew):
    assert made == "All three videos are made."
    queue = crew.block("production_queue")
    counted = {name: queue[name] for name in ("QUEUE_STATUS", "BATCH_TOTAL", "BATCH_COMPLETE")}
    assert counted == {"QUEUE_STATUS": "complete", "BATCH_TOTAL": 3, "BATCH_COMPLETE": 3}
    assert queue["PENDING_VIDEOS"] == queue["FAILED_RETRIES"] == []
    done = crew.items("production_queue", "COMPLETED_TODAY")
    assert [one["grade"] for one in done] == ["B", "A", "B"]
    assert [one["text"] for one in done] == list(crew_play.IDEAS)

    # The ledger: a render for each grade, each made at the first attempt, and three of them kept.
    jobs = {one["id"]: one for one in crew.studio("/jobs?limit=100").json()["jobs"]}
    assert {one["state"] for one in jobs.values()} == {"completed"} and len(jobs) == 4
    assert {one["attempts"] for one in jobs.values()} == {1}
    kept = [jobs[one["job"]] for one in done]
    assert len({one["id"] for one in kept}) == 3 and [one["video"] for one in kept] == [one["video"] for one in done]

    # The disk: each is a file of its own that plays from its first to its last frame.
    files = crew.box.check("find /var/lib/comfyui/output -name '*.mp4'").splitlines()
    assert len(files) == 4
    for job in kept:
        assert sum(job["id"] in file for file in files) == 1
        with av.open(io.BytesIO(crew.studio(f"/videos/{job['video']}").content)) as video:
            assert [(frame.width, frame.height) for frame in video.decode(video=0)] == [(64, 64)] * 9


def test_a_video_below_the_threshold_is_refined_and_counted_once(made, crew):
    first = crew.items("production_queue", "COMPLETED_TODAY")[0]
    assert first["rounds"] == "2"
    answers = crew.returns("cameraman", "grade_video")
    assert [json.loads(one)["verdict"] for one in answers] == ["refine", "accepted", "accepted", "accepted"]
    assert any(crew_play.REFUSED in one for one in crew.block("quality_standards")["FAILURE_PATTERNS_TO_AVOID"])
    prompts = {one["id"]: one["prompt"] for one in crew.studio("/jobs?limit=100").json()["jobs"]}
    assert "black rock" in prompts[first["job"]], "the revised prompt is the one that counts"
    for role in ("writer", "cameraman"):
        kept = crew.archived(role)
        assert all(any(idea in text for text in kept) for idea in crew_play.IDEAS), kept


def test_a_member_that_takes_longer_than_a_tool_may_is_heard_all_the_same(made, crew):
    asked = crew.returns("writer", "ask_crew")
    assert len(asked) == 4, "nothing was sent twice"
    assert crew_play.WORKING in asked[0]
    later = crew.returns("writer", "check_reply")
    assert "VERDICT refine" in next(one for one in later if crew_play.WORKING not in one)
    heard = crew.returns("director", "ask_crew") + crew.returns("director", "check_reply")
    assert "3 of 3 complete" in heard[-1]


def test_the_memory_keepers_ran_and_did_their_part_alone(made, crew):
    for role in ("director", "writer", "cameraman"):
        assert [one["status"] for one in crew.runs(f"{role}-sleeptime")] == ["completed"]
    assert crew.block("session_state")["LAST_SESSION_SUMMARY"] == crew_play.SUMMARY
    assert crew.block("user_style") == crew_memory.fresh("user_style", crew.block("user_style")["UPDATED_AT"])


def test_a_liking_is_in_the_writers_next_request(made, crew):
    crew.script([*crew_play.liking(), *crew_play.keepers()[2:]])
    assert crew.say("director", LIKING) == "I keep that in mind."
    assert crew.block("user_style")["MOOD_PREFERENCES"] == crew_play.MOOD
    crew.say("writer", "What do you write next?")
    assert f"MOOD_PREFERENCES: {crew_play.MOOD}" in str(crew.requests("writer")[-1][0]["content"])
