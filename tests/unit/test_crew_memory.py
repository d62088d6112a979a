"""The texts of the crew's blocks: what models really write is read, nothing is lost, and what is written reads back."""

import ast
import json
import os
import random
import re
from pathlib import Path

import pytest
from lettabox import crew_memory as memory

SCALE = int(os.environ.get("LETTABOX_TEST_SCALE") or 1)
NOW = "2026-01-15T16:31:18Z"
SOURCE = Path(memory.__file__).read_text()


def test_fields_are_those_of_the_recipe():
    assert memory.LABELS == (
        "session_state", "user_style", "quality_standards", "production_queue", "current_series", "ab_testing"
    )  # fmt: skip
    assert all(next(iter(fields)) == "UPDATED_AT" for fields in memory.FIELDS.values())
    assert list(memory.FIELDS["production_queue"])[1:] == [
        "QUEUE_STATUS", "PENDING_VIDEOS", "IN_PROGRESS", "COMPLETED_TODAY", "FAILED_RETRIES", "BATCH_ID",
        "BATCH_TOTAL", "BATCH_COMPLETE",
    ]  # fmt: skip


def test_a_fresh_block_has_no_null_and_reads_back():
    for label in memory.LABELS:
        fields = memory.fresh(label, NOW)
        assert set(fields) == set(memory.FIELDS[label])
        assert all(value is not None and value != "" for value in fields.values())
        text = memory.write(label, fields, "", NOW)
        assert memory.read(label, text) == (fields, "", [])
        assert memory.repaired(label, text, "2026-02-02T00:00:00Z") == (text, [])
    assert memory.fresh("quality_standards", NOW)["MAX_RETRIES"] == 3
    assert memory.fresh("quality_standards", NOW)["MIN_ACCEPTABLE_GRADE"] == "B"
    assert memory.fresh("production_queue", NOW)["QUEUE_STATUS"] == "complete"


def test_it_can_stand_before_the_source_of_a_tool():
    """Letta takes the last function as ast.walk gives them, and sets the arguments before the source."""
    tree = ast.parse(SOURCE)
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert functions == [node for node in tree.body if isinstance(node, ast.FunctionDef)], "no function within another"
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    imported = {getattr(node, "module", None) or node.names[0].name for node in imports}
    assert imported == {"ast", "json", "re", "datetime"}, "the standard library alone"
    effects = (ast.Import, ast.ImportFrom, ast.Assign, ast.FunctionDef, ast.ClassDef)
    assert all(isinstance(node, effects) for node in tree.body[1:])


