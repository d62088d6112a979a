"""Files of this repository, as content for the box. Each is read once a run, however many hosts there are."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from operations.tree import File

ROOT = Path(__file__).parent.parent
_TEMPLATES = Environment(
    loader=FileSystemLoader(ROOT / "templates"), undefined=StrictUndefined, keep_trailing_newline=True
)


@cache
def file(path: str, mode: int = 0o644) -> File:
    """A file of the repository as it is."""
    return File((ROOT / path).read_bytes(), mode)


def folder(path: str, dest: str, suffixes: tuple[str, ...]) -> dict[str, File]:
    """{path below dest: File} for the files below `path` that end in one of `suffixes`; scripts stay executable."""
    return {f"{dest}/{below}": one for below, one in _folder(path, suffixes)}


@cache
def _folder(path: str, suffixes: tuple[str, ...]) -> list[tuple[str, File]]:
    top = ROOT / path
    return [
        (one.relative_to(top).as_posix(), file(str(one), 0o755 if one.suffix == ".sh" else 0o644))
        for one in sorted(top.rglob("*"))
        if one.is_file() and one.name.endswith(suffixes)
    ]


def template(path: str, **data: object) -> File:
    """A rendered template; a name that is not given is an error."""
    return File(_TEMPLATES.get_template(path).render(**data).encode())
