"""Which files of the box side one of the studio's processes runs: a change of others does not restart it."""

import ast
from functools import cache

from deploys import layout
from deploys.sources import ROOT

TOP = ROOT / "files"
MAIN = "lettabox/studio/__main__.py"


@cache
def files(verb: str) -> tuple[str, ...]:
    """Paths on the box of the modules that `python -m lettabox.studio VERB` can import, and of its static files."""
    if not verb:
        return ()
    # The verbs import what they run within their functions.
    main = ast.parse((TOP / MAIN).read_text()).body
    found = {MAIN, "lettabox/__init__.py", "lettabox/studio/__init__.py"}
    todo = _imported([one for one in main if not _is_verb(one) or one.name == verb])
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo |= _imported(ast.parse((TOP / path).read_text()).body)
    # Pages and migrations, in folders without modules: of a process that names such a folder.
    text = "".join((TOP / path).read_text() for path in found)
    for folder in (TOP / "lettabox/studio").iterdir():
        if folder.is_dir() and f'"{folder.name}' in text and not any(folder.glob("*.py")):
            found |= {str(one.relative_to(TOP)) for one in folder.rglob("*") if one.is_file()}
    return tuple(f"{layout.CODE}/src/{path}" for path in sorted(found))


def _is_verb(one: ast.stmt) -> bool:
    return isinstance(one, ast.FunctionDef) and any("command" in ast.unparse(name) for name in one.decorator_list)


def _imported(body: list[ast.stmt]) -> set[str]:
    """Paths of the modules of ours that these statements import, functions and classes included."""
    names = set()
    for node in (node for statement in body for node in ast.walk(statement)):
        if isinstance(node, ast.Import):
            names |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            # What is imported may be a module, or something of one.
            names |= {node.module, *(f"{node.module}.{one.name}" for one in node.names)}
    found = set()
    for name in names:
        words = name.split(".")
        if words[0] != "lettabox":
            continue
        # Of a package below, its __init__.py is run too.
        for end in range(1, len(words) + 1):
            at = "/".join(words[:end])
            found |= {path for path in (f"{at}.py", f"{at}/__init__.py") if (TOP / path).is_file()}
    return found
