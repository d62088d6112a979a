"""A crew of four agents with a memory worth carrying, for tests of moving it: declared, made, lived in, forgotten."""

import json
from pathlib import Path
from typing import Any

import yaml
from lettabox import crew_memory, crew_tool_source

from tests.lab.conftest import Api, Box, Laptop
from tests.lab.waiting import wait_for

TAG, MARK, VARIABLE = "lettabox-crew", "lettabox-crew-unfinished", "LETTABOX_CREW"
CHAT, EMBEDDING = "openai-proxy/gpt-4o", "movelab/text-embedding-3-small"
# None of them must be in an export.
KEY, SECRET = "sk-movelab-0123456789abcdef", "value-of-a-secret-of-an-agent"
TOOL = "lab_shout"
SHOUT = f'''
def {TOOL}(text: str) -> str:
    """Say it louder.

    Args:
        text (str): what to say.
    """
    return text.upper() + "%s"
'''
MAIN = ("director", "writer")
ROLES = ("director", "director-sleeptime", "writer", "writer-sleeptime")
TOOLS = ["conversation_search", "archival_memory_search", "archival_memory_insert"]
LEARNED = "UPDATED_AT: 2026-01-15T10:00:00Z\nCOLOR_PREFERENCES: purple, blue 💜 (learned)\n"
PASSAGES = [
    {
        "text": f"Memory {number} of a dragon 🐉 of the {number}. kind",
        "tags": ["graded-video", f"grade-{number % 3}"],
        "created_at": f"2026-0{1 + number % 9}-11T10:{number:02d}:07.123456+00:00",
    }
    for number in range(57)
]


def settings(laptop: Laptop, folder: Path) -> Path:
    """An inventory that declares the crew."""
    agents = {}
    for role in MAIN:
        (folder / f"{role}.md").write_text(f"You are the {role}.\n1. Do it. 🎬\n")
        (folder / f"{role}-sleeptime.md").write_text(f"You tidy what the {role} knows.\n")
        asleep = {"description": "Tidies.", "system": f"{role}-sleeptime.md", "tools": ["memory_finish_edits"]}
        main = {"description": f"The {role}.", "system": f"{role}.md", "tools": list(TOOLS)}
        agents[role] = {**main, "sleeptime": asleep}
    blocks = {label: {"description": f"What {label} is for.", "limit": 3000} for label in crew_memory.LABELS}
    blocks["user_style"]["read_only"] = True
    (folder / "crew.yml").write_text(yaml.safe_dump({"blocks": blocks, "agents": agents}, allow_unicode=True))
    content = yaml.safe_load(laptop.lab.inventory_path.read_text())
    content["groups"]["gpu"] = list(content["groups"]["letta"])
    content["settings"]["crew"] = {"file": str(folder / "crew.yml"), "model": CHAT, "embedding": EMBEDDING}
    return laptop.write(content)


def forget_models(box: Box) -> None:
    """Letta keeps the models of a provider that was deleted, and takes none of the same name from another one then."""
    box.check("echo 'DELETE FROM provider_models WHERE is_deleted' | docker exec -i letta-postgres psql -XqU letta")


def provider(api: Api, model_url: str) -> str:
    """The id of a new model provider."""
    body = {"name": "movelab", "provider_type": "openai", "api_key": KEY, "base_url": f"{model_url}/v1"}
    return api.call("POST", "/v1/providers/", json=body)["id"]


def shout(api: Api, end: str = "!") -> dict[str, Any]:
    """A tool of somebody else's."""
    return api.call("PUT", "/v1/tools/", json={"source_code": SHOUT % end, "tags": ["lab"]})


def recorded(box: Box) -> bool:
    return box.check("test -e /var/lib/lettabox/crew.json && echo yes || echo no") == "yes"


def record(box: Box) -> dict[str, dict[str, str]]:
    return json.loads(box.check("cat /var/lib/lettabox/crew.json"))


