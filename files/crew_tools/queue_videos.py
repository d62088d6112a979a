def batch_number(fields):
    """The highest number of a batch that the queue knows; 0 for none."""
    import re

    texts = [fields["BATCH_ID"], fields["IN_PROGRESS"]]
    for name in ("PENDING_VIDEOS", "COMPLETED_TODAY", "FAILED_RETRIES"):
        texts += fields[name]
    found = [re.match(r"\[?b(\d{1,6})\b", text) for text in texts]
    return max([int(one[1]) for one in found if one], default=0)


def former_days(fields, now):
    """What is done since before today: it is in archival memory, or goes there, and need not be in the block."""
    done = {}
    for name in ("COMPLETED_TODAY", "FAILED_RETRIES"):
        done[name] = [text for text in fields[name] if NEVER < item(text).get("at", NEVER) < now[:10]]
    return done


def queued(fields, now, ideas, name, archived):
    """change_block's change."""
    waiting = fields["IN_PROGRESS"] != NOTHING or bool(fields["PENDING_VIDEOS"])
    number = max(batch_number(fields), 1) if waiting else batch_number(fields) + 1
    everywhere = ["IN_PROGRESS", "PENDING_VIDEOS", "COMPLETED_TODAY", "FAILED_RETRIES"]
    texts = [text for one in everywhere for text in (fields[one] if isinstance(fields[one], list) else [fields[one]])]
    here = [item(text) for text in texts if text != NOTHING]
    here = [one for one in here if waiting and (one["id"].startswith(f"b{number}-") or not one["id"])]
    known = {one["text"].casefold(): one["id"] for one in here}
    ends = [one["id"].rpartition("-")[2] for one in here]
    last = max([int(end) for end in ends if end.isdecimal()], default=0)
    added, there = [], []
    for idea in ideas:
        text = item(idea)["text"] or idea
        if text.casefold() in known:
            there.append(f"[{known[text.casefold()]}] {text}")
            continue
        last += 1
        id = f"b{number}-{last}"
        known[text.casefold()] = id
        added.append(item_text({"id": id, "text": text}))
    if added:
        if not waiting:
            fields["BATCH_ID"] = f"b{number} ({name})" if name else f"b{number}"
            fields["BATCH_TOTAL"] = fields["BATCH_COMPLETE"] = 0
            fields["QUEUE_STATUS"] = "active"
            for one, old in archived.items():
                fields[one] = [text for text in fields[one] if text not in old]
        elif not fields["BATCH_ID"].startswith(f"b{number}"):
            fields["BATCH_ID"] = f"b{number}"
        if fields["QUEUE_STATUS"] == "complete":
            fields["QUEUE_STATUS"] = "active"
        fields["PENDING_VIDEOS"] += added
        fields["BATCH_TOTAL"] += len(added)
    note = "" if added else "All of them are in the batch already: nothing was added."
    paused = "The queue is paused: change_queue('resume') lets it go on." if fields["QUEUE_STATUS"] == "paused" else ""
    told = {"batch": fields["BATCH_ID"], "added": added, "already_there": there, "total": fields["BATCH_TOTAL"]}
    return told | {"pending": len(fields["PENDING_VIDEOS"]), "note": " ".join(filter(None, (note, paused)))}


def queue_videos(ideas: str, batch: Optional[str] = None) -> str:
    """
    Put videos into the production queue. While a batch is under way they are added to it; otherwise a new one begins.

    Args:
        ideas (str): One idea a line: what the video shows, in one sentence. Each video needs an idea of its own.
        batch (Optional[str]): A name for a new batch, such as mythical creatures.

    Returns:
        str: JSON with the batch, the videos that were added with their ids, those that were in it already, and how
        many wait; or a sentence that says what is wrong.
    """
    wanted = [plain(one).replace("|", "/") for one in list_items(ideas, "items")]
    if not wanted:
        return "Nothing was queued. Give one idea a line: what the video shows, in one sentence."
    if len(wanted) > 50 or max(map(len, wanted)) > 500:
        return "Nothing was queued. Give at most 50 ideas at a time, each of at most 500 characters."
    name = "" if left_out(batch) else plain(batch).strip("\"'()[]")[:60]
    _, fields, _, problem = read_block("production_queue")
    if problem:
        return f"Nothing was queued. {problem}"
    begins = fields["IN_PROGRESS"] == NOTHING and not fields["PENDING_VIDEOS"]
    old = former_days(fields, stamp()) if begins else {}
    lines = [text for texts in old.values() for text in texts]
    about = f"Production before {stamp()[:10]}, {len(lines)} videos"
    if lines and archive(about, "\n".join(lines), ["production-log"]):
        old = {}  # it stays in the block until it can be kept elsewhere
    told, problem = change_block("production_queue", queued, wanted, name, old)
    return f"Nothing was queued. {problem}" if problem else answer(told)
