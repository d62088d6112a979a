def under_way(agent, text, watched):
    """(the run in which the agent works on this very message, or "", whether it works on anything, problem).

    `watched` are the runs that were seen at work: a message may show only once its run has ended.
    """
    from datetime import datetime, timedelta, timezone

    runs, problem = runs_of(agent)
    busy = False
    for run in runs:
        began = datetime.fromisoformat(run["created_at"].replace("Z", "+00:00"))
        began = began if began.tzinfo else began.replace(tzinfo=timezone.utc)  # noqa: UP017
        # One that a restart of the server cut off says for ever that it works.
        if run["status"] in ("created", "running") and datetime.now(began.tzinfo) - began < timedelta(hours=1):
            busy = True
            watched.add(run["id"])
        if run["id"] not in watched:
            continue
        said, _, _ = ask_letta("GET", f"/v1/runs/{run['id']}/messages?limit=100", timeout=10)
        if any(text in words_of(one) for one in said or [] if one.get("message_type") == "user_message"):
            return run["id"], True, ""
    return "", busy, problem


def ask_crew(member: str, message: str, wait_seconds: str = "120") -> str:
    """
    Send a message to another member of the crew, and wait for the reply. It is sent once, when the member is free. When
    the reply takes longer, this returns a run_id: do other things, and ask for it with check_reply.

    Args:
        member (str): director, writer or cameraman.
        message (str): The message, with all the member has to know: it does not see your conversation.
        wait_seconds (str): How long to wait for the reply, 0 to 150.

    Returns:
        str: JSON with the reply, or with the run_id and that it is still working; or a sentence that says what is
        wrong.
    """
    import os
    import time

    begun = time.monotonic()
    agents = crew()["agents"]
    members = {role: id for role, id in agents.items() if not role.endswith("-sleeptime")}
    said = plain(member).lower().strip("\"'@.*").removeprefix("the ").removesuffix(" agent").strip()
    me = os.environ.get("LETTA_AGENT_ID")
    if not members:
        return "Nothing was sent: this server knows no crew. Tell the operator to run `make crew`."
    if said not in members or members[said] == me:
        others = ", ".join(role for role, id in members.items() if id != me)
        return f"Nothing was sent: {said[:60]!r} is no other member of the crew. Give one of {others}."
    if left_out(message):
        return "Nothing was sent: the message is empty."
    number = str(wait_seconds).strip().removesuffix(".0")
    deadline = begun + (min(int(number), 150) if number.isdecimal() and len(number) < 6 else 120)
    sender = next((role for role, id in agents.items() if id == me), "an agent")
    text = f"[Message from {sender}] {str(message).strip()}"
    watched = set()
    while True:
        run, busy, problem = under_way(members[said], text, watched)
        if problem:
            return f"Nothing was sent. {problem}"
        if run:
            return reply_of(run, deadline)  # a call that is repeated
        if not busy:
            break
        if time.monotonic() + 3 > deadline:
            return f"Nothing was sent: the {said} is busy with another message. Ask again in a minute, or go on."
        time.sleep(2)
    before, problem = runs_of(members[said])
    if problem:
        return f"Nothing was sent. {problem}"
    body = {"messages": [{"role": "user", "content": text}]}
    sent, status, problem = ask_letta("POST", f"/v1/agents/{members[said]}/messages/async", body, timeout=30)
    if problem and status:
        return f"Nothing was sent. {problem}"
    if not problem:
        return reply_of(sent["id"], deadline)
    # The answer was lost: sent or not? A message that arrived has made a run.
    now, unknown = runs_of(members[said])
    known = {one["id"] for one in before}
    new = [one["id"] for one in now if one["id"] not in known and one.get("background")]
    if new:
        return reply_of(new[0], deadline)
    return f"It is not known whether the message was sent. {unknown or problem}"
