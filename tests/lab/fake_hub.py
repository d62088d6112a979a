"""A hub of models that speaks as huggingface.co does: revisions, lists of files, and files that another host serves.

Two servers: the hub, and the "CDN" that it redirects to for what is kept as LFS. What a repository has is told in JSON:

    {"lab/models": {"gated": false, "commits": [{"model.safetensors": {"size": 1000, "lfs": true, "seed": "a"}}, ...]}}

The last commit is the branch main. Content is made of the seed (by default the path), so that whoever knows it can tell
the hash. A gated repository wants the token. Tests change what it does over HTTP on the hub's port:

    PUT /_control     {"repositories": ..., "token": ..., or one of the faults below}; what is not named stays
    GET /_requests    the requests so far: [{"server", "path", "range", "authorization", "sent"}]; DELETE forgets them

    cut_after      bytes of a file after which the connection is cut; 0 never
    rate           bytes a second of a file; 0 without limit
    wrong          paths whose content is another one of the same size
    ignore_range   whether a request for a part is answered with the whole file
    page           files on one page of a list
    status         an HTTP status that every request for a file gets instead; 0 none

Only the standard library, one file: it runs on a box that has nothing but Python.
"""

import argparse
import functools
import hashlib
import json
import random
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

PIECE = 2**16
FAULTS = {"cut_after": 0, "rate": 0, "wrong": [], "ignore_range": False, "page": 1000, "status": 0}


@functools.lru_cache(32)
def content(seed: str, size: int) -> bytes:
    """`size` bytes that look random and are always the same."""
    return random.Random(seed).randbytes(size)


def commit_id(repository: str, number: int) -> str:
    """The hash of a repository's commit, counted from 0."""
    return hashlib.sha1(f"{repository} {number}".encode()).hexdigest()


class Hub:
    """Both servers and what they share. `hub_port` and `cdn_port` may be 0: any free one; `url` tells the real one."""

    def __init__(self, hub_port: int = 0, cdn_port: int = 0, host: str = "127.0.0.1", cdn_name: str = "localhost"):
        self.lock, self.ended = threading.Lock(), threading.Event()
        self.told = {"repositories": {}, "token": "", **FAULTS}
        self.requests: list[dict] = []
        self.servers = [Server((host, hub_port), HubHandler), Server((host, cdn_port), Cdn)]
        for server in self.servers:
            server.hub = self
        self.url = f"http://{host}:{self.servers[0].server_port}"
        # By another name, as a CDN is another host: a port alone would do for requests, not for every client.
        self.cdn_url = f"http://{cdn_name}:{self.servers[1].server_port}"

    def __enter__(self) -> "Hub":
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def control(self, **changes: object) -> None:
        if unknown := set(changes) - set(self.told):
            raise ValueError(f"unknown: {sorted(unknown)}")
        with self.lock:
            self.told |= changes

    def commits(self, repository: str) -> dict[str, dict]:
        """{commit: its files} of a repository, the branch main last; KeyError where there is none."""
        commits = self.told["repositories"][repository]["commits"]
        return {commit_id(repository, number): files for number, files in enumerate(commits)}

    def data(self, path: str, told: dict) -> bytes:
        return content(told.get("seed", path), told["size"])

    def record(self, **request: object) -> dict:
        with self.lock:
            self.requests.append(request)
            return request


class Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: Hub

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # a client that was killed
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_label = ""

    def log_message(self, *_: object) -> None:
        pass

    @property
    def hub(self) -> Hub:
        return self.server.hub

    def seen(self) -> dict:
        return self.hub.record(
            server=self.server_label,
            path=self.path,
            range=self.headers.get("Range", ""),
            authorization=self.headers.get("Authorization", ""),
            sent=0,
        )

    def say(self, status: int, data: object = None, **headers: str) -> None:
        body = b"" if data is None else json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, status: int, code: str) -> None:
        self.say(status, {"error": code}, X_Error_Code=code)

    def give(self, path: str, told: dict, etag: str, entry: dict) -> None:
        """A file, or the part that was asked for, with the faults of the moment."""
        faults = self.hub.told
        data = self.hub.data(path, told)
        if path in faults["wrong"]:
            data = content(f"wrong {path}", len(data))
        start = 0
        part = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if part and not faults["ignore_range"]:
            start = int(part[1])
            if start >= len(data):
                self.say(416, None, Content_Range=f"bytes */{len(data)}")
                return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(data) - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{etag}"')
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        left = faults["cut_after"] or len(data)
        rate, began = faults["rate"], time.monotonic()
        for at in range(start, len(data), PIECE):
            piece = data[at : min(at + PIECE, at + left)]
            self.wfile.write(piece)
            entry["sent"] += len(piece)
            left -= len(piece)
            if left <= 0:
                self.close_connection = True
                return
            if rate:
                self.hub.ended.wait(max(0.0, entry["sent"] / rate - (time.monotonic() - began)))


