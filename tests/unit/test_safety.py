"""What is refused, and said, about rows, keys and context windows; the lab shows the same on a real server."""

import json

import pytest
from lettabox import agents, api, compatibility, context, database, encryption_key, paths
from lettabox.api import Refused
from lettabox.errors import FAILED, OK, LettaboxError

ROWS = {
    "agents": [
        {"id": "agent-1", "name": "writer", "llm_config": {"model_endpoint_type": "o'router"}},
        {"id": "agent-2", "name": "director", "llm_config": {"model_endpoint_type": "openai"}},
    ],
    "providers": [{"id": "provider-1", "name": "zhipu", "provider_type": "invented"}],
}
UNREADABLE = [
    {"table": "agents", "row": 0, "why": 'model_endpoint_type = "o\'router": is not accepted'},
    {"table": "providers", "row": 0, "why": "provider_type = 'invented': is not accepted"},
]
SERVER = {"Config": {"Image": "letta-patched:old"}}


@pytest.fixture
def box(monkeypatch):
    """A database with ROWS, whose key is known, and an image; what it is asked is recorded."""
    asked = []
    answer = {"unreadable": UNREADABLE, "decrypted": 0}
    monkeypatch.setattr(encryption_key, "check", lambda: True)
    monkeypatch.setattr(compatibility, "typed_rows", lambda: ROWS)
    monkeypatch.setattr(compatibility, "encrypted_values", lambda: ["value"])
    monkeypatch.setattr(compatibility, "_ask", lambda *words: (asked.append(words), answer)[1])
    return asked, answer


def test_an_image_that_cannot_read_a_row_is_refused_with_the_way_out(box):
    with pytest.raises(LettaboxError) as refused:
        compatibility.check("letta-patched:new", SERVER)
    said = str(refused.value)
    for words in (
        "image letta-patched:new cannot read",
        "agents, 1 of them (writer)",
        "lists no agents at all",
        "llm_config->>'model_endpoint_type' = 'o''router'",
        "providers, 1 of them (zhipu)",
        "does not start",
        "UPDATE providers SET provider_type = 'openai' WHERE provider_type = 'invented'",
        "settings.letta.endpoint_types",
    ):
        assert words in said
    assert "director" not in said
    assert refused.value.code == FAILED


def test_an_ordinary_start_asks_no_image(box):
    asked, _ = box
    compatibility.check("letta-patched:old", SERVER)
    assert asked == []


def test_a_missing_container_is_asked_for_too(box):
    with pytest.raises(LettaboxError, match="cannot read"):
        compatibility.check("letta-patched:old", None)


def test_a_key_that_opens_nothing_is_refused_where_none_is_known(box, monkeypatch):
    asked, answer = box
    answer["unreadable"] = []
    compatibility.check("letta-patched:new", SERVER)
    monkeypatch.setattr(encryption_key, "check", lambda: False)
    with pytest.raises(LettaboxError, match="opens none of 1 encrypted values"):
        compatibility.check("letta-patched:old", SERVER)
    assert asked[-1] == ("letta-patched:old", {}, ["value"])
    answer["decrypted"] = 1
    compatibility.check("letta-patched:old", SERVER)


def test_a_database_without_tables_is_not_read(monkeypatch):
    monkeypatch.setattr(database, "run", lambda statement: "[]\n")
    monkeypatch.setattr(compatibility, "_ask", None)
    compatibility.check("letta-patched:new", None)