QUEUE = {
    "QUEUE_STATUS": "active",
    "PENDING_VIDEOS": ["[b1-2] an owl | rounds=1", "[b1-3] a griffin, at dawn"],
    "IN_PROGRESS": "[b1-1] a fox",
    "BATCH_TOTAL": 3,
    "BATCH_ID": "b1",
}
WRITTEN = {
    "markdown": """
# Production Queue

**QUEUE_STATUS:** Active

## Pending Videos
- [b1-2] an owl | rounds=1
- [b1-3] a griffin, at dawn

## In Progress
[b1-1] a fox

**Batch ID**: `b1`
**Batch total**: **3**
""",
    "json": json.dumps(QUEUE),
    "json in a fence": f"```json\n{json.dumps(QUEUE, indent=2)}\n```",
    "json under the block's name": json.dumps({"production_queue": QUEUE | {"COMPLETED_TODAY": None}}),
    "json with a trailing comma": json.dumps(QUEUE, indent=2)[:-2] + ",\n}",
    "json of objects": json.dumps(
        QUEUE
        | {
            "PENDING_VIDEOS": [
                {"id": "b1-2", "idea": "an owl", "rounds": 1},
                {"video_id": "b1-3", "title": "a griffin, at dawn"},
            ]
        }
    ),
    "json without its braces": """
"QUEUE_STATUS": "active",
"PENDING_VIDEOS": [
  "[b1-2] an owl | rounds=1",
  "[b1-3] a griffin, at dawn"
],
"IN_PROGRESS": "[b1-1] a fox",
"COMPLETED_TODAY": null,
"BATCH_TOTAL": 3,
"BATCH_ID": "b1",
""",
    "yaml": """
queue_status: active
pending_videos:
  - "[b1-2] an owl | rounds=1"
  - '[b1-3] a griffin, at dawn'
in_progress: "[b1-1] a fox"
completed_today: null
failed_retries: ~
batch_id: b1
batch_total: "3"
""",
    "bullets of other kinds": """
* Queue-Status: in progress
* Pending-Videos:
  1. [b1-2] an owl | rounds=1
  2) [b1-3] a griffin, at dawn
• In-Progress: [b1-1] a fox
+ Batch-Id = b1
+ batchTotal = three
""",
    "a table": """
|---|---|
| QUEUE_STATUS | active |
| PENDING_VIDEOS | ["[b1-2] an owl \\u007c rounds=1", "[b1-3] a griffin, at dawn"] |
| IN_PROGRESS | [b1-1] a fox |
| BATCH_ID | b1 |
| BATCH_TOTAL | 3.0 |
""",
    "inline lists": """QUEUE_STATUS: active
PENDING_VIDEOS: [[b1-2] an owl | rounds=1, [b1-3] a griffin, at dawn]
IN_PROGRESS: [b1-1] a fox
BATCH_ID: "b1"
BATCH_TOTAL: 3
FAILED_RETRIES: N/A
""",
    "spaces, crlf and blank lines": "QUEUE STATUS :  ACTIVE \r\n\r\nPENDING VIDEOS :\r\n\r\n"
    "  -  [b1-2] an owl | rounds=1\r\n  -  [b1-3] a griffin,\r\n       at dawn\r\n"
    "IN PROGRESS : [b1-1] a fox\r\nBATCH ID : b1\r\nBATCH TOTAL : 3\r\n",
    "duplicates": """QUEUE_STATUS: active
PENDING_VIDEOS:
- [b1-2] an owl | rounds=1
IN_PROGRESS: [b1-1] a fox
BATCH_ID: b1
BATCH_TOTAL: 3
PENDING_VIDEOS:
- [b1-2] an owl | rounds=1
- [b1-3] a griffin, at dawn
""",
}


@pytest.mark.parametrize("written", WRITTEN.values(), ids=WRITTEN)
def test_reads_what_models_write(written):
    fields, notes, problems = memory.read("production_queue", written)
    assert {name: value for name, value in fields.items() if name in QUEUE} == QUEUE
    assert fields["COMPLETED_TODAY"] == fields["FAILED_RETRIES"] == []
    assert notes == "" and problems, "all of it has a place, and it is not canonical"
    text, again = memory.repaired("production_queue", written, NOW)
    assert again == problems and memory.read("production_queue", text) == (fields | {"UPDATED_AT": NOW}, "", [])


