"""An OpenAI-compatible router as operators run one: its own credentials towards the model, none taken from callers.

It answers below /v1 alone, refuses a request that carries a caller's credentials, and starts only when told not to
pass them on. Like a real one it needs a token in its environment and keeps something in its home.

    GET /health     {"version": ..., "starts": ...}
    GET /_seen      [{"path": ..., "authorization": ...}] of every request so far
    PUT /_models    the list of models to offer from now on
"""

import argparse
import json
import os
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

VERSION = "1"
TOKEN = os.environ["ROUTER_TOKEN"]
MODEL_URL = os.environ["MODEL_URL"]


class Handler(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        print(f"{self.command} {self.path}", flush=True)

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    do_PUT = do_POST

    def _answer(self, body: bytes) -> None:
        if self.path == "/health":
            self._json(200, {"version": VERSION, "starts": self.server.starts})
            return
        if self.path == "/_seen":
            self._json(200, self.server.seen)
            return
        if self.path == "/_models":
            self.server.models = json.loads(body)
            self._json(200, self.server.models)
            return
        credentials = self.headers.get("Authorization") or self.headers.get("X-Api-Key")
        self.server.seen.append({"path": self.path, "authorization": credentials})
        if credentials:
            self._json(401, {"error": {"message": "a caller's credentials were passed on"}})
        elif self.path == "/v1/models":
            models = [{"id": one, "object": "model", "max_model_len": 32000} for one in self.server.models]
            self._json(200, {"object": "list", "data": models})
        elif self.path in ("/v1/chat/completions", "/v1/embeddings"):
            self._forward(body)
        else:
            self._json(404, {"error": {"message": f"no {self.path} here"}})

    def _forward(self, body: bytes) -> None:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(MODEL_URL + self.path, body, headers)
        try:
            with urllib.request.urlopen(request) as answer:
                self.send_response(200)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.end_headers()
                while piece := answer.read1():
                    self.wfile.write(piece)
        except urllib.error.HTTPError as error:
            self._json(error.code, json.load(error))

    def _json(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--disable-bearer-passthrough", action="store_true", required=True)
    arguments = parser.parse_args()
    starts = Path.home() / "starts"
    starts.write_text(str(int(starts.read_text()) + 1 if starts.exists() else 1))
    server = ThreadingHTTPServer((arguments.host, arguments.port), Handler)
    server.seen, server.models, server.starts = [], ["router-large", "glm-4.7"], int(starts.read_text())
    print(f"router version {VERSION} listens on {arguments.host}:{arguments.port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
