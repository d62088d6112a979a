"""Read a YAML file through a schema, or say everything wrong with it, each problem with its file and line."""

import difflib
import os
import re
import stat
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError

from inventory import plain_yaml
from inventory.schema import Problems

_LIMIT = 1024 * 1024
_SHOWN = 100
_SECRET = re.compile(r"KEY|TOKEN|PASS|PWD|SECRET|CREDENTIAL|AUTH", re.IGNORECASE)

Model = TypeVar("Model", bound=BaseModel)


class SettingsError(Exception):
    """A file of the operator's is missing or wrong; str() is the whole message, one line per problem."""


class _Problem(NamedTuple):
    path: tuple[str | int, ...]
    text: str
    value: str | None = None
    line: int | None = None


def read(path: Path, model: type[Model], example: str) -> Model:
    """Read and check a file; raises SettingsError, and nothing else, naming all problems in it.

    `example` is the file to look at for what belongs there. Relative paths in it start at its own folder.
    """
    try:
        document = plain_yaml.parse(text_of(path))
    except plain_yaml.NotPlain as error:
        text = error.problem
        if text == plain_yaml.EMPTY:
            text += f"; copy {example} and edit it"
        raise SettingsError(_message(path, {}, [_Problem((), text, line=error.line)])) from None
    problems = [_Problem(where, text, line=line) for where, line, text in document.problems]
    found = None
    try:
        found = model.model_validate(document.data, context={"folder": path.absolute().parent})
    except ValidationError as error:
        # What YAML already complained about stands in the data as a filler: do not complain about that too.
        known = {problem.path for problem in problems}
        problems += [p for p in _explain(error, document.data, model, example) if p.path not in known]
    if problems:
        raise SettingsError(_message(path, document.lines, problems))
    assert found is not None
    return found


def text_of(path: Path, kind: str = "YAML file") -> str:
    """A file's text. Raises SettingsError where it is not a readable file of UTF-8, or larger than 1 MiB."""
    try:
        # NONBLOCK: opening a FIFO must not hang before we see that it is one.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SettingsError(f"{shown(path)}: not a regular file; name a {kind}")
            content = file.read(_LIMIT + 1)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{shown(path)}: cannot be read: {why(error)}; name a readable {kind}"
        ) from None
    if len(content) > _LIMIT:
        raise SettingsError(f"{shown(path)}: larger than 1 MiB, so hardly a {kind}; name another")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SettingsError(
            f"{shown(path)}:{line}: not UTF-8 text (byte 0x{content[error.start]:02x}); save it as UTF-8"
        ) from None


def why(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# --- from pydantic's errors to lines an operator can act on ------------------------------------------------

_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "model_type": "a mapping (lines of key: value)",
    "dict_type": "a mapping (lines of key: value)",
    "list_type": "a list",
    "is_instance_of": "text, a path",
}
_FIX = {
    "string_type": "put it in quotes",
    "is_instance_of": "put it in quotes, or leave the key out",
    "int_type": "write digits only, without quotes",
    "list_type": "write it as [name]",
}


def _explain(error: ValidationError, data: Any, model: type[BaseModel], example: str) -> list[_Problem]:
    problems = []
    for item in error.errors(include_url=False):
        path = tuple(part for part in item["loc"] if part != "[key]")
        kind, context = item["type"], item.get("ctx", {})
        cause = context.get("error")
        if isinstance(cause, Problems):
            for below, text, show in cause.found:
                where = path + below
                problems.append(_Problem(where, text, _value(where, _at(data, where)) if show else None))
            continue
        value = _value(path, item["input"])
        if item["loc"][-1:] == ("[key]",):
            value = None  # the input is the key, which the path shows
        if kind == "extra_forbidden":
            text = _unknown_key(path, model)
        elif kind == "missing":
            text, value = "this key is required; add it", None
        elif kind in _WANTED:
            text = f"must be {_WANTED[kind]}, not {_kind(item['input'])}"
            text += f"; {_FIX[kind]}" if kind in _FIX else "; see {example}"
        elif kind == "greater_than_equal":
            text = f"too small; use at least {context['ge']}"
        elif kind == "less_than_equal":
            text = f"too large; use at most {context['le']}"
        elif cause is not None:
            text = str(cause)
        else:
            text = item["msg"]
        problems.append(_Problem(path, text, value))
    return problems


