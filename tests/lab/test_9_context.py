"""An agent past 32,000 tokens: it forgets with Letta's old default window, and not with the one of the settings."""

import pytest

from inventory.schema import Settings

LIMIT = Settings().letta.context_window_limit
OLD_DEFAULT = 32_000
# The fake model counts a token for four characters, and repeats what it is told: two times 20,000 tokens a turn.
LONG = "remember all of this. " * (80_000 // 22)


@pytest.fixture
def agents(api, deployed):
    made = {}
    for name, window in (("old", OLD_DEFAULT), ("new", LIMIT)):
        config = {
            "model": "fake",
            "model_endpoint_type": "openai",
            "model_endpoint": f"{deployed.model_url}/v1",
            "context_window": window,
        }
        made[name] = api.call("POST", "/v1/agents/", json={"name": f"window-{name}", "llm_config": config})
    yield made
    for one in made.values():
        api.call("DELETE", f"/v1/agents/{one['id']}")


def told(api, agent, word):
    """Tell the agent much, beginning with `word`; return the id of that message."""
    assert api.say(agent, f"{word} {LONG}")
    history = api.call("GET", f"/v1/agents/{agent['id']}/messages", params={"limit": 100})
    (message,) = [one for one in history if one["message_type"] == "user_message" and word in one["content"][:40]]
    return message["id"]


def in_context(api, agent):
    return api.call("GET", f"/v1/agents/{agent['id']}")["message_ids"]


def test_an_agent_goes_on_past_the_old_default(deployed, box, api, agents):
    since = box.check("date +%s")
    old, new = ([told(api, agents[name], word) for word in ("first", "second")] for name in ("old", "new"))
    log = box.check(f"docker logs --since {since} letta-server 2>&1")
    # 80,000 tokens in the end: past the one threshold with the first answer, and below the other.
    assert old[0] not in in_context(api, agents["old"])
    assert set(new) <= set(in_context(api, agents["new"]))
    window = api.call("GET", f"/v1/agents/{agents['new']['id']}/context")
    assert window["context_window_size_max"] == LIMIT
    assert window["context_window_size_current"] > OLD_DEFAULT * 2
    assert f"context_window: {OLD_DEFAULT})" in log
    assert f"context_window: {LIMIT})" not in log


def test_old_windows_are_shown_and_raised(deployed, laptop, api, agents):
    before = api.call("GET", f"/v1/agents/{agents['old']['id']}")["llm_config"]
    status = laptop.make("letta-status")
    assert status.code == 0 and "window-old" in status.out and "make letta-context" in status.out, status.text
    shown = laptop.make("letta-context")
    assert shown.code != 0 and "Error 1" in shown.text
    assert f"window-old ({agents['old']['id']}): 32,000 tokens, 180,000 wanted" in shown.out
    assert "window-new" not in shown.out
    assert api.call("GET", f"/v1/agents/{agents['old']['id']}")["llm_config"] == before
    fixed = laptop.make("letta-context", "FIX=1")
    assert fixed.code == 0, fixed.text
    assert api.call("GET", f"/v1/agents/{agents['old']['id']}")["llm_config"] == before | {"context_window": LIMIT}
    again = laptop.make("letta-context", "FIX=1")
    assert again.code == 0 and "none with a window that should be another one" in again.out
    messages = [told(api, agents["old"], word) for word in ("first", "second")]
    assert set(messages) <= set(in_context(api, agents["old"])), "it still forgets at the old size"
