"""Which model providers the Letta server has, and whether they are what the last run of `letta providers` left.

Run by every deploy as a fact, with the system's Python: only the standard library, one request.
"""

import hashlib
import http.client
import json
from typing import Any

from lettabox import paths, secrets
from lettabox.settings import local

TIMEOUT = 10  # seconds


def record() -> dict[str, dict[str, str]]:
    """{provider: {"key": fingerprint of the key that was given to Letta, "stored": `stored` of its row then}}."""
    try:
        return json.loads(paths.PROVIDERS.read_text())
    except FileNotFoundError:
        return {}


def stored(row: dict[str, Any]) -> str:
    """A hash of the encrypted key in a row of the API: it changes when the key does, and only then."""
    return hashlib.sha256(str(row.get("api_key_enc")).encode()).hexdigest()[:16]


def key_name(provider: str) -> str:
    """Name of the secret that is a provider's key."""
    return f"provider-{provider}"


def rows() -> list[dict[str, Any]] | None:
    """The provider rows of the API; None when it does not answer as it should."""
    letta = json.loads(paths.SETTINGS.read_text())["letta"]
    connection = http.client.HTTPConnection(local(letta["bind"]), letta["port"], timeout=TIMEOUT)
    try:
        password = secrets.read("letta_server_password")
        connection.request("GET", "/v1/providers/?limit=1000", headers={"Authorization": f"Bearer {password}"})
        answer = connection.getresponse()
        return json.loads(answer.read()) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        return None
    finally:
        connection.close()


def state() -> dict[str, Any] | None:
    """{"keys": {secret: fingerprint}, "rows": {name: ...}}, or None before the first start."""
    try:
        found, before = rows(), record()
    except (FileNotFoundError, ValueError):
        return None
    if found is None:
        return None
    keys = secrets.fingerprints(key_name(""))
    return {
        "keys": keys,
        "rows": {
            row["name"]: {
                "type": row["provider_type"],
                "base_url": row["base_url"],
                # The row has the key that the last run gave to it.
                "as_left": before.get(row["name"], {}).get("stored") == stored(row),
                # And that was the key which lies here.
                "key": before.get(row["name"], {}).get("key"),
                "answered": row["last_synced"] is not None,
            }
            for row in found
        },
    }


if __name__ == "__main__":
    if (now := state()) is not None:
        print(json.dumps(now))
