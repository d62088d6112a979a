"""Letta's API, asked from the box with the server password."""

from typing import Any

import requests

from lettabox.errors import UNHEALTHY, LettaboxError
from lettabox.secrets import read
from lettabox.settings import address

PAGE = 100


class Refused(LettaboxError):
    """The server answered, with an error: `status` is the HTTP status, `text` what it said."""

    def __init__(self, what: str, status: int, text: str) -> None:
        super().__init__(f"{what}: HTTP {status} {text}", UNHEALTHY)
        self.status, self.text = status, text


class Api:
    """Calls that return the answer's JSON; each raises Refused, or LettaboxError when there is no answer."""

    def __init__(self) -> None:
        self.url = address("letta")
        self._password = read("letta_server_password")

    def get(self, path: str, timeout: float = 10, **query: Any) -> Any:
        return self.call("GET", path, timeout=timeout, **query)

    def patch(self, path: str, body: dict[str, Any], timeout: float = 60) -> Any:
        return self.call("PATCH", path, body, timeout)

    def upload(self, path: str, name: str, content: bytes, fields: dict[str, str], timeout: float = 600) -> Any:
        """POST a file as a form does it."""
        return self._ask("POST", path, timeout, files={"file": (name, content)}, data=fields)

    def call(self, method: str, path: str, body: Any = None, timeout: float = 60, **query: Any) -> Any:
        return self._ask(method, path, timeout, json=body, params=query)

    def _ask(self, method: str, path: str, timeout: float, **sent: Any) -> Any:
        # A session for each call: they come from several threads.
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment must not get the password
            session.headers["Authorization"] = f"Bearer {self._password}"
            try:
                answer = session.request(method, self.url + path, timeout=timeout, **sent)
                if not answer.ok:
                    raise Refused(f"{method} {path}", answer.status_code, answer.text.strip()[:500])
                return answer.json() if answer.content else None
            except requests.RequestException as error:  # a body that is no JSON is one too
                raise LettaboxError(f"{method} {path}: {error}", UNHEALTHY) from None

    def all(self, path: str, **query: Any) -> list[dict[str, Any]]:
        """Return every element of a list that Letta gives in pages, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            after = {"after": found[-1]["id"]} if found else {}
            page = self.get(path, timeout=60, limit=PAGE, order="asc", **after, **query)
            found += page
            if len(page) < PAGE:
                return found
