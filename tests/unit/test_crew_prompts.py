"""The shipped crew: its file, and that its prompts speak of tools, fields and blocks that are there."""

import re

import pytest
import yaml
from lettabox import crew_memory, crew_tool_source, studio_tool_source

from tests.lab.conftest import ROOT

FOLDER = ROOT / "inventory"
CREW = yaml.safe_load((FOLDER / "crew.yml").read_text())
LETTAS = {"archival_memory_search", "archival_memory_insert", "conversation_search", "memory_finish_edits"}
TOOLS = {*crew_tool_source.NAMES, *studio_tool_source.NAMES, *LETTAS}
ANSWERS = {"run_id", "brightness_percent", "contrast_percent"}  # names in what tools return
LONGEST = 9000  # characters; about 2200 tokens in every request


def agents():
    """(role, its part of the file), memory keepers included."""
    for role, agent in CREW["agents"].items():
        yield role, agent
        yield f"{role}-sleeptime", agent["sleeptime"]


def prompt(agent):
    return (FOLDER / agent["system"]).read_text()


each = pytest.mark.parametrize(("role", "agent"), [pytest.param(*one, id=one[0]) for one in agents()])


@each
def test_a_prompt_names_the_tools_of_its_agent_and_no_others(role, agent):
    words = set(re.findall(r"\w+", prompt(agent)))
    assert len(set(agent["tools"])) == len(agent["tools"]) and set(agent["tools"]) <= TOOLS
    assert words & TOOLS == set(agent["tools"])


@each
def test_what_else_looks_like_a_name_is_one(role, agent):
    """A field or a tool that was renamed, or is spelt wrongly."""
    text = prompt(agent)
    fields = {field for label in crew_memory.LABELS for field in crew_memory.FIELDS[label]}
    assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)) <= fields
    assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)) <= TOOLS | set(crew_memory.LABELS) | ANSWERS


@each
def test_it_is_of_sensible_length_and_form(role, agent):
    text = prompt(agent)
    assert 1500 < len(text) < LONGEST
    title = text.splitlines()[0]
    assert title.startswith("# ") and text.endswith("\n") and max(map(len, text.splitlines())) <= 120
    # Letta puts blocks after it, and replaces this name in it.
    assert "{" not in text
    assert "## First, every" in text or "## How a turn works" in text
    assert "## Before you end" in text, "a checklist comes last"
    assert "call it once more" in text, "a tool's sentence is no reason to go on for ever"


def test_titles_tell_the_agents_apart():
    titles = [prompt(agent).splitlines()[0] + "\n" for _, agent in agents()]
    assert len(titles) == 6
    assert all(sum(title in prompt(agent) for _, agent in agents()) == 1 for title in titles)


def test_every_tool_has_an_agent_that_uses_it():
    used = {tool for _, agent in agents() for tool in agent["tools"]}
    assert used == TOOLS


def test_the_blocks_are_those_of_the_schema_and_their_descriptions_name_what_there_is():
    assert list(CREW["blocks"]) == list(crew_memory.LABELS)
    for label, block in CREW["blocks"].items():
        text = block["description"]
        assert set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", text)) <= TOOLS
        assert set(re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b", text)) <= set(crew_memory.FIELDS[label])
        assert len(text) < 700
    assert {label for label, block in CREW["blocks"].items() if block["read_only"]} == {
        "production_queue",
        "ab_testing",
    }


def test_only_the_memory_keepers_end_with_memory_finish_edits():
    ends = {role for role, agent in agents() if "memory_finish_edits" in agent["tools"]}
    assert ends == {"director-sleeptime", "writer-sleeptime", "cameraman-sleeptime"}
    assert all(agent["sleeptime"]["frequency"] == 5 for agent in CREW["agents"].values())
