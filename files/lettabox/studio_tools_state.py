"""Which of the agents' tools Letta has, and whether its tools get the studio's address and token.

Run by every deploy as a fact, with the system's Python: only the standard library, three small requests.
"""

import http.client
import json
from typing import Any
from urllib.parse import urlencode

from lettabox import paths, secrets, tool_list
from lettabox.settings import local
from lettabox.studio_tool_source import NAMES
from lettabox.tool_source import digest

TIMEOUT = 10  # seconds
TAG = "lettabox-studio"  # on every tool that is ours
URL, TOKEN = "LETTABOX_STUDIO_URL", "LETTABOX_STUDIO_TOKEN"  # in the environment of every tool
SECRET = "studio_token"


class Silent(Exception):
    """Letta does not answer as it should."""


def tool(row: dict[str, Any]) -> dict[str, Any]:
    """What is compared of a tool of the API."""
    return {"ours": TAG in (row["tags"] or []), "source": digest(row["source_code"] or "")}


def state() -> dict[str, Any] | None:
    """{"tools": {name: ...}, "url": the one tools get, "token": whether they get the one of this box}.

    None before the first start, and where Letta does not answer.
    """
    try:
        letta = json.loads(paths.SETTINGS.read_text())["letta"]
        password = secrets.read("letta_server_password")
        token = secrets.fingerprints(SECRET).get(SECRET)
        connection = http.client.HTTPConnection(local(letta["bind"]), letta["port"], timeout=TIMEOUT)
        found = _get(connection, password, f"/v1/tools/?{urlencode(tool_list.named(NAMES), doseq=True)}")
        given = {}
        for one in _get(connection, password, "/v1/sandbox-config/?sandbox_type=local"):
            rows = _get(connection, password, f"/v1/sandbox-config/{one['id']}/environment-variable")
            given = {row["key"]: row["value"] for row in rows}
    except (OSError, http.client.HTTPException, ValueError, KeyError, Silent):
        return None
    return {
        "tools": {row["name"]: tool(row) for row in found},
        "url": given.get(URL),
        "token": token is not None and secrets.fingerprint(SECRET, given.get(TOKEN, "")) == token,
    }


def _get(connection: http.client.HTTPConnection, password: str, path: str) -> Any:
    connection.request("GET", path, headers={"Authorization": f"Bearer {password}"})
    answer = connection.getresponse()
    text = answer.read()
    if answer.status != 200:
        raise Silent(path)
    return json.loads(text)


if __name__ == "__main__":
    if (now := state()) is not None:
        print(json.dumps(now))
