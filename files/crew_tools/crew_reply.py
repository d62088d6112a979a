def reply_of(run, deadline):
    """What a member of the crew answered in a run, as the tools return it; waits until the deadline at most."""
    import time

    pause = 0.5
    while True:
        found, status, problem = ask_letta("GET", f"/v1/runs/{run}", timeout=10)
        if status == 404:
            return f"There is no run {run}. Give the run_id that ask_crew returned."
        if problem:
            return f"The reply is not known. {problem} Then: check_reply({run!r})."
        if found["status"] not in ("created", "running"):
            break
        if time.monotonic() + pause > deadline:
            note = "Do not send it again: ask for the reply later with check_reply."
            return answer({"run_id": run, "state": "still working", "since": found.get("created_at", ""), "note": note})
        time.sleep(pause)
        pause = min(pause * 1.5, 4)
    said, _, problem = ask_letta("GET", f"/v1/runs/{run}/messages?order=desc&limit=100", timeout=10)
    if problem:
        return f"The reply is not known. {problem} Then: check_reply({run!r})."
    texts = [words_of(one) for one in said if one.get("message_type") == "assistant_message"]
    reply = next((text for text in texts if text), "")
    told = {"run_id": run, "state": found["status"], "reply": reply}
    if found["status"] != "completed" or not reply:
        failed = (found.get("metadata") or {}).get("error") or found.get("stop_reason")
        told |= {"problem": f"It ended without a reply: {failed or 'no reason is known'}" if not reply else failed}
    return answer(told)


def words_of(said):
    """The text of one message of Letta."""
    content = said.get("content")
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "").strip()


def runs_of(agent):
    """(the newest runs of an agent, newest first, "")."""
    found, _, problem = ask_letta("GET", f"/v1/runs/?agent_id={agent}&limit=20", timeout=10)
    return found or [], problem
