"""The texts of the crew's shared blocks: a tolerant reader of what models write, a strict writer, and a repair.

Standard library alone, and self-contained: this text also stands before the source of every tool of the crew. Letta
takes the last function of a source for the tool, and looks at the functions within classes and functions after all
others, so there are none. It sets a tool's arguments as variables before this text: no name here may be one of them.

Canonical form, one field a line, `NOTES:` only where there are any:

    UPDATED_AT: 2026-01-15T16:31:18Z
    QUEUE_STATUS: active
    PENDING_VIDEOS:
    - [b1-2] a griffin at dawn | rounds=1
    FAILED_RETRIES: []
    NOTES:
    free lines

A text with nothing in it is `none`. `> ` before a value, an item or a note says: as it stands, whatever it looks like.
"""

import ast
import json
import re
from datetime import datetime, timezone

NOTHING = "none"
NEVER = "1970-01-01T00:00:00Z"  # a time that is not known
GRADES = "ABCDEF"

# Kinds: text, list, time, number, grade, status, and `item` and `items`, which are `[id] text | key=value` (see item).
FIELDS = {
    "session_state": {
        "UPDATED_AT": "time",
        "LAST_ACTIVITY": "time",
        "PENDING_WORK": "list",
        "IN_PROGRESS_PROJECT": "text",
        "QUEUED_VIDEOS": "list",
        "LAST_SESSION_SUMMARY": "text",
    },
    "user_style": {
        "UPDATED_AT": "time",
        "COLOR_PREFERENCES": "text",
        "MOOD_PREFERENCES": "text",
        "THEME_PREFERENCES": "text",
        "PACING_PREFERENCES": "text",
        "FAVORITE_SUCCESSES": "list",
        "DISLIKED_ELEMENTS": "list",
    },
    "quality_standards": {
        "UPDATED_AT": "time",
        "MIN_ACCEPTABLE_GRADE": "grade",
        "MAX_RETRIES": "number",
        "FAILURE_PATTERNS_TO_AVOID": "list",
        "REFINEMENT_STRATEGIES": "list",
        "SUCCESSFUL_PATTERNS": "list",
        "PROVEN_PROMPT_TEMPLATES": "list",
    },
    "production_queue": {
        "UPDATED_AT": "time",
        "QUEUE_STATUS": "status",
        "PENDING_VIDEOS": "items",
        "IN_PROGRESS": "item",
        "COMPLETED_TODAY": "items",
        "FAILED_RETRIES": "items",
        "BATCH_ID": "text",
        "BATCH_TOTAL": "number",
        "BATCH_COMPLETE": "number",
    },
    "current_series": {
        "UPDATED_AT": "time",
        "ACTIVE_SERIES": "text",
        "SERIES_THEME": "text",
        "SERIES_STYLE": "text",
        "EPISODES_COMPLETED": "number",
        "EPISODES_PLANNED": "number",
        "SERIES_ELEMENTS": "list",
        "CONSISTENCY_RULES": "list",
    },
    "ab_testing": {
        "UPDATED_AT": "time",
        "ACTIVE_TEST": "text",
        "VARIATIONS": "items",
        "VARIATION_A_ID": "text",
        "VARIATION_B_ID": "text",
        "USER_SELECTIONS": "items",
        "WINNING_PATTERNS": "list",
    },
}
LABELS = tuple(FIELDS)

