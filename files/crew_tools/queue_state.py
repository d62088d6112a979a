def not_in_progress(fields, id):
    """A sentence that says where a video is instead."""
    now = item(fields["IN_PROGRESS"])["id"] if fields["IN_PROGRESS"] != NOTHING else ""
    instead = f"In progress is {now}." if now else "None is in progress: take one with next_video."
    for name, where in (
        ("PENDING_VIDEOS", "still waits in the queue"),
        ("COMPLETED_TODAY", "is accepted already"),
        ("FAILED_RETRIES", "was given up or skipped"),
    ):
        if any(item(text)["id"] == id for text in fields[name]):
            return f"Nothing was changed: video {id} {where}. {instead}"
    return f"Nothing was changed: there is no video {id[:60]!r} in the queue. {instead}"


def over_when_empty(fields):
    """The queue is complete when nothing waits and nothing is in progress."""
    if fields["IN_PROGRESS"] == NOTHING and not fields["PENDING_VIDEOS"]:
        fields["QUEUE_STATUS"] = "complete"


def progress(fields):
    """What every answer tells of the queue."""
    batch = fields["BATCH_ID"].split(" ")[0]
    failed = sum(1 for text in fields["FAILED_RETRIES"] if text.startswith(f"[{batch}-"))
    told = {"batch": fields["BATCH_ID"], "complete": fields["BATCH_COMPLETE"], "total": fields["BATCH_TOTAL"]}
    told |= {"failed": failed, "pending": len(fields["PENDING_VIDEOS"]), "queue": fields["QUEUE_STATUS"]}
    return told


def with_pattern(fields, now, name, pattern):
    """change_block's change: one more element of a list, which keeps the newest 40."""
    if pattern.casefold() not in [one.casefold() for one in fields[name]]:
        fields[name] = [*fields[name], pattern][-40:]
