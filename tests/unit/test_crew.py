"""crew.yml: every rule, and where a message points; the document for the box; the crew among the settings."""

import copy
import json
import subprocess
import sys

import pytest
import yaml
from lettabox import crew_memory, crew_plan

from inventory import crew
from inventory.load import SettingsError, load

SIX = {label: {"description": f"the {label}", "limit": 8000} for label in crew_memory.LABELS}
CREW = {
    "blocks": SIX,
    "agents": {
        "director": {
            "description": "Leads.",
            "system": "prompts/director.md",
            "tools": ["queue_videos", "submit_video"],
            "sleeptime": {"description": "Tidies.", "system": "prompts/tidy.md", "tools": ["memory_finish_edits"]},
        },
        "writer": {
            "description": "Writes.",
            "system": "prompts/tidy.md",
            "blocks": ["user_style"],
            "tools": ["next_video"],
            "model": "own/model",
            "embedding": "own/embedding",
        },
    },
}
SETTINGS = {
    "hosts": {"box": {"address": "192.0.2.10", "user": "debian"}},
    "groups": {"letta": ["box"], "gpu": ["box"]},
    "settings": {"crew": {"file": "crew.yml", "model": "openai-proxy/m", "embedding": "lab/e"}},
}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts/director.md").write_text("You lead.\n")
    (tmp_path / "prompts/tidy.md").write_text("You tidy: ä, 🦊.\n", encoding="utf-8")
    return tmp_path


def loaded(folder, content=CREW, settings=SETTINGS):
    (folder / "crew.yml").write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False))
    (folder / "inventory.yml").write_text(yaml.safe_dump(settings))
    return load(folder / "inventory.yml")


def refusal(folder, content=CREW, settings=SETTINGS):
    with pytest.raises(SettingsError) as caught:
        loaded(folder, content, settings)
    return str(caught.value)


def changed(*path, to, content=CREW):
    content = copy.deepcopy(content)
    below = content
    for part in path[:-1]:
        below = below[part]
    if to is None:
        del below[path[-1]]
    else:
        below[path[-1]] = to
    return content


def test_the_document_is_complete(folder):
    document = crew.document(loaded(folder))
    assert json.loads(crew.text(document)) == document
    assert document["blocks"]["user_style"] == {"description": "the user_style", "limit": 8000, "read_only": False}
    everywhere = {"context_window": 180_000, "embedding": "lab/e", "blocks": list(SIX)}
    assert document["agents"] == {
        "director": {
            "description": "Leads.",
            "system": "You lead.\n",
            "model": "openai-proxy/m",
            "tools": ["queue_videos", "submit_video"],
            "autoclear": False,
            **everywhere,
            "sleeptime": {
                "description": "Tidies.",
                "system": "You tidy: ä, 🦊.\n",
                "model": "openai-proxy/m",
                "tools": ["memory_finish_edits"],
                "autoclear": True,
                "frequency": 5,
                **everywhere,
            },
        },
        "writer": {
            "description": "Writes.",
            "system": "You tidy: ä, 🦊.\n",
            "model": "own/model",
            "embedding": "own/embedding",
            "context_window": 180_000,
            "blocks": ["user_style"],
            "tools": ["next_video"],
            "autoclear": False,
        },
    }


def test_the_one_that_ships_is_right(folder):
    settings = changed("settings", "crew", "file", to=None, content=SETTINGS)
    document = crew.document(loaded(folder, settings=settings))
    assert set(document["blocks"]) == set(crew_memory.LABELS)
    assert list(crew_plan.members(document)) == [
        f"{role}{behind}" for role in ("director", "writer", "cameraman") for behind in ("", "-sleeptime")
    ]


