"""The lab's model: what it answers when no test has scripted it, and to several agents whom one script plays."""

import json
import threading

import pytest
import requests

from tests.lab.fake_model import BadRequest, FakeModel, default_reply


def asked(*names: str, choice: object = "required") -> dict:
    tools = [{"type": "function", "function": {"name": name, "parameters": {}}} for name in names]
    return {"messages": [{"role": "user", "content": "hello"}], "tools": tools, "tool_choice": choice}


@pytest.mark.parametrize(
    ("names", "called"),
    [
        # Letta's sleeptime agent: with any other tool its turn would never end.
        (("memory_replace", "memory_insert", "memory_finish_edits", "memory_rethink"), "memory_finish_edits"),
        (("core_memory_append", "memory_finish_edits", "send_message"), "send_message"),
        (("roll_dice", "look_up"), "roll_dice"),
    ],
)
def test_a_demanded_call_ends_the_turn_where_a_tool_does(names, called):
    assert [one["name"] for one in default_reply(asked(*names))["tool_calls"]] == [called]


def test_a_tool_asked_for_by_name_is_called():
    choice = {"type": "function", "function": {"name": "memory_insert"}}
    reply = default_reply(asked("memory_insert", "memory_finish_edits", choice=choice))
    assert [one["name"] for one in reply["tool_calls"]] == ["memory_insert"]
    with pytest.raises(BadRequest, match="memory_insert"):
        default_reply(asked("memory_finish_edits", choice=choice))


def test_a_tool_that_nobody_demands_is_not_called():
    assert default_reply(asked("memory_finish_edits", choice="auto")) == {"content": "You said: hello"}


# --- replies for one of several agents ----------------------------------------------------------------------


@pytest.fixture
def model():
    with FakeModel() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield Scripted(f"http://127.0.0.1:{server.server_address[1]}")
        server.shutdown()
        thread.join()


class Scripted:
    """The model over HTTP, as a test and Letta talk to it."""

    def __init__(self, url):
        self.url = url

    def script(self, *replies):
        return requests.post(f"{self.url}/_script", json={"replies": replies}, timeout=10)

    def ask(self, system, *said):
        """What is answered to an agent with this system prompt, whose last messages are these tool results."""
        messages = [{"role": "system", "content": system}, {"role": "user", "content": "go on"}]
        messages += [{"role": "tool", "content": json.dumps({"status": "OK", "message": one})} for one in said]
        return requests.post(f"{self.url}/v1/chat/completions", json={"messages": messages}, timeout=10)

    def says(self, system, *said):
        return self.ask(system, *said).json()["choices"][0]["message"]["content"]


def test_replies_for_an_agent_are_used_in_their_order_by_that_agent_alone(model):
    first, second = {"when": ["I write"], "content": "one"}, {"when": ["I write"], "content": "two"}
    assert model.script(first, {"when": ["I film"], "content": "a clip"}, second).json() == {"queued": 3}
    assert model.says("I film, and more") == "a clip"
    assert model.says("I direct") == "You said: go on"
    assert [model.says("I write"), model.says("I write"), model.says("I write")] == ["one", "two", "You said: go on"]


def test_all_texts_must_occur_and_one_without_texts_is_for_everybody(model):
    model.script({"when": ["I write", "a fox"], "content": "fox"}, {"content": "whatever"})
    assert model.says("I write") == "whatever"
    assert model.says("I write", "about a fox") == "fox"


def test_a_reply_that_stays_answers_while_the_last_message_is_so(model):
    wait = {"when": ["I film"], "last": ["running"], "stays": True, "content": "wait"}
    model.script(wait, {"when": ["I film"], "content": "done"})
    assert [model.says("I film", "it is running") for _ in range(3)] == ["wait"] * 3
    assert model.says("I film", "it is running", "completed") == "done"
    assert model.says("I film", "running") == "wait"


def test_what_is_known_at_run_time_alone_is_taken_out_of_the_messages(model):
    call = {"name": "check", "arguments": {"job_id": "{job}", "note": "{job} of {video}, not {other}"}}
    take = {"job": r'"job_id":"([^"]+)"', "video": r"\[(b\d-\d)\]"}
    model.script({"take": take, "tool_calls": [call], "content": "see {job}"})
    said = model.ask("I film", '{"job_id":"old"}', "[b1-2] a fox", '{"job_id":"new"}').json()["choices"][0]["message"]
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {
        "job_id": "new",
        "note": "new of b1-2, not {other}",
    }
    assert said["content"] == "see new"


def test_what_cannot_be_taken_is_an_error_answer(model):
    model.script({"take": {"job": "job=(.+)"}, "content": "{job}"})
    answer = model.ask("I film", "no such thing")
    assert answer.status_code == 400 and "job=(.+)" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "reply",
    [{"when": "I film"}, {"last": [7]}, {"stays": "yes"}, {"take": "job"}, {"take": {"a": "("}}, {"take": {"a": "b"}}],
)
def test_a_rule_that_could_never_hold_is_refused(model, reply):
    (key,) = reply
    answer = model.script({**reply, "content": "x"})
    assert answer.status_code == 400 and key in answer.json()["error"]["message"]
