"""Which agents and blocks of the server are the crew's: kept on the box, as names are not unique in Letta.

Standard library alone: every deploy reads it as part of a fact, with the system's Python.
"""

import json
from dataclasses import asdict, dataclass, field

from lettabox import crew_plan, files, paths

TAG = "lettabox-crew"  # on every agent, block and tool of the crew
# In the environment of every tool: {"agents": {role: id}, "blocks": {label: id}}.
VARIABLE = "LETTABOX_CREW"


@dataclass
class Record:
    """Ids by role (`director`, `director-sleeptime`, ...) and by label."""

    agents: dict[str, str] = field(default_factory=dict)
    blocks: dict[str, str] = field(default_factory=dict)


def tags(name: str) -> list[str]:
    """The tags of the agent with this role, or of the block with this label."""
    return [TAG, f"{TAG}:{name}"]


def read() -> Record:
    """The record; an empty one before the first crew. Raises ValueError when the file is damaged."""
    try:
        document = json.loads(paths.CREW_RECORD.read_text())
    except FileNotFoundError:
        return Record()
    try:
        return Record(**document)
    except TypeError:
        raise ValueError(f"{paths.CREW_RECORD} is not a record of the crew") from None


def write(record: Record) -> None:
    """Keep it; whole or not at all."""
    files.write(paths.CREW_RECORD, json.dumps(asdict(record), indent=1) + "\n")


def variable(record: Record) -> str:
    """What VARIABLE holds."""
    return crew_plan.variable(record.agents, record.blocks)
