def noted(fields, now, id, job, prompt):
    """change_block's change: the video in progress knows its job."""
    video = item(fields["IN_PROGRESS"]) if fields["IN_PROGRESS"] != NOTHING else {"id": ""}
    if video["id"] != id:
        return not_in_progress(fields, id)
    if video.get("graded") == job:
        return f"Not noted: job {job} is graded already. Submit the better prompt with submit_video, and note that job."
    if video.get("job") == job:
        return answer({"video_id": id, "job_id": job, "note": "This was noted before."})
    before = video.pop("job", "")
    video |= {"job": job, "prompt": prompt[:600]}
    fields["IN_PROGRESS"] = item_text(video)
    return answer({"video_id": id, "job_id": job, "instead_of": before, "next": "wait_for_video, then grade_video"})


def note_render(video_id: str, job_id: str, prompt: str) -> str:
    """
    Remember which job renders the video in progress, and from which prompt. Do it right after submit_video: it is how
    the crew finds the video again.

    Args:
        video_id (str): The video's id as next_video returned it, such as b1-2.
        job_id (str): The job's id as submit_video returned it.
        prompt (str): The prompt that was submitted.

    Returns:
        str: JSON with both ids; or a sentence that says what is wrong.
    """
    import re

    job = id_of(job_id).lower()
    if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", job):
        return (
            f"Not noted: {plain(job_id)[:60]!r} is no id of a job. Give the job_id that submit_video returned; "
            "get_recent_videos lists recent ones."
        )
    said = "" if left_out(prompt) else plain(prompt)
    told, problem = change_block("production_queue", noted, id_of(video_id), job, said)
    return f"Not noted. {problem}" if problem else told