_LISTS = ("list", "items")
_DEFAULTS = {"text": NOTHING, "item": NOTHING, "time": NEVER, "number": 0, "grade": "B", "status": "complete"}
_OWN_DEFAULTS = {"MAX_RETRIES": 3}
_STATUSES = {
    "active": ("active", "in progress", "running", "started", "processing", "resumed"),
    "paused": ("paused", "pause", "on hold", "stopped"),
    "complete": ("complete", "completed", "done", "finished", "idle", "empty", "inactive", "not started"),
}
_NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_EMPTY = ("", "none", "null", "nil", "n/a", "na", "undefined", "nan", "[]", "{}", "()", "-", "--", "(none)", "(empty)")
_OTHER_NAMES = {"colourpreferences": "COLOR_PREFERENCES", "lastupdated": "UPDATED_AT", "updated": "UPDATED_AT"}
_LANGUAGES = ("", "json", "yaml", "yml", "markdown", "md", "text", "txt", "plaintext", "toml", "ini", "python")
_BULLET = re.compile(r"\s*(?:[-*+•–—‣◦▪]|\d{1,3}[.)])\s+(.*)")
_HEAD = re.compile(r"[\s>]*(?:[-*+•–—‣◦▪]\s+|\d{1,3}[.)]\s+|#{1,6}\s*)?([*_`\"']*)([A-Za-z][A-Za-z _-]*?)([*_`\"'\s]*)")
_UNKNOWN = re.compile(r"#|[*_]*[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+[*_]*\s*:")  # a heading, or what looks like a field
_MARKS = re.compile(r"[-=*_#|:{}\[\](),+~`<>\"'\s]*")  # a line of these alone says nothing
_ITEM_ID = re.compile(r"\[\s*([A-Za-z0-9][A-Za-z0-9_.-]*)\s*\]\s*")
_ITEM_KEY = re.compile(r"\s*([a-z][a-z0-9_]*)\s*=\s*(.*)", re.DOTALL)


def stamp():
    """Now, as blocks have it."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")  # noqa: UP017 - the system's Python may be 3.10


def fresh(label, now):
    """The fields of a block that nobody has written to: none of them is null."""
    return {name: now if kind == "time" else _default(name, kind) for name, kind in FIELDS[label].items()}


def _default(name, kind):
    return [] if kind in _LISTS else _OWN_DEFAULTS.get(name, _DEFAULTS[kind])


def plain(text):
    """A text as one line, without what a block, or its database, cannot hold."""
    return " ".join(str(text).replace("\x00", " ").encode("utf-8", "replace").decode().split())


def is_nothing(text):
    """Whether a text says that there is nothing: empty, none, null, n/a, [] ..."""
    return text is None or str(text).strip().strip("\"'`*.").strip().lower() in _EMPTY


def grade_letter(text):
    """The grade in `B`, `b+`, `Grade: B`, `B - good`; "" where there is none."""
    said = str(text).strip().strip("\"'`*[]()").strip()
    found = re.fullmatch(r"(?i)(?:(?:the\s+)?(?:final\s+)?grade\b)?[\s:=*]*(?:is\b)?\s*([A-F])\s*[+-]?", said)
    # With words behind it only a capital is a grade: "a fine video" has none.
    found = found or re.match(r"(?:(?i:grade)\b[\s:=*]*)?([A-F])[+-]?\s*(?:[-–—:;,.(/*]|or\b)", said)
    return found[1].upper() if found else ""


def item(text):
    """`[id] text | key=value` as {"id", "text", key: value}; the id is "" where there is none."""
    first, *parts = plain(text).split("|")
    first = first.strip()
    found = _ITEM_ID.match(first)
    told = {"id": found[1] if found else "", "text": first[found.end() :] if found else first}
    for part in parts:
        pair = _ITEM_KEY.fullmatch(part)
        if pair and pair[1] not in told and pair[2].strip():
            told[pair[1]] = pair[2].strip()
        elif part.strip():
            told["text"] = f"{told['text']} / {part.strip()}".removeprefix(" / ")
    return told


def item_text(told):
    """The other way. `|` within a value becomes `/`. Raises ValueError where the id or the text is missing."""
    id, text = plain(told.get("id", "")), plain(told.get("text", "")).replace("|", "/")
    if not _ITEM_ID.fullmatch(f"[{id}]") or not text:
        raise ValueError(f"item: {dict(told)!r} has no id or no text; give both, the id as letters, digits and dashes")
    rest = {key: plain(value).replace("|", "/") for key, value in told.items() if key not in ("id", "text")}
    return " | ".join([f"[{id}] {text}", *(f"{key}={value}" for key, value in rest.items() if value)])


def write(label, fields, notes, now):
    """The block's text in canonical form; `now` is its UPDATED_AT. Raises ValueError for a field that is not right."""
    kinds = FIELDS[label]
    if unknown := [name for name in fields if name not in kinds]:
        raise ValueError(f"{unknown[0]}: {label} has no such field; its fields are {', '.join(kinds)}")
    lines = []
    for name, kind in kinds.items():
        if name != "UPDATED_AT" and name not in fields:
            raise ValueError(f"{name}: missing in {label}; give it, or begin with fresh()")
        value = now if name == "UPDATED_AT" else fields[name]
        if wrong := _wrong(kind, value):
            raise ValueError(f"{name}: {value!r} {wrong}")
        if kind not in _LISTS:
            lines.append(f"{name}: {_as_it_stands(kind, value)}")
        elif value:
            lines += [f"{name}:", *(f"- {_element_as_it_stands(label, one)}" for one in value)]
        else:
            lines.append(f"{name}: []")
    kept = [line.rstrip() for line in plain_lines(notes) if line.strip()]
    if kept:
        lines += ["NOTES:", *(f"> {line}" if _means_something(label, line) else line for line in kept)]
    return "\n".join(lines)


