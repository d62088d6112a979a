"""Read YAML as plain JSON-like data, with the line of every key.

PyYAML scans and parses; what it makes of the text is narrowed, because its YAML 1.1 holds surprises in a
settings file: `bind: no` is false, `port: 22:22` is 1342, `<<` merges, `&a`/`*a` can blow up the memory.
Here true/false, decimal numbers and null are special and everything else is text.
"""

import math
import re
from typing import Any, ClassVar

import yaml

Path = tuple[str | int, ...]

EMPTY = "the file is empty"
_MAX_DEPTH = 40
_MAX_DIGITS = 18
_FLOAT = r"^[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$"


class NotPlain(Exception):
    """The text cannot be read at all: `line` (from 1) and `problem` say where and why."""

    def __init__(self, line: int, problem: str):
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class Document:
    """`data`, the line of every path in it (`lines`), and `problems` as (path, line, text)."""

    def __init__(self) -> None:
        self.data: Any = None
        self.lines: dict[Path, int] = {}
        self.problems: list[tuple[Path, int, str]] = []


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: ClassVar[dict] = {}
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise NotPlain(
                line, "aliases (*name) are not allowed here; write the value out, or quote the text"
            )
        if event.tag is not None:
            raise NotPlain(line, "tags (!name) are not allowed here; remove it, or quote the text")
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise NotPlain(line, f"nested more than {_MAX_DEPTH} deep; flatten it")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


_Loader.add_implicit_resolver("bool", re.compile(r"^(?:true|false)$"), list("tf"))
_Loader.add_implicit_resolver("null", re.compile(r"^(?:~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("int", re.compile(r"^[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_Loader.add_implicit_resolver("float", re.compile(_FLOAT), list("-+.0123456789"))


def parse(text: str) -> Document:
    """Read one YAML document; NotPlain if there is none to be had."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise NotPlain(line, f"holds the unprintable character U+{error.character:04X}; remove it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise NotPlain(mark.line + 1 if mark else 1, _explain(error)) from None
    except (ValueError, OverflowError) as error:
        # PyYAML lets these out for an impossible escape ("\UFFFFFFFF") or a %YAML version of 5000 digits.
        raise NotPlain(1, f"not valid YAML ({error}); look for \\U escapes and %YAML lines") from None
    if root is None:
        raise NotPlain(1, EMPTY)
    document = Document()
    document.lines[()] = root.start_mark.line + 1
    document.data = _plain(root, (), document)
    return document


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "unknown problem"
    if "'\\t'" in problem:
        return "a tab where only spaces may be; indent with spaces"
    return f"not valid YAML: {problem}; check indentation, colons and quotes around this line"


def _plain(node: yaml.Node, path: Path, document: Document) -> Any:
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for i, item in enumerate(node.value):
            document.lines[(*path, i)] = item.start_mark.line + 1
            items.append(_plain(item, (*path, i), document))
        return items
    return _scalar(node, path, document)


def _mapping(node: yaml.MappingNode, path: Path, document: Document) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(
                (path, line, "a key must be text, not a list or mapping; check the brackets")
            )
            continue
        if key_node.tag != _Loader.DEFAULT_SCALAR_TAG:
            text = "a key must be text, not a number, true, false or nothing; put it in quotes"
            document.problems.append(((*path, key_node.value), line, text))
            continue
        key = key_node.value
        if key in data:
            text = f"the key is there twice (first in line {document.lines[(*path, key)]}); remove one"
            document.problems.append(((*path, key), line, text))
            continue
        if fault := _unwritable(key):
            document.problems.append(((*path, key), line, fault))
            continue
        document.lines[(*path, key)] = line
        data[key] = _plain(value_node, (*path, key), document)
    return data


def _scalar(node: yaml.ScalarNode, path: Path, document: Document) -> Any:
    text, line = node.value, node.start_mark.line + 1
    if node.tag == "null":
        return None
    if node.tag == "bool":
        return text == "true"
    if node.tag in ("int", "float"):
        number = int(text) if node.tag == "int" and len(text) <= _MAX_DIGITS else float(text)
        if not math.isfinite(number) or (node.tag == "int" and len(text) > _MAX_DIGITS):
            document.problems.append(
                (path, line, "the number is too long; write a smaller one, or quote the text")
            )
            return 0
        return number
    if fault := _unwritable(text):
        document.problems.append((path, line, fault))
        return ""
    return text


def _unwritable(text: str) -> str | None:
    # Escapes in double quotes can make what no file or terminal should get.
    if re.search(r"[\0-\x08\x0b-\x1f\x7f\ud800-\udfff]", text):
        return "holds a control character or half a surrogate pair; remove the \\ escape"
    return None