def test_the_database_holds_the_hash_of_the_key_and_not_the_key(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SECRETS", tmp_path)
    (tmp_path / encryption_key.NAME).write_text("the key")
    held, statements = [], []
    monkeypatch.setattr(encryption_key, "_held", lambda: held[0] if held else None)
    monkeypatch.setattr(database, "run", statements.append)
    assert encryption_key.check() is False
    encryption_key.hold()
    (statement,) = statements
    assert "the key" not in statement and b"the key".hex() not in statement
    salt, hash_ = statement.rpartition("VALUES")[2].strip(" ();").replace("'", "").split(", ")
    held.append({"salt": salt, "hash": hash_, "since": "2026-01-01"})
    assert encryption_key.check() is True
    encryption_key.hold()
    assert len(statements) == 1
    (tmp_path / encryption_key.NAME).write_text("another")
    with pytest.raises(LettaboxError, match=r"since 2026-01-01.*backup"):
        encryption_key.check()


class Api(api.Api):
    """A server of `agents`, with one page of them unreadable if `poison` says which agent."""

    def __init__(self, there, poison=None, active=()):
        self.there, self.poison, self.active, self.patched = there, poison, active, {}

    def get(self, path, timeout=10, **params):
        if path == "/v1/agents/count":
            return len(self.there)
        if path == "/v1/runs/":
            return [{}] if params["agent_id"] in self.active else []
        ids = [one["id"] for one in self.there]
        begin = ids.index(params["after"]) + 1 if "after" in params else 0
        page = self.there[begin : begin + params["limit"]]
        if self.poison in [one["id"] for one in page]:
            raise Refused("GET /v1/agents/", 400, "Unable to extract tag")
        return page

    def patch(self, path, body):
        self.patched[path.rpartition("/")[2]] = body
        return body


def agent(number, window=180_000, handle=None):
    return {
        "id": f"agent-{number}",
        "name": f"name-{number}",
        "llm_config": {"context_window": window, "handle": handle},
    }


def test_all_agents_are_listed_and_a_row_on_any_page_is_found():
    there = [agent(number) for number in range(205)]
    assert agents.check(Api(there)) == there
    assert agents.check(Api(there[:200])) == there[:200]
    with pytest.raises(agents.Hidden, match=r"counts 205 agents and cannot list them .HTTP 400: Unable"):
        agents.check(Api(there, poison="agent-203"))


@pytest.fixture
def windows(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SETTINGS", tmp_path / "settings.json")
    paths.SETTINGS.write_text(json.dumps({"letta": {"context_window_limit": 180_000}}))
    monkeypatch.setattr(context, "_models", lambda: {"ollama/small": 16_000, "ollama/middle": 40_000})
    there = [
        agent(0),
        agent(1, 32_000),
        agent(2, 30_000, "openai-proxy/router"),
        agent(3, 16_000, "ollama/small"),
        agent(4, 32_000, "ollama/middle"),
        agent(5, 64_000),  # somebody's choice
        agent(6, 200_000),
        agent(7, 32_000, "ollama/small"),
    ]
    api = Api(there, active=["agent-2"])
    monkeypatch.setattr(context, "Api", lambda: api)
    return api


def test_windows_of_old_defaults_and_too_large_ones_are_found(windows):
    found = {one.agent["id"]: one.wanted for one in context.findings(windows.there)}
    assert found == {
        "agent-1": 180_000,
        "agent-2": 180_000,
        "agent-4": 40_000,
        "agent-6": 180_000,
        "agent-7": 16_000,
    }
    note = context.note(context.findings(windows.there))
    assert note.startswith("compacted at 32,000 tokens or earlier, 3 of the agents: name-1, name-2, name-4 (")
    assert context.note([]) == ""


def test_windows_are_raised_only_when_asked_and_never_during_a_run(windows, capsys):
    assert context.context(False, False, ()) == FAILED
    assert windows.patched == {}
    assert context.context(True, False, ()) == FAILED
    sizes = {one: body["llm_config"]["context_window"] for one, body in windows.patched.items()}
    assert sizes == {"agent-1": 180_000, "agent-4": 40_000}
    said = capsys.readouterr().out
    assert "name-2 (agent-2): 30,000 tokens, 180,000 wanted; left: it is at work" in said
    assert "name-6 (agent-6): 200,000 tokens, 180,000 wanted; left: it would be lowered" in said


def test_one_agent_may_be_named_and_lowering_must_be_asked_for(windows):
    assert context.context(True, True, ("name-6",)) == OK
    assert list(windows.patched) == ["agent-6"]
    with pytest.raises(LettaboxError, match="nobody"):
        context.context(True, False, ("nobody",))
    with pytest.raises(LettaboxError, match="--fix"):
        context.context(False, True, ())