class HubHandler(Handler):
    server_label = "hub"

    def do_PUT(self) -> None:
        try:
            self.hub.control(**json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        except (ValueError, TypeError) as error:
            self.say(400, {"error": str(error)})
        else:
            self.say(200, self.hub.told)

    def do_DELETE(self) -> None:
        self.hub.requests.clear()
        self.say(200)

    def do_GET(self) -> None:
        if self.path == "/_requests":
            self.say(200, self.hub.requests)
            return
        entry = self.seen()
        url = urlsplit(self.path)
        path = unquote(url.path)
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path):
            self.api(*found.groups(), parse_qs(url.query))
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(*found.groups())
        elif found := re.fullmatch(r"/api/resolve-cache/models/([^/]+/[^/]+)/([^/]+)/(.+)", path):
            if (told := self.find(*found.groups())) is not None:
                self.give(found[3], told, git_id(self.hub.data(found[3], told)), entry)
        else:
            self.refuse(404, "NotFound")

    def api(self, repository: str, what: str, revision: str, query: dict) -> None:
        if (commit := self.commit(repository, revision)) is None:
            return
        if what == "revision":
            gated = "manual" if self.hub.told["repositories"][repository].get("gated") else False
            self.say(200, {"id": repository, "sha": commit, "gated": gated})
            return
        files = sorted(self.hub.commits(repository)[commit].items())
        page, start = self.hub.told["page"], int(query.get("cursor", ["0"])[0])
        links = {}
        if start + page < len(files):
            following = f"{self.hub.url}{urlsplit(self.path).path}?recursive=1&cursor={start + page}"
            links = {"Link": f'<{following}>; rel="next"'}
        self.say(200, [self.listed(path, told) for path, told in files[start : start + page]], **links)

    def listed(self, path: str, told: dict) -> dict:
        data = self.hub.data(path, told)
        entry = {"type": "file", "oid": git_id(data), "size": len(data), "path": path}
        if told.get("lfs", True):
            entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
        return entry

    def resolve(self, repository: str, revision: str, path: str) -> None:
        if self.hub.told["status"]:
            self.refuse(self.hub.told["status"], "Fault")
            return
        if (told := self.find(repository, revision, path)) is None:
            return
        data, commit = self.hub.data(path, told), self.commit(repository, revision)
        if not told.get("lfs", True):
            where = f"/api/resolve-cache/models/{repository}/{commit}/{quote(path)}"
            self.say(307, None, Location=where, X_Repo_Commit=commit)
            return
        etag = hashlib.sha256(data).hexdigest()
        where = f"{self.hub.cdn_url}/{repository}/{commit}/{quote(path)}?Signature=fake"
        headers = {"X_Repo_Commit": commit, "X_Linked_Size": str(len(data)), "X_Linked_Etag": f'"{etag}"'}
        self.say(302, None, Location=where, **headers)

    def commit(self, repository: str, revision: str) -> str | None:
        """The commit that a revision names; None when that was refused, with the refusal sent."""
        try:
            commits = self.hub.commits(repository)
        except KeyError:
            # As the real one: who is not logged in does not learn what exists.
            self.refuse(404 if self.authorized() else 401, "RepoNotFound")
            return None
        commit = list(commits)[-1] if revision == "main" else revision
        if commit not in commits:
            self.refuse(404, "RevisionNotFound")
            return None
        return commit

    def find(self, repository: str, revision: str, path: str) -> dict | None:
        """What is told of a file; None when that was refused, with the refusal sent."""
        if (commit := self.commit(repository, revision)) is None:
            return None
        if self.hub.told["repositories"][repository].get("gated") and not self.authorized():
            self.refuse(403 if self.headers.get("Authorization") else 401, "GatedRepo")
            return None
        told = self.hub.commits(repository)[commit].get(path)
        if told is None:
            self.refuse(404, "EntryNotFound")
        return told

    def authorized(self) -> bool:
        token = self.hub.told["token"]
        return bool(token) and self.headers.get("Authorization") == f"Bearer {token}"


class Cdn(Handler):
    server_label = "cdn"

    def do_GET(self) -> None:
        entry = self.seen()
        owner, name, commit, path = unquote(urlsplit(self.path).path).lstrip("/").split("/", 3)
        told = self.hub.commits(f"{owner}/{name}")[commit][path]
        self.give(path, told, hashlib.md5(self.hub.data(path, told)).hexdigest(), entry)


def git_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="A hub of models for tests.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cdn-port", type=int, required=True)
    arguments = parser.parse_args()
    with Hub(arguments.port, arguments.cdn_port):
        threading.Event().wait()


if __name__ == "__main__":
    main()
