def get_recent_videos(limit: str = "5") -> str:
    """
    List the newest videos of the studio, those of other agents and of people too.

    Args:
        limit (str): How many, 1 to 50.

    Returns:
        str: JSON with the newest videos first: the path that get_frame takes, prompt, seed, seconds, size, tags, job
        and time of each; or a sentence that says what is wrong.
    """
    import json

    # A text, as in submit_video.
    number = str(limit).strip().removesuffix(".0")
    count = min(max(int(number), 1), 50) if number.isdecimal() and len(number) < 10 else 5
    page, _, problem = ask_studio("GET", f"/list_videos?limit={count}", ("videos",))
    if problem:
        return f"The videos are not known. {problem}"
    videos = []
    for video in page["videos"]:
        told = {"video": video["path"], "time": video["time"][:19] + "Z"}
        if not video["ready"]:
            told["not_ready"] = video.get("problem") or "it is being written"
        for name, value in (
            ("prompt", (video.get("prompt") or "")[:300]),
            ("seed", video.get("seed")),
            ("seconds", video.get("duration") and round(video["duration"], 2)),
            ("size", video.get("width") and f"{video['width']}x{video['height']}"),
            ("tags", video.get("tags")),
            ("job_id", video.get("job")),
        ):
            if value not in (None, "", []):
                told[name] = value
        videos.append(told)
    answer = {"videos": videos}
    if page.get("unreachable"):
        answer["boxes_that_do_not_answer"] = page["unreachable"]
    return json.dumps(answer, ensure_ascii=False, separators=(",", ":"))