def read(label, text):
    """(fields, notes, problems) of whatever a model made of a block. Never raises.

    All fields of the block are there, each of its kind. What fits nowhere is in the notes, free lines. The problems
    are sentences; there are none where the text is canonical.
    """
    text = "" if text is None else str(text)
    found, notes = _occurrences(label, text)
    fields, problems = {}, []
    if notes and not re.search(r"(?m)^NOTES:", text):
        problems.append(f"{len(notes)} lines belong to no field; kept in NOTES")
    for name, kind in FIELDS[label].items():
        given = [(inline, more) for one, inline, more in found if one == name]
        fields[name] = _default(name, kind)
        if not given:
            problems.append(f"{name}: missing")
        elif len(given) > 1:
            problems.append(f"{name}: given {len(given)} times; joined")
        for number, (inline, more) in enumerate(given):
            value, left, problem = _value(kind, inline, more)
            notes += [f"{name}: {one}" for one in left]
            if problem:
                problems.append(f"{name}: {problem}")
            if kind in _LISTS:
                fields[name] += value if number == 0 else [one for one in value if one not in fields[name]]
            elif value is not None:
                if number and fields[name] not in (value, _default(name, kind)):
                    notes.append(f"{name}: {fields[name]}")
                fields[name] = value
    notes = "\n".join(line.rstrip() for line in notes)
    if not problems and write(label, fields, notes, fields["UPDATED_AT"]) != text.rstrip("\n"):
        problems.append("readable, but not in canonical form")
    return fields, notes, problems


def repaired(label, text, now):
    """(the text in canonical form, what was wrong with it). No line is lost: what fits nowhere is under NOTES."""
    fields, notes, problems = read(label, text)
    return (write(label, fields, notes, now), problems) if problems else (text, [])


def plain_lines(text):
    """The lines of a text, without what a block's database cannot hold."""
    return str(text).replace("\x00", "").encode("utf-8", "replace").decode().splitlines()


def list_items(text, kind="list"):
    """The elements of a list as a model gives it: one a line, bullets, numbers, JSON, or between commas or semicolons.

    `kind` "items": of queue items and ideas, which commas do not part.
    """
    lines = [line.strip() for line in plain_lines(text) if line.strip()]
    if (parsed := _parsed("\n".join(lines))) is not None:
        return _value(kind, "", _texts(parsed)[1])[0]
    bullets = [_BULLET.fullmatch(line) for line in lines]
    if len(lines) == 1 and not bullets[0]:
        return _value(kind, lines[0], [])[0]
    return _value(kind, "", [("-", found[1] if found else line) for found, line in zip(bullets, lines, strict=True)])[0]


# What belongs to which field


