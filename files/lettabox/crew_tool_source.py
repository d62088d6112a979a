"""Source of the crew's tools, as Letta gets it."""

# Relative: on the laptop's side this is files.lettabox.
from .tool_source import composed, digest

# In the order in which the crew uses them.
NAMES = (
    "ask_crew",
    "check_reply",
    "queue_videos",
    "next_video",
    "note_render",
    "wait_for_video",
    "grade_video",
    "skip_video",
    "change_queue",
    "update_memory",
    "start_ab_test",
    "note_variation",
    "pick_winner",
)
SHARED = (
    "lettabox/crew_memory",
    "studio_tools/ask_studio",
    "studio_tools/check_video_status",
    "crew_tools/ask_letta",
    "crew_tools/said",
    "crew_tools/crew_blocks",
    "crew_tools/queue_state",
    "crew_tools/archive",
    "crew_tools/crew_reply",
)


def source(name: str) -> str:
    """What Letta gets for a tool."""
    return composed(*SHARED, f"crew_tools/{name}")


def digests() -> dict[str, str]:
    """{tool: digest of its source}."""
    return {name: digest(source(name)) for name in NAMES}
