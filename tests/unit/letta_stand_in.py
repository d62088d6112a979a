"""A stand-in of the parts of Letta's API that the crew's tools ask: blocks, archival memory, runs. Real HTTP."""

import json
import re
import threading
import uuid
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

KEY = "the-password-of-the-tests"


class LettaStandIn(ThreadingHTTPServer):
    """`blocks`: {id: {"id", "label", "value", "limit"}}. Runs end at once with the reply of `replies`, unless held."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.blocks = {}
        self.passages = {}  # of an agent: [{"text", "tags"}]
        self.runs = {}
        self.replies = {}  # what an agent answers; a callable gets the message
        self.held = False  # runs do not end
        self.no_embedding = False  # an entry of archival memory is refused
        self.lost = 0  # this many answers of writes are lost, after the work is done ...
        self.losing = ""  # ... where the path has this
        self.meanwhile = None  # is called once, before the next PATCH is looked at
        self.patches = 0
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def add_block(self, label, value, limit=8000):
        id = f"block-{uuid.uuid4()}"
        self.blocks[id] = {"id": id, "label": label, "value": value, "limit": limit}
        return id

    def run_of(self, agent, text):
        id = f"run-{uuid.uuid4()}"
        reply = self.replies.get(agent, "")
        told = reply(text) if callable(reply) else reply
        said = [{"message_type": "user_message", "content": text}]
        said += [{"message_type": "assistant_message", "content": told}] if told else []
        self.runs[id] = {
            "id": id, "agent_id": agent, "background": True, "status": "running" if self.held else "completed",
            "created_at": datetime.now(UTC).isoformat(), "metadata": {}, "stop_reason": "end_turn",
            "said": said,
        }  # fmt: skip
        return self.runs[id]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Nothing is logged."""

    def do_GET(self):
        self._serve()

    def do_POST(self):
        self._serve()

    def do_PATCH(self):
        self._serve()

    def _serve(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
        url = urlsplit(self.path)
        if self.headers.get("Authorization") != f"Bearer {KEY}":
            self._say(401, {"detail": "Unauthorized"})
            return
        with self.server.lock:
            status, said = self._answer(url.path, parse_qs(url.query), body)
            if self.command != "GET" and status < 300 and self.server.lost and self.server.losing in url.path:
                self.server.lost -= 1
                self.close_connection = True
                return
        self._say(status, said)

    def _say(self, status, said):
        text = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _answer(self, path, query, body):
        here = self.server
        if found := re.fullmatch("/v1/blocks/(.+)", path):
            block = here.blocks.get(found[1])
            if block is None:
                return 404, {"detail": "Block not found"}
            if self.command == "PATCH":
                here.patches += 1
                if here.meanwhile:
                    here.meanwhile, change = None, here.meanwhile
                    change(block)
                if body.get("if_value", block["value"]) != block["value"]:
                    return 409, {"detail": "changed"}
                block["value"] = body["value"]
            return 200, block
        if found := re.fullmatch("/v1/agents/(.+)/archival-memory", path):
            passages = here.passages.setdefault(found[1], [])
            if self.command == "GET":
                return 200, [one for one in passages if query["search"][0] in one["text"]]
            if here.no_embedding:
                return 400, {"detail": "no embedding"}
            passages.append(body)
            return 200, [body]
        if found := re.fullmatch("/v1/agents/(.+)/messages/async", path):
            return 200, here.run_of(found[1], body["messages"][0]["content"])
        if path == "/v1/runs/":
            return 200, [one for one in reversed(here.runs.values()) if one["agent_id"] == query["agent_id"][0]]
        found = re.fullmatch("/v1/runs/([^/]+)(/messages)?", path)
        if not found or found[1] not in here.runs:
            return 404, {"detail": f"no {path}"}
        run = here.runs[found[1]]
        return 200, run["said"][::-1] if found[2] else run