def _occurrences(label, text):
    """([(field, what stands behind its name, the lines below)], the lines that belong to no field)."""
    known = _known(label)
    lines, found, notes = plain_lines(text), [], []
    current, blank, tried = None, False, 0
    while lines:
        line = lines.pop(0)
        said = line.strip()
        if said.startswith("{") and tried < 20:
            tried += 1
            pairs, rest = _object(label, "\n".join([said, *lines]))
            if pairs is not None:
                lines = rest.splitlines()
                for key, value in pairs:
                    name = known.get(_squeezed(key))
                    if name in (None, "NOTES"):
                        inline, more = _texts(value)
                        said = " ".join([inline, *(one for _, one in more)]).strip()
                        notes.append(f"{key}: {said}" if name is None else said)
                    else:
                        found.append((name, *_texts(value)))
                current = None
                continue
        if not said:
            blank = True
        elif current == "NOTES" and line.startswith("> "):
            notes.append(line[2:].rstrip())
        elif begun := _begins(known, line):
            name, rest = begun
            current = name if name == "NOTES" else (name, rest, [])
            if name != "NOTES":
                found.append(current)
            elif not is_nothing(rest):
                notes.append(rest)
            blank = False
        elif _says_nothing(label, said) and not (current not in (None, "NOTES") and _BULLET.fullmatch(line)):
            continue
        elif current in (None, "NOTES"):
            notes.append(line.rstrip())
        elif _taken(FIELDS[label][current[0]], current, line, blank):
            blank = False
        else:
            notes.append(line.rstrip())
            current = None
    return found, [note for note in notes if note.strip()]


def _taken(kind, current, line, blank):
    """Whether a line goes on with the field before it; it is put there then."""
    _, inline, more = current
    bullet = _BULLET.fullmatch(line)
    if bullet:
        more.append(("-", bullet[1]))
    elif line[0] in " \t" and not blank:
        more.append((" " if kind in _LISTS and not any(mark == "-" for mark, _ in more) else "+", line.strip()))
    elif blank or _UNKNOWN.match(line):
        return False
    elif kind == "text" and (more or inline in ("", "|", ">") or not is_nothing(inline)):
        more.append(("+", line.strip()))
    elif (kind in _LISTS or not inline) and inline in ("", "[") and not any(mark == "-" for mark, _ in more):
        more.append((" ", line.strip()))
    else:
        return False
    return True


def _begins(known, line):
    """(the field's name, the rest of the line) where a line begins a field; else None."""
    table = line.lstrip().startswith("|")
    said = line.strip().strip("|") if table else line
    found = re.search(r"[:=：|]" if table else r"[:=：]", said)
    head, rest = (said[: found.start()], said[found.end() :].strip()) if found else (said, "")
    match = _HEAD.fullmatch(head) if len(head) < 80 else None
    name = known.get(_squeezed(match[2])) if match else None
    if name is None:
        return None
    opened, closed = match[1], match[3].strip()
    if not found and not opened and not head.lstrip().startswith("#") and said.strip() != name:
        return None  # a word of a sentence
    if opened and not closed and rest.startswith(opened[::-1]):
        rest = rest[len(opened) :].strip()
    return name, rest


def _known(label):
    """{how a name is compared: the name of the field}."""
    known = {_squeezed(name): name for name in [*FIELDS[label], "NOTES"]}
    return known | {short: name for short, name in _OTHER_NAMES.items() if name in FIELDS[label]}


def _squeezed(name):
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def _says_nothing(label, said):
    """Whether a line is only form: a fence, a rule, the block's own name as a heading or a tag."""
    if said.startswith(("```", "~~~")):
        return said.strip("`~ ").lower() in _LANGUAGES
    if re.fullmatch(r"</?[a-z_]+>", said):
        return said.strip("</>") in (label, "value", "block", "memory")
    return bool(_MARKS.fullmatch(said)) or (said[0] in "#*" and _squeezed(said) in (_squeezed(label), "memoryblock"))


def _means_something(label, line):
    """Whether a line of the notes would be taken for something else."""
    said = line.strip()
    return said.startswith((">", "{")) or bool(_begins(_known(label), line)) or _says_nothing(label, said)


# JSON and the like


def _object(label, text):
    """(the pairs of the object that a text begins with, the rest of the text); (None, "") where it is none."""
    decoder = json.JSONDecoder(object_pairs_hook=_Pairs, strict=False)
    for one in (text, re.sub(r",(\s*[}\]])", r"\1", text)):
        try:
            found, end = decoder.raw_decode(one)
        except (ValueError, RecursionError):
            continue
        while len(found) == 1 and isinstance(found[0][1], _Pairs) and _squeezed(found[0][0]) == _squeezed(label):
            found = found[0][1]
        return found, one[end:]
    return None, ""


