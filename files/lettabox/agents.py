"""All agents of the server, by the API, however many there are."""

from typing import Any

from lettabox.api import Api, Refused
from lettabox.errors import LettaboxError


def listed(api: Api) -> list[dict[str, Any]]:
    """Return every agent, hidden ones too, oldest first. Raises Refused when a row among them cannot be read.

    Of an agent's relations only the secrets are asked for: it is the cheapest list that reads all that can be
    unreadable. The server's own limit is 50, and newest first.
    """
    return api.all("/v1/agents/", show_hidden_agents="true", include_relationships="secrets")


class Hidden(LettaboxError):
    """The server counts agents and cannot list them."""


def check(api: Api) -> list[dict[str, Any]]:
    """Return every agent. Raises Hidden when there are some and the list of them fails."""
    count = api.get("/v1/agents/count", show_hidden_agents="true")
    try:
        found = listed(api)
    except Refused as error:
        if not count:
            raise
        raise Hidden(
            f"Letta counts {count} agents and cannot list them (HTTP {error.status}: {error.text[:120]}…); "
            "nothing is lost, one row that it cannot read hides all",
            error.code,
        ) from None
    return found
