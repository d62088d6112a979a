"""What an import of a crew that was cut off left in Letta: found by a mark, removed or finished, and nothing else.

Everything an import creates has the mark from its creation on, and not yet the tags of a crew: no deploy takes it for
one. The record is written when all of it is there; from then on it is the crew, and losing the mark is all that is
left to do.
"""

from dataclasses import dataclass
from typing import Any

from lettabox import crew_record, database
from lettabox.api import Api, Refused

MARK = "lettabox-crew-unfinished"


@dataclass
class Found:
    """What has the mark: rows with their id and tags."""

    agents: list[dict[str, Any]]
    blocks: list[dict[str, Any]]
    tools: list[dict[str, Any]]

    def __str__(self) -> str:
        return f"{len(self.agents)} agents, {len(self.blocks)} blocks, {len(self.tools)} tools"

    def __bool__(self) -> bool:
        return bool(self.agents or self.blocks or self.tools)


def find(api: Api) -> Found:
    """All that has the mark."""
    marked = {"tags": MARK, "match_all_tags": "true"}
    agents = api.all("/v1/agents/", show_hidden_agents="true", include_relationships="tags", **marked)
    blocks = api.all("/v1/blocks/", show_hidden_blocks="true", **marked)
    # Letta lists no tools by their tags.
    tools = database.rows(f"SELECT id, tags FROM tools WHERE tags::jsonb ? '{MARK}' AND NOT is_deleted")
    return Found(agents, blocks, tools)


def finished(found: Found, record: crew_record.Record) -> bool:
    """Whether the import was done but for the marks: the record names what has them."""
    return bool(found.agents and {one["id"] for one in found.agents} & set(record.agents.values()))


def finish(api: Api, found: Found, record: crew_record.Record) -> None:
    """Give what the record names, and what came with it, the crew's tags in place of the mark; remove the rest."""
    roles = {id_: role for role, id_ in record.agents.items()}
    labels = {id_: label for label, id_ in record.blocks.items()}
    blocks = set(labels)
    for one in found.agents:
        if one["id"] in roles:
            blocks |= {block["id"] for block in api.get(f"/v1/agents/{one['id']}/core-memory/blocks", limit=1000)}
    for one in found.blocks:
        if one["id"] in blocks:
            tags = crew_record.tags(labels[one["id"]]) if one["id"] in labels else []
            api.patch(f"/v1/blocks/{one['id']}", {"tags": _settled(one, tags)})
    for one in found.tools:
        api.patch(f"/v1/tools/{one['id']}", {"tags": _settled(one, [])})
    for one in found.agents:
        if one["id"] in roles:
            api.patch(f"/v1/agents/{one['id']}", {"tags": _settled(one, crew_record.tags(roles[one["id"]]))})
    agents = [one for one in found.agents if one["id"] not in roles]
    if left := Found(agents, [one for one in found.blocks if one["id"] not in blocks], []):
        remove(api, left)


def remove(api: Api, found: Found) -> None:
    """Delete it, with the archival memory of its agents, and say so."""
    print(f"removing what an unfinished import left: {found}", flush=True)
    ours = {one["id"] for one in found.agents}
    for one in found.agents:
        for archive in api.get("/v1/archives/", agent_id=one["id"], limit=100):
            if {agent["id"] for agent in api.get(f"/v1/archives/{archive['id']}/agents", limit=100)} <= ours:
                _delete(api, f"/v1/archives/{archive['id']}")
        # With a main agent goes its sleeptime agent, whose turn then finds nothing.
        _delete(api, f"/v1/agents/{one['id']}")
    for one in found.blocks:
        _delete(api, f"/v1/blocks/{one['id']}")
    for one in found.tools:
        _delete(api, f"/v1/tools/{one['id']}")


def _settled(row: dict[str, Any], tags: list[str]) -> list[str]:
    return sorted({*(row["tags"] or []), *tags} - {MARK})


def _delete(api: Api, path: str) -> None:
    try:
        api.call("DELETE", path)
    except Refused as error:
        if error.status != 404:
            raise
