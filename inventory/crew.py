"""The crew: its agents and their shared blocks, as inventory/crew.yml declares them.

`python -m inventory.crew` prints the document that the box is sent, with the prompts in it.
"""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from files.lettabox.crew_memory import LABELS
from files.lettabox.crew_plan import SLEEPTIME
from inventory import checked_yaml, schema
from inventory.checked_yaml import SettingsError
from inventory.schema import Problems

SHIPPED = Path(__file__).with_name("crew.yml")
USAGE = 4
_PROMPT = 100_000  # characters


def _role(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,40}", value):
        raise ValueError("a role is lower-case letters, digits and dashes, at most 41; rename it")
    if value.endswith(SLEEPTIME):
        raise ValueError(f"{SLEEPTIME} ends the names of agents in the background; use the key sleeptime of its agent")
    return value


def _label(value: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,49}", value):
        raise ValueError("a block's label is lower-case letters, digits and underscores, at most 50; rename it")
    return value


def _tool(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", value):
        raise ValueError("not the name of a tool; write it as Letta lists it, such as submit_video")
    return value


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("is empty; say what it is for")
    return value


def _once(value: list[str]) -> list[str]:
    found = [((i,), "named twice; remove one", True) for i, name in enumerate(value) if name in value[:i]]
    if found:
        raise Problems(found)
    return value


def _some(value: list[str]) -> list[str]:
    if not value:
        raise ValueError("names none; name at least one tool")
    return value


def _prompt(value: Any, info: ValidationInfo) -> Any:
    """The text of the file at this path, which starts at the folder of crew.yml."""
    if not isinstance(value, str):
        return value  # pydantic refuses it
    if not value or "\0" in value or "\n" in value:
        raise ValueError("must name a file with the prompt, such as crew/director.md")
    path = (info.context or {})["folder"] / Path(value)
    try:
        text = checked_yaml.text_of(path, "text file")
    except SettingsError as error:
        raise ValueError(str(error)) from None
    if not text.strip():
        raise ValueError(f"{checked_yaml.shown(path)} is empty; write the agent's prompt there")
    if len(text) > _PROMPT:
        raise ValueError(f"{checked_yaml.shown(path)} has {len(text):,} characters; use at most {_PROMPT:,}")
    return text


Prompt = Annotated[str, BeforeValidator(_prompt)]
Text = Annotated[str, AfterValidator(_text), Field(max_length=5000)]
Tools = Annotated[list[Annotated[str, AfterValidator(_tool)]], AfterValidator(_once), AfterValidator(_some)]
Labels = Annotated[list[str], AfterValidator(_once)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Block(_Model):
    """Memory that agents share."""

    description: Text
    limit: int = Field(ge=100, le=100_000)  # characters
    read_only: bool = False


class Sleeptime(_Model):
    """The agent that works in the background of another one."""

    description: Text
    system: Prompt
    tools: Tools
    frequency: int = Field(5, ge=1, le=1000)  # turns of its main agent
    model: schema.Handle = ""


class Agent(_Model):
    """One agent that people and agents talk to."""

    description: Text
    system: Prompt
    blocks: Labels | None = None  # None: all
    tools: Tools
    model: schema.Handle = ""
    embedding: schema.Handle = ""
    sleeptime: Sleeptime | None = None


class Crew(_Model):
    """The whole file."""

    blocks: dict[Annotated[str, AfterValidator(_label)], Block]
    agents: dict[Annotated[str, AfterValidator(_role)], Agent]

    @field_validator("blocks")
    @classmethod
    def _all_six(cls, value: dict[str, Block]) -> dict[str, Block]:
        if missing := [label for label in LABELS if label not in value]:
            raise ValueError(f"lacks {', '.join(missing)}; the crew's tools need all six, add what is missing")
        return value

    @field_validator("agents")
    @classmethod
    def _some(cls, value: dict[str, Agent]) -> dict[str, Agent]:
        if not value:
            raise ValueError("has no agent; add at least one")
        return value

    @model_validator(mode="after")
    def _blocks_exist(self) -> "Crew":
        known = ", ".join(self.blocks)
        found = [
            (("agents", role, "blocks", i), f"there is no such block; name one of blocks: {known}", True)
            for role, one in self.agents.items()
            for i, label in enumerate(one.blocks or [])
            if label not in self.blocks
        ]
        if found:
            raise Problems(found)
        return self


def read(path: Path) -> Crew:
    """The crew that a file declares. Raises SettingsError that names all problems in it."""
    return checked_yaml.read(path, Crew, "inventory/crew.yml")


def document(inventory: schema.Inventory) -> dict[str, Any]:
    """What the box is told, as /etc/lettabox/crew.json. Raises SettingsError for what is wrong in the crew's file."""
    told = inventory.settings.crew
    crew = read(told.file or SHIPPED)
    window = inventory.settings.letta.context_window_limit
    agents = {}
    for role, one in crew.agents.items():
        of_both = {
            "embedding": one.embedding or told.embedding,
            "context_window": window,
            "blocks": list(crew.blocks) if one.blocks is None else one.blocks,
        }
        agents[role] = {
            "description": one.description,
            "system": one.system,
            "model": one.model or told.model,
            "tools": one.tools,
            "autoclear": False,
            **of_both,
        }
        if one.sleeptime:
            agents[role]["sleeptime"] = {
                "description": one.sleeptime.description,
                "system": one.sleeptime.system,
                "model": one.sleeptime.model or one.model or told.model,
                "tools": one.sleeptime.tools,
                "autoclear": True,
                "frequency": one.sleeptime.frequency,
                **of_both,
            }
    return {"blocks": {label: one.model_dump() for label, one in crew.blocks.items()}, "agents": agents}


def text(wanted: dict[str, Any]) -> str:
    """The document as the box keeps it."""
    return json.dumps(wanted, indent=1) + "\n"


def main() -> int:
    """Print the document of the settings' crew; return the exit code."""
    from inventory.load import find, load  # noqa: PLC0415 - it imports this module

    try:
        inventory = load(find())
        if not inventory.settings.crew.model:
            raise SettingsError("no crew is set up: name a chat model in settings.crew.model (docs/crew.md)")
        print(text(document(inventory)), end="")
    except SettingsError as error:
        print(error, file=sys.stderr)
        return USAGE
    return 0


if __name__ == "__main__":
    sys.exit(main())
