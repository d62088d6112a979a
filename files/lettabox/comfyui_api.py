"""ComfyUI's HTTP API on this box: a workflow filled in, submitted, followed, and its errors in words.

ComfyUI keeps its queue and its history in memory: after a restart it knows no job, so who submits one keeps its id
and takes `LOST` for an answer.
"""

import copy
import uuid
from dataclasses import dataclass, field
from typing import Any

import requests

from lettabox.errors import FAILED, UNHEALTHY, USAGE, LettaboxError
from lettabox.settings import settings

Graph = dict[str, dict[str, Any]]

PENDING, RUNNING, COMPLETED, FAILURE, CANCELLED, LOST = (
    "pending",
    "in_progress",
    "completed",
    "failed",
    "cancelled",
    "lost",
)
ENDED = (COMPLETED, FAILURE, CANCELLED, LOST)
PATIENCE = 10  # seconds an answer may take; it answers in milliseconds unless it loads a model
SEEDS = 2**64
WHERE = "comfyui"
NEXT = "  next: sudo lettabox comfyui status says whether it runs; its log: journalctl -u comfyui"


@dataclass(frozen=True)
class Job:
    """A job as ComfyUI knows it."""

    id: str
    state: str
    files: list[dict[str, str]] = field(default_factory=list)  # {"filename", "subfolder", "type"} of all it saved
    error: str = ""  # of a failed one: node, class, what happened
    exception: str = ""  # of a failed one: the exception's class, such as torch.OutOfMemoryError


def address() -> str:
    """Its URL."""
    return f"http://127.0.0.1:{settings()['comfyui']['port']}"


def call(method: str, path: str, body: Any = None, patience: float = PATIENCE) -> requests.Response:
    """Send one request. Raises LettaboxError (UNHEALTHY) when there is no answer."""
    with requests.Session() as session:
        session.trust_env = False  # no proxy of the environment is on the way to loopback
        try:
            return session.request(method, address() + path, json=body, timeout=patience)
        except requests.RequestException as error:
            raise LettaboxError(f"{WHERE}: {method} {address()}{path}: {error}\n{NEXT}", UNHEALTHY) from None


def get(path: str, patience: float = PATIENCE) -> Any:
    """The JSON at a path. Raises LettaboxError (UNHEALTHY) for any other answer."""
    answer = call("GET", path, patience=patience)
    try:
        answer.raise_for_status()
        return answer.json()
    except (requests.RequestException, ValueError):
        what = f"{answer.status_code} {answer.text[:200]}"
        raise LettaboxError(f"{WHERE}: GET {address()}{path} answers {what}\n{NEXT}", UNHEALTHY) from None


def object_info() -> dict[str, Any]:
    """What it says of all its node classes."""
    return get("/object_info", patience=60)  # it looks through the folders of models for this


def version() -> str:
    """Its own version, such as 0.33.0."""
    return str(get("/system_stats").get("system", {}).get("comfyui_version", ""))


# --- jobs --------------------------------------------------------------------------------------------------


def fill(
    workflow: Graph,
    manifest: dict[str, Any],
    *,
    prompt: str,
    seed: int,
    width: int | None = None,
    height: int | None = None,
    frames: int | None = None,
    prefix: str = "",
) -> Graph:
    """Return a copy of the workflow for one job; what is None or "" stays as the workflow has it.

    `seed` goes to the base stage, and seed + i to its i-th other place: with the seeds of the last job ComfyUI would
    give the last file again. `prefix` is the file's path below output/, without number and suffix. Raises LettaboxError
    where the manifest has no place for a value.
    """
    graph = copy.deepcopy(workflow)
    _set(graph, manifest["prompt"], prompt)
    for number, place in enumerate(manifest["seeds"]):
        _set(graph, place, (seed + number) % SEEDS)
    for name, value in (("width", width), ("height", height), ("frames", frames)):
        if value is None:
            continue
        if manifest[name] is None:
            raise LettaboxError(
                f"workflow: it has no known place for the {name}; set settings.workflow.manifest.{name} and deploy, or "
                f"leave the {name} out",
                USAGE,
            )
        _set(graph, manifest[name], value)
    if prefix:
        graph[manifest["output"]]["inputs"]["filename_prefix"] = prefix
    return graph


def _set(graph: Graph, place: dict[str, str], value: Any) -> None:
    graph[place["node"]]["inputs"][place["input"]] = value


