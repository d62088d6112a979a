"""A model that speaks the OpenAI protocol: chat (plain and streamed, with tools), embeddings, the list of models.

Unscripted it echoes the last user message, and where it must call a tool prefers one that ends the turn. A test
scripts it over HTTP on the same port:

    POST   /_script    {"replies": [REPLY, ...]}   queue replies; a chat request uses the first one that fits it
    DELETE /_script    forget what is queued
    GET    /_requests  the requests recorded so far; DELETE forgets them

    REPLY: when          texts that all must occur in the request's messages, system prompt included: the reply is for
                         such a request alone, and requests that it does not fit pass it
           last          the same of the last message alone, such as what a tool has returned
           stays         true: it is not used up, and answers each request that it fits
           take          {name: regular expression with one group}: what the group found last in the messages stands
                         for {name} in content and arguments; no match is an error answer
           content       text of the answer
           chunks        the same text in pieces, as a stream sends it
           tool_calls    [{"name": ..., "arguments": {...}}]
           status        an HTTP status other than 200 makes it an error answer
           delay_s       silence before the first byte
           silence_s     silence after the first chunk of a stream
           chunk_delay_s silence before each further chunk

With `when` several agents that act at the same time are scripted in one queue, each by a line of its system prompt:
the replies for one of them are used in their order, whatever the others do.

Only the standard library, one file: it runs in a container that has nothing but Python.
"""

import argparse
import base64
import hashlib
import itertools
import json
import re
import socket
import struct
import threading
import time
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODELS = ["gpt-4o-mini", "gpt-4o", "gpt-5-mini", "text-embedding-3-small", "text-embedding-3-large"]
KEPT_REQUESTS = 200
KEPT_REPLIES = 1000
LONGEST_BODY = 8 * 1024 * 1024
# Without these a sleeptime agent, which must call a tool in each step, would never end its turn.
ENDS_THE_TURN = ("send_message", "memory_finish_edits")
REPLY_KEYS = {"content", "chunks", "tool_calls", "status", "delay_s", "silence_s", "chunk_delay_s"}
REPLY_KEYS |= {"when", "last", "stays", "take"}


class BadRequest(Exception):
    pass


