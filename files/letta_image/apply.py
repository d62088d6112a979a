"""Apply unified diffs exactly: no fuzz, no offsets, all files or none.

The upstream image has neither `patch` nor `git`, and both would accept a hunk
that merely looks right. Runs inside the image build with the image's Python.
"""

import re
import sys
from pathlib import Path

HUNK = re.compile(r"^@@ -(\d+)(?:,(\d+))? \+\d+(?:,(\d+))? @@")


class DoesNotFit(Exception):
    """A patch expects other text than the base has."""


def parse(diff: str) -> dict[str, list[tuple[int, list[str], list[str]]]]:
    """Return {path: [(first old line, old lines, new lines), ...]} of a unified diff."""
    files: dict[str, list[tuple[int, list[str], list[str]]]] = {}
    path = None
    left_old = left_new = 0  # lines of the hunk still to come: a removed `-- x` looks like a header
    for line in diff.splitlines():
        if left_old or left_new:
            _, old, new = files[path][-1]
            mark, text = (line[:1] or " "), line[1:]
            if mark in " -":
                old.append(text)
                left_old -= 1
            if mark in " +":
                new.append(text)
                left_new -= 1
        elif line.startswith("+++ "):
            path = line[4:].removeprefix("b/")
            files[path] = []
        elif path and (hunk := HUNK.match(line)):
            files[path].append((int(hunk[1]), [], []))
            left_old, left_new = int(hunk[2] or 1), int(hunk[3] or 1)
    return files


def patched(path: str, text: str, hunks: list[tuple[int, list[str], list[str]]]) -> str:
    """Return `text` with the hunks applied; text that already carries them is returned as it is.

    Raises DoesNotFit, naming the file, the line and what was expected there.
    """
    lines = text.split("\n")
    shift = 0
    done = 0
    for start, old, new in hunks:
        at = start - 1 + shift
        # Where nothing was removed, old is a part of new: look for the new text first.
        if lines[at : at + len(new)] == new:
            shift += len(new) - len(old)
            done += 1
            continue
        for offset, want in enumerate(old):
            have = lines[at + offset] if at + offset < len(lines) else "(end of file)"
            if have != want:
                raise DoesNotFit(f"{path}, line {at + offset + 1}: expected {want!r}, found {have!r}")
        lines[at : at + len(old)] = new
        shift += len(new) - len(old)
    if done not in (0, len(hunks)):
        raise DoesNotFit(f"{path}: carries {done} of the patch's {len(hunks)} changes")
    return "\n".join(lines)


def main(root: Path, patches: Path) -> int:
    release = next(iter(sorted(root.glob(".venv/lib/python3*/site-packages/letta-*.dist-info"))), None)
    wanted: dict[Path, str] = {}
    for patch in sorted(patches.glob("*.patch")):
        for name, hunks in parse(patch.read_text()).items():
            path = root / name
            try:
                before = wanted.get(path) or path.read_text()
                wanted[path] = patched(name, before, hunks)
            except (OSError, DoesNotFit) as error:
                print(
                    f"{patch.name} does not fit {release.stem if release else 'this base'}: {error}",
                    file=sys.stderr,
                )
                return 1
    if not wanted:
        print(f"no patches in {patches}", file=sys.stderr)
        return 1
    for path, text in wanted.items():
        if path.read_text() != text:
            path.write_text(text)
            print(f"patched {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
