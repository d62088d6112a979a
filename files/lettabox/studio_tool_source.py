"""Source of the studio's tools, as Letta gets it."""

# Relative: on the laptop's side this is files.lettabox.
from .tool_source import composed, digest

# In the order in which an agent uses them.
NAMES = ("submit_video", "check_video_status", "get_recent_videos", "get_frame")
SHARED = "studio_tools/ask_studio"


def source(name: str) -> str:
    """What Letta gets for a tool."""
    return composed(SHARED, f"studio_tools/{name}")


def digests() -> dict[str, str]:
    """{tool: digest of its source}."""
    return {name: digest(source(name)) for name in NAMES}
