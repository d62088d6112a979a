def steered(fields, now, action):
    """change_block's change."""
    cleared = []
    if action == "pause" and fields["QUEUE_STATUS"] != "complete":
        fields["QUEUE_STATUS"] = "paused"
    if action == "resume" and fields["QUEUE_STATUS"] == "paused":
        fields["QUEUE_STATUS"] = "active"
        over_when_empty(fields)
    if action == "clear":
        for number, text in enumerate(fields["PENDING_VIDEOS"], 1):
            video = item(text)
            told = {"id": video["id"] or f"x{number}", "text": video["text"] or "(no idea was given)"}
            fields["FAILED_RETRIES"].append(item_text(told | {"reason": "cleared", "at": now}))
            cleared.append(told["id"])
        fields["PENDING_VIDEOS"] = []
        over_when_empty(fields)
    return {**progress(fields), "in_progress": item(fields["IN_PROGRESS"])["id"], "cleared": cleared}


def change_queue(action: str) -> str:
    """
    Pause the production queue, let it go on, or clear it.

    Args:
        action (str): pause, resume, or clear: what waits is given up then, and what is in progress is finished.

    Returns:
        str: JSON with the queue's status and how far the batch is; or a sentence that says what is wrong.
    """
    said = plain(action).lower().strip("\"'.")
    words = {
        "pause": ("pause", "paused", "stop", "hold", "halt"),
        "resume": ("resume", "resumed", "continue", "start", "unpause", "active", "activate", "go on"),
        "clear": ("clear", "cleared", "empty", "cancel", "cancel all", "clear all"),
    }
    wanted = next((one for one, names in words.items() if said in names), None)
    if wanted is None:
        return f"Nothing was changed. Say pause, resume or clear; it was {said[:60]!r}."
    told, problem = change_block("production_queue", steered, wanted)
    return f"Nothing was changed. {problem}" if problem else answer(told)
