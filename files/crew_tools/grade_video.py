def graded(fields, now, id, letter, reasons, job, video, standard, most):
    """change_block's change: accepted, to be refined, or given up."""
    done = [one for name in ("COMPLETED_TODAY", "FAILED_RETRIES") for one in map(item, fields[name]) if one["id"] == id]
    same = [one for one in done if one.get("job") == job]
    if same:
        verdict = "accepted" if "video" in same[0] else "failed"
        return {"verdict": verdict, **same[0], **progress(fields), "note": "This was graded before; nothing changed."}
    current = item(fields["IN_PROGRESS"]) if fields["IN_PROGRESS"] != NOTHING else {"id": ""}
    if current["id"] != id:
        return {"problem": not_in_progress(fields, id)}
    if current.get("graded") == job:
        again = "This render was graded before; nothing changed."
        return {"verdict": "refine", **current, **progress(fields), "note": again}
    if current.get("job") != job:
        return {"problem": f"Nothing was graded: video {id} has another render by now. Look at that one."}
    rounds = int(current.get("rounds", "0")) + 1 if current.get("rounds", "0").isdecimal() else 1
    outcome = {"id": id, "text": current["text"], "grade": letter, "rounds": str(rounds), "job": job}
    if letter <= standard:
        verdict = "accepted"
        fields["COMPLETED_TODAY"].append(item_text(outcome | {"video": video, "at": now}))
        fields["BATCH_COMPLETE"] += 1
        fields["IN_PROGRESS"] = NOTHING
    elif rounds < most:
        verdict = "refine"
        kept = {"id": id, "text": current["text"], "rounds": str(rounds), "started": current.get("started", now)}
        fields["IN_PROGRESS"] = item_text(kept | {"graded": job, "grade": letter, "reason": reasons[:200]})
    else:
        verdict = "failed"
        fields["FAILED_RETRIES"].append(item_text(outcome | {"reason": reasons[:200], "at": now}))
        fields["IN_PROGRESS"] = NOTHING
    over_when_empty(fields)
    return {"verdict": verdict, **outcome, **progress(fields)}


def look_at(job):
    """(the video of a job, its prompt, ""), or ("", "", a sentence that says why there is none)."""
    from urllib.parse import quote

    found, _, problem = ask_studio("GET", f"/jobs/{quote(job, safe='')}", ("state", "prompt"))
    if problem:
        return "", "", problem
    if found["state"] in ("queued", "running"):
        return "", "", f"Its job is {found['state']}. Call wait_for_video({job!r}) first."
    if found["state"] != "completed" or not found.get("video"):
        return "", "", (
            f"Its job is {found['state']} and has no video ({found.get('error') or 'no reason is known'}). Submit it "
            "again with submit_video and note_render, or give it up with skip_video."
        )
    page, _, problem = ask_studio("GET", f"/list_videos?limit=1&job={quote(job, safe='')}", ("videos",))
    if problem:
        return "", "", problem
    if not page["videos"] or not page["videos"][0].get("ready"):
        why = (page["videos"][0].get("problem") if page["videos"] else "") or "it is not listed yet"
        return "", "", f"Its video is not ready: {why}. Try again in a minute; if it stays so, skip_video."
    return found["video"], found["prompt"], ""


def grade_video(video_id: str, grade: str, reasons: str, prompt: Optional[str] = None) -> str:
    """
    Grade the rendered video that is in progress. The answer says what follows: accepted, refine (render again from a
    better prompt), or failed (given up, after as many rounds as quality_standards allows).

    Args:
        video_id (str): The video's id, such as b1-2.
        grade (str): One of A, B, C, D, E, F.
        reasons (str): Why, in one or two sentences: what is good, what is wrong and should be avoided.
        prompt (Optional[str]): The prompt that was rendered, if note_render did not get it.

    Returns:
        str: JSON with the verdict, the rounds, how far the batch is and what to do next; or a sentence that says what
        is wrong.
    """
    letter = grade_letter(grade)
    if not letter:
        return f"Nothing was graded. Give a grade from A (best) to F, one letter; it was {plain(grade)[:60]!r}."
    if left_out(reasons):
        return "Nothing was graded. Give reasons: what is good, or what is wrong and should be avoided."
    id, why = id_of(video_id), plain(reasons)[:1000]
    _, fields, _, problem = read_block("production_queue")
    _, quality, _, problem_too = read_block("quality_standards")
    if problem or problem_too:
        return f"Nothing was graded. {problem or problem_too}"
    current = item(fields["IN_PROGRESS"]) if fields["IN_PROGRESS"] != NOTHING else {"id": ""}
    done = [one for name in ("COMPLETED_TODAY", "FAILED_RETRIES") for one in map(item, fields[name]) if one["id"] == id]
    video, rendered = "", ""
    if current["id"] == id and "job" in current:
        job = current["job"]
        video, rendered, problem = look_at(job)
        if problem:
            return f"Nothing was graded. {problem}"
    elif current["id"] == id:
        job = current.get("graded", "")
        if not job:
            return f"Nothing was graded: video {id} has no render yet. submit_video, then note_render, then grade it."
    elif done and done[-1].get("job"):
        job = done[-1]["job"]
    else:
        return not_in_progress(fields, id)
    standard, most = quality["MIN_ACCEPTABLE_GRADE"], max(quality["MAX_RETRIES"], 1)
    told, problem = change_block("production_queue", graded, id, letter, why, job, video, standard, most)
    problem = problem or told.pop("problem", "")
    if problem:
        return f"Nothing was graded. {problem}".replace("Nothing was graded. Nothing was", "Nothing was")

    # From here on the grading stands. What follows is done once, however often it is asked for.
    verdict, letter, rounds = told["verdict"], told["grade"], told["rounds"]
    pattern = f"{told['text']}: {why}"[:200] if letter == "A" else why[:200]
    name = "SUCCESSFUL_PATTERNS" if letter == "A" else "FAILURE_PATTERNS_TO_AVOID" if verdict != "accepted" else ""
    if name and not told.get("note"):
        _, problem = change_block("quality_standards", with_pattern, name, pattern)
        told["not_recorded"] = f"The pattern is not in quality_standards: {problem}" if problem else ""
    if video:
        shown = plain(prompt) if not left_out(prompt) else rendered
        lines = [f"Grade {letter}, round {rounds}: {verdict}", f"Idea: {told['text']}", f"Prompt: {shown[:4000]}",
                 f"Reasons: {why}", f"Video: {video}"]  # fmt: skip
        tags = ["graded-video", f"grade-{letter.lower()}", verdict, id.partition("-")[0]]
        told["not_archived"] = archive(f"Video {id}, job {job}", "\n".join(lines), tags)
    told["next"] = {
        "accepted": "next_video",
        "refine": "Have the writer revise the prompt so that it avoids this, then submit_video and note_render again. "
        f"{most - int(rounds)} of {most} rounds are left.",
        "failed": "It is given up. Go on with next_video.",
    }[verdict]
    if told["queue"] == "complete":
        told["next"] = "The batch is complete. Report to the user."
    told["video_id"] = told.pop("id")
    told["idea"] = told.pop("text")
    return answer({"video_id": told["video_id"], "verdict": verdict, **told})
