"""Files and directories by path, content hash, mode and owner, any number in one command."""

import shlex
from dataclasses import dataclass

from pyinfra.api import FactBase
from pyinfra.api.exceptions import FactProcessError


@dataclass(frozen=True)
class PathState:
    kind: str  # "regular file", "directory", ... as stat(1) names it
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
        find = f'for t in {below}; do [ -d "$t" ] && find "$t" ! -type d; done;' if trees else ""
        return (
            f'{{ for p in {listed}; do if [ -e "$p" ] || [ -L "$p" ]; then echo "$p"; fi; done; {find} }} | sort -u | '
            "while read -r p; do stat --printf '%n\\t%F\\t%a\\t%U\\t%G\\t' \"$p\"; "
            'if [ -f "$p" ] && [ ! -L "$p" ]; then sha256sum < "$p"; else echo -; fi; done'
        )

    def process(self, output: list[str]) -> dict[str, PathState]:
        found = {}
        for line in output:
            try:
                path, kind, mode, user, group, digest = line.split("\t")
            except ValueError:
                raise FactProcessError(f"unexpected answer about a path: {line!r}") from None
            if kind == "regular empty file":
                kind = "regular file"
            sha256 = digest.split()[0]
            found[path] = PathState(kind, int(mode, 8), user, group, None if sha256 == "-" else sha256)
        return found


class Content(FactBase[str]):
    """The text of one file, or None when there is none."""

    def command(self, path: str) -> str:
        quoted = shlex.quote(path)
        return f"if [ -f {quoted} ]; then cat {quoted}; fi"

    def process(self, output: list[str]) -> str:
        return "\n".join(output) + "\n"
