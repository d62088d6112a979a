def crew():
    """What the crew's record says: {"agents": {role: id}, "blocks": {label: id}}; both empty where there is no crew."""
    import json
    import os

    try:
        known = json.loads(os.environ.get("LETTABOX_CREW", ""))
        return {"agents": dict(known["agents"]), "blocks": dict(known["blocks"])}
    except (ValueError, KeyError, TypeError):
        return {"agents": {}, "blocks": {}}


def read_block(label):
    """(the block of Letta, its fields, its notes, ""), or (None, {}, "", a sentence that says what is wrong)."""
    id = crew()["blocks"].get(label)
    if not id:
        return None, {}, "", f"This server knows no block {label} of a crew. Tell the operator to run `make crew`."
    block, status, problem = ask_letta("GET", f"/v1/blocks/{id}")
    if status == 404:
        problem = f"The crew's block {label} is gone. Tell the operator to run `make crew`."
    if problem:
        return None, {}, "", problem
    fields, notes, _ = read(label, block["value"])
    return block, fields, notes, ""


def change_block(label, change, *given):
    """Change the fields of a block, and lose no change that another agent makes at the same time.

    `change(fields, now, *given)` changes the fields in place and returns the tool's answer; it is called again, with
    what is there by then, when somebody else wrote in between or no answer came. So it must see in the fields whether
    its change is made already.

    Returns:
        tuple: (what `change` returned, ""); or (None, a sentence that says what is wrong).
    """
    import copy
    import random
    import time

    deadline = time.monotonic() + 90
    attempt, unheard = 0, None
    while True:
        block, fields, notes, problem = read_block(label)
        if problem:
            return None, problem
        before = copy.deepcopy(fields)
        now = stamp()
        answer = change(fields, now, *given)
        if fields == before:
            # Where an answer was lost, the change was made all the same: this is what it was.
            return answer if unheard is None else unheard, ""
        text = write(label, fields, notes, now)
        if len(text) > block["limit"] and len(text) > len(block["value"]):
            return None, (
                f"Nothing was changed: {label} would have {len(text)} characters, and its limit is {block['limit']}. "
                "Remove what is no longer needed, or tell the operator to raise its limit in the crew's file."
            )
        swap = {"value": text, "if_value": block["value"]}
        _, status, problem = ask_letta("PATCH", f"/v1/blocks/{block['id']}", swap)
        if not problem:
            return answer, ""
        if status not in (0, 409):
            return None, problem
        if status == 0:
            unheard = answer
        if time.monotonic() > deadline:
            return None, problem if status == 0 else (
                f"Nothing was changed: others write to {label} all the time. Try again in a minute."
            )
        # Those who met once shall not meet again.
        time.sleep(random.uniform(0, min(0.1 * 1.5**attempt, 3)))
        attempt += 1
