"""Agents of the endpoint type claude-max-router, on the real server, against a router that is the fake model."""

import json
import re
from pathlib import Path

import pytest
import requests

from inventory.endpoint_type import LETTAS_OWN

TYPE = "claude-max-router"
VERIFY = "docker run --rm --network none --entrypoint /bin/sh"
PYTHON = "/app/.venv/bin/python"


def test_stock_fails_where_patched_passes(deployed, box):
    """What the widely copied recipe does: the name in two lists. It builds, and no agent can be had."""
    sed = 'sed -i \'s/"xai",/"xai", "claude-max-router",/\' letta/schemas/llm_config.py letta/schemas/model.py'
    check = f"{PYTHON} /opt/lettabox/verify_endpoint_types.py"
    mount = "-v /opt/lettabox/letta_image/lettabox:/opt/lettabox:ro"
    (recipe := Path("/proc", str(deployed.pid), "root/root/recipe.sh")).write_text(f"{sed}; {check}\n")
    for command in (check, "sh /recipe.sh"):
        run = f"{VERIFY} {mount} -v /root/recipe.sh:/recipe.sh:ro letta/letta:0.16.8 -c '{command}' 2>&1"
        code, said = deployed.exec(["sh", "-c", run])
        assert code == 1, said
        assert f"{TYPE} is not accepted" in said and "openai is not accepted" not in said
    recipe.unlink()
    image = box.check("docker inspect --format '{{.Config.Image}}' letta-server")
    assert "every endpoint type as wanted" in box.check(f"{VERIFY} {image} -c '{check}' 2>&1")


def test_applying_twice_changes_nothing(deployed, box):
    image = box.check("docker inspect --format '{{.Config.Image}}' letta-server")
    apply = f"{PYTHON} /opt/lettabox/apply.py /app /opt/lettabox/patches"
    assert (
        box.check(
            f"{VERIFY} {image} -c 'md5sum $(find letta -name \"*.py\") > /tmp/a; {apply}; md5sum -c --quiet /tmp/a'"
        )
        == ""
    )


def test_several_types_under_names_of_their_own(deployed, box):
    box.check(
        "rm -rf /root/types && cp -r /opt/lettabox/letta_image /root/types && "
        "echo \"ENDPOINT_TYPES = ('claude-max-router', 'my-router')\" > /root/types/endpoint_types.py && "
        "docker build -q --network none --build-arg BASE=letta/letta:0.16.8 --tag types /root/types"
    )
    check = f"{PYTHON} /opt/lettabox/verify_endpoint_types.py"  # reads the names from the image
    assert "as wanted" in box.check(f"{VERIFY} types -c '{check}; grep -c my-router letta/lettabox.py' 2>&1")
    box.check("docker rmi types")


@pytest.fixture(scope="module")
def config(deployed):
    return {
        "model": "fake",
        "model_endpoint_type": TYPE,
        "model_endpoint": f"{deployed.model_url}/v1",
        "context_window": 32000,
        "handle": f"{TYPE}/fake",
        "provider_name": TYPE,
    }


@pytest.fixture
def agent(api, deployed, config):
    embedding = {
        "embedding_endpoint_type": "openai",
        "embedding_endpoint": f"{deployed.model_url}/v1",
        "embedding_model": "text-embedding-3-small",
        "embedding_dim": 1536,
    }
    made = api.call(
        "POST",
        "/v1/agents/",
        json={
            "name": "routed",
            "llm_config": config,
            "embedding_config": embedding,
            "enable_sleeptime": True,
            "memory_blocks": [{"label": "human", "value": "likes short answers"}],
        },
    )
    yield made
    for one in api.call("GET", "/v1/agents/"):
        if one["name"].startswith("routed") and "sleeptime" not in one["name"]:
            api.call("DELETE", f"/v1/agents/{one['id']}")


@pytest.fixture
def router(deployed):
    """The requests for completions that reached the agent's model_endpoint."""
    url = f"{deployed.model_control_url}/_requests"
    requests.delete(url, timeout=5).raise_for_status()

    def completions():
        found = requests.get(url, timeout=5).json()["requests"]
        return [one for one in found if one["path"] == "/v1/chat/completions"]

    return completions


def said(events):
    return [json.loads(data) for data in events if data.startswith("{")]


def stream(api, agent, **options):
    body = {"messages": [{"role": "user", "content": "one two three four five six"}], "include_pings": False, **options}
    url = f"{api.proxy}/v1/agents/{agent['id']}/messages/stream"
    with api.session.post(url, json=body, stream=True, timeout=60) as answer:
        assert answer.status_code == 200
        return [line[6:].decode() for line in answer.iter_lines() if line.startswith(b"data: ")]


