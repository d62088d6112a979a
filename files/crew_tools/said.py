def answer(told):
    """What a tool returns: compact JSON, without what is empty."""
    import json

    kept = {key: value for key, value in told.items() if value not in (None, "", [], {})}
    return json.dumps(kept, ensure_ascii=False, separators=(",", ":"))


def left_out(text):
    """Whether a model left an argument out; in strict mode it must give something."""
    return is_nothing(text)


def id_of(text):
    """An id out of what a model gives for one: in quotes or brackets, or a whole line of the queue."""
    import re

    said = plain(text).strip("\"'`*#<>").strip()
    found = re.match(r"\[\s*([^\]]+?)\s*\]", said) or re.match(r"(?i)(?:video|variation|id|job)[\s:#]+(\S+)", said)
    return (found[1] if found else said).strip("\"'`*#[]()<>.,: ")
