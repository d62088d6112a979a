"""The README's table of settings, made from the schema.

python -m inventory.table                    print it
python -m inventory.table --check README.md  exit 1 with a diff if the README has another one
python -m inventory.table --write README.md  put it into the README, between the two marker comments
"""

import argparse
import difflib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from inventory import schema

BEGIN, END = "<!-- settings -->", "<!-- /settings -->"


def rows() -> Iterator[tuple[str, str, str]]:
    """(key, default as written in YAML, meaning) of every setting, in the schema's order."""
    yield from _rows("hosts.<name>", schema.Host)
    yield from _rows("groups", schema.Groups)
    yield from _rows("settings", schema.Settings)


def _rows(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}"
        annotation = field.annotation
        if get_origin(annotation) is dict and _is_model(get_args(annotation)[1]):
            yield from _rows(f"{key}.<name>", get_args(annotation)[1])
        elif _is_model(annotation):
            yield from _rows(key, annotation)
        else:
            yield key, _default(field), field.description or ""


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def table() -> str:
    """The table in Markdown, without a final newline."""
    lines = ["| Key | Default | Meaning |", "|---|---|---|"]
    lines += [
        f"| `{key}` | {default} | {meaning.replace('|', '&#124;')} |" for key, default, meaning in rows()
    ]
    return "\n".join(lines)


def updated(text: str) -> str:
    """`text` with the table between the markers; ValueError if it lacks either marker or has it twice."""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"needs one line {BEGIN} and after it one line {END}; the table goes between them")
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n\n{table()}\n\n{END}{rest.split(END)[1]}"


def main(arguments: list[str] | None = None) -> int:
    """The command line; returns the exit code: 0 fine, 1 the README is out of date or cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m inventory.table", description="The README's table of settings."
    )
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", metavar="README", type=Path, help="exit 1 with a diff if its table differs")
    mode.add_argument("--write", metavar="README", type=Path, help="update its table")
    chosen = parser.parse_args(arguments)
    path = chosen.check or chosen.write
    if path is None:
        print(table())
        return 0
    try:
        old = path.read_text(encoding="utf-8")
        new = updated(old)
        if chosen.write and new != old:
            path.write_text(new, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    if chosen.check and new != old:
        diff = difflib.unified_diff(
            old.splitlines(), new.splitlines(), str(path), "from inventory/schema.py", lineterm=""
        )
        print("\n".join(diff))
        print(f"{path}: the table of settings is out of date; run `python -m inventory.table --write {path}`")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
