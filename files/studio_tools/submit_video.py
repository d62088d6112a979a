def submit_video(
    prompt: str,
    seed: Optional[str] = None,
    width: Optional[str] = None,
    height: Optional[str] = None,
    frames: Optional[str] = None,
    tags: Optional[str] = None,
) -> str:
    """
    Ask the studio to render a video from a prompt. It takes minutes: this returns at once with the id of a job, and
    check_video_status tells how far that is. An identical request of yours that still waits or renders is not made
    twice; for several versions of one prompt at a time give each a seed of its own.

    Args:
        prompt (str): What the video shows, in one paragraph: subject, action, setting, light, camera.
        seed (Optional[str]): A whole number that makes a render repeatable; without it each render is different.
        width (Optional[str]): Width in pixels, a multiple of 64, such as 768; without it as usual.
        height (Optional[str]): Height in pixels, a multiple of 64, such as 512; without it as usual.
        frames (Optional[str]): Number of frames, 8k+1, such as 97, 121 or 241; without it as usual.
        tags (Optional[str]): Words to find the video by, with spaces between: lower-case letters, digits, dashes.

    Returns:
        str: JSON with the job's id, its state and its position in the queue; or a sentence that says what is wrong.
    """
    import hashlib
    import json
    import os
    import re
    import time
    from datetime import datetime

    # Texts, not numbers and lists: Letta fails with null for a number, which models in strict mode must give for what
    # they leave out, and puts lists and numbers into the code that it runs as the model wrote them.
    wanted = {"prompt": str(prompt)}
    for name, value in (("seed", seed), ("width", width), ("height", height), ("frames", frames)):
        text = str(value).strip().removesuffix(".0")
        if text in ("", "None", "null"):
            continue
        if not re.fullmatch(r"-?[0-9]{1,20}", text):
            return f"Not submitted. {name} is a whole number, or left out; it was {text[:50]!r}."
        wanted[name] = int(text)
    words = re.findall(r"[^\s,;\"'\[\]#]+", str(tags if tags is not None else ""))
    if words and words not in (["None"], ["null"]):
        wanted["tags"] = words
    # The same request of the same agent has the same key, so that one whose answer was lost, or that Letta or a client
    # repeats, gives the job that it gave before. Once that job has ended, the request is a new wish: the next key.
    made_of = [os.environ.get("LETTA_AGENT_ID"), time.strftime("%Y-%m-%d", time.gmtime()), wanted]
    key = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()
    for _ in range(50):
        job, _, problem = ask_studio("POST", "/jobs", ("id", "state"), wanted, key)
        if problem:
            return f"Not submitted. {problem}"
        if job["state"] in ("queued", "running"):
            break
        key = hashlib.sha256((key + job["id"]).encode()).hexdigest()
    else:
        return "Not submitted: this very video was made 50 times today. Change the prompt, or give a seed."
    told = {"job_id": job["id"], "state": job["state"]}
    if job.get("position"):
        told["position"] = job["position"]
    made = datetime.fromisoformat(job.get("created", "").replace("Z", "+00:00") or "9999-12-31")
    if time.time() - made.timestamp() > 30:
        told["note"] = "You asked for exactly this before and it is not done yet: this is that job."
    return json.dumps(told, separators=(",", ":"))
