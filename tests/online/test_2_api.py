"""The API: guarded, the right version, and agents keep what they are told."""

import uuid

import pytest
import requests

# Never called: an agent needs some model to exist.
MODEL = {
    "model": "verify",
    "model_endpoint_type": "openai",
    "model_endpoint": "http://127.0.0.1:9/v1",
    "context_window": 8000,
}


@pytest.fixture
def bare():
    """A session without the password."""
    session = requests.Session()
    session.trust_env = False
    return session


@pytest.fixture
def agent(api, server):
    """An agent that is gone after the test, whatever happens in it."""
    made = api.post(
        f"{server}/v1/agents/",
        timeout=30,
        json={
            "name": f"lettabox-verify-{uuid.uuid4().hex[:8]}",
            "llm_config": MODEL,
            "tags": ["lettabox-verify"],
            "memory_blocks": [{"label": "note", "value": "kept through the proxy"}],
        },
    )
    made.raise_for_status()
    agent = made.json()
    yield agent
    api.delete(f"{server}/v1/agents/{agent['id']}", timeout=30).raise_for_status()
    assert api.get(f"{server}/v1/agents/{agent['id']}", timeout=30).status_code == 404


def test_health_and_version(bare, server, proxy, settings):
    for url in (server, proxy):
        health = bare.get(f"{url}/v1/health/", timeout=10)
        assert health.status_code == 200
        assert health.json() == {"version": settings.letta.version, "status": "ok"}


def test_the_api_is_closed_without_the_password(bare, server, proxy):
    for url in (server, proxy):
        assert bare.get(f"{url}/v1/agents/", timeout=10).status_code == 401
        wrong = {"Authorization": "Bearer wrong"}
        assert bare.get(f"{url}/v1/agents/count", headers=wrong, timeout=10).status_code == 401


def test_agents_can_be_counted_and_listed(api, server):
    count = api.get(f"{server}/v1/agents/count", timeout=10)
    assert count.status_code == 200 and count.json() >= 0
    # One row that the image cannot read makes the list fail for all agents while the count still answers.
    assert api.get(f"{server}/v1/agents/", params={"limit": 1}, timeout=10).status_code == 200


def test_an_agent_keeps_its_memory(api, proxy, agent):
    blocks = f"{proxy}/v1/agents/{agent['id']}/core-memory/blocks/note"
    assert api.get(blocks, timeout=10).json()["value"] == "kept through the proxy"
    api.patch(blocks, json={"value": "changed"}, timeout=10).raise_for_status()
    assert api.get(blocks, timeout=10).json()["value"] == "changed"
    archival = f"{proxy}/v1/agents/{agent['id']}/archival-memory"
    api.post(archival, json={"text": "a passage to keep"}, timeout=10).raise_for_status()
    assert [one["text"] for one in api.get(archival, timeout=10).json()] == ["a passage to keep"]


def test_redirects_lead_back_through_the_proxy(api, proxy):
    redirect = api.get(f"{proxy}/v1/health", allow_redirects=False, timeout=10)
    assert redirect.status_code == 307
    assert redirect.headers["Location"] == f"{proxy}/v1/health/"
