def taken(fields, now):
    """change_block's change: the first one that waits is in progress."""
    import re

    count = {"batch": fields["BATCH_ID"], "complete": fields["BATCH_COMPLETE"], "total": fields["BATCH_TOTAL"]}
    if fields["QUEUE_STATUS"] == "paused":
        waits = "The queue is paused. When the user wants it to go on: change_queue('resume')."
        return {"queue": "paused", **count, "in_progress": fields["IN_PROGRESS"], "note": waits}
    if fields["IN_PROGRESS"] == NOTHING and not fields["PENDING_VIDEOS"]:
        fields["QUEUE_STATUS"] = "complete"
        failed = sum(1 for text in fields["FAILED_RETRIES"] if text.startswith(f"[{fields['BATCH_ID'].split(' ')[0]}-"))
        return {"queue": "complete", **count, "failed": failed, "note": "No video waits. Report to the user."}
    again = fields["IN_PROGRESS"] != NOTHING
    video = item(fields["IN_PROGRESS"] if again else fields["PENDING_VIDEOS"].pop(0))
    if not video["id"]:  # a model wrote it there
        known = re.findall(r"(?m)\bm(\d{1,6})\b", str(fields))
        video["id"] = f"m{max(map(int, known), default=0) + 1}"
    video["text"] = video["text"] or "(no idea was given)"
    video.setdefault("rounds", "0")
    video.setdefault("started", now)
    fields["IN_PROGRESS"] = item_text(video)
    fields["QUEUE_STATUS"] = "active"
    note = "This one was in progress already: go on with it." if again else ""
    return {"video_id": video["id"], "idea": video["text"], "rounds": video["rounds"], **video, **count, "note": note}


def next_video() -> str:
    """
    Take the next video of the queue into work, or the one that is in progress already, with all that its prompt has to
    heed: the user's style, the series, what to avoid, what worked.

    Returns:
        str: JSON with the video's id and idea, the rounds so far, and what to heed; or that the queue is paused or
        complete; or a sentence that says what is wrong.
    """
    told, problem = change_block("production_queue", taken)
    if problem:
        return f"There is no next video. {problem}"
    if "queue" in told:
        return answer(told)
    for key in ("id", "text"):
        told.pop(key)
    for label, key in (("user_style", "style"), ("current_series", "series"), ("quality_standards", "quality")):
        _, fields, _, problem = read_block(label)
        if problem:
            told[f"{key}_unknown"] = problem
            continue
        if key == "series" and fields["ACTIVE_SERIES"] == NOTHING:
            continue
        fields.pop("UPDATED_AT")
        told[key] = {name.lower(): value for name, value in fields.items() if value not in (NOTHING, [], 0)}
    return answer(told)
