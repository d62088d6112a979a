"""What Letta's garbage does to a connection made after it; run by verify.py with the image's Python.

Prints one line at the end when all is as wanted, and exits 1 with the reasons otherwise.
"""

import asyncio
import contextlib
import gc
import json
import os
import re
import socket
import sys
from asyncio.selector_events import _SelectorTransport

from letta.llm_api.llm_client import LLMClient
from letta.schemas.llm_config import LLMConfig

LONGEST = 1.0  # seconds; what this waits for takes some milliseconds

ANSWER = {
    "id": "1",
    "object": "chat.completion",
    "created": 0,
    "type": "message",
    "model": "m",
    "role": "assistant",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "yes"}}],
    "content": [{"type": "text", "text": "yes"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 1, "prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


async def _happened(event: asyncio.Event) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), LONGEST)
    return event.is_set()


async def problem(kind: str) -> str | None:
    """Say what goes wrong with a connection that gets the number of a collected one's socket.

    Raises what Letta's client raises when it cannot ask a model of this kind.
    """
    ended = asyncio.Event()

    async def model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(re.search(rb"(?i)content-length: (\d+)", head)[1]))
        body = json.dumps(ANSWER).encode()
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        writer.write((head % len(body)).encode() + body)
        await reader.read()  # open until the client ends it
        ended.set()
        writer.close()

    server = await asyncio.start_server(model, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    url = f"http://127.0.0.1:{address[1]}"
    os.environ["ANTHROPIC_BASE_URL"] = url  # it asks there, whatever the configuration says
    config = LLMConfig(model="m", model_endpoint_type=kind, model_endpoint=f"{url}/v1", context_window=9000)
    ask = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "well?"}]}
    answer = await LLMClient.create(provider_type=kind).request_async(ask, config)
    assert "yes" in json.dumps(answer), answer

    idle = [
        number
        for one in gc.get_objects()
        if isinstance(one, _SelectorTransport) and one.get_extra_info("peername") == address
        if (number := one.get_extra_info("socket").fileno()) >= 0
    ]
    if len(idle) != 1:
        return f"Letta left {len(idle)} connections to the model open, not one: this check no longer fits"
    before = asyncio.all_tasks()
    gc.collect()
    # A connection made now gets the number, as the lowest one that is free.
    sockets = {}
    while idle[0] not in sockets:
        if len(sockets) > 100:
            return "the socket of a collected client stays open"
        one, other = socket.socketpair()
        sockets |= {one.fileno(): (one, other), other.fileno(): (other, one)}
    mine, other = sockets[idle[0]]
    arrived = asyncio.Event()
    # Before the loop turns: what the collection scheduled is still to come, as for a connect at that moment.
    asyncio.get_running_loop().add_reader(mine, arrived.set)
    if scheduled := asyncio.all_tasks() - before:
        await asyncio.wait(scheduled, timeout=LONGEST)
    other.send(b"!")
    if not await _happened(ended):
        return "the model does not see the end of a collected client's connection"
    if not await _happened(arrived):
        return "a connection that got the number of a collected client's socket waits for ever"
    return None


def main() -> int:
    gc.disable()  # it runs when this says so
    os.environ["ANTHROPIC_API_KEY"] = "none"
    problems = [f"{kind}: {said}" for kind in ("openai", "anthropic") if (said := asyncio.run(problem(kind)))]
    for one in problems:
        print(one, file=sys.stderr)
    if not problems:
        print("no connection suffers from a collected client")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
