"""An agent that calls tools as it is told: the fake model says what it calls."""

import requests


def calls(lab, api, agent: dict, *wanted: tuple[str, dict]) -> list[str]:
    """Have an agent call these tools, one after the other; return what each returned. All must succeed."""
    script = f"{lab.model_control_url}/_script"
    replies = [{"tool_calls": [{"name": name, "arguments": given}]} for name, given in wanted]
    requests.delete(script, timeout=5).raise_for_status()
    requests.post(script, json={"replies": [*replies, {"content": "done"}]}, timeout=5).raise_for_status()
    body = {"messages": [{"role": "user", "content": "go on"}]}
    # Letta takes seconds of the CPU to begin a tool, and a machine of tests has other things to do.
    heard = api.call("POST", f"/v1/agents/{agent['id']}/messages", json=body, timeout=600)["messages"]
    returns = [one for one in heard if one["message_type"] == "tool_return_message"]
    assert [one["status"] for one in returns] == ["success"] * len(wanted), returns
    return [one["tool_return"] for one in returns]
