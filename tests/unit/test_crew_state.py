"""How the crew is found in Letta, by the record and by tags, and what the box says of it."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from lettabox import crew_apply, crew_memory, crew_plan, crew_record, crew_state, crew_status, crew_tool_source, paths
from lettabox.crew_record import TAG, Record
from lettabox.errors import UNHEALTHY, USAGE, LettaboxError

CONFIG = {"handle": "openai-proxy/x", "context_window": 180_000, "provider_name": "lab"}


def agent(number, *tags, **more):
    one = {
        "id": f"agent-{number}",
        "name": "director",
        "system": "s",
        "description": None,
        "llm_config": CONFIG,
        "embedding_config": None,
        "message_buffer_autoclear": False,
        "tags": list(tags),
        "tools": [{"name": "b"}, {"name": "a"}],
        "memory": {"blocks": [{"label": "user_style", "id": "block-1", "value": "v"}]},
        "tool_rules": None,
        "enable_sleeptime": None,
        "multi_agent_group": None,
    }
    return one | more


def block(number, *tags):
    one = {"id": f"block-{number}", "description": "d", "limit": 8000, "read_only": False, "value": "1234"}
    return one | {"tags": list(tags)}


class Letta:
    """Answers as Letta's API does, from rows."""

    def __init__(self):
        self.agents, self.blocks, self.tools, self.models, self.asked = [], [], [], [], []
        self.variables = []

    def get(self, path, **query):
        self.asked.append(path)
        kind, _, id_ = path.removeprefix("/v1/").partition("/")
        if path == "/v1/sandbox-config/":
            return [{"id": "sandbox-1"}]
        if kind == "sandbox-config":
            return self.variables
        rows = getattr(self, kind)
        if id_:
            return next((row for row in rows if row["id"] == id_), None)
        if "tags" in query:
            rows = [row for row in rows if query["tags"] in row["tags"]]
            start = [row["id"] for row in rows].index(query["after"]) + 1 if "after" in query else 0
            return rows[start : start + query["limit"]]
        return rows


@pytest.fixture
def letta(tmp_path, monkeypatch):
    one = Letta()
    monkeypatch.setattr(paths, "SETTINGS", tmp_path / "settings.json")
    monkeypatch.setattr(paths, "CREW_RECORD", tmp_path / "crew.json")
    monkeypatch.setattr(paths, "CREW_STARTED", tmp_path / "crew-started")
    monkeypatch.setattr(paths, "CREW_WANTED", tmp_path / "wanted.json")
    settings = {"letta": {"context_window_limit": 180_000, "bind": "127.0.0.1", "port": 1}}
    paths.SETTINGS.write_text(json.dumps(settings))
    monkeypatch.setattr(crew_state.Reader, "__init__", lambda self: None)
    monkeypatch.setattr(crew_state.Reader, "get", lambda self, path, **query: one.get(path, **query))
    return one


def ids(found, kind="agents"):
    return {name: row["id"] for name, row in found[kind].items()}


def test_what_is_said_of_an_agent_and_a_block(letta):
    group = {
        "id": "group-1",
        "manager_type": "sleeptime",
        "agent_ids": ["agent-2"],
        "sleeptime_agent_frequency": 5,
        "description": "",
    }
    rules = [{"tool_name": "memory_finish_edits", "type": "exit_loop"}]
    more = {"multi_agent_group": group, "enable_sleeptime": True, "tool_rules": rules}
    letta.agents = [agent(1, TAG, f"{TAG}:director", "mine", **more, embedding_config={"handle": "lab/y"})]
    letta.blocks = [block(1, TAG, f"{TAG}:user_style")]
    letta.variables = [{"key": "OTHER", "value": "x"}, {"key": "LETTABOX_CREW", "value": "{}"}]
    found = crew_state.look()
    assert found["agents"]["director"] == {
        "id": "agent-1",
        "system": crew_plan.digest("s"),
        "description": crew_plan.digest(""),
        "model": "openai-proxy/x",
        "embedding": "lab/y",
        "window": 180_000,
        "model_window": 0,
        "autoclear": False,
        "tagged": True,
        "tools": ["a", "b"],
        "blocks": {"user_style": "block-1"},
        "ends": True,
        "sleeptime": True,
        "group": {"id": "group-1", "type": "sleeptime", "members": ["agent-2"], "frequency": 5},
    }
    assert found["blocks"]["user_style"] == {
        "id": "block-1",
        "description": crew_plan.digest("d"),
        "limit": 8000,
        "read_only": False,
        "length": 4,
        "tagged": True,
    }
    assert (found["variable"], found["cut_off"], found["twice"], found["others"]) == ("{}", False, {}, {})
    assert not any(path.startswith("/v1/models") for path in letta.asked)
    assert json.loads(json.dumps(found)) == found


