"""How the source of a tool for Letta is composed; the laptop side reads it too, to say what a deploy wants.

Letta gets one text for a tool, and takes the last function of it: what it uses stands before.
"""

import hashlib
from pathlib import Path

SOURCES = Path(__file__).resolve().parent.parent  # lettabox, studio_tools and crew_tools lie beside each other


def composed(*files: str) -> str:
    """One text of these files, the tool's own last."""
    return "\n\n".join((SOURCES / f"{one}.py").read_text() for one in files)


def digest(text: str) -> str:
    """By what two sources are compared."""
    return hashlib.sha256(text.encode()).hexdigest()
