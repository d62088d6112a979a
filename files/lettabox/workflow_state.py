"""What the workflow of this box was made from, and whether it is still there as it was made.

Run by every deploy as a fact, with the system's Python: only the standard library.
"""

import hashlib
import json
from typing import Any

from lettabox import paths

NAMES = ("workflow.json", "manifest.json")


def digest() -> str:
    """A hash of the two files as they are."""
    both = hashlib.sha256()
    for name in NAMES:
        path = paths.WORKFLOW / name
        both.update(path.read_bytes() if path.is_file() else b"")
        both.update(b"\0")
    return both.hexdigest()


def state() -> dict[str, Any]:
    """{"made_from": hash of what it was made from, "own": whether there is an operator's own file}.

    The hash is "" unless the files are as they were made.
    """
    try:
        applied = json.loads(paths.WORKFLOW_APPLIED.read_text())
        made_from = applied["made_from"] if applied["files"] == digest() else ""
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        made_from = ""
    return {"made_from": made_from, "own": paths.WORKFLOW_WANTED.is_file()}


if __name__ == "__main__":
    print(json.dumps(state()))
