"""What /api/jobs says of jobs that wait, run or have run."""

from simulator.prompt_queue import Job, PromptQueue

STATES = ("pending", "in_progress", "completed", "failed", "cancelled")


def all_jobs(queue: PromptQueue) -> list[dict]:
    """Every job that is known, unsorted."""
    return (
        [_unfinished(job, "pending") for job in queue.pending]
        + [_unfinished(job, "in_progress") for job in queue.running]
        + [_finished(entry) for entry in queue.history().values()]
    )


def one_job(queue: PromptQueue, prompt_id: str) -> dict | None:
    for state, jobs in (("in_progress", queue.running), ("pending", queue.pending)):
        for job in jobs:
            if job.prompt_id == prompt_id:
                return _unfinished(job, state)
    entry = queue.finished.get(prompt_id)
    if entry is None:
        return None
    return {
        **_finished(entry),
        "outputs": entry["outputs"],
        "execution_status": entry["status"],
        "workflow": {"prompt": entry["prompt"][2], "extra_data": entry["prompt"][3]},
    }


def _unfinished(job: Job, state: str) -> dict:
    return _described(job.listed(), state) | {"outputs_count": 0, "previewable_outputs_count": 0}


def _described(listed: list, state: str) -> dict:
    number, prompt_id, _, extra, _ = listed
    return {"id": prompt_id, "status": state, "priority": number, "create_time": extra["create_time"]}


def _finished(entry: dict) -> dict:
    messages = dict(entry["status"]["messages"])
    ends = {"execution_success": "completed", "execution_error": "failed", "execution_interrupted": "cancelled"}
    (end,) = messages.keys() & ends.keys()
    files = [
        {**file, "nodeId": node, "mediaType": kind}
        for node, shown in entry["outputs"].items()
        for kind, listed in shown.items()
        for file in listed
        if isinstance(file, dict)
    ]
    return {
        **_described(entry["prompt"], ends[end]),
        "execution_start_time": messages["execution_start"]["timestamp"],
        "execution_end_time": messages[end]["timestamp"],
        **({"execution_error": messages[end]} if end == "execution_error" else {}),
        "outputs_count": len(files),
        "previewable_outputs_count": len(files),
        **({"preview_output": files[0]} if files else {}),
    }
