"""Tools of ours in Letta, and the variables that tools find in their environment, by the API.

Facts about Letta 0.16.8 that shape this, all seen on the real server:
- A PATCH with a new source keeps the old schema; a PUT makes it from the source, and keeps the tool's id, so that
  agents which have the tool go on with the new one.
- Tools that are run in the server's local sandbox get, besides their agent's own secrets, the variables of the
  organisation's sandbox configuration, encrypted in the database. They are there for every agent, survive restarts,
  and a change of them holds from the next call on.
"""

from typing import Any

from lettabox import tool_list
from lettabox.api import Api
from lettabox.errors import FAILED, LettaboxError


def install(api: Api, tag: str, sources: dict[str, str], again: str) -> dict[str, str]:
    """Create and correct the tools {name: source}, print one line for each, and return {name: id} of ours.

    A tool of the same name without `tag` is told, with the verb to run `again`, and left alone. Raises LettaboxError
    where Letta refuses.
    """
    rows = api.call("GET", "/v1/tools/", **tool_list.named(sources))
    known = {row["name"]: row for row in rows}
    ids = {}
    for name, source in sources.items():
        row = known.get(name)
        if row and tag not in (row["tags"] or []):
            said = (
                f"ANOTHER TOOL of that name is there ({row['id']}), left alone; "
                f"rename or delete it in Letta, then: {again}"
            )
        else:
            said, ids[name] = _settle(api, tag, name, source, row)
        print(f"tool {name}: {said}", flush=True)
    return ids


def give(api: Api, variables: dict[str, str]) -> None:
    """Have every tool find these variables in its environment; print a line for each, never its value."""
    # Letta makes the configuration when a first tool runs; asked so, it makes it or gives the one that is there.
    sandbox = api.call("POST", "/v1/sandbox-config/local/default")["id"]
    rows = api.call("GET", f"/v1/sandbox-config/{sandbox}/environment-variable")
    known = {one["key"]: one for one in rows}
    for key, value in variables.items():
        said = "unchanged"
        if key not in known:
            api.call("POST", f"/v1/sandbox-config/{sandbox}/environment-variable", {"key": key, "value": value})
            said = "created"
        elif known[key]["value"] != value:
            api.call("PATCH", f"/v1/sandbox-config/environment-variable/{known[key]['id']}", {"value": value})
            said = "changed"
        print(f"variable {key}: {said}", flush=True)


def _settle(api: Api, tag: str, name: str, source: str, row: dict[str, Any] | None) -> tuple[str, str]:
    """(what was done, the tool's id), for a tool that is not there or is ours."""
    if row and row["source_code"] == source:
        return "unchanged", row["id"]
    body = {"source_code": source, "source_type": "python", "tags": [tag]}
    if row:
        # What an operator added to it stays.
        body["tags"] = sorted({tag, *row["tags"]})
        body["default_requires_approval"] = row["default_requires_approval"]
    made = api.call("PUT", "/v1/tools/", body)
    if made["name"] != name:
        raise LettaboxError(f"Letta took the source of {name} for a tool named {made['name']!r}", FAILED)
    return "changed" if row else "created", made["id"]