class Script:
    """Queued replies and recorded requests, shared by all threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._replies: deque[dict] = deque()
        self._requests: deque[dict] = deque(maxlen=KEPT_REQUESTS)

    def add(self, replies: list[dict]) -> int:
        with self._lock:
            if len(self._replies) + len(replies) > KEPT_REPLIES:
                raise BadRequest(f"at most {KEPT_REPLIES} replies can wait")
            self._replies.extend(replies)
            return len(self._replies)

    def next(self, messages: list[dict]) -> dict | None:
        """The first reply that fits; used up unless it stays."""
        with self._lock:
            for number, reply in enumerate(self._replies):
                if fits(reply, messages):
                    if not reply.get("stays"):
                        del self._replies[number]
                    return reply
        return None

    def clear(self) -> None:
        with self._lock:
            self._replies.clear()

    def record(self, request: dict) -> None:
        with self._lock:
            self._requests.append(request)

    def requests(self) -> list[dict]:
        with self._lock:
            return list(self._requests)

    def forget(self) -> None:
        with self._lock:
            self._requests.clear()


# What to answer


def checked_replies(body: object) -> list[dict]:
    replies = body.get("replies") if isinstance(body, dict) else None
    if not isinstance(replies, list):
        raise BadRequest('a script is {"replies": [...]}')
    for reply in replies:
        if not isinstance(reply, dict):
            raise BadRequest(f"a reply is an object, not {reply!r}")
        if unknown := set(reply) - REPLY_KEYS:
            raise BadRequest(f"a reply has the keys {sorted(REPLY_KEYS)}, not {sorted(unknown)}")
        for key in ("delay_s", "silence_s", "chunk_delay_s", "status"):
            if not isinstance(reply.get(key, 0), int | float):
                raise BadRequest(f"{key} is a number, not {reply[key]!r}")
        for key in ("when", "last"):
            if not isinstance(texts := reply.get(key, []), list) or not all(isinstance(one, str) for one in texts):
                raise BadRequest(f"{key} is a list of texts, not {texts!r}")
        if not isinstance(reply.get("stays", False), bool):
            raise BadRequest(f"stays is true or false, not {reply['stays']!r}")
        check_patterns(reply.get("take", {}))
        for call in reply.get("tool_calls") or []:
            if not isinstance(call, dict) or not isinstance(call.get("name"), str):
                raise BadRequest(f'a tool call is {{"name": ..., "arguments": {{...}}}}, not {call!r}')
    return replies


def check_patterns(take: object) -> None:
    for name, pattern in take.items() if isinstance(take, dict) else [(None, take)]:
        try:
            good = name is not None and re.compile(pattern).groups == 1
        except (TypeError, re.error):
            good = False
        if not good:
            raise BadRequest(f"take is {{name: regular expression with one group}}, not {name}: {pattern!r}")


def fits(reply: dict, messages: list[dict]) -> bool:
    texts = [text_of(message.get("content")) for message in messages]
    everything = "\n".join(texts)
    last = texts[-1] if texts else ""
    return all(text in everything for text in reply.get("when", [])) and all(
        text in last for text in reply.get("last", [])
    )


def filled(reply: dict, messages: list[dict]) -> dict:
    """A reply with what it takes out of the messages in its place."""
    texts = [text_of(message.get("content")) for message in messages]
    values = {}
    for name, pattern in reply.get("take", {}).items():
        found = [one for text in texts for one in re.findall(pattern, text)]
        if not found:
            raise BadRequest(f"take: {pattern!r} ({name}) is in no message")
        values["{" + name + "}"] = found[-1]

    def put(value: object) -> object:
        if isinstance(value, str):
            for place, text in values.items():
                value = value.replace(place, text)
            return value
        if isinstance(value, dict):
            return {key: put(one) for key, one in value.items()}
        return [put(one) for one in value] if isinstance(value, list) else value

    return reply | {key: put(reply[key]) for key in ("content", "chunks", "tool_calls") if key in reply}


def text_of(content: object) -> str:
    """A message's text: plain, in parts, or packed in JSON as Letta packs what users say."""
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    text = "" if content is None else str(content)
    if text.startswith("{"):
        try:
            packed = json.loads(text)
        except ValueError:
            return text
        if isinstance(packed, dict) and isinstance(packed.get("message"), str):
            return packed["message"]
    return text


def default_reply(body: dict) -> dict:
    """Echo the last user message; through a tool, when the request insists on one."""
    said = [text_of(message.get("content")) for message in body["messages"] if message.get("role") == "user"]
    text = f"You said: {said[-1]}" if said else "Nobody said anything."
    tool = demanded_tool(body)
    if tool is None:
        return {"content": text}
    return {"tool_calls": [{"name": tool["name"], "arguments": arguments_for(tool, text)}]}


def demanded_tool(body: dict) -> dict | None:
    tools = {tool["function"]["name"]: tool["function"] for tool in body.get("tools") or [] if tool.get("function")}
    choice = body.get("tool_choice")
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        if name not in tools:
            raise BadRequest(f"tool_choice names {name!r}, which is not among the tools {sorted(tools)}")
        return tools[name]
    if choice != "required":
        return None
    if not tools:
        raise BadRequest("tool_choice is required but there are no tools")
    return next((tools[name] for name in ENDS_THE_TURN if name in tools), None) or next(iter(tools.values()))


def arguments_for(tool: dict, text: str) -> dict:
    schema = tool.get("parameters") or {}
    properties = schema.get("properties") or {}
    return {name: value_for(properties.get(name) or {}, text) for name in schema.get("required") or []}


def value_for(schema: dict, text: str) -> object:
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "string")
    if isinstance(kind, list):
        kind = kind[0]
    plain = {"boolean": False, "integer": schema.get("minimum", 0), "number": schema.get("minimum", 0), "array": []}
    if kind == "object":
        return arguments_for({"parameters": schema}, text)
    return plain.get(kind, text)