def test_the_record_comes_first_then_the_tag_and_never_the_name(letta):
    tagged = [agent(i, TAG, f"{TAG}:role-{i}") for i in range(250)]
    letta.agents = [agent(900), *tagged, agent(901, TAG), agent(902, "other")]
    # One whose tags were removed, one that is gone and another has its tag, one that is gone for good.
    crew_record.write(Record({"director": "agent-900", "role-7": "agent-999", "writer": "agent-998"}))
    found = ids(crew_state.look())
    assert found == {"director": "agent-900"} | {f"role-{i}": f"agent-{i}" for i in range(250)}
    assert crew_state.look()["agents"]["director"]["tagged"] is False


def test_a_second_one_with_the_tag_is_told_and_without_a_record_it_is_not_clear(letta):
    letta.agents = [agent(i, TAG, f"{TAG}:director") for i in (1, 2)]
    letta.blocks = [block(i, TAG, f"{TAG}:user_style") for i in (1, 2)]
    found = crew_state.look()
    assert found["twice"] == {"director": ["agent-1", "agent-2"], "block user_style": ["block-1", "block-2"]}
    assert ids(found) == {} and ids(found, "blocks") == {}
    crew_record.write(Record({"director": "agent-2"}, {"user_style": "block-2"}))
    found = crew_state.look()
    assert found["twice"] == {} and ids(found) == {"director": "agent-2"}
    assert ids(found, "blocks") == {"user_style": "block-2"}
    assert found["others"] == {"director": "agent-1 has its tag too, and is left alone"}


def test_models_are_asked_only_for_smaller_windows(letta):
    letta.agents = [agent(1, TAG, f"{TAG}:director", llm_config=CONFIG | {"context_window": 64_000})]
    letta.models = [
        {"handle": "openai-proxy/x", "max_context_window": 128_000},
        {"handle": "openai-proxy/unknown", "max_context_window": 30_000},
    ]
    assert crew_state.look()["agents"]["director"]["model_window"] == 128_000
    letta.agents[0]["llm_config"] = CONFIG | {"context_window": 64_000, "handle": "openai-proxy/unknown"}
    assert crew_state.look()["agents"]["director"]["model_window"] == 0


def test_tools_are_ours_by_their_tag(letta):
    name = crew_tool_source.NAMES[0]
    letta.tools = [{"name": name, "tags": None, "source_code": None}]
    assert crew_state.look()["tools"] == {name: {"ours": False, "source": crew_tool_source.digest("")}}
    letta.tools = [{"name": name, "tags": [TAG], "source_code": crew_tool_source.source(name)}]
    assert crew_state.look()["tools"] == {name: {"ours": True, "source": crew_tool_source.digests()[name]}}


def test_without_letta_or_with_a_damaged_record_nothing_is_said(letta, monkeypatch):
    assert crew_state.state() is not None
    paths.CREW_RECORD.write_text("{")
    assert crew_state.state() is None
    with pytest.raises(LettaboxError, match="remove that file"):
        crew_apply.look()
    paths.CREW_RECORD.unlink()

    def refused(self, path, **query):
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(crew_state.Reader, "get", refused)
    assert crew_state.state() is None
    with pytest.raises(LettaboxError, match=r"Connection refused.*make letta-status") as caught:
        crew_apply.look()
    assert caught.value.code == UNHEALTHY


# --- what the verb does with it --------------------------------------------------------------------------------------


def member(role):
    one = {"description": "d", "system": "s", "model": "openai-proxy/x", "embedding": "lab/y", "blocks": []}
    return one | {"context_window": 180_000, "tools": [], "autoclear": role.endswith("-sleeptime")}


DOCUMENT = {"blocks": {}, "agents": {"director": member("director")}}


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"agents": {"director": {}}, "blocks": {}}', '{"agents": {}}'])
def test_what_is_no_crew_is_wrong_use(text):
    with pytest.raises(LettaboxError, match="standard input holds no crew; send one with: make crew") as caught:
        crew_apply.parsed(text)
    assert caught.value.code == USAGE


