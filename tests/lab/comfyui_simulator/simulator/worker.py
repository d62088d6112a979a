"""Runs one job after the other, node by node, and tells what it does."""

import asyncio
import hashlib
import json
import os
import time
import traceback
from dataclasses import dataclass, field

from simulator import saving
from simulator.clips import Video
from simulator.faults import RenderError, Switches
from simulator.folders import Folders
from simulator.interface import CLASSES
from simulator.nodes import NODES, SLOW
from simulator.prompt_queue import Job, PromptQueue
from simulator.sockets import Sockets

STEPS = 20
LONGEST_STEP = 0.2  # seconds


class Interrupted(Exception):
    pass


@dataclass
class Made:
    """What a node has made: its outputs, and what history shows of it."""

    outputs: tuple
    shown: dict | None = None


@dataclass
class Run:
    """One job while it runs."""

    job: Job
    marks: dict[str, str]  # node: what its result is kept under
    cached: list[str]
    messages: list = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    progress: dict[str, dict] = field(default_factory=dict)
    slow: list[str] = field(default_factory=list)
    node: str = ""


class Worker:
    def __init__(
        self, queue: PromptQueue, sockets: Sockets, switches: Switches, folders: Folders, *, metadata: bool
    ) -> None:
        self.queue = queue
        self.sockets = sockets
        self.switches = switches
        self.folders = folders
        self.metadata = metadata
        # What the last job made: a node that is the same again is not run again.
        self.kept: dict[str, Made] = {}

    def forget(self) -> None:
        self.kept = {}

    async def work(self) -> None:
        while True:
            await self._run(await self.queue.next())

    async def _run(self, job: Job) -> None:
        started = time.monotonic()
        _note(job)
        marks = {name: _mark(job.graph, name) for name in _needed(job)}
        run = Run(job, marks, [name for name, mark in marks.items() if mark in self.kept])
        self._tell(run, "execution_start", {})
        self._tell(run, "execution_cached", {"nodes": run.cached})
        todo = [name for name in marks if name not in run.cached]
        kinds = {job.graph[name]["class_type"] for name in todo}
        slow = next((kind for kind in SLOW if kind in kinds), None)
        run.slow = [name for name in todo if job.graph[name]["class_type"] == slow]
        for name in run.cached:
            self._show(run, name, self.kept[marks[name]])
        success = False
        try:
            for name in todo:
                run.node = name
                await self._node(run, name)
        except Interrupted:
            self._tell(run, "execution_interrupted", {**_where(run), "executed": run.executed})
        except Exception as problem:
            print(f"!!! Exception during processing !!! {problem}", flush=True)
            self._tell(run, "execution_error", self._failure(run, problem))
        else:
            success = True
            self._tell(run, "execution_success", {})
        self.kept = {mark: self.kept[mark] for mark in marks.values() if mark in self.kept}
        shown = {name: self.kept[marks[name]].shown for name in marks if marks[name] in self.kept} if success else {}
        outputs = {name: one for name, one in shown.items() if one}
        status = {
            "status_str": "success" if success else "error",
            "completed": success,
            "messages": run.messages,
        }
        self.queue.done(job, outputs, status, {name: _meta(name) for name in outputs})
        self._send(run, "executing", {"node": None, "prompt_id": job.prompt_id})
        print(f"Prompt executed in {time.monotonic() - started:.2f} seconds", flush=True)

    async def _node(self, run: Run, name: str) -> None:
        if run.job.interrupted.is_set():
            raise Interrupted
        node = run.job.graph[name]
        self._send(run, "executing", {"node": name, "display_node": name, "prompt_id": run.job.prompt_id})
        self._progress(run, name, 0, 1, "running")
        inputs = self._inputs(run, name)
        if name in run.slow:
            await self._render(run, name)
        if node["class_type"] in ("SaveVideo", "SaveImage"):
            made = await self._save(run, node["class_type"], inputs)
        else:
            made = Made(NODES[node["class_type"]](**inputs))
        self.kept[run.marks[name]] = made
        run.executed.append(name)
        self._progress(run, name, 1, 1, "finished")
        self._show(run, name, made)

    def _inputs(self, run: Run, name: str) -> dict:
        """The node's inputs, the linked ones as their source made them."""
        node = run.job.graph[name]
        given = {}
        for field_name in _fields(node):
            value = node["inputs"][field_name]
            if isinstance(value, list):
                value = self.kept[run.marks[value[0]]].outputs[value[1]]
            given[field_name] = value
        return given

    async def _render(self, run: Run, name: str) -> None:
        """Take the time that a model would, and fail as the switches say."""
        fault = self.switches.fault
        self.switches.fail()
        if fault == "hang":
            # Not to be interrupted, like a kernel that never returns.
            await asyncio.Event().wait()
        if fault == "crash":
            await asyncio.sleep(self._share(run) / 2)
            print("Segmentation fault (played by the lettabox render simulator)", flush=True)
            os._exit(139)
        # Looked at anew at each step: a shorter time that is set meanwhile counts.
        started = time.monotonic()
        while (share := self._share(run)) > (gone := time.monotonic() - started):
            self._progress(run, name, int(STEPS * gone / share), STEPS, "running")
            try:
                await asyncio.wait_for(run.job.interrupted.wait(), min(share / STEPS, LONGEST_STEP, share - gone))
            except TimeoutError:
                continue
            raise Interrupted

    def _share(self, run: Run) -> float:
        """Seconds that each of the job's slow nodes takes."""
        return (self.switches.render_seconds - self._encoding()) / len(run.slow)

    def _encoding(self) -> float:
        return min(saving.ENCODING_SECONDS, self.switches.render_seconds / 4)

    async def _save(self, run: Run, kind: str, inputs: dict) -> Made:
        tags = {"prompt": run.job.graph, **run.job.extra.get("extra_pnginfo", {})} if self.metadata else {}
        prefix = inputs["filename_prefix"]
        if kind == "SaveImage":
            shown = await asyncio.to_thread(saving.save_images, self.folders, inputs["images"], prefix, tags)
            return Made((inputs["images"],), shown)
        made: Video = inputs["video"]
        shown = await saving.save_video(
            self.folders,
            made,
            prefix,
            inputs["codec"],
            tags,
            seconds=self._encoding(),
            forever=self.switches.fault == "partial",
        )
        return Made((made,), shown)

    def _failure(self, run: Run, problem: Exception) -> dict:
        kind = type(problem)
        named = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        literal = (int, float, str, bool)
        return {
            **_where(run),
            "executed": run.executed,
            "exception_message": str(problem),
            "exception_type": problem.kind if isinstance(problem, RenderError) else named,
            "traceback": traceback.format_tb(problem.__traceback__),
            "current_inputs": {
                name: [value if isinstance(value, literal) else repr(value)]
                for name, value in self._inputs(run, run.node).items()
            },
            "current_outputs": [*run.cached, *run.executed, run.node],
        }

    def _show(self, run: Run, name: str, made: Made) -> None:
        if made.shown:
            data = {"node": name, "display_node": name, "output": made.shown, "prompt_id": run.job.prompt_id}
            self._send(run, "executed", data)

    def _progress(self, run: Run, name: str, value: int, most: int, state: str) -> None:
        run.progress[name] = {
            "value": value,
            "max": most,
            "state": state,
            "node_id": name,
            "prompt_id": run.job.prompt_id,
            "display_node_id": name,
            "parent_node_id": None,
            "real_node_id": name,
        }
        nodes = {node: dict(one) for node, one in run.progress.items()}
        self._send(run, "progress_state", {"prompt_id": run.job.prompt_id, "nodes": nodes})

    def _tell(self, run: Run, event: str, data: dict) -> None:
        """An event that history keeps, too."""
        message = {"prompt_id": run.job.prompt_id, **data, "timestamp": int(time.time() * 1000)}
        run.messages.append([event, message])
        self._send(run, event, message)

    def _send(self, run: Run, event: str, data: dict) -> None:
        self.sockets.send(event, data, run.job.extra.get("client_id"))


