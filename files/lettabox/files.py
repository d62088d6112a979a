"""Write a file so that a reader, or a crash, sees the old content or the new, never a part."""

import os
import tempfile
from pathlib import Path


def write(path: Path, content: str, mode: int = 0o644) -> None:
    """Replace `path` atomically. The content is never readable wider than `mode`, not for an instant."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # created 0600
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