def pieces(text: str) -> list[str]:
    """A text cut after its blanks, as a stream brings it."""
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + words[-1:] if text else []


def tool_calls(reply: dict) -> list[dict]:
    calls = []
    for call in reply.get("tool_calls") or []:
        arguments = call.get("arguments", {})
        packed = arguments if isinstance(arguments, str) else json.dumps(arguments)
        calls.append({"name": call["name"], "arguments": packed})
    return calls


def vector(text: str, dimensions: int) -> list[float]:
    """The same text gives the same vector of length one, everywhere."""
    raw = bytearray()
    for block in itertools.count():
        raw += hashlib.sha512(f"{block}:{text}".encode()).digest()
        if len(raw) >= 2 * dimensions:
            break
    values = [number / 32768 for number in struct.unpack(f"<{dimensions}h", raw[: 2 * dimensions])]
    length = sum(value * value for value in values) ** 0.5 or 1.0
    return [value / length for value in values]


def embeddings(body: dict) -> dict:
    inputs = body.get("input")
    if isinstance(inputs, str) or (isinstance(inputs, list) and inputs and isinstance(inputs[0], int)):
        inputs = [inputs]
    dimensions = body.get("dimensions") or (3072 if "3-large" in str(body.get("model")) else 1536)
    if not isinstance(inputs, list) or not inputs or not isinstance(dimensions, int) or not 0 < dimensions <= 16384:
        raise BadRequest("embeddings need an input, and dimensions between 1 and 16384")
    data = []
    for index, text in enumerate(inputs):
        values: object = vector(text if isinstance(text, str) else json.dumps(text), dimensions)
        if body.get("encoding_format") == "base64":
            values = base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode()
        data.append({"object": "embedding", "index": index, "embedding": values})
    tokens = sum(len(str(text)) // 4 + 1 for text in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "model": body.get("model") or MODELS[3], "data": data, "usage": usage}


def usage_of(body: dict, reply: dict) -> dict:
    prompt = sum(len(text_of(message.get("content"))) // 4 + 1 for message in body["messages"])
    answer = (len(content_of(reply) or "") + sum(len(call["arguments"]) for call in tool_calls(reply))) // 4 + 1
    return {"prompt_tokens": prompt, "completion_tokens": answer, "total_tokens": prompt + answer}


def content_of(reply: dict) -> str | None:
    return "".join(reply["chunks"]) if reply.get("chunks") else reply.get("content")


# How to say it


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: "FakeModel"

    def setup(self) -> None:
        super().setup()
        # Each event leaves at once: a test looks at the time between them.
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def log_message(self, format: str, *args: object) -> None:
        """Requests are recorded, not logged."""

    def do_GET(self) -> None:
        self._answer("GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        path = self.path.split("?")[0]
        try:
            body = self._body()
            if not path.startswith("/_"):
                headers = {name.lower(): value for name, value in self.headers.items()}
                request = {"method": method, "path": path, "headers": headers, "body": body, "time": time.time()}
                self.server.script.record(request)
            self._route(method, path.removeprefix("/v1"), body)
        except BadRequest as error:
            self._error(400, str(error))
        except (BrokenPipeError, ConnectionResetError):
            # The caller went away, as callers do in mid-stream: nobody is left to tell.
            self.close_connection = True

    def _body(self) -> object:
        try:
            length = int(self.headers.get("Content-Length") or 0)
        except ValueError:
            self.close_connection = True
            raise BadRequest("Content-Length is not a number") from None
        if not 0 <= length <= LONGEST_BODY:
            self.close_connection = True
            raise BadRequest(f"a body has at most {LONGEST_BODY} bytes")
        raw = self.rfile.read(length)
        if not raw:
            return None
        try:
            return json.loads(raw)
        except ValueError as error:
            raise BadRequest(f"the body is not JSON: {error}") from None

    def _route(self, method: str, path: str, body: object) -> None:
        script = self.server.script
        match (method, path):
            case ("GET", "/models"):
                models = [{"id": name, "object": "model", "created": 0, "owned_by": "lab"} for name in MODELS]
                self._json(200, {"object": "list", "data": models})
            case ("POST", "/chat/completions"):
                self._chat(self._object(body))
            case ("POST", "/embeddings"):
                self._json(200, embeddings(self._object(body)))
            case ("POST", "/_script"):
                self._json(200, {"queued": script.add(checked_replies(body))})
            case ("DELETE", "/_script"):
                script.clear()
                self._json(200, {"queued": 0})
            case ("GET", "/_requests"):
                self._json(200, {"requests": script.requests()})
            case ("DELETE", "/_requests"):
                script.forget()
                self._json(200, {"requests": []})
            case _:
                self._error(404, f"there is no {method} {self.path} here")

    @staticmethod
    def _object(body: object) -> dict:
        if not isinstance(body, dict):
            raise BadRequest("the body must be a JSON object")
        return body

    def _json(self, status: int, body: dict) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _error(self, status: int, message: str) -> None:
        kind = "invalid_request_error" if status < 500 else "server_error"
        self._json(status, {"error": {"message": message, "type": kind, "param": None, "code": None}})

    def _chat(self, body: dict) -> None:
        messages = body.get("messages")
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise BadRequest("messages must be a list of objects")
        scripted = self.server.script.next(messages)
        reply = filled(scripted, messages) if scripted else default_reply(body)
        time.sleep(reply.get("delay_s", 0))
        if (status := reply.get("status", 200)) != 200:
            self._error(status, reply.get("content") or "scripted error")
            return
        head = {
            "id": f"chatcmpl-{next(self.server.numbers)}",
            "created": int(time.time()),
            "model": body.get("model") or MODELS[0],
        }
        if body.get("stream"):
            self._stream(body, reply, head)
        else:
            self._whole(body, reply, head)

    def _whole(self, body: dict, reply: dict, head: dict) -> None:
        message: dict = {"role": "assistant", "content": content_of(reply)}
        calls = tool_calls(reply)
        if calls:
            message["tool_calls"] = [
                {"id": f"call_{head['id']}_{n}", "type": "function", "function": call} for n, call in enumerate(calls)
            ]
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls" if calls else "stop", "logprobs": None}
        self._json(200, {**head, "object": "chat.completion", "choices": [choice], "usage": usage_of(body, reply)})

    def _stream(self, body: dict, reply: dict, head: dict) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number, event in enumerate(self._events(body, reply, head)):
            if number == 1:
                time.sleep(reply.get("silence_s", 0))
            if number:
                time.sleep(reply.get("chunk_delay_s", 0))
            self._send_event(json.dumps(event))
        self._send_event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def _send_event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.wfile.flush()

    @staticmethod
    def _events(body: dict, reply: dict, head: dict):
        def event(delta: dict, finish: str | None = None) -> dict:
            choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
            return {**head, "object": "chat.completion.chunk", "choices": [choice]}

        texts = reply.get("chunks") or pieces(reply.get("content") or "")
        calls = tool_calls(reply)
        first: dict = {"role": "assistant", "content": texts[0] if texts else None}
        yield event(first)
        for text in texts[1:]:
            yield event({"content": text})
        for index, call in enumerate(calls):
            opening = {"index": index, "id": f"call_{head['id']}_{index}", "type": "function"}
            yield event({"tool_calls": [{**opening, "function": {"name": call["name"], "arguments": ""}}]})
            for text in pieces(call["arguments"]):
                yield event({"tool_calls": [{"index": index, "function": {"arguments": text}}]})
        yield event({}, "tool_calls" if calls else "stop")
        if (body.get("stream_options") or {}).get("include_usage"):
            yield {**head, "object": "chat.completion.chunk", "choices": [], "usage": usage_of(body, reply)}


class FakeModel(ThreadingHTTPServer):
    daemon_threads = True
    # The default of 5 refuses connections when a test sends many at once.
    request_queue_size = 128

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        super().__init__((host, port), Handler)
        self.script = Script()
        self.numbers = itertools.count(1)


def main() -> None:
    parser = argparse.ArgumentParser(description="An OpenAI-compatible model for tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    with FakeModel(arguments.host, arguments.port) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
