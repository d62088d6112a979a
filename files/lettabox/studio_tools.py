"""The agents' tools in Letta: the studio's four, by the API, and what they need to reach the studio.

Facts about Letta 0.16.8 that shape this, all seen on the real server:
- A PATCH with a new source keeps the old schema; a PUT makes it from the source, and keeps the tool's id, so that
  agents which have the tool go on with the new one.
- Tools that are run in the server's local sandbox get, besides their agent's own secrets, the variables of the
  organisation's sandbox configuration, encrypted in the database. They are there for every agent, survive restarts,
  and a change of them holds from the next call on.
"""

from typing import Any

from lettabox import secrets, studio_service
from lettabox.api import Api
from lettabox.errors import FAILED, LettaboxError
from lettabox.studio_tool_source import NAMES, source
from lettabox.studio_tools_state import SECRET, TAG, TOKEN, URL


def converge() -> None:
    """Create and correct the tools and the variables, and print one line for each.

    A tool of the same name that is not ours is told and left alone. Raises LettaboxError where Letta refuses.
    """
    token = secrets.read(SECRET)
    api = Api()
    rows = api.call("GET", "/v1/tools/", names=list(NAMES), limit=100)
    known = {row["name"]: row for row in rows}
    for name in NAMES:
        print(f"tool {name}: {_settle(api, name, known.get(name))}", flush=True)
    for key, value in ((URL, studio_service.bridge()), (TOKEN, token)):
        print(f"variable {key}: {_give(api, key, value)}", flush=True)


def _settle(api: Api, name: str, row: dict[str, Any] | None) -> str:
    wanted = source(name)
    if row and TAG not in (row["tags"] or []):
        return (
            f"ANOTHER TOOL of that name is there ({row['id']}), left alone; "
            "rename or delete it in Letta, then: make studio-tools"
        )
    if row and row["source_code"] == wanted:
        return "unchanged"
    body = {"source_code": wanted, "source_type": "python", "tags": [TAG]}
    if row:
        # What an operator added to it stays.
        body["tags"] = sorted({TAG, *row["tags"]})
        body["default_requires_approval"] = row["default_requires_approval"]
    made = api.call("PUT", "/v1/tools/", body)
    if made["name"] != name:
        raise LettaboxError(f"Letta took the source of {name} for a tool named {made['name']!r}", FAILED)
    return "changed" if row else "created"


def _give(api: Api, key: str, value: str) -> str:
    """Have every tool find a variable in its environment; its value is never printed."""
    # Letta makes the configuration when a first tool runs; asked so, it makes it or gives the one that is there.
    sandbox = api.call("POST", "/v1/sandbox-config/local/default")["id"]
    rows = api.call("GET", f"/v1/sandbox-config/{sandbox}/environment-variable")
    row = next((one for one in rows if one["key"] == key), None)
    if row is None:
        api.call("POST", f"/v1/sandbox-config/{sandbox}/environment-variable", {"key": key, "value": value})
        return "created"
    if row["value"] == value:
        return "unchanged"
    api.call("PATCH", f"/v1/sandbox-config/environment-variable/{row['id']}", {"value": value})
    return "changed"
