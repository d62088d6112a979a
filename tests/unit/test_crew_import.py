"""What an import decides before and while it creates: models, tools, tags, and what is finished or removed."""

import json

import pytest
from lettabox import crew_af, crew_import, crew_unfinished, letta_tools
from lettabox.api import Refused
from lettabox.crew_record import Record
from lettabox.errors import LettaboxError

from tests.unit import exported_crew

MARK = crew_unfinished.MARK


class Letta:
    """Answers what it is told to, and remembers what it was asked to change."""

    def __init__(self, **lists):
        self.lists, self.changes, self.sent = lists, [], []

    def get(self, path, timeout=10, **query):
        return self.lists.get(path, [])

    def all(self, path, **query):
        return self.lists.get(path, [])

    def call(self, method, path, body=None, timeout=60, **query):
        if method == "GET":
            return [row for row in self.lists.get(path, []) if row["name"] in query["names"]]
        self.changes.append((method, path, body))
        if path.endswith("/gone"):
            raise Refused(path, 404, "")
        return None

    def patch(self, path, body, timeout=60):
        self.call("PATCH", path, body)

    def upload(self, path, name, content, fields, timeout=600):
        self.sent.append((json.loads(content), fields))
        return {"agent_ids": []}


@pytest.fixture
def crew(tmp_path):
    return crew_af.read(exported_crew.write(tmp_path / "crew"))


def models(*names):
    return [{"handle": name} for name in names]


def test_models_of_the_folder_are_kept_where_the_server_has_them(crew, capsys):
    there = {"/v1/models/": models("openai-proxy/gpt-4o", "x/y"), "/v1/models/embedding": models("lab/embedding")}
    document = {"agents": {"director": {"model": "x/y", "embedding": "x/e"}}}
    found = crew_import._models(Letta(**there), crew, document)
    assert set(found.values()) == {("openai-proxy/gpt-4o", "lab/embedding")} and capsys.readouterr().out == ""


def test_else_they_are_those_that_are_declared_and_it_is_said(crew, capsys):
    there = {"/v1/models/": models("x/y", "x/small"), "/v1/models/embedding": models("x/e")}
    asleep = {"model": "x/small", "embedding": "x/e"}
    document = {"agents": {"director": {"model": "x/y", "embedding": "x/e", "sleeptime": asleep}}}
    found = crew_import._models(Letta(**there), crew, document)
    assert found == {"director": ("x/y", "x/e"), "director-sleeptime": ("x/small", "x/e")}
    assert "director-sleeptime: model x/small, as this server has no openai-proxy/gpt-4o" in capsys.readouterr().out
    document = {"agents": {"another": {"model": "x/y", "embedding": "x/e"}}}
    assert crew_import._models(Letta(**there), crew, document)["director"] == ("x/y", "x/e")


@pytest.mark.parametrize("document", [None, {"agents": {"director": {"model": "gone/too", "embedding": "x/e"}}}])
def test_with_neither_it_is_refused(crew, document):
    there = {"/v1/models/": models("x/y"), "/v1/models/embedding": models("x/e")}
    with pytest.raises(LettaboxError, match=r"director has model openai-proxy/gpt-4o, .*settings\.crew\.model.*x/y"):
        crew_import._models(Letta(**there), crew, document)


def tools_of(crew, rows, capsys):
    letta = Letta(**{"/v1/tools/": rows})
    names = crew_import._tools(letta, crew)
    return names, letta.sent, capsys.readouterr().out


def test_a_tool_that_the_server_has_is_never_sent(crew, capsys):
    builtin = {"name": "conversation_search", "source_code": None}
    same = {"name": "shout", "source_code": crew.tools["shout"]["source_code"]}
    names, sent, said = tools_of(crew, [builtin, same], capsys)
    assert (names, sent, said) == ({"conversation_search", "shout"}, [], "")
    names, sent, said = tools_of(crew, [builtin, same | {"source_code": "def shout(): pass"}], capsys)
    assert (names, sent) == (
        {"conversation_search", "shout"},
        [],
    ) and "tool shout: left out; this server has anoth" in said


