"""The websockets: the state of the queue for all, the events of a job for who sent it."""

import asyncio
import json
import uuid

from aiohttp import web


class Sockets:
    def __init__(self) -> None:
        self._open: dict[str, web.WebSocketResponse] = {}
        self._sending: set[asyncio.Task] = set()

    async def serve(self, request: web.Request, greeting: dict, features: dict) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query.get("clientId") or uuid.uuid4().hex
        self._open[client] = socket
        try:
            await socket.send_json({"type": "status", "data": {"status": greeting, "sid": client}})
            async for message in socket:
                if json.loads(message.data).get("type") == "feature_flags":
                    await socket.send_json({"type": "feature_flags", "data": features})
        finally:
            # A newer socket of the same client stays.
            if self._open.get(client) is socket:
                del self._open[client]
        return socket

    def send(self, event: str, data: dict, client: str | None) -> None:
        """Send to one client; a job without a client tells nobody."""
        if client in self._open:
            self._post(self._open[client], event, data)

    def send_all(self, event: str, data: dict) -> None:
        for socket in self._open.values():
            self._post(socket, event, data)

    def _post(self, socket: web.WebSocketResponse, event: str, data: dict) -> None:
        # Tasks run in the order in which they are made, so events stay in order.
        task = asyncio.create_task(self._write(socket, {"type": event, "data": data}))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _write(self, socket: web.WebSocketResponse, message: dict) -> None:
        try:
            await socket.send_json(message)
        except ConnectionError:
            print(f"a websocket closed before {message['type']} was sent", flush=True)

    async def close(self) -> None:
        for socket in list(self._open.values()):
            await socket.close()
