def skipped(fields, now, id, reason):
    """change_block's change."""
    if any(item(text)["id"] == id for text in fields["FAILED_RETRIES"]):
        return answer({"video_id": id, **progress(fields), "note": "This one was given up before; nothing changed."})
    current = item(fields["IN_PROGRESS"]) if fields["IN_PROGRESS"] != NOTHING else {"id": ""}
    waiting = [text for text in fields["PENDING_VIDEOS"] if item(text)["id"] == id]
    if not id or (current["id"] != id and not waiting):
        return not_in_progress(fields, id)
    video = current if current["id"] == id else item(waiting[0])
    if current["id"] == id:
        fields["IN_PROGRESS"] = NOTHING
    fields["PENDING_VIDEOS"] = [text for text in fields["PENDING_VIDEOS"] if text not in waiting]
    told = {key: value for key, value in video.items() if key in ("id", "text", "rounds", "job", "grade")}
    fields["FAILED_RETRIES"].append(item_text(told | {"reason": reason, "at": now}))
    over_when_empty(fields)
    return answer({"video_id": id, "skipped": video["text"], **progress(fields)})


def skip_video(video_id: str, reason: str) -> str:
    """
    Give up a video that is in progress or waits, so that the queue goes on. It stays known, with the reason.

    Args:
        video_id (str): The video's id, such as b1-2.
        reason (str): Why, in one sentence.

    Returns:
        str: JSON with how far the batch is; or a sentence that says what is wrong.
    """
    if left_out(reason):
        return "Nothing was skipped. Give a reason, in one sentence."
    told, problem = change_block("production_queue", skipped, id_of(video_id), plain(reason)[:200])
    return f"Nothing was skipped. {problem}" if problem else told