def submit(graph: Graph, client: str, first: bool = False) -> str:
    """Queue a workflow in API form, at the front if `first`; return the job's id.

    `client` names who asks: without one, old versions lose outputs. Raises LettaboxError with ComfyUI's reasons in
    words; nothing runs then.
    """
    told = {"prompt": graph, "client_id": client, "prompt_id": str(uuid.uuid4())}
    answer = call("POST", "/prompt", told | ({"front": True} if first else {}))
    try:
        said = answer.json()
    except ValueError:
        # It answers so to what is no workflow in API form at all.
        said = " ".join(answer.text.split())[:200]
        raise LettaboxError(
            f"{WHERE}: POST /prompt answers {answer.status_code}: {said}\n  next: send a workflow in API form"
        ) from None
    if answer.status_code == 200 and not said.get("node_errors"):
        return str(said["prompt_id"])
    if answer.status_code == 200:
        cancel(str(said["prompt_id"]))  # one of several outputs was refused, and the others would run
    raise LettaboxError("\n  ".join([f"{WHERE}: it refuses the workflow:", *explained(said)]), FAILED)


def explained(said: dict[str, Any]) -> list[str]:
    """One line for each reason in the answer to a refused POST /prompt."""
    lines = []
    for node, one in (said.get("node_errors") or {}).items():
        for error in one.get("errors", []):
            lines.append(f"node {node} ({one.get('class_type')}): {_reason(error)}")
    error = said.get("error")
    if not lines and isinstance(error, dict):
        extra = error.get("extra_info") or {}
        if error.get("type") == "missing_node_type":
            lines = [f"node {extra.get('node_id')}: the node class {extra.get('class_type')} is not installed"]
        else:
            lines = [" ".join(str(error.get(key) or "") for key in ("type", "message", "details")).strip()]
    return lines or [str(error or said)[:300]]


def missing_only(said: dict[str, Any]) -> bool:
    """Whether all reasons of a refused POST /prompt are files that are not there, such as models."""
    errors = [error for one in (said.get("node_errors") or {}).values() for error in one.get("errors", [])]
    return bool(errors) and all(_is_missing_file(error) for error in errors)


def _is_missing_file(error: dict[str, Any]) -> bool:
    extra = error.get("extra_info") or {}
    name, value = extra.get("input_name"), extra.get("received_value")
    return bool(error.get("type") == "value_not_in_list" and isinstance(value, str) and "." in value and name)


def _reason(error: dict[str, Any]) -> str:
    extra = error.get("extra_info") or {}
    name, value = extra.get("input_name"), extra.get("received_value")
    if _is_missing_file(error):
        return f"{name} {value} is not there (a model that is not installed, or no choice of this ComfyUI)"
    return f"{error.get('message')}: {error.get('details')}"


def job(id: str) -> Job:
    """How a job is; LOST where ComfyUI does not know it, as after a restart."""
    answer = call("GET", f"/api/jobs/{id}")
    if answer.status_code == 404:
        return Job(id, LOST)
    try:
        answer.raise_for_status()
        return read_job(id, answer.json())
    except (requests.RequestException, ValueError, LookupError):
        raise LettaboxError(
            f"{WHERE}: GET /api/jobs/{id} answers {answer.status_code} {answer.text[:200]}\n{NEXT}", UNHEALTHY
        ) from None


def read_job(id: str, said: dict[str, Any]) -> Job:
    """What an answer of /api/jobs/{id} says. Raises LookupError where it says no state."""
    error, exception = _error(said.get("execution_status") or {})
    return Job(id, said["status"], _files(said.get("outputs") or {}), error, exception)


def _files(outputs: dict[str, Any]) -> list[dict[str, str]]:
    """Everything that was saved: each node has lists of its own names (images, gifs, videos)."""
    return [
        {"filename": one["filename"], "subfolder": one.get("subfolder", ""), "type": one.get("type", "output")}
        for node in outputs.values()
        for several in node.values()
        if isinstance(several, list)
        for one in several
        if isinstance(one, dict) and "filename" in one
    ]


def _error(status: dict[str, Any]) -> tuple[str, str]:
    """(What happened, the exception's class); "" for what there is not."""
    for kind, told in reversed(status.get("messages") or []):
        if kind == "execution_error":
            exception = str(told.get("exception_type"))
            what = f"{exception}: {str(told.get('exception_message')).strip()}"
            return f"node {told.get('node_id')} ({told.get('node_type')}): {what}", exception
        if kind == "execution_interrupted":
            return f"interrupted at node {told.get('node_id')} ({told.get('node_type')})", ""
    return "", ""


def cancel(id: str) -> None:
    """Take a job out of the queue, or interrupt it between two steps; nothing where it has ended."""
    call("POST", "/queue", {"delete": [id]})
    call("POST", "/interrupt", {"prompt_id": id})


def forget(id: str) -> None:
    """Remove an ended job from the history."""
    call("POST", "/history", {"delete": [id]})


def waiting() -> int:
    """How many jobs run or wait."""
    return int(get("/prompt")["exec_info"]["queue_remaining"])