def test_the_stored_crew(letta):
    with pytest.raises(LettaboxError, match="no crew was set up") as caught:
        crew_apply.stored()
    assert caught.value.code == USAGE
    paths.CREW_WANTED.write_text(json.dumps(DOCUMENT))
    assert crew_apply.stored() == DOCUMENT


class Api:
    """Creates agents, and answers as it is told: `outcome` comes instead of the agent's row."""

    def __init__(self, letta, outcome=None, makes=True):
        self.letta, self.outcome, self.makes, self.posts = letta, outcome, makes, 0

    def call(self, method, path, body=None, timeout=60, **query):
        if method == "GET":
            both = query["tags"]
            return [row for row in self.letta.agents if set(both) <= set(row["tags"])]
        self.posts += 1
        if self.makes:
            self.letta.agents.append(agent(len(self.letta.agents) + 1, *body["tags"]))
        if self.outcome:
            raise self.outcome
        return self.letta.agents[-1]


@pytest.fixture
def run(letta, monkeypatch):
    """A convergence that has begun; `late`: seconds that it waits for what was asked for before."""

    def begin(late=0, **told):
        monkeypatch.setattr(crew_apply, "Api", lambda: Api(letta, **told))
        monkeypatch.setattr(crew_apply, "LATE", late)
        one = crew_apply._Run(DOCUMENT)
        one.models = {"openai-proxy/x": {"max_context_window": 30_000}}
        one._begun()
        return one

    return begin


def test_what_letta_made_although_it_said_otherwise_is_taken(letta, run, capsys):
    for outcome in (crew_apply.Refused("POST", 500, "no"), LettaboxError("POST: timed out", UNHEALTHY)):
        letta.agents.clear()
        one = run(outcome=outcome)
        one._create_agent("director")
        assert crew_record.read().agents == {"director": "agent-1"} and one.api.posts == 1
        assert "made it all the same" in capsys.readouterr().out


def test_what_letta_did_not_make_is_an_error(letta, run):
    refused = crew_apply.Refused
    for outcome, makes in ((refused("POST", 500, "no"), False), (refused("POST", 404, "x"), True)):
        one = run(outcome=outcome, makes=makes)
        with pytest.raises(LettaboxError, match="director could not be created: POST: HTTP"):
            one._create_agent("director")
        assert crew_record.read().agents == {} and json.loads(paths.CREW_STARTED.read_text())["creating"] == "director"
        letta.agents.clear()


def test_what_a_killed_run_asked_for_is_waited_for(letta, run, monkeypatch):
    first = run()
    first._begun("director")

    def late(seconds):
        letta.agents.append(agent(5, TAG, f"{TAG}:director"))

    monkeypatch.setattr(crew_apply.time, "sleep", late)
    one = run(late=30)
    one._create_agent("director")
    assert crew_record.read().agents == {"director": "agent-5"} and one.api.posts == 0


# --- the screen ------------------------------------------------------------------------------------------------------


def queue(**fields):
    now = crew_memory.stamp()
    return crew_memory.write("production_queue", crew_memory.fresh("production_queue", now) | fields, "", now)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (queue(), "no batch yet"),
        ("", "no batch yet"),
        (
            queue(
                QUEUE_STATUS="active",
                BATCH_ID="b3",
                BATCH_TOTAL=6,
                BATCH_COMPLETE=2,
                PENDING_VIDEOS=["[b3-5] a wolf", "[b3-6] an owl"],
                IN_PROGRESS="[b3-4] a fox | rounds=1",
                FAILED_RETRIES=["[b2-1] a bear | reason=x", "[b3-1] a cat | reason=y"],
            ),
            "batch b3: 2 of 6 done, 1 in progress, 2 pending, 1 failed (active)",
        ),
    ],
)
def test_how_far_a_batch_is(text, said):
    assert crew_status.progress(text) == said


@pytest.mark.parametrize(
    ("seconds", "said"), [(130, "2 min ago"), (8000, "2 h ago"), (260_000, "3 d ago"), (-60, "0 s ago")]
)
def test_times_are_told_as_people_tell_them(seconds, said):
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    for text in (then.isoformat(), then.strftime("%Y-%m-%dT%H:%M:%SZ")):
        assert crew_status._ago(text) == said
    assert crew_status._ago(None) == crew_status._ago(crew_memory.NEVER) == "-"
