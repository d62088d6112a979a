def check_reply(run_id: str) -> str:
    """
    Get the reply of a member of the crew who was still working when ask_crew returned. Waits for it, two minutes at
    most.

    Args:
        run_id (str): The run_id that ask_crew returned.

    Returns:
        str: JSON with the reply, or that it is still working; or a sentence that says what is wrong.
    """
    import time

    run = id_of(run_id).lower()
    if not re.fullmatch(r"run-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", run):
        return f"The reply is not known: {plain(run_id)[:60]!r} is no run_id. Give the one that ask_crew returned."
    return reply_of(run, time.monotonic() + 120)