def _note(job: Job) -> None:
    """Tell the journal, which outlives this process, what begins to run."""
    if path := os.environ.get("LETTABOX_SIMULATOR_JOURNAL"):
        prefixes = [job.graph[name]["inputs"].get("filename_prefix", "") for name in job.outputs]
        with open(path, "a") as journal:
            journal.write(f"{job.prompt_id} {' '.join(prefixes)}\n")


def _where(run: Run) -> dict:
    return {"node_id": run.node, "node_type": run.job.graph[run.node]["class_type"]}


def _meta(name: str) -> dict:
    return {"node_id": name, "display_node": name, "parent_node": None, "real_node_id": name}


def _fields(node: dict) -> list[str]:
    """The node's inputs that its class knows; the others are ignored."""
    known = CLASSES[node["class_type"]]["input"]
    return [name for name in node["inputs"] if name in known.get("required", {}) | known.get("optional", {})]


def _sources(node: dict) -> list[str]:
    values = [node["inputs"][name] for name in _fields(node)]
    return [value[0] for value in values if isinstance(value, list)]


def _needed(job: Job) -> list[str]:
    """The nodes that the outputs need, each after what it needs itself."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name not in order:
            for source in _sources(job.graph[name]):
                visit(source)
            order.append(name)

    for name in job.outputs:
        visit(name)
    return order


def _mark(graph: dict, name: str) -> str:
    """The same for nodes that make the same: class and inputs, the linked ones by their own mark."""
    node = graph[name]
    inputs = {}
    for field_name in _fields(node):
        value = node["inputs"][field_name]
        inputs[field_name] = [_mark(graph, value[0]), value[1]] if isinstance(value, list) else value
    return hashlib.sha256(json.dumps([node["class_type"], inputs], sort_keys=True).encode()).hexdigest()
