def get_frame(video: str, at: str = "middle") -> str:
    """
    Look at one frame of a video. A tool cannot show you a picture: you get facts that are measured in it, such as how
    bright it is, how much it varies and its main colours, and the address at which people and programs see it.

    Args:
        video (str): The video's path as get_recent_videos or check_video_status returned it, or the id of its job.
        at (str): first, middle or last, or a number of seconds from the start, such as 1.5.

    Returns:
        str: JSON with the frame's number, its time, its address and the facts; or a sentence that says what is wrong.
    """
    import io
    import json
    import os
    import re
    from urllib.parse import quote

    path = str(video).strip().lstrip("/").removeprefix("videos/")
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", path):
        job, _, problem = ask_studio("GET", f"/jobs/{path}", ("state",))
        if problem:
            return f"There is no frame. {problem}"
        if not job.get("video"):
            return f"There is no frame: the job is {job['state']} and has no video. {job.get('error') or ''}".strip()
        path = job["video"]
    place = str(at).strip().lower().removesuffix("s").strip()
    if place in ("", "none", "null"):
        place = "middle"
    if place not in ("first", "middle", "last"):
        if not re.fullmatch(r"[0-9]{1,6}([.][0-9]{1,6})?", place):
            return f"There is no frame at {place[:50]!r}: say first, middle, last, or a number of seconds such as 1.5."
        query = f"t={place}"
    else:
        query = f"at={place}"
    address = f"/frames/{quote(path, errors='replace')}?{query}"
    picture, headers, problem = ask_studio("GET", f"{address}&width=512&format=jpeg")
    if problem:
        return f"There is no frame. {problem}"
    headers = {name.lower(): value for name, value in headers.items()}
    told = {"video": path}
    if "x-frame-index" in headers:
        told["frame"] = int(headers["x-frame-index"])
    if "x-frame-time" in headers:
        told["seconds"] = round(float(headers["x-frame-time"]), 3)
    told["picture"] = os.environ["LETTABOX_STUDIO_URL"] + address
    try:
        from PIL import Image, ImageStat
    except ImportError:
        return json.dumps(told, ensure_ascii=False, separators=(",", ":"))  # the operator's own virtual environment
    try:
        image = Image.open(io.BytesIO(picture)).convert("RGB")
    except (OSError, TypeError):
        return "There is no frame: what the studio sent is no picture. Try again; if it stays so, tell the operator."
    grey = ImageStat.Stat(image.convert("L"))
    told["brightness_percent"] = round(grey.mean[0] / 2.55)
    told["contrast_percent"] = round(grey.stddev[0] / 1.28)
    if grey.stddev[0] < 4:
        told["looks"] = "black" if grey.mean[0] < 16 else "white" if grey.mean[0] > 240 else "one even colour"
    few = image.resize((64, 64)).quantize(5, method=Image.Quantize.MEDIANCUT)
    palette = few.getpalette()
    told["colours"] = {}
    for count, number in sorted(few.getcolors(), reverse=True):
        told["colours"]["#" + bytes(palette[3 * number : 3 * number + 3]).hex()] = f"{round(count / 40.96)} %"
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