def _unknown_key(path: tuple[str | int, ...], model: type[BaseModel]) -> str:
    known = _keys_at(path[:-1], model)
    close = difflib.get_close_matches(str(path[-1])[:100], known, n=1)
    return (
        f"unknown key; did you mean {close[0]}?" if close else f"unknown key; known here: {', '.join(known)}"
    )


def _keys_at(path: tuple[str | int, ...], model: type[BaseModel]) -> list[str]:
    by_name = False  # this part of the path is a name of the operator's choice, or a place in a list
    for part in path:
        if by_name:
            by_name = False
            continue
        annotation = model.model_fields[str(part)].annotation
        by_name = get_origin(annotation) in (dict, list)
        # What is inside: of a mapping or a list the values, of something that may be left out the something.
        inside = [one for one in get_args(annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
        annotation = inside[-1] if inside else annotation
        assert isinstance(annotation, type) and issubclass(annotation, BaseModel)
        model = annotation
    return list(model.model_fields)


def _at(data: Any, path: tuple[str | int, ...]) -> Any:
    """The value at `path`; _ABSENT where the file leaves it to its default."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return _ABSENT
    return data


_ABSENT = object()


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    kinds = {str: "text", int: "a whole number", float: "a number", dict: "a mapping", list: "a list"}
    return kinds.get(type(value), "something else")


def _value(path: tuple[str | int, ...], value: Any) -> str | None:
    """How to show a value: short, no control characters, never a secret; None to leave it out."""
    if value is _ABSENT:
        return "(default)"
    if value is None or isinstance(value, bool | dict | list):
        return _kind(value)
    names = [str(part) for part in path]
    is_key_file = len(names) == 3 and names[0] == "hosts" and names[2] == "key"
    if is_key_file:
        secret = isinstance(value, str) and (
            "\n" in value or "PRIVATE" in value
        )  # a pasted key instead of its path
    else:
        secret = any(_SECRET.search(name) for name in names[1:] or names)
    if secret or (isinstance(value, str) and re.search(r"://[^/@\s]*:[^/@\s]*@", value)):
        return "(not shown)"
    return _shorten(value)


def _shorten(value: Any) -> str:
    text = ascii(value[:61]) if isinstance(value, str) and not value.isprintable() else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def shown(path: Path) -> str:
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return printable(str(path))


def printable(text: str) -> str:
    return text if text.isprintable() else ascii(text)


def _dotted(path: tuple[str | int, ...]) -> str:
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if re.fullmatch(r"[\w.-]{1,60}", part) else _shorten(part)
            text += f".{name}" if text else name
    return text


def _message(path: Path, lines: dict[plain_yaml.Path, int], problems: list[_Problem]) -> str:
    located = []
    for problem in problems:
        where = problem.path
        while where not in lines and where:
            where = where[:-1]  # a missing key: the line of the mapping it belongs to
        located.append((problem.line or lines.get(where, 1), problem))
    located.sort(key=lambda pair: pair[0])
    file = shown(path)
    rows = []
    for line, problem in located[:_SHOWN]:
        name = _dotted(problem.path)
        value = "" if problem.value is None else f" = {problem.value}"
        rows.append(
            f"{file}:{line}: {name}{value}: {problem.text}" if name else f"{file}:{line}: {problem.text}"
        )
    if len(located) > _SHOWN:
        rows.append(f"{file}: and {len(located) - _SHOWN} more problems")
    return "\n".join(rows)
