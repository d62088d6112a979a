"""The lab's model: what it answers when no test has scripted it."""

import pytest

from tests.lab.fake_model import BadRequest, default_reply


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