@pytest.mark.parametrize(
    ("label", "line", "value"),
    [
        ("user_style", "COLOR_PREFERENCES: purple, blue", "purple, blue"),
        ("user_style", "Colour preferences:\n- purple\n- blue", "purple, blue"),
        ("user_style", 'COLOR_PREFERENCES: ["purple", "blue"]', "purple, blue"),
        ("user_style", "COLOR_PREFERENCES: ['purple', None]", "purple"),
        ("user_style", "COLOR_PREFERENCES: |\n  purple\n  and blue", "purple and blue"),
        ("user_style", "## COLOR_PREFERENCES\nPurple, with\nsome blue", "Purple, with some blue"),
        ("user_style", "COLOR_PREFERENCES: None yet, ask", "None yet, ask"),
        *(("user_style", f"COLOR_PREFERENCES: {one}", "none") for one in ("", "null", "None.", '"N/A"', "[]", "-")),
        ("user_style", "DISLIKED_ELEMENTS: text, logos, lens flare", ["text", "logos", "lens flare"]),
        ("user_style", "DISLIKED_ELEMENTS: faces that look, somehow, wrong when they turn",
         ["faces that look, somehow, wrong when they turn"]),
        ("user_style", "DISLIKED_ELEMENTS: text; logos, large ones", ["text", "logos, large ones"]),
        ("user_style", "DISLIKED_ELEMENTS: [text, 'logos']", ["text", "logos"]),
        ("user_style", "DISLIKED_ELEMENTS:\n- [ ] text\n- none\n- \n-  **logos**", ["text", "logos"]),
        ("user_style", "DISLIKED_ELEMENTS:\ntext\nlogos", ["text", "logos"]),
        ("quality_standards", "MIN_ACCEPTABLE_GRADE: b+", "B"),
        ("quality_standards", "Min acceptable grade: Grade: C", "C"),
        ("quality_standards", "MAX_RETRIES: '3'", 3),
        ("quality_standards", "MAX_RETRIES: five", 5),
        ("quality_standards", "MAX_RETRIES: null", 3),
        ("session_state", "LAST_ACTIVITY: 2026-01-15 17:31:18+01:00", NOW),
        ("session_state", "LAST_ACTIVITY: 2026-01-15T16:31:18.250Z", NOW),
        ("session_state", "LAST_ACTIVITY: 2026-01-15 16:31:18 UTC", NOW),
        ("session_state", "LAST_ACTIVITY: never", memory.NEVER),
        ("production_queue", "QUEUE_STATUS: Completed", "complete"),
        ("production_queue", "QUEUE_STATUS: paused (by the user)", "paused"),
    ],
)  # fmt: skip
def test_reads_a_value(label, line, value):
    written = memory._squeezed(line.replace("Colour", "Color"))
    name = next(one for one in memory.FIELDS[label] if written.startswith(memory._squeezed(one)))
    assert memory.read(label, line)[0][name] == value


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("BATCH_TOTAL: plenty", "BATCH_TOTAL: plenty"),
        ("BATCH_TOTAL: 3 of them", "BATCH_TOTAL: 3 of them"),
        ("QUEUE_STATUS: confused", "QUEUE_STATUS: confused"),
        ("BATCH_TOTAL: 1\nBATCH_TOTAL: 2", "BATCH_TOTAL: 1"),
        ("I have queued all of it.", "I have queued all of it."),
        ("MOOD: dark", "MOOD: dark"),
        ("BATCH_ID: b1\nNEXT_STEP: rest", "NEXT_STEP: rest"),
        ("PENDING_VIDEOS:\n- a fox\n\nNext I will ask the writer:\n- now", "Next I will ask the writer:\n- now"),
        ('{"MOOD": "dark"}', "MOOD: dark"),
        ("```mermaid\nBATCH_TOTAL: 1\n```", "```mermaid"),
        ("Notes: keep this", "keep this"),
    ],
)
def test_what_fits_nowhere_is_kept_in_the_notes(line, kept):
    _, notes, problems = memory.read("production_queue", line)
    assert notes == kept and problems
    text, _ = memory.repaired("production_queue", line, NOW)
    assert text.partition("\nNOTES:\n")[2].replace("> ", "") == kept
    assert memory.read("production_queue", text)[1] == kept, "and from then on"


def test_what_is_appended_behind_the_notes_counts():
    """Letta's memory_insert writes at the end of a block."""
    text = memory.write("production_queue", memory.fresh("production_queue", NOW), "BATCH_TOTAL: 9 once", NOW)
    fields, notes, _ = memory.read("production_queue", f"{text}\nBATCH_TOTAL: 4\nPENDING_VIDEOS:\n- a fox")
    assert (fields["BATCH_TOTAL"], fields["PENDING_VIDEOS"], notes) == (4, ["a fox"], "BATCH_TOTAL: 9 once")


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("PENDING_VIDEOS", "a fox", "is no list; give a list of texts"),
        ("PENDING_VIDEOS", ["a\nb"], "has an element that is no line of text"),
        ("PENDING_VIDEOS", [None], "has an element that is no text"),
        ("IN_PROGRESS", None, "is no text; give a text, `none` for nothing"),
        ("IN_PROGRESS", "", "is no line of text"),
        ("IN_PROGRESS", " a", "is no line of text"),
        ("IN_PROGRESS", "a\x00", "is no line of text"),
        ("QUEUE_STATUS", "Active", "give one of active, paused, complete"),
        ("BATCH_TOTAL", "3", "is no whole number"),
        ("BATCH_TOTAL", True, "is no whole number"),
        ("BATCH_TOTAL", -1, "is no whole number"),
        ("MOOD", "dark", "has no such field; its fields are UPDATED_AT, QUEUE_STATUS"),
    ],
)
def test_the_writer_is_strict(field, value, said):
    fields = memory.fresh("production_queue", NOW) | {field: value}
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        memory.write("production_queue", fields, "", NOW)
    assert str(error.value).startswith(f"{field}: ")


