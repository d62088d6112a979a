"""The HTTP interface, each route also below /api."""

import argparse
import json
import time
import urllib.parse
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from simulator.faults import SwitchError, Switches
from simulator.folders import Folders
from simulator.interface import object_info
from simulator.job_views import STATES, all_jobs, one_job
from simulator.prompt_queue import Job, PromptQueue
from simulator.sockets import Sockets
from simulator.system_stats import NAME, system_stats
from simulator.validation import validate
from simulator.view_file import view
from simulator.worker import Worker

FEATURES = {
    "supports_preview_metadata": True,
    "supports_model_type_tags": True,
    "max_upload_size": 100 * 1024 * 1024,
    "extension": {"manager": {"supports_v4": True}},
    "node_replacements": True,
    "assets": False,
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Routes:
    def __init__(
        self,
        arguments: argparse.Namespace,
        queue: PromptQueue,
        sockets: Sockets,
        switches: Switches,
        folders: Folders,
        worker: Worker,
    ) -> None:
        self.arguments = arguments
        self.queue = queue
        self.sockets = sockets
        self.switches = switches
        self.folders = folders
        self.worker = worker
        self.number = 0

    def add(self, app: web.Application) -> None:
        app.router.add_get("/", self.root)
        app.router.add_get("/simulator", self.get_switches)
        app.router.add_put("/simulator", self.put_switches)
        for method, path, handler in (
            ("GET", "/ws", self.websocket),
            ("GET", "/prompt", self.get_prompt),
            ("POST", "/prompt", self.post_prompt),
            ("GET", "/queue", self.get_queue),
            ("POST", "/queue", self.post_queue),
            ("POST", "/interrupt", self.interrupt),
            ("POST", "/free", self.free),
            ("GET", "/history", self.get_history),
            ("POST", "/history", self.post_history),
            ("GET", "/history/{prompt_id}", self.get_history_of_one),
            ("GET", "/view", self.view),
            ("GET", "/system_stats", self.system_stats),
            ("GET", "/features", self.features),
            ("GET", "/object_info", self.object_info),
            ("GET", "/object_info/{name}", self.object_info_of_one),
        ):
            app.router.add_route(method, path, handler)
            app.router.add_route(method, "/api" + path, handler)
        app.router.add_get("/api/jobs", self.jobs)
        app.router.add_get("/api/jobs/{prompt_id}", self.job)
        app.router.add_post("/api/jobs/{prompt_id}/cancel", self.cancel)

    async def root(self, request: web.Request) -> web.Response:
        return web.Response(text=f"{NAME}: ComfyUI's API without ComfyUI; nothing is rendered with a model\n")

    async def get_switches(self, request: web.Request) -> web.Response:
        return web.json_response(self.switches.shown())

    async def put_switches(self, request: web.Request) -> web.Response:
        try:
            self.switches.set(json.loads(await request.text()))
        except (json.JSONDecodeError, SwitchError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return await self.get_switches(request)

    async def websocket(self, request: web.Request) -> web.WebSocketResponse:
        return await self.sockets.serve(request, self.state(), FEATURES)

    def state(self) -> dict:
        return {"exec_info": {"queue_remaining": self.queue.left()}}

    async def get_prompt(self, request: web.Request) -> web.Response:
        return web.json_response(self.state())

    async def post_prompt(self, request: web.Request) -> web.Response:
        sent = json.loads(await request.text())
        number = self.number
        if "number" in sent:
            number = float(sent["number"])
        else:
            self.number += 1
            if sent.get("front"):
                number = -number
        if "prompt" not in sent:
            return _refused("no_prompt", "No prompt provided", "No prompt provided")
        prompt_id = sent.get("prompt_id") or str(uuid.uuid4())
        if not _canonical(prompt_id):
            details = "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
            details += "omit it to let the server generate one"
            return _refused("invalid_prompt_id", "prompt_id must be a valid UUID", details)
        verdict = validate(sent["prompt"], object_info(self.folders))
        if verdict.error:
            print(f"invalid prompt: {verdict.error}", flush=True)
            return web.json_response({"error": verdict.error, "node_errors": verdict.node_errors}, status=400)
        extra = sent.get("extra_data", {})
        if "client_id" in sent:
            extra["client_id"] = sent["client_id"]
        extra["create_time"] = int(time.time() * 1000)
        self.queue.put(Job(number, prompt_id, sent["prompt"], extra, verdict.outputs))
        print("got prompt", flush=True)
        return web.json_response({"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors})

    async def get_queue(self, request: web.Request) -> web.Response:
        running = [job.listed() for job in self.queue.running]
        pending = [job.listed() for job in self.queue.pending]
        return web.json_response({"queue_running": running, "queue_pending": pending})

    async def post_queue(self, request: web.Request) -> web.Response:
        sent = json.loads(await request.text())
        if sent.get("clear"):
            self.queue.clear()
        for prompt_id in sent.get("delete", []):
            self.queue.delete(prompt_id)
        return web.Response()

    async def interrupt(self, request: web.Request) -> web.Response:
        # Nothing, and what is no JSON, interrupts whatever runs.
        try:
            prompt_id = json.loads(await request.text()).get("prompt_id")
        except json.JSONDecodeError:
            prompt_id = None
        self.queue.interrupt(prompt_id or None)
        return web.Response()

    async def free(self, request: web.Request) -> web.Response:
        sent = json.loads(await request.text())
        if sent.get("unload_models") or sent.get("free_memory"):
            self.switches.free()
        if sent.get("free_memory"):
            self.worker.forget()
        return web.Response()

    async def get_history(self, request: web.Request) -> web.Response:
        most = request.query.get("max_items")
        offset = int(request.query.get("offset", -1))
        return web.json_response(self.queue.history(int(most) if most is not None else None, offset))

    async def post_history(self, request: web.Request) -> web.Response:
        sent = json.loads(await request.text())
        if sent.get("clear"):
            self.queue.finished.clear()
        for prompt_id in sent.get("delete", []):
            self.queue.finished.pop(prompt_id, None)
        return web.Response()

    async def get_history_of_one(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        entry = self.queue.finished.get(prompt_id)
        return web.json_response({prompt_id: entry} if entry else {})

    async def view(self, request: web.Request) -> web.StreamResponse:
        return view(request, self.folders)

    async def system_stats(self, request: web.Request) -> web.Response:
        return web.json_response(system_stats(self.arguments))

    async def features(self, request: web.Request) -> web.Response:
        return web.json_response(FEATURES)

    async def object_info(self, request: web.Request) -> web.Response:
        return web.json_response(object_info(self.folders))

    async def object_info_of_one(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        classes = object_info(self.folders)
        return web.json_response({name: classes[name]} if name in classes else {})

    async def jobs(self, request: web.Request) -> web.Response:
        wanted = [one.strip().lower() for one in request.query.get("status", "").split(",") if one.strip()]
        if wrong := [one for one in wanted if one not in STATES]:
            valid = ", ".join(STATES)
            return _bad(f"Invalid status value(s): {', '.join(wrong)}. Valid values: {valid}")
        order = request.query.get("sort_order", "desc").lower()
        if order not in ("asc", "desc"):
            return _bad("sort_order must be 'asc' or 'desc'")
        numbers = {}
        for name in ("limit", "offset"):
            try:
                numbers[name] = int(request.query[name]) if name in request.query else None
            except ValueError:
                return _bad(f"{name} must be an integer")
        limit, offset = numbers["limit"], max(0, numbers["offset"] or 0)
        if limit is not None and limit <= 0:
            return _bad("limit must be a positive integer")
        found = [one for one in all_jobs(self.queue) if not wanted or one["status"] in wanted]
        # Jobs of one millisecond, in the order in which they came.
        found.sort(key=lambda one: (one["create_time"], one["priority"]), reverse=order == "desc")
        page = found[offset:] if limit is None else found[offset : offset + limit]
        more = offset + len(page) < len(found)
        pagination = {"offset": offset, "limit": limit, "total": len(found), "has_more": more}
        return web.json_response({"jobs": page, "pagination": pagination})

    async def job(self, request: web.Request) -> web.Response:
        found = one_job(self.queue, request.match_info["prompt_id"])
        if found is None:
            return web.json_response({"error": "Job not found"}, status=404)
        return web.json_response(found)

    async def cancel(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["prompt_id"]
        return web.json_response({"cancelled": self.queue.interrupt(prompt_id) or self.queue.delete(prompt_id)})


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a page of another site sends, as ComfyUI does."""
    origin = urllib.parse.urlsplit(request.headers.get("Origin", ""))
    host = request.headers.get("Host", "")
    here = urllib.parse.urlsplit(f"//{host}").hostname in ("127.0.0.1", "localhost", "::1")
    if request.headers.get("Sec-Fetch-Site") == "cross-site" or (here and origin.netloc and origin.netloc != host):
        return web.Response(status=403)
    return await handler(request)


def _canonical(prompt_id: object) -> bool:
    try:
        return str(uuid.UUID(prompt_id)) == prompt_id
    except (ValueError, AttributeError, TypeError):
        return False


def _refused(kind: str, message: str, details: str) -> web.Response:
    error = {"type": kind, "message": message, "details": details, "extra_info": {}}
    return web.json_response({"error": error, "node_errors": {}}, status=400)


def _bad(message: str) -> web.Response:
    return web.json_response({"error": message}, status=400)
