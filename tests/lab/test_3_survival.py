"""Agents outlive whatever is done to the stack, with their memory, seen through the real API."""

import pytest


@pytest.fixture
def agents(api, deployed):
    """Three agents that have been told something; removed at the end."""
    made = []
    for number in range(3):
        agent = api.agent(
            f"survivor-{number}",
            deployed.model_url,
            memory_blocks=[{"label": "human", "value": f"likes the number {number}"}],
        )
        api.say(agent, f"my number is {number}")
        api.call("POST", f"/v1/agents/{agent['id']}/archival-memory", json={"text": f"passage {number}"})
        made.append(agent)
    yield made
    for agent in made:
        api.call("DELETE", f"/v1/agents/{agent['id']}")


def memories(api, agents):
    """All that the agents know: blocks, passages and the texts of their messages."""
    found = {}
    for agent in agents:
        base = f"/v1/agents/{agent['id']}"
        found[agent["id"]] = (
            api.call("GET", base)["name"],
            sorted((one["label"], one["value"]) for one in api.call("GET", f"{base}/core-memory/blocks")),
            sorted(one["text"] for one in api.call("GET", f"{base}/archival-memory")),
            [
                (one["message_type"], one.get("content"))
                for one in api.call("GET", f"{base}/messages", params={"order": "asc", "limit": 100})
            ],
        )
    return found


def redeploy_with_another_server(lab, laptop, box):
    laptop.deploy(laptop.inventory(letta={"keepalive_interval": 21}))


def restart(lab, laptop, box):
    done = laptop.make("letta-restart")
    assert done.code == 0, done.text


def reboot(lab, laptop, box):
    lab.reboot()
    box.check("for i in $(seq 120); do lettabox letta status >/dev/null 2>&1 && exit 0; sleep 1; done; exit 1")


def down_and_deploy(lab, laptop, box):
    # -v as well: it removes the volumes of an ordinary project.
    box.check("docker compose --project-directory /opt/lettabox/letta down -v")
    assert box.containers() == {}
    laptop.deploy()


@pytest.mark.parametrize("event", [redeploy_with_another_server, restart, reboot, down_and_deploy])
def test_agents_survive(restored, laptop, box, api, agents, event):
    before = memories(api, agents)
    assert any("my number is 1" in str(one) for one in before.values())
    containers = box.containers()
    event(restored, laptop, box)
    assert box.containers() != containers, "nothing happened to the stack"
    assert memories(api, agents) == before
    assert api.say(agents[0], "still there?")


def test_stop_and_start(deployed, laptop, box, api, agents):
    before = memories(api, agents)
    assert laptop.make("letta-stop", "YES=1").code == 0
    status = laptop.make("letta-status")
    assert status.code != 0 and "stopped" in status.out
    assert laptop.make("letta-start").code == 0
    status = laptop.make("letta-status")
    assert status.code == 0 and "healthy" in status.out and "Letta 0.16.8, " in status.out
    assert memories(api, agents) == before