def test_the_writer_wants_every_field_and_a_time():
    with pytest.raises(ValueError, match="BATCH_ID: missing"):
        memory.write("production_queue", {"QUEUE_STATUS": "active", "PENDING_VIDEOS": [], "IN_PROGRESS": "none",
                                          "COMPLETED_TODAY": [], "FAILED_RETRIES": []}, "", NOW)  # fmt: skip
    with pytest.raises(ValueError, match="UPDATED_AT: 'now' is no time"):
        memory.write("production_queue", memory.fresh("production_queue", NOW), "", "now")
    with pytest.raises(ValueError, match="MIN_ACCEPTABLE_GRADE: 'B\\+' is no grade"):
        wrong = memory.fresh("quality_standards", NOW) | {"MIN_ACCEPTABLE_GRADE": "B+"}
        memory.write("quality_standards", wrong, "", NOW)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[b1-1] a fox | job=x | rounds=2", {"id": "b1-1", "text": "a fox", "job": "x", "rounds": "2"}),
        ("[ b1-1 ]a fox", {"id": "b1-1", "text": "a fox"}),
        ("a fox", {"id": "", "text": "a fox"}),
        ("a fox | or an owl | rounds=1", {"id": "", "text": "a fox / or an owl", "rounds": "1"}),
        ("[b1-1] x = y | reason=a = b | text=z", {"id": "b1-1", "text": "x = y / text=z", "reason": "a = b"}),
        ("", {"id": "", "text": ""}),
    ],
)
def test_an_item_of_the_queue(text, told):
    assert memory.item(text) == told
    if told["id"]:
        assert memory.item(memory.item_text(told)) == told


def test_an_item_has_an_id_and_a_text():
    assert memory.item_text({"id": "a", "text": "b|c\nd", "job": "", "why": "x|y"}) == "[a] b/c d | why=x/y"
    for wrong in ({"id": "", "text": "b"}, {"id": "a b", "text": "b"}, {"id": "a", "text": " "}, {}):
        with pytest.raises(ValueError, match="give both"):
            memory.item_text(wrong)


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        *((one, "B") for one in ("B", "b", "b+", "B-", "Grade: B", "grade b", "**B**", '"B"', "[B]", "B - good", "B.",
                                 "The grade is B", "Grade B: all fine", "B, because it is", "B or better", "B (fine)")),
        *((one, "") for one in ("", "none", "G", "good", "a fine video", "AB", "Excellent", "8/10", "b because",
                                "A video")),
    ],
)  # fmt: skip
def test_a_grade_however_it_is_said(said, letter):
    assert memory.grade_letter(said) == letter


@pytest.mark.parametrize(
    ("said", "ideas"),
    [
        ("a fox\nan owl, at night\n\n", ["a fox", "an owl, at night"]),
        ("1. a fox\n2) an owl\n- a bear", ["a fox", "an owl", "a bear"]),
        ('["a fox", "an owl, at night"]', ["a fox", "an owl, at night"]),
        ("['a fox', 'an owl']", ["a fox", "an owl"]),
        ('[\n "a fox",\n "an owl"\n]', ["a fox", "an owl"]),
        ('[{"idea": "a fox", "id": "x1"}]', ["[x1] a fox"]),
        ("[b1-1] a fox, red", ["[b1-1] a fox, red"]),
        ("a fox, red, in the snow", ["a fox, red, in the snow"]),
        ("none", []),
        ("\n \n", []),
    ],
)
def test_ideas_however_a_model_lists_them(said, ideas):
    assert memory.list_items(said, "items") == ideas


# --- garbage ------------------------------------------------------------------------------------------------


