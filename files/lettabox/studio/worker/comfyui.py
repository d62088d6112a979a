"""This box's ComfyUI, as the worker talks to it: without blocking, and with a name for each way not to answer."""

from typing import Any

import aiohttp

from lettabox import comfyui_api
from lettabox.errors import LettaboxError

PATIENCE = 10  # seconds an answer may take; it answers in milliseconds unless it loads a model


class Silent(Exception):
    """It gave no answer that could be used: too late, cut off, or an error. It may have heard all the same."""


class Down(Silent):
    """Nothing listens on its port: the process has gone, and with it all that it was rendering."""


class Refused(LettaboxError):
    """It does not take the workflow. `missing`: only because files, such as models, are not there."""

    def __init__(self, message: str, missing: bool) -> None:
        super().__init__(message)
        self.missing = missing


class ComfyUI:
    """`client` is what it is told of who asks: without one, old versions lose outputs."""

    def __init__(self, port: int, client: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._client = client
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "ComfyUI":
        # A connection of its own for each request: one that was kept is cut off by a restart at its next use.
        connector = aiohttp.TCPConnector(force_close=True)
        self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE))
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def _call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """(Status, JSON or text). Raises Silent or Down."""
        assert self._session is not None
        try:
            async with self._session.request(method, self._url + path, json=body) as answer:
                text = await answer.text()
                if answer.content_type == "application/json":
                    return answer.status, await answer.json()
                return answer.status, text
        except aiohttp.ClientConnectorError as error:
            raise Down(str(error)) from None
        except TimeoutError:
            raise Silent(f"{method} {path}: no answer in {PATIENCE} s") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise Silent(f"{method} {path}: {error!r}") from None

    async def ready(self) -> None:
        """Nothing when it answers well. Raises Silent or Down."""
        status, said = await self._call("GET", "/prompt")
        if status != 200:
            raise Silent(f"GET /prompt answers {status}: {str(said)[:200]}")

    async def job(self, id: str) -> comfyui_api.Job:
        """How a job is; LOST where it is not known. Raises Silent or Down."""
        status, said = await self._call("GET", f"/api/jobs/{id}")
        if status == 404:
            return comfyui_api.Job(id, comfyui_api.LOST)
        try:
            if status != 200:
                raise LookupError
            return comfyui_api.read_job(id, said)
        except (LookupError, TypeError, AttributeError):
            raise Silent(f"GET /api/jobs/{id} answers {status}: {str(said)[:200]}") from None

    async def submit(self, graph: comfyui_api.Graph, id: str) -> None:
        """Queue a workflow under an id of ours. Raises Refused, Down, or Silent, where it may have been heard."""
        told = {"prompt": graph, "client_id": self._client, "prompt_id": id}
        status, said = await self._call("POST", "/prompt", told)
        if status == 200 and isinstance(said, dict):
            if not said.get("node_errors"):
                return
            await self.cancel(id)  # one of several outputs was refused, and the others would run
        elif status >= 500 and isinstance(said, str):
            # It answers so to what is no workflow in API form at all.
            raise Refused(f"ComfyUI answers {status} to the workflow: {' '.join(said.split())[:200]}", False)
        if not isinstance(said, dict):
            raise Silent(f"POST /prompt answers {status}: {str(said)[:200]}")
        reasons = "\n  ".join(["ComfyUI refuses the workflow:", *comfyui_api.explained(said)])
        raise Refused(reasons, comfyui_api.missing_only(said))

    async def cancel(self, id: str) -> None:
        """Take a job out of the queue, or interrupt it between two steps. Raises Silent or Down."""
        await self._call("POST", f"/api/jobs/{id}/cancel")

    async def free(self) -> None:
        """Have it give back memory when it is idle. Raises Silent or Down."""
        await self._call("POST", "/free", {"unload_models": True, "free_memory": True})