def test_a_tool_that_it_has_not_is_created_under_the_mark_and_replaces_none(crew, capsys):
    crew.tools["shout"]["tags"] = ["lettabox-crew", "lettabox-crew:x", "theirs"]
    names, ((document, fields),), said = tools_of(crew, [], capsys)
    assert names == {"shout"} and fields["override_existing_tools"] == "false"
    (tool,) = document["tools"]
    assert (tool["name"], tool["tags"]) == ("shout", [MARK, "theirs"])
    assert "tool shout: created from the folder" in said
    assert "tool conversation_search: left out; this server has none, and in the folder is no source" in said


def test_the_tools_of_lettabox_come_from_lettabox_alone(crew, capsys, monkeypatch):
    evil = {"name": "submit_video", "tool_type": "custom", "source_code": "evil", "json_schema": {}}
    crew.tools |= {"submit_video": evil, "queue_videos": evil | {"name": "queue_videos"}}
    crew.agents["director"].beside["tools"] = ["submit_video", "queue_videos"]
    crew.agents["director-sleeptime"].beside["tools"] = []
    installed = []
    monkeypatch.setattr(letta_tools, "install", lambda api, tag, sources, again: installed.append((tag, sources)))
    names, sent, said = tools_of(crew, [{"name": "queue_videos", "source_code": "ours"}], capsys)
    assert (names, sent) == ({"queue_videos"}, []) and "tool submit_video: not here yet; `make studio-tools`" in said
    ((tag, sources),) = installed
    assert tag == "lettabox-crew" and list(sources) == ["queue_videos"] and "evil" not in sources["queue_videos"]


def test_what_is_not_finished_has_no_tag_of_a_crew():
    assert crew_import._marked(["lettabox-crew", "lettabox-crew:writer", MARK, "mine"]) == [MARK, "mine"]


def row(id_, *tags, **more):
    return {"id": id_, "tags": [MARK, *tags], **more}


def test_what_the_record_names_is_finished_and_the_rest_removed():
    letta = Letta(**{"/v1/agents/a1/core-memory/blocks": [{"id": "own"}, {"id": "b1"}]})
    found = crew_unfinished.Found([row("a1", "mine"), row("a2")], [row("b1"), row("own"), row("b2")], [row("t1")])
    record = Record({"writer": "a1"}, {"user_style": "b1"})
    assert crew_unfinished.finished(found, record)
    crew_unfinished.finish(letta, found, record)
    crew = "lettabox-crew"
    assert letta.changes == [
        ("PATCH", "/v1/blocks/b1", {"tags": [crew, f"{crew}:user_style"]}),
        ("PATCH", "/v1/blocks/own", {"tags": []}),
        ("PATCH", "/v1/tools/t1", {"tags": []}),
        ("PATCH", "/v1/agents/a1", {"tags": [crew, f"{crew}:writer", "mine"]}),
        ("DELETE", "/v1/agents/a2", None),
        ("DELETE", "/v1/blocks/b2", None),
    ]


def test_what_no_record_names_is_removed_with_its_memories_and_nobody_elses():
    lists = {
        "/v1/archives/": [{"id": "theirs"}, {"id": "ours"}],
        "/v1/archives/theirs/agents": [{"id": "gone"}, {"id": "somebody"}],
        "/v1/archives/ours/agents": [{"id": "gone"}],
    }
    letta = Letta(**lists)
    found = crew_unfinished.Found([row("gone")], [row("b1")], [row("t1")])
    assert not crew_unfinished.finished(found, Record({"writer": "another"}, {}))
    crew_unfinished.remove(letta, found)
    deleted = ["/v1/archives/ours", "/v1/agents/gone", "/v1/blocks/b1", "/v1/tools/t1"]
    assert letta.changes == [("DELETE", path, None) for path in deleted]
