"""Source of the agents' tools, as Letta gets it; the laptop side reads it too, to say what a deploy wants."""

import hashlib
from pathlib import Path

# In the order in which an agent uses them.
NAMES = ("submit_video", "check_video_status", "get_recent_videos", "get_frame")
SHARED = "ask_studio"  # stands before each tool's own function
FOLDER = Path(__file__).resolve().parent.parent / "studio_tools"


def source(name: str) -> str:
    """What Letta gets for a tool."""
    return "\n\n".join((FOLDER / f"{one}.py").read_text() for one in (SHARED, name))


def digest(text: str) -> str:
    """By what two sources are compared."""
    return hashlib.sha256(text.encode()).hexdigest()


def digests() -> dict[str, str]:
    """{tool: digest of its source}."""
    return {name: digest(source(name)) for name in NAMES}
