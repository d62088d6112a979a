def updated(fields, now, label, name, said, action):
    """change_block's change; returns (the value from now on, "") or (None, what is wrong)."""
    kind = FIELDS[label][name]
    before = fields[name]
    if kind in ("list", "items"):
        wanted = list_items(said)
        if not wanted and action != "set":
            return None, f"Give what to {action}, one a line"
        if action == "set":
            fields[name] = wanted
        elif action == "add":
            known = {one.casefold() for one in before}
            fields[name] = before + [one for one in wanted if one.casefold() not in known]
        else:
            gone = {one.casefold() for one in wanted}
            fields[name] = [one for one in before if one.casefold() not in gone]
            if fields[name] == before:
                return None, f"{name} has no such element. It has: {'; '.join(before) or 'none'}"
        return fields[name], ""
    if kind != "text" and action != "set":
        return None, f"{name} is one {kind}: use the action set"
    one_line = plain(said)
    if kind != "text":
        value = now if kind == "time" and one_line.lower() == "now" else _value(kind, one_line, [])[0]
        if value is None:
            how = {"number": "a whole number", "grade": "a letter from A to F", "time": f"a time such as {now}, or now"}
            return None, f"{name} is {how[kind]}; it was {one_line[:60]!r}"
        fields[name] = value
    elif action == "set":
        fields[name] = _value(kind, one_line, [])[0]
    elif is_nothing(one_line):
        return None, f"Give what to {action}"
    elif action == "add":
        if one_line.casefold() not in before.casefold():
            fields[name] = one_line if before == NOTHING else f"{before}; {one_line}"
    else:
        parts = re.split(r"\s*[;,]\s*", before)
        left = [part for part in parts if part.casefold() != one_line.casefold()]
        if left == parts and before.casefold() != one_line.casefold():
            return None, f"{name} does not say that. It says: {before}"
        fields[name] = "; ".join(left) or NOTHING
    return fields[name], ""


def update_memory(block: str, field: str, value: str, action: str = "set") -> str:
    """
    Change one field of the crew's shared memory. Every agent of the crew sees it from its next step on.

    Args:
        block (str): session_state, user_style, quality_standards or current_series.
        field (str): The field's name, such as MOOD_PREFERENCES.
        value (str): The value; of a list one element a line; none for nothing.
        action (str): set (instead of what is there), add (to a list or a text), or remove (from it).

    Returns:
        str: JSON with the field as it is from now on; or a sentence that says what is wrong.
    """
    label = {_squeezed(one): one for one in LABELS}.get(_squeezed(block))
    if label in ("production_queue", "ab_testing"):
        own = {"production_queue": "queue_videos, skip_video, change_queue", "ab_testing": "start_ab_test, pick_winner"}
        return f"Nothing was changed: {label} is changed by its own tools ({own[label]} and their like)."
    if label is None:
        return f"Nothing was changed: there is no block {plain(block)[:60]!r}. The blocks are {', '.join(LABELS)}."
    names = [one for one in FIELDS[label] if one != "UPDATED_AT"]
    name = _known(label).get(_squeezed(field))
    if name not in names:
        return f"Nothing was changed: {label} has no field {plain(field)[:60]!r}. Its fields are {', '.join(names)}."
    how = "set" if left_out(action) else plain(action).lower().strip("\"'.")
    how = {"append": "add", "insert": "add", "delete": "remove", "replace": "set", "update": "set"}.get(how, how)
    if how not in ("set", "add", "remove"):
        return f"Nothing was changed. The action is set, add or remove; it was {how[:60]!r}."
    told, problem = change_block(label, updated, label, name, str(value), how)
    if problem:
        return f"Nothing was changed. {problem}".replace("changed. Nothing was changed: ", "changed: ")
    if told[1]:
        return f"Nothing was changed. {told[1]}."
    return answer({"block": label, "field": name, "value": NOTHING if told[0] == [] else told[0]})
