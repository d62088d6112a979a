def check_video_status(job_id: str) -> str:
    """
    Tell how far a video is that was asked for with submit_video.

    Args:
        job_id (str): The job's id, as submit_video returned it.

    Returns:
        str: JSON with the state (queued, running, completed, failed or cancelled) and what belongs to it: the position
        in the queue, the seconds a render usually takes, the video, or why it failed; or a sentence that says what is
        wrong.
    """
    import json
    import time
    from datetime import datetime
    from urllib.parse import quote

    name = quote(str(job_id).strip(), "", errors="replace")
    job, _, problem = ask_studio("GET", f"/jobs/{name}", ("id", "state", "prompt"))
    if problem:
        return f"Its status is not known. {problem} The ids of recent jobs are in the answer of get_recent_videos."
    told = {"job_id": job["id"], "state": job["state"], "prompt": job["prompt"][:200]}
    for name in ("position", "box", "error", "tags"):
        if job.get(name):
            told[name] = job[name]
    if job.get("seed_used") is not None:
        told["seed"] = job["seed_used"]
    if job["state"] == "running" and job.get("started"):
        began = datetime.fromisoformat(job["started"].replace("Z", "+00:00"))
        told["running_for_s"] = max(round(time.time() - began.timestamp()), 0)
        if job.get("expected"):
            told["usually_takes_s"] = round(job["expected"])
    if job.get("video"):
        told["video"] = job["video"]
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