def test_the_whole_life_of_an_agent(api, agent, router, tmp_path):
    path = f"/v1/agents/{agent['id']}"

    # List and retrieve, its sleeptime agent too.
    listed = {one["id"]: one for one in api.call("GET", "/v1/agents/")}
    assert listed[agent["id"]]["llm_config"]["model_endpoint_type"] == TYPE
    assert [one for one in listed.values() if one["agent_type"] == "sleeptime_agent"]
    assert api.call("GET", path)["model_settings"]["provider_type"] == "openai"

    # A message, and what the router got for it.
    assert "hello router" in json.dumps(api.say(agent, "hello router"))
    request = next(one for one in router() if "hello router" in json.dumps(one["body"]["messages"]))
    assert request["body"]["model"] == "fake"
    assert {one["role"] for one in request["body"]["messages"]} >= {"system", "user"}
    assert all(tool["type"] == "function" for tool in request["body"]["tools"])

    # Steps, and tokens: several pieces of one message, not the whole at once.
    steps = [
        one for one in said(stream(api, agent, stream_tokens=False)) if one.get("message_type") == "assistant_message"
    ]
    assert len(steps) == 1 and "five" in json.dumps(steps)
    tokens = [
        one for one in said(stream(api, agent, stream_tokens=True)) if one.get("message_type") == "assistant_message"
    ]
    assert len(tokens) > 1, "token streaming fell back to steps"
    # Not the last one: the sleeptime agent asks too, when it likes.
    assert any(one["body"].get("stream") for one in router())

    # Context, summary, settings.
    assert api.call("GET", f"{path}/context")["context_window_size_max"] == 32000
    summary = api.call("POST", f"{path}/summarize", json={"compaction_settings": {"mode": "all"}})
    assert summary["num_messages_after"] < summary["num_messages_before"]
    settings = {"provider_type": "openai", "temperature": 0.25, "max_output_tokens": 1234}
    changed = api.call("PATCH", path, json={"model_settings": settings})
    assert changed["llm_config"]["temperature"] == 0.25 and changed["llm_config"]["max_tokens"] == 1234
    assert changed["llm_config"]["model_endpoint_type"] == TYPE
    api.say(agent, "and again")
    assert any(one["body"].get("temperature") == 0.25 for one in router())

    # Out and in again, then empty.
    exported = api.call("GET", f"{path}/export")
    files = {"file": ("routed.af", json.dumps(exported))}
    imported = api.call("POST", "/v1/agents/import", files=files)["agent_ids"]
    copies = [api.call("GET", f"/v1/agents/{one}") for one in imported]
    assert {one["llm_config"]["model_endpoint_type"] for one in copies} == {TYPE}
    copy = next(one for one in copies if one["agent_type"] != "sleeptime_agent")
    assert "still here" in json.dumps(api.say(copy, "still here"))
    api.call("PATCH", f"{path}/reset-messages", json={})
    assert len(api.call("GET", path)["message_ids"]) == 1
    assert api.call("GET", "/v1/agents/count") == len(api.call("GET", "/v1/agents/"))


def test_tool_rules_switch_parallel_calls_off(api, config, router):
    """As for Letta's own type openai: two calls at once could break a rule about their order."""
    rule = {"type": "continue_loop", "tool_name": "conversation_search"}
    for rules, parallel in (([], True), ([rule], False)):
        made = api.call(
            "POST",
            "/v1/agents/",
            json={
                "name": "ruled",
                "llm_config": config | {"parallel_tool_calls": True},
                "include_base_tool_rules": False,
                "tool_rules": rules,
            },
        )
        api.say(made, "hello")
        assert router()[-1]["body"]["parallel_tool_calls"] is parallel
        api.call("DELETE", f"/v1/agents/{made['id']}")


def test_an_invented_type_is_still_refused(api, config):
    answer = api.session.post(
        f"{api.proxy}/v1/agents/",
        json={"name": "x", "llm_config": config | {"model_endpoint_type": "no-such"}},
        timeout=30,
    )
    assert answer.status_code == 422
    may = set(re.findall(r"'([a-z_-]+)'", answer.json()["detail"].partition("Input should be ")[2].partition('"')[0]))
    assert TYPE in may, "the answer names what may be written"
    assert may - {TYPE} <= LETTAS_OWN, "names that the settings would take for new ones"


def test_it_is_no_type_of_provider(api):
    """A provider row of this type would stop every other image at its start."""
    answer = api.session.post(
        f"{api.proxy}/v1/providers/", json={"name": "x", "provider_type": TYPE, "api_key": "k"}, timeout=30
    )
    assert answer.status_code == 422
