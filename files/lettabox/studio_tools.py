"""The studio's four tools for agents, and what they need to reach the studio."""

from lettabox import letta_tools, secrets, studio_service
from lettabox.api import Api
from lettabox.studio_tool_source import NAMES, source
from lettabox.studio_tools_state import SECRET, TAG, TOKEN, URL


def converge() -> None:
    """Create and correct the tools and the variables, and print one line for each.

    A tool of the same name that is not ours is told and left alone. Raises LettaboxError where Letta refuses.
    """
    token = secrets.read(SECRET)
    api = Api()
    letta_tools.install(api, TAG, {name: source(name) for name in NAMES}, "make studio-tools")
    letta_tools.give(api, {URL: studio_service.bridge(), TOKEN: token})