PARTS = [
    "\n", "\n", "\n", "\n\n", "\r\n", " ", "  ", "\t", ": ", ":", " = ", "- ", "* ", "1. ", "# ", "## ", "**", "`",
    "```", "```json\n", '"', "'", "[", "]", "{", "}", ",", ";", "|", " | ", "> ", ">", "null", "None", "none", "[]",
    "NOTES:", "\nNOTES:\n", "---", "[b1-1] ", "rounds=1", '{"a": [', "\\", "🦊", "\x00", "\ud800", "\x85", "\u2028",
    "\xa0", "<value>",
]  # fmt: skip


def garbage(chance, label):
    """A text of pieces that mean something, between words that are told apart."""
    words, parts = [], []
    names = list(memory.FIELDS[label])
    for _ in range(chance.randrange(60)):
        pick = chance.random()
        if pick < 0.3:
            words.append(f"word{chance.randrange(10**6)}x")
            parts.append(words[-1])
        elif pick < 0.5:
            name = chance.choice(names)
            parts.append(chance.choice(["\n", "\n- ", "\n**", "\n> ", "\n| "]))
            parts.append(chance.choice([name, name.lower(), name.title().replace("_", " "), f'"{name}"']))
            parts.append(chance.choice([":", ": ", "=", ":**", ": [", ":\n- ", " | ", ": > "]))
        else:
            parts.append(chance.choice(PARTS))
    return "".join(parts), words


@pytest.mark.parametrize("label", memory.LABELS)
def test_garbage_is_read_and_its_words_are_kept(label):
    chance = random.Random(f"garbage {label}")
    for _ in range(150 * SCALE):
        text, words = garbage(chance, label)
        fields, notes, problems = memory.read(label, text)
        canonical = memory.write(label, fields, notes, NOW)
        assert memory.read(label, canonical) == (fields | {"UPDATED_AT": NOW}, notes, []), (text, canonical)
        fixed, told = memory.repaired(label, text, NOW)
        assert told == problems and fixed in (canonical, text)
        assert memory.repaired(label, fixed, "2027-01-01T00:00:00Z") == (fixed, []), "repaired once is repaired"
        assert [word for word in words if word not in fixed] == [], (text, fixed)


@pytest.mark.parametrize("label", memory.LABELS)
def test_random_characters_are_read(label):
    chance = random.Random(f"characters {label}")
    for _ in range(50 * SCALE):
        text = "".join(chr(chance.choice([chance.randrange(128), chance.randrange(0x3000)])) for _ in range(200))
        fields, notes, _ = memory.read(label, text)
        assert memory.read(label, memory.write(label, fields, notes, NOW))[1:] == (notes, [])


ODD = ["[" * 50_000, '{"a":' * 5000, "{\n" * 3000, "- " * 9000, "*" * 20_000, None, 7, {"a": 1}]


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_odd_texts_are_read_too(text):
    for label in memory.LABELS:
        memory.repaired(label, text, NOW)
        memory.read(label, f"{list(memory.FIELDS[label])[2]}: {text}")


def value(chance, kind):
    """A value as a program may write it; texts are full of what means something."""
    if kind in ("list", "items"):
        return [value(chance, "text") for _ in range(chance.randrange(4))]
    if kind == "number":
        return chance.randrange(10**9)
    if kind == "grade":
        return chance.choice(memory.GRADES)
    if kind == "status":
        return chance.choice(["active", "paused", "complete"])
    if kind == "time":
        return f"20{chance.randrange(10, 99)}-0{chance.randrange(1, 9)}-1{chance.randrange(9)}T12:00:59Z"
    parts = [*PARTS, "PENDING_WORK: ", "PENDING_VIDEOS", "MOOD_PREFERENCES=", "a", "b c", "Active"]
    while True:
        text = "".join(chance.choice(parts) for _ in range(chance.randrange(1, 9))).strip()
        if text and memory._wrong("text", text) == "":
            return text


@pytest.mark.parametrize("label", memory.LABELS)
def test_what_is_written_reads_back_exactly(label):
    chance = random.Random(f"values {label}")
    for _ in range(120 * SCALE):
        fields = {name: value(chance, kind) for name, kind in memory.FIELDS[label].items()}
        notes = "\n".join(value(chance, "text") for _ in range(chance.randrange(4)))
        text = memory.write(label, fields, notes, NOW)
        assert memory.read(label, text) == (fields | {"UPDATED_AT": NOW}, notes, []), text