def live(api: Api, made: dict[str, dict[str, str]]) -> None:
    """Give it a history: what people added, messages, learned values, archival memory."""
    director, writer = ({"id": made["agents"][role]} for role in MAIN)
    tool = shout(api)["id"]
    api.call("PATCH", f"/v1/agents/{director['id']}/tools/attach/{tool}", json={})
    own = api.call("POST", "/v1/blocks/", json={"label": "notes", "value": "the writer's own", "limit": 500})["id"]
    api.call("PATCH", f"/v1/agents/{writer['id']}/core-memory/blocks/attach/{own}", json={})
    tags = [TAG, f"{TAG}:writer", "favourite"]
    api.call("PATCH", f"/v1/agents/{writer['id']}", json={"tags": tags, "secrets": {"LAB_KEY": SECRET}})
    compaction = {"mode": "sliding_window", "sliding_window_percentage": 0.4, "prompt": "Sum it up as the lab does."}
    api.call("PATCH", f"/v1/agents/{director['id']}", json={"compaction_settings": compaction})
    for number in range(2):
        api.say(director, f"Make {number} videos of mythical creatures 🐉")
    api.say(writer, "A prompt, please")
    idle(api, made)
    # What a compaction does: some of the oldest leave the context, and stay in recall.
    ids = api.call("GET", f"/v1/agents/{director['id']}")["message_ids"]
    api.call("PATCH", f"/v1/agents/{director['id']}", json={"message_ids": [ids[0], *ids[3:]]})
    api.call("PATCH", f"/v1/blocks/{made['blocks']['user_style']}", json={"value": LEARNED})
    (first,) = api.call("POST", f"/v1/agents/{writer['id']}/archival-memory", json=PASSAGES[0])
    api.call("POST", f"/v1/archives/{first['archive_id']}/passages/batch", json={"passages": PASSAGES[1:]})


def idle(api: Api, made: dict[str, dict[str, str]]) -> None:
    """Wait until none of its agents is at work."""

    def working() -> str | None:
        params = {"active": "true", "limit": 1}
        busy = [
            role
            for role, id_ in made["agents"].items()
            if api.call("GET", "/v1/runs/", params=params | {"agent_id": id_})
        ]
        return ", ".join(busy) or None

    wait_for("the crew to be idle", working, 120)


def forget(api: Api, box: Box) -> None:
    """Delete every crew of the server, what an unfinished import left, the record, and what `live` added."""
    for tag in (TAG, MARK):
        for one in api.call("GET", "/v1/agents/", params={"tags": tag, "limit": 200, "show_hidden_agents": "true"}):
            for archive in api.call("GET", "/v1/archives/", params={"agent_id": one["id"]}):
                api.call("DELETE", f"/v1/archives/{archive['id']}")
            # Its main agent may have taken it along.
            api.session.delete(f"{api.proxy}/v1/agents/{one['id']}", timeout=60)
        for block in api.call("GET", "/v1/blocks/", params={"tags": tag, "limit": 200}):
            api.call("DELETE", f"/v1/blocks/{block['id']}")
    for block in api.call("GET", "/v1/blocks/", params={"label": "notes", "limit": 200}):
        api.call("DELETE", f"/v1/blocks/{block['id']}")
    box.check("rm -f /var/lib/lettabox/crew.json /var/lib/lettabox/crew-started /etc/lettabox/crew.json")
    forget_tools(api, TOOL)


def forget_tools(api: Api, *names: str) -> None:
    for tool in api.call("GET", "/v1/tools/", params={"names": names, "limit": 100}):
        api.call("DELETE", f"/v1/tools/{tool['id']}")


def forget_all(api: Api, box: Box) -> None:
    """And the crew's tools, and what tools know of it."""
    forget(api, box)
    forget_tools(api, *crew_tool_source.NAMES)
    for sandbox in api.call("GET", "/v1/sandbox-config/", params={"sandbox_type": "local"}):
        for row in api.call("GET", f"/v1/sandbox-config/{sandbox['id']}/environment-variable"):
            if row["key"] == VARIABLE:
                api.call("DELETE", f"/v1/sandbox-config/environment-variable/{row['id']}")
