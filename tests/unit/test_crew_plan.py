"""What differs from a declared crew, and what does not."""

import copy

import pytest
from lettabox import crew_plan, crew_record
from lettabox.crew_plan import digest

SOURCES = {"queue_videos": "digest"}


def member(**more):
    one = {
        "description": "d",
        "system": "s",
        "model": "openai-proxy/x",
        "embedding": "lab/y",
        "context_window": 180_000,
        "blocks": ["session_state", "user_style"],
        "tools": ["queue_videos", "archival_memory_search"],
        "autoclear": False,
    }
    return one | more


WANTED = {
    "blocks": {
        "session_state": {"description": "where", "limit": 8000, "read_only": False},
        "user_style": {"description": "style", "limit": 8000, "read_only": True},
    },
    "agents": {
        "director": member(sleeptime=member(tools=["memory_finish_edits"], autoclear=True, frequency=5)),
        "writer": member(),
    },
}


def seen(id_, want, **more):
    one = {
        "id": id_,
        "system": digest(want["system"]),
        "description": digest(want["description"]),
        "model": want["model"],
        "embedding": want["embedding"],
        "window": 180_000,
        "model_window": 0,
        "autoclear": want["autoclear"],
        "tagged": True,
        "tools": list(want["tools"]),
        "blocks": {"session_state": "block-1", "user_style": "block-2"},
        "ends": True,
        "sleeptime": False,
        "group": None,
    }
    return one | more


@pytest.fixture
def now():
    """A crew that is as wanted."""
    group = {"id": "group-1", "type": "sleeptime", "members": ["agent-2"], "frequency": 5}
    agents = {
        "director": seen("agent-1", WANTED["agents"]["director"], sleeptime=True, group=group),
        "director-sleeptime": seen("agent-2", WANTED["agents"]["director"]["sleeptime"]),
        "writer": seen("agent-3", WANTED["agents"]["writer"]),
    }
    blocks = {
        label: {
            "id": id_,
            "description": digest(want["description"]),
            "limit": want["limit"],
            "read_only": want["read_only"],
            "length": 100,
            "tagged": True,
        }
        for id_, (label, want) in zip(("block-1", "block-2"), WANTED["blocks"].items(), strict=True)
    }
    record = {
        "agents": {role: one["id"] for role, one in agents.items()},
        "blocks": {label: one["id"] for label, one in blocks.items()},
    }
    return {
        "cut_off": False,
        "agents": agents,
        "blocks": blocks,
        "tools": {"queue_videos": {"ours": True, "source": "digest"}},
        "twice": {},
        "others": {},
        "record": record,
        "variable": crew_record.variable(crew_record.Record(**record)),
    }


def said(now, wanted=WANTED):
    return [str(one) for one in crew_plan.differences(wanted, now, SOURCES)]


def test_nothing_differs_and_nothing_is_to_be_told(now):
    assert said(now) == [] and crew_plan.notes(WANTED, now, SOURCES) == []


def test_without_anything_all_is_to_be_created(now):
    now |= {"agents": {}, "blocks": {}, "tools": {}, "record": {"agents": {}, "blocks": {}}, "variable": None}
    kinds = [one.kind for one in crew_plan.differences(WANTED, now, SOURCES)]
    assert kinds == [
        crew_plan.TOOL,
        *[crew_plan.CREATE_BLOCK] * 2,
        *[crew_plan.CREATE_AGENT] * 3,
        crew_plan.GROUP,
        crew_plan.SWITCH,
        crew_plan.RECORD,
        crew_plan.VARIABLE,
    ]


def change(*path, to):
    """A function that sets one thing of what was seen."""

    def apply(now):
        for part in path[:-1]:
            now = now[part]
        now[path[-1]] = to

    return apply


OURS = ("agents", "writer")
GROUP = ("agents", "director", "group")


