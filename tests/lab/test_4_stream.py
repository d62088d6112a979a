"""The SSE proxy, with a real server and a model that speaks slowly."""

import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests


@pytest.fixture
def model(deployed):
    url = deployed.model_control_url
    requests.delete(f"{url}/_script", timeout=5).raise_for_status()

    def script(*replies):
        requests.post(f"{url}/_script", json={"replies": list(replies)}, timeout=5).raise_for_status()

    yield script
    requests.delete(f"{url}/_script", timeout=5).raise_for_status()


@pytest.fixture
def agent(api, deployed):
    made = api.agent("streamer", deployed.model_url)
    yield made
    api.call("DELETE", f"/v1/agents/{made['id']}")


def stream(api, agent, timeout, heard=lambda data: None):
    """[(seconds since the request, event data)] of a streamed chat through the proxy; each is told to `heard`."""
    began, events = time.monotonic(), []
    body = {
        "messages": [{"role": "user", "content": "speak"}],
        "stream_tokens": True,
        "include_pings": False,
    }
    url = f"{api.proxy}/v1/agents/{agent['id']}/messages/stream"
    with api.session.post(url, json=body, stream=True, timeout=timeout) as answer:
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        for line in answer.iter_lines(chunk_size=1):
            if line.startswith(b"data: "):
                events.append((time.monotonic() - began, line[6:].decode()))
                heard(events[-1][1])
    return events


def test_events_arrive_one_by_one(api, model, agent):
    words = [f"word{number} " for number in range(8)]
    model({"chunks": words, "chunk_delay_s": 0.5})
    events = stream(api, agent, timeout=60)
    assert events[-1][1] == "[DONE]"
    arrival = {}
    for when, data in events:
        for word in words:
            if word.strip() in data:
                arrival.setdefault(word, when)
    assert len(arrival) == len(words), events
    gaps = [later - earlier for earlier, later in itertools.pairwise(arrival.values())]
    # Sent every 0.5 s; a proxy that buffers delivers all at once at the end.
    assert all(0.2 < gap < 1.5 for gap in gaps), gaps


def test_a_long_silence_cuts_neither_a_stream_nor_a_plain_post(api, deployed, model, agent):
    """Both at once, each for longer than the 60 s after which nginx gives up by default."""
    model({"chunks": ["before ", "after"], "silence_s": 70}, {"content": "late", "delay_s": 65})
    other = api.agent("thinker", deployed.model_url)
    begun = threading.Event()
    try:
        with ThreadPoolExecutor(1) as beside:
            streamed = beside.submit(stream, api, agent, 150, heard=lambda data: "before" in data and begun.set())
            assert begun.wait(60)  # the model gives its replies in the order in which it is asked
            body = {"messages": [{"role": "user", "content": "think"}]}
            answer = api.call("POST", f"/v1/agents/{other['id']}/messages", json=body, timeout=120)
            events = streamed.result(150)
    finally:
        api.call("DELETE", f"/v1/agents/{other['id']}")
    assert "late" in json.dumps(answer)
    assert events[-1][1] == "[DONE]"
    assert not any('"ping"' in data for _, data in events)
    times = [when for when, _ in events]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) >= 69
    assert any("after" in data for _, data in events), events


def test_the_user_header_passes(api, agent):
    organization = api.call("POST", "/v1/admin/orgs/", json={"name": "another"})
    user = api.call("POST", "/v1/admin/users/", json={"name": "stranger", "organization_id": organization["id"]})
    try:
        # The header decides whose agents are counted: the stranger has none, whoever `agent` belongs to has.
        assert api.call("GET", "/v1/agents/count", headers={"user_id": user["id"]}) == 0
        assert api.call("GET", "/v1/agents/count") >= 1
    finally:
        api.call("DELETE", "/v1/admin/users/", params={"user_id": user["id"]})
        api.call("DELETE", "/v1/admin/orgs/", params={"org_id": organization["id"]})


def test_redirects_keep_host_and_port(api):
    answer = api.session.get(f"{api.proxy}/v1/health", allow_redirects=False, timeout=10)
    assert answer.status_code == 307
    assert answer.headers["Location"] == f"{api.proxy}/v1/health/"