class _Pairs(list):
    """An object with all its pairs: models name a field twice."""


def _parsed(text):
    """A list as JSON or Python; None where it is none."""
    if not (text.startswith("[") and text.endswith("]")) or len(text) > 100_000:
        return None
    try:
        found = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        try:
            found = ast.literal_eval(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            return None
    return found if isinstance(found, list) else None


def _texts(value):
    """(inline, more), as _occurrences has them, of a value of JSON."""
    if isinstance(value, _Pairs | dict):
        return _of_object(value), []
    if isinstance(value, list | tuple | set):
        return "", [("-", " ".join([inline, *(one for _, one in more)]).strip()) for inline, more in map(_texts, value)]
    if value is None:
        return "", []
    return plain(value), []


def _of_object(value):
    """A dict within a list as an item, where it can be one."""
    pairs = dict(value) if isinstance(value, _Pairs) else value
    told = {}
    for names, key in ((("id", "video_id", "label"), "id"), (("text", "idea", "title", "concept", "prompt"), "text")):
        name = next((name for name in names if pairs.get(name)), None)
        if name:
            told[key] = plain(pairs[name])
    if len(told) == 2 and _ITEM_ID.fullmatch(f"[{told['id']}]"):
        rest = {key: value for key, value in pairs.items() if plain(value) not in told.values()}
        return item_text(told | {re.sub(r"[^a-z0-9]+", "_", str(key).lower()): value for key, value in rest.items()})
    return json.dumps(pairs, ensure_ascii=False)


# The values of fields


def _value(kind, inline, more):
    """(the value; None where none is given or can be read, the texts that are not in it, what is wrong with it)."""
    if inline in ("|", ">", "|-", ">-", "["):  # of YAML and JSON: it stands on the lines below
        inline = ""
    if kind in _LISTS:
        return _elements(kind, inline, more), [], ""
    if kind == "text":
        return _joined(inline, more), [], "several lines; joined" if more else ""
    texts = [inline] if inline else []
    texts += [text for _, text in more]
    said, left = texts[0] if texts else "", texts[1:]
    if kind == "item" and said.startswith("> "):
        return said[2:].strip(), left, "more than its value is said; kept in NOTES" if left else ""
    said = _bare(said)
    if is_nothing(said):
        return NOTHING if kind == "item" else None, left, ""
    value, whole = _scalar(kind, said)
    if not whole:
        left = [said, *left]
    problem = "" if value is not None else f"{said[:60]!r} is no {kind}"
    return value, left, problem or ("more than its value is said; kept in NOTES" if left else "")


def _scalar(kind, said):
    """(the value or None, whether it is all that is said)."""
    if kind == "item":
        return said, True
    if kind == "grade":
        letter = grade_letter(said)
        return letter or None, bool(letter) and not re.search(r"[A-Za-z]{2}", re.sub("(?i)grade", "", said))
    if kind == "number":
        if said.lower() in _NUMBERS:
            return _NUMBERS.index(said.lower()), True
        found = re.match(r"(\d{1,9})(?:\.0+)?(?![\w.])", said, re.ASCII)
        return (int(found[1]), found.end() == len(said)) if found else (None, False)
    if kind == "time":
        time = _time(said)
        return time, time is not None
    words = said.lower().replace("_", " ").replace("-", " ")
    for status, names in _STATUSES.items():
        if words in names:
            return status, True
    first = re.match(r"[a-z]+", words)
    return next((status for status, names in _STATUSES.items() if first and first[0] in names), None), False


def _time(said):
    """A time as blocks have it; None where it is none."""
    said = re.sub(r"(?i)\s*(?:Z|UTC|GMT)$", "+00:00", said)
    try:
        found = datetime.fromisoformat(said)
        found = found.astimezone(timezone.utc) if found.tzinfo else found.replace(tzinfo=timezone.utc)  # noqa: UP017
    except (ValueError, OverflowError):
        return None
    return found.isoformat(timespec="seconds").replace("+00:00", "Z")


def _elements(kind, inline, more):
    """The elements of a list, from what stands behind its name and below."""
    texts = _parted(kind, inline) if not is_nothing(inline) else []
    for mark, text in more:
        if mark == "+" and texts:
            texts[-1] = f"{texts[-1]} {text}"
        elif mark != "-" and (parsed := _parsed(text)) is not None:
            texts += [one for _, one in _texts(parsed)[1]]
        else:
            texts.append(text)
    return [one for one in map(_element, texts) if one]


def _element(text):
    """An element without what models put around it; "" where it says nothing."""
    text = text.strip()
    if text.startswith("> "):
        return text[2:].strip()
    text = _bare(re.sub(r"^\[\s*\]\s+", "", text))
    return "" if is_nothing(text) or _MARKS.fullmatch(text) else text


def _parted(kind, text):
    """A list on one line."""
    parsed = _parsed(text)
    if parsed is not None:
        return [one for _, one in _texts(parsed)[1]]
    an_item = kind == "items" and _ITEM_ID.match(text) and not _ITEM_ID.fullmatch(text)
    if text.startswith("[") and text.endswith("]") and not an_item:
        return re.split(r",\s*(?=\[)" if kind == "items" and "[" in text[1:] else r"[,;]", text[1:-1])
    if kind == "items" or text.startswith("> "):
        return [text]
    if ";" in text:
        return text.split(";")
    parts = text.split(",")
    # A sentence has commas too.
    return parts if all(len(part.split()) <= 3 for part in parts) else [text]


def _joined(inline, more):
    """A text of one line, from what stands behind its name and below."""
    texts = [inline[2:].strip() if inline.startswith("> ") else _bare(inline)]
    if (parsed := _parsed(texts[0])) is not None and not inline.startswith("> "):
        texts = [", ".join(filter(None, (_element(one) for _, one in _texts(parsed)[1])))]
    if is_nothing(texts[0]) and not inline.startswith("> "):
        texts = []
    bullets = bool(more) and all(mark == "-" for mark, _ in more)
    texts += [one for one in (_element(text) for _, text in more) if one]
    return (", " if bullets else " ").join(texts) or NOTHING


def _bare(text):
    """A value without the quotes, the bold and the comma that JSON and Markdown put around it."""
    while True:
        before, text = text, text.strip()
        for left, right in (('"', '"'), ("'", "'"), ("`", "`"), ("**", "**"), ("*", "*"), ("“", "”")):
            size = len(left)
            for end in (right, right + ","):
                inner = text[size : -len(end)]
                if len(text) >= size + len(end) and text.startswith(left) and text.endswith(end) and left not in inner:
                    text = inner
        if re.fullmatch(r"(?i)(?:\d+|null|none|true|false|\[\]|\{\}),", text):
            text = text[:-1]
        if text == before:
            return text


# What may be written


def _as_it_stands(kind, value):
    """A value of one line, so that it reads as it is."""
    if kind not in ("text", "item") or value == NOTHING:
        return str(value)
    return f"> {value}" if value.startswith("> ") or _value(kind, value, [])[0] != value else value


def _element_as_it_stands(label, value):
    misread = _element(value) != value or value.startswith("> ") or _begins(_known(label), f"- {value}")
    return f"> {value}" if misread else value


def _wrong(kind, value):
    """What is wrong with a value, with the fix; "" where nothing is."""
    if kind in _LISTS:
        if not isinstance(value, list):
            return "is no list; give a list of texts"
        return next((f"has an element that {wrong}" for wrong in (_wrong("text", one) for one in value) if wrong), "")
    if kind == "number":
        good = type(value) is int and 0 <= value < 10**9
        return "" if good else "is no whole number from 0 to 999999999; give one"
    if not isinstance(value, str):
        return "is no text; give a text, `none` for nothing"
    if kind == "grade":
        return "" if len(value) == 1 and value in GRADES else f"is no grade; give one of {', '.join(GRADES)}"
    if kind == "status":
        return "" if value in _STATUSES else f"is no status; give one of {', '.join(_STATUSES)}"
    if kind == "time":
        return "" if _time(value) == value else f"is no time; give it in UTC such as {NEVER}"
    if plain_lines(value) != [value] or value != value.strip() or not value:
        return "is no line of text; give one line without blanks around it, `none` for nothing"
    return ""
