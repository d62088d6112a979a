"""The agents' tools: with them Letta's agents ask the studio for videos and look at what there is."""

from pyinfra import host
from pyinfra.api import deploy

from files.lettabox import studio_tool_source
from operations import studio_tools as tools


@deploy("Agents' tools")
def studio_tools() -> None:
    settings = host.data.settings
    tools.installed(
        name="Tools for videos",
        sources=studio_tool_source.digests(),
        url=f"http://{settings.router_host}:{settings.studio.port}",
    )
