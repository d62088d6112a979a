"""Files and directories by path, content hash, mode and owner, any number in one command."""

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError

KINDS = {"f": "file", "d": "directory"}  # find's letters


@dataclass(frozen=True)
class PathState:
    kind: str  # "file", "directory", or find's letter for anything else
    mode: int
    user: str
    group: str
    sha256: str | None  # of a regular file


class Paths(FactBase[dict[str, PathState]]):
    """{path: PathState} for those of `paths` that exist and for everything but folders below `trees`."""

    default = dict

    def command(self, paths: list[str], trees: list[str] | None = None) -> str:
        listed = " ".join(map(shlex.quote, paths))
        below = " ".join(map(shlex.quote, trees or []))
        # One process looks at all of them and one reads all: of a missing path both only complain.
        look = f"find {listed} -maxdepth 0 -printf '%y\\t%m\\t%u\\t%g\\t%p\\n' 2>/dev/null; "
        read = f"find {listed} -maxdepth 0 -type f -print0 2>/dev/null; "
        if trees:
            look += f"find {below} ! -type d -printf '%y\\t%m\\t%u\\t%g\\t%p\\n' 2>/dev/null; "
            read += f"find {below} -type f -print0 2>/dev/null; "
        return f"{look}echo; {{ {read}}} | xargs -0r sha256sum -z | tr '\\0' '\\n'; :"

    def process(self, output: list[str]) -> dict[str, PathState]:
        try:
            end = output.index("")
            digests = {path: digest for digest, path in (line.split("  ", 1) for line in output[end + 1 :])}
            found = {}
            for line in output[:end]:
                kind, mode, user, group, path = line.split("\t")
                found[path] = PathState(KINDS.get(kind, kind), int(mode, 8), user, group, digests.get(path))
        except ValueError:
            raise FactProcessError(f"unexpected answer about paths: {output!r}") from None
        return found


class Content(FactBase[str]):
    """The text of one file, or None when there is none."""

    def command(self, path: str) -> str:
        quoted = shlex.quote(path)
        return f"if [ -f {quoted} ]; then cat {quoted}; fi"

    def process(self, output: list[str]) -> str:
        return "\n".join(output) + "\n"