@pytest.mark.parametrize(
    ("what", "line"),
    [
        (change(*OURS, "system", to=digest("other")), "writer: set system"),
        (change(*OURS, "description", to=digest(None)), "writer: set description"),
        (change(*OURS, "model", to="openai-proxy/z"), "writer: set model (openai-proxy/z -> openai-proxy/x)"),
        (change(*OURS, "model", to=None), "writer: set model (None -> openai-proxy/x)"),
        (change(*OURS, "embedding", to="lab/z"), "writer: set embedding (lab/z -> lab/y)"),
        (change(*OURS, "window", to=32_000), "writer: set context window (32000 -> 180000)"),
        (change(*OURS, "window", to=200_000), "writer: set context window (200000 -> 180000)"),
        (change(*OURS, "autoclear", to=True), "writer: set autoclear (True -> False)"),
        (change(*OURS, "tagged", to=False), "writer: set tags (its tag was removed)"),
        (change(*OURS, "tools", to=["queue_videos"]), "writer: attach the tool archival_memory_search"),
        (change(*OURS, "blocks", to={"session_state": "block-1"}), "writer: attach the block user_style"),
        (
            change("agents", "director-sleeptime", "ends", to=False),
            "director-sleeptime: set tool rules (memory_finish_edits does not end its turn)",
        ),
        (change("agents", "director", "sleeptime", to=False), "director: switch sleeptime on"),
        (
            change(*GROUP, to=None),
            "director: group it with its sleeptime agent (director-sleeptime does not work for it)",
        ),
        (
            change(*GROUP, "members", to=["agent-9"]),
            "director: group it with its sleeptime agent (director-sleeptime does not work for it)",
        ),
        (
            change(*GROUP, "frequency", to=1),
            "director: set how often its sleeptime agent works (every 1 turns -> every 5)",
        ),
        (change("blocks", "user_style", "limit", to=5), "user_style: set the block's limit (5 -> 8000)"),
        (
            change("blocks", "user_style", "read_only", to=False),
            "user_style: set the block's read_only (False -> True)",
        ),
        (change("blocks", "user_style", "description", to="other"), "user_style: set the block's description"),
        (change("blocks", "user_style", "tagged", to=False), "user_style: set the block's tags (its tag was removed)"),
        (change("tools", "queue_videos", "source", to="x"), "queue_videos: install the tool (its source is another)"),
        (change("tools", to={}), "queue_videos: install the tool (it is not in Letta)"),
        (change("record", "agents", to={}), "crew: record which agents and blocks there are"),
        (change("variable", to=None), "crew: tell the tools which agents and blocks there are"),
        (change("cut_off", to=True), "crew: complete it (an earlier run was cut off)"),
        (
            change("twice", to={"writer": ["agent-3", "agent-4"]}),
            "writer: tell which one it is (2 agents have its tag: agent-3, agent-4)",
        ),
    ],
)
def test_each_difference_is_one_change(now, what, line):
    what(now)
    assert said(now) == [line]


def test_another_block_of_the_label_makes_way(now):
    now["agents"]["writer"]["blocks"]["user_style"] = "block-7"
    assert said(now) == [
        "writer: detach the block user_style (block-7 is another block of that label; it stays in Letta)",
        "writer: attach the block user_style",
    ]


def test_a_block_that_is_gone_is_made_and_attached_again(now):
    del now["blocks"]["user_style"]
    for one in now["agents"].values():
        del one["blocks"]["user_style"]
    assert [line for line in said(now) if "user_style" in line] == [
        "user_style: create the block",
        *(f"{role}: attach the block user_style" for role in now["agents"]),
    ]


def test_what_people_add_is_no_difference(now):
    for one in now["agents"].values():
        one["tools"].append("make_coffee")
        one["blocks"]["mine"] = "block-9"
    now["agents"]["director"]["group"]["members"].append("agent-9")
    now["blocks"]["user_style"]["length"] = 7000
    assert said(now) == []
    assert crew_plan.notes(WANTED, now, SOURCES) == ["director: its group has further members, left: agent-9"]


@pytest.mark.parametrize(("model_window", "window"), [(128_000, 128_000), (1_000_000, 180_000)])
def test_a_window_is_as_large_as_the_model_allows(now, model_window, window):
    now["agents"]["writer"] |= {"model_window": model_window, "window": window}
    assert said(now) == []
    now["agents"]["writer"]["window"] = 64_000
    assert said(now) == [f"writer: set context window (64000 -> {window})"]


def test_what_is_no_longer_declared_is_left_and_named(now):
    less = copy.deepcopy(WANTED)
    del less["agents"]["writer"], less["agents"]["director"]["sleeptime"], less["blocks"]["user_style"]
    less["agents"]["director"]["blocks"] = ["session_state"]
    assert said(now, less) == []
    assert crew_plan.notes(less, now, SOURCES) == [
        "no longer in crew.yml; left: agents director-sleeptime, writer",
        "no longer in crew.yml; left: blocks user_style",
    ]


def test_a_group_of_another_kind_is_told_and_left(now):
    now["agents"]["director"]["group"] |= {"type": "supervisor", "members": []}
    assert said(now) == []
    (note,) = crew_plan.notes(WANTED, now, SOURCES)
    assert "manages the group group-1 of type supervisor" in note and "delete that group in Letta" in note


def test_a_tool_of_somebody_else_is_told_and_left(now):
    now["tools"]["queue_videos"] = {"ours": False, "source": "x"}
    assert said(now) == []
    (note,) = crew_plan.notes(WANTED, now, SOURCES)
    assert note.startswith("ANOTHER TOOL has the name queue_videos")


def test_a_block_with_more_text_than_it_may_have_is_told(now):
    now["blocks"]["user_style"]["length"] = 8001
    assert said(now) == []
    assert "holds 8001 characters and may have 8000" in crew_plan.notes(WANTED, now, SOURCES)[0]


def test_the_variable_is_the_one_of_the_record():
    agents, blocks = {"writer": "agent-2", "director": "agent-1"}, {"b": "block-1"}
    assert crew_plan.variable(agents, blocks) == crew_record.variable(crew_record.Record(agents, blocks))
