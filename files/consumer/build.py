"""Print the one-file check for other projects: main.py with the modules of lettabox that it imports put inside.

`make -s check-script > lettabox-check`. Needs the standard library alone.
"""

import ast
import hashlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In this order: each needs those before it.
MODULES = [HERE.parent / "lettabox/neighbours.py", HERE.parent / "lettabox/check_report.py", HERE / "main.py"]
NO_VERSION = 'VERSION = ""'
LOOK, NO_LOOK = HERE.parent / "lettabox/look.sh", 'LOOK = ""'
HEAD = """#!/usr/bin/env python3
# lettabox-check {version}, made by `make -s check-script` of lettabox; to be replaced, not changed.
"""


def script() -> str:
    """The text of the script. Its version is a hash of all that follows."""
    imports, bodies, docstring = set(), [], ""
    for path in MODULES:
        source = path.read_text()
        tree = ast.parse(source)
        docstring = ast.get_docstring(tree, clean=False) or ""
        drop = set(range(1, tree.body[0].end_lineno + 1))
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                drop |= set(range(node.lineno, node.end_lineno + 1))
                if not (isinstance(node, ast.ImportFrom) and node.module.startswith(("lettabox", "__future__"))):
                    imports.add(ast.unparse(node))
        lines = source.splitlines()
        kept = "\n".join(line for number, line in enumerate(lines, 1) if number not in drop).strip()
        bodies.append(f"# From {path.name}\n\n{kept}\n")
    body = "\n\n".join(bodies).replace(NO_LOOK, f"LOOK = {_constant(LOOK)}", 1)
    _unique(ast.parse(body))
    ordered = sorted(imports, key=lambda line: (line.startswith("from"), line))
    top = [f'"""{docstring}"""', "", "from __future__ import annotations", "", *ordered]
    whole = "\n".join(top) + "\n\n" + body
    version = hashlib.sha256(whole.encode()).hexdigest()[:12]
    return HEAD.format(version=version) + whole.replace(NO_VERSION, f'VERSION = "{version}"')


def _constant(path: Path) -> str:
    """The text of a file as an expression that can be read."""
    text, mark = path.read_text(), "'" * 3
    if mark in text or text.endswith(("'", "\\")):
        raise SystemExit(f"{path.name} cannot stand between r{mark} and {mark}")
    return f"r{mark}{text}{mark}"


def _unique(tree: ast.Module) -> None:
    """Two modules that give one name to two things cannot be one file."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.append(node.name)
        elif isinstance(node, ast.Assign):
            names += [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise SystemExit(f"defined in more than one of the modules: {', '.join(twice)}")


if __name__ == "__main__":
    print(script(), end="")
