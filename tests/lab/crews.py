"""What tests of a crew leave: nothing."""

from typing import Any

from lettabox import crew_tool_source

TAG, VARIABLE = "lettabox-crew", "LETTABOX_CREW"
FILES = "/etc/lettabox/crew.json /var/lib/lettabox/crew.json /var/lib/lettabox/crew-started"


def tagged(api: Any, path: str = "/v1/agents/") -> list[dict]:
    """The agents, or blocks, with the crew's tag."""
    return api.call("GET", path, params={"tags": TAG, "limit": 1000})


def forget(api: Any, box: Any) -> None:
    """Have no crew on the server or on the box; its tools and their variable stay."""
    for row in tagged(api):
        # One that went with its main agent is not there any more.
        api.session.delete(f"{api.proxy}/v1/agents/{row['id']}", timeout=60)
    for row in tagged(api, "/v1/blocks/"):
        api.call("DELETE", f"/v1/blocks/{row['id']}")
    box.check(f"rm -f {FILES}")


def forget_tools(api: Any) -> None:
    """Have none of the crew's tools, and no variable for them."""
    for row in api.call("GET", "/v1/tools/", params={"names": crew_tool_source.NAMES, "limit": 100}):
        if TAG in (row["tags"] or []):
            api.call("DELETE", f"/v1/tools/{row['id']}")
    for sandbox in api.call("GET", "/v1/sandbox-config/", params={"sandbox_type": "local"}):
        for row in api.call("GET", f"/v1/sandbox-config/{sandbox['id']}/environment-variable"):
            if row["key"] == VARIABLE:
                api.call("DELETE", f"/v1/sandbox-config/environment-variable/{row['id']}")


def forget_providers(api: Any, box: Any, *names: str) -> None:
    """Have none of these providers, nor the rows of their models, which would keep those of a later one away."""
    for row in api.call("GET", "/v1/providers/", params={"limit": 1000}):
        if row["name"] in names:
            api.call("DELETE", f"/v1/providers/{row['id']}")
    statement = "DELETE FROM provider_models WHERE is_deleted"
    box.check(f"docker exec letta-postgres psql -XqU letta -c '{statement}'")
