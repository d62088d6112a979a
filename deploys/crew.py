"""The crew: agents in Letta that make videos with the studio, their shared blocks, and the tools for both."""

from pyinfra import host
from pyinfra.api import deploy

from deploys import layout
from files.lettabox import crew_tool_source
from inventory.crew import text
from operations import crew as crew_operations
from operations import tree
from operations.tree import File


@deploy("Crew")
def crew() -> None:
    wanted = host.data.crew
    if not wanted:
        return  # one that is there is left alone
    tree.present(name="The crew to have", files={layout.CREW_WANTED: File(text(wanted).encode())})
    crew_operations.converged(name="Agents and blocks", document=wanted, sources=crew_tool_source.digests())
