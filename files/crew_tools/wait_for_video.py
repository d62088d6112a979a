def wait_for_video(job_id: str) -> str:
    """
    Wait until a video is rendered, or its job has failed: two minutes at most. While it still renders then, call this
    again.

    Args:
        job_id (str): The job's id, as submit_video returned it.

    Returns:
        str: What check_video_status returns: JSON with the state and the video; or a sentence that says what is wrong.
    """
    import json
    import time

    begun = time.monotonic()
    while True:
        # One look takes a minute and a half at worst, and Letta ends a tool after three minutes.
        said = check_video_status(id_of(job_id))
        if not said.startswith("{") or json.loads(said)["state"] not in ("queued", "running"):
            return said
        if time.monotonic() - begun > 85:
            return said
        time.sleep(3)
