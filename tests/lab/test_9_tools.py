"""What the agents' tools see of the server, and how they reach it in secure mode."""

import pytest
import requests

SHOW = '''
def show_environment():
    """Show the environment this tool runs in.

    Returns:
        str: One variable a line.
    """
    import os

    return "\\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))
'''


@pytest.fixture
def model(deployed):
    """Queues replies of the fake model."""
    url = f"{deployed.model_control_url}/_script"
    requests.delete(url, timeout=5).raise_for_status()
    yield lambda *replies: requests.post(url, json={"replies": list(replies)}, timeout=5).raise_for_status()
    requests.delete(url, timeout=5).raise_for_status()


@pytest.fixture
def make_agent(api, deployed):
    made = []

    def make(name, **fields):
        made.append(api.agent(name, deployed.model_url, **fields))
        return made[-1]

    yield make
    for one in made:
        api.call("DELETE", f"/v1/agents/{one['id']}")


def returned(messages):
    """What the one tool call among the messages returned."""
    (answer,) = [one for one in messages if one["message_type"] == "tool_return_message"]
    assert answer["status"] == "success", answer
    return answer["tool_return"]


def test_a_tool_sees_no_secret_but_the_key_it_needs(deployed, laptop, box, api, model, make_agent):
    tool = api.call("POST", "/v1/tools/", json={"source_code": SHOW})
    try:
        agent = make_agent("curious", tool_ids=[tool["id"]], secrets={"OWN": "given to this agent"})
        model({"tool_calls": [{"name": "show_environment"}]}, {"content": "done"})
        shown = returned(api.say(agent, "show me"))
    finally:
        api.call("DELETE", f"/v1/tools/{tool['id']}")
    lines = shown.splitlines()
    password = laptop.make("-s", "letta-password").out.strip()
    assert f"LETTA_API_KEY={password}" in lines
    assert "LETTA_BASE_URL=http://127.0.0.1:8283" in lines
    assert "OWN=given to this agent" in lines and f"LETTA_AGENT_ID={agent['id']}" in lines
    names = {line.partition("=")[0]: line for line in lines}
    assert [name for name, line in names.items() if password in line] == ["LETTA_API_KEY"]
    for secret in ("postgres_password", "letta_encryption_key"):
        assert box.check(f"cat /etc/lettabox/secrets/{secret}") not in shown
    # The server itself has more: the look at it is not empty.
    server = box.check('docker exec letta-server sh -c \'tr "\\0" "\\n" < /proc/1/environ\'')
    beyond = {line.partition("=")[0] for line in server.splitlines()} - set(names)
    assert {"LETTA_PG_URI", "LETTA_ENCRYPTION_KEY", "LETTA_SERVER_PASSWORD"} <= beyond
    assert "127.0.0.1" in names["NO_PROXY"]


@pytest.mark.parametrize(
    ("tool", "answer"),
    [
        ("send_message_to_agent_and_wait_for_reply", "the answer of B"),
        ("send_message_to_agent_async", "Successfully sent message"),
    ],
)
def test_an_agent_sends_a_message_to_another_in_secure_mode(deployed, api, model, make_agent, tool, answer):
    assert requests.get(f"{api.proxy}/v1/agents/", timeout=10).status_code == 401
    (found,) = api.call("GET", "/v1/tools/", params={"name": tool})
    sender, receiver = make_agent("A", tool_ids=[found["id"]]), make_agent("B")
    call = {"name": tool, "arguments": {"message": "greetings from a", "other_agent_id": receiver["id"]}}
    # In the order in which they come: A calls the tool, B answers meanwhile, A goes on.
    model({"tool_calls": [call]}, {"content": "the answer of B"}, {"content": "done"})
    assert answer in returned(api.say(sender, "tell B"))
    heard = api.call("GET", f"/v1/agents/{receiver['id']}/messages", params={"limit": 100})
    assert any("greetings from a" in str(one) and sender["id"] in str(one) for one in heard), heard