DIRECTOR = ("agents", "director")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (changed("blocks", "user_style", to=None), [":1: blocks = a mapping: lacks user_style"]),
        (changed("blocks", "Mine", to=SIX["user_style"]), ["blocks.Mine: a block's label is lower-case"]),
        (changed("blocks", "user_style", "limit", to=99), ["user_style.limit = 99: too small; use at least 100"]),
        (changed("blocks", "user_style", "limit", to=100_001), ["too large; use at most 100000"]),
        (changed("blocks", "user_style", "limit", to="8000"), ["must be a whole number, not text"]),
        (changed("blocks", "user_style", "description", to=" "), ["is empty; say what it is for"]),
        (changed("blocks", "user_style", "readonly", to=True), ["unknown key; did you mean read_only?"]),
        (changed("agents", to={}), ["agents = a mapping: has no agent"]),
        (changed("agents", "tidy-sleeptime", to=CREW["agents"]["writer"]), ["-sleeptime ends the names"]),
        (changed("agents", "Director", to=CREW["agents"]["writer"]), ["agents.Director: a role is lower-case letters"]),
        (changed(*DIRECTOR, "blocks", to=["user_style", "mine"]), ["director.blocks[1] = 'mine': there is no such"]),
        (changed(*DIRECTOR, "blocks", to=["user_style"] * 2), ["blocks[1] = 'user_style': named twice"]),
        (changed(*DIRECTOR, "tools", to=["a", "b", "a"]), ["agents.director.tools[2] = 'a': named twice; remove one"]),
        (changed(*DIRECTOR, "tools", to=["no tool"]), ["tools[0] = 'no tool': not the name of a tool"]),
        (changed(*DIRECTOR, "tools", to=[]), ["agents.director.tools = a list: names none; name at least one"]),
        (changed(*DIRECTOR, "tools", to=None), ["agents.director.tools: this key is required"]),
        (changed(*DIRECTOR, "model", to="gpt-4o"), ["director.model = 'gpt-4o': not a handle; write PROVIDER/"]),
        (changed(*DIRECTOR, "sleeptime", "tools", to=[]), ["agents.director.sleeptime.tools = a list: names none"]),
        (changed(*DIRECTOR, "sleeptime", "frequency", to=0), ["sleeptime.frequency = 0: too small; use at least 1"]),
        (changed(*DIRECTOR, "sleeptime", "name", to="x"), ["director.sleeptime.name", "unknown key; known here:"]),
        (changed(*DIRECTOR, "system", to="prompts/none.md"), ["director.system", "prompts/none.md: cannot be read"]),
        (changed(*DIRECTOR, "system", to="prompts"), ["prompts: cannot be read: Is a directory; name a"]),
        (changed(*DIRECTOR, "system", to="You are\nthe director"), ["must name a file with the prompt"]),
        ("", ["the file is empty; copy inventory/crew.yml and edit it"]),
        ("blocks: [", ["not valid YAML"]),
        ("blocks: {}\nblocks: {}\nagents: {}\n", ["crew.yml:2: blocks", "the key is there twice (first in line 1)"]),
    ],
)
def test_what_is_wrong_is_told_with_file_and_line(folder, content, words):
    said = refusal(folder, content)
    assert "crew.yml:" in said
    for one in words:
        assert one in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is empty; write the agent's prompt there"),
        (b" \n", "is empty; write the agent's prompt there"),
        (b"one\n\xff", "prompts/director.md:2: not UTF-8 text (byte 0xff)"),
        (b"x" * 100_001, "has 100,001 characters; use at most 100,000"),
        (b"x" * (1024 * 1024 + 1), "larger than 1 MiB"),
    ],
)
def test_a_prompt_that_cannot_be_used_is_one_clear_line(folder, text, words):
    (folder / "prompts/director.md").write_bytes(text)
    said = refusal(folder)
    assert words in said and "agents.director.system = 'prompts/director.md'" in said and "\n" not in said


def test_all_problems_are_told_at_once_each_at_its_line(folder):
    content = changed(*DIRECTOR, "system", to="none.md", content=changed("blocks", "user_style", "limit", to=1))
    lines = refusal(folder, content).splitlines()
    assert len(lines) == 2
    written = (folder / "crew.yml").read_text().splitlines()
    for line, word in zip(lines, ("limit: 1", "system: none.md"), strict=True):
        assert written[int(line.split(":")[1]) - 1].strip() == word


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (changed("groups", "gpu", to=None, content=SETTINGS), ["settings.crew.model", "groups.gpu names no host"]),
        (changed("settings", "crew", "embedding", to=None, content=SETTINGS), ["add settings.crew.embedding"]),
        (changed("settings", "crew", "model", to="m", content=SETTINGS), ["not a handle"]),
        (changed("settings", "crew", "file", to="none.yml", content=SETTINGS), ["there is no such file"]),
    ],
)
def test_a_crew_that_does_not_fit_the_settings_is_refused(folder, settings, words):
    said = refusal(folder, settings=settings)
    assert "inventory.yml:" in said
    for one in words:
        assert one in said


def test_a_broken_file_stops_every_verb_once_a_crew_is_set_up(folder):
    broken = changed("blocks", to={})
    without = changed("settings", "crew", "model", to=None, content=SETTINGS)
    assert loaded(folder, broken, settings=without).settings.crew.model == ""
    refusal(folder, broken)
    environment = {"LETTABOX_INVENTORY": str(folder / "inventory.yml"), "PATH": ""}
    for module in (["inventory.remote", "--group", "letta", "--", "true"], ["inventory.crew"]):
        done = subprocess.run([sys.executable, "-m", *module], env=environment, capture_output=True, text=True)
        assert done.returncode == 4 and "crew.yml:1: blocks" in done.stderr and not done.stdout, done


def test_the_document_is_printed_and_without_a_crew_it_is_said(folder):
    inventory = loaded(folder)
    environment = {"LETTABOX_INVENTORY": str(folder / "inventory.yml"), "PATH": ""}
    command = [sys.executable, "-m", "inventory.crew"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout == crew.text(crew.document(inventory)), done.stderr
    loaded(folder, settings=changed("settings", "crew", to=None, content=SETTINGS))
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 4 and "settings.crew.model" in done.stderr and not done.stdout
