"""The crew's tools against the studio's real service and a stand-in of Letta's API, over real HTTP."""

import ast
import builtins
import inspect
import json
import socket
import threading
import time
import typing
from dataclasses import replace

import pytest
from lettabox import crew_memory as memory
from lettabox import crew_tool_source
from lettabox.studio.job import COMPLETED, FAILED, RUNNING

from tests import clips
from tests.unit.letta_stand_in import KEY, LettaStandIn
from tests.unit.studio_service import TOKEN, MemoryJobs, Service, folder

NOW = "2026-01-15T16:31:18Z"
ROLES = ("director", "director-sleeptime", "writer", "cameraman")
AGENTS = {role: f"agent-00000000-0000-4000-8000-00000000000{number}" for number, role in enumerate(ROLES)}
FOX = "one/video/fox.mp4"


def scope(name):
    """What the source that Letta gets makes, as in its sandbox."""
    names = {one: getattr(typing, one) for one in typing.__all__}
    exec(compile(crew_tool_source.source(name), name, "exec"), names)
    return names


FUNCTIONS = {name: scope(name)[name] for name in crew_tool_source.NAMES}


def call(tool, *arguments, **named):
    """What a tool returns: compact JSON, or a sentence."""
    said = FUNCTIONS[tool](*arguments, **named)
    assert isinstance(said, str) and len(said) < 20_000
    if not said.startswith("{"):
        assert said.endswith((".", ").")) and "Traceback" not in said and TOKEN not in said and KEY not in said, said
        return said
    found = json.loads(said)
    assert said == json.dumps(found, ensure_ascii=False, separators=(",", ":")), "compact"
    return found


class Crew:
    """The blocks as they are, and a way to set them."""

    def __init__(self, letta):
        self.letta = letta
        texts = {label: memory.write(label, memory.fresh(label, NOW), "", NOW) for label in memory.LABELS}
        self.ids = {label: letta.add_block(label, text) for label, text in texts.items()}

    def text(self, label="production_queue"):
        return self.letta.blocks[self.ids[label]]["value"]

    def fields(self, label="production_queue"):
        fields, _, problems = memory.read(label, self.text(label))
        assert problems == [], "what a tool writes is canonical"
        return fields

    def set(self, label, text):
        self.letta.blocks[self.ids[label]]["value"] = text

    def archived(self, role="director"):
        return self.letta.passages.get(AGENTS[role], [])


@pytest.fixture
def letta():
    with LettaStandIn() as running:
        yield running
        running.shutdown()


@pytest.fixture
def crew(letta, monkeypatch):
    one = Crew(letta)
    monkeypatch.setenv("LETTA_BASE_URL", letta.url)
    monkeypatch.setenv("LETTA_API_KEY", KEY)
    monkeypatch.setenv("LETTA_AGENT_ID", AGENTS["director"])
    monkeypatch.setenv("LETTABOX_CREW", json.dumps({"agents": AGENTS, "blocks": one.ids}))
    return one


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return clips.make(tmp_path_factory.mktemp("clips") / "fox.mp4", width=320, height=192, frames=9)


@pytest.fixture
def studio(tmp_path, clip, monkeypatch):
    boxes = folder(tmp_path / "output")
    (tmp_path / "output" / "video").mkdir()
    (tmp_path / "output" / "video" / "fox.mp4").hardlink_to(clip)
    with Service(boxes, MemoryJobs()) as running:
        monkeypatch.setenv("LETTABOX_STUDIO_URL", running.url)
        monkeypatch.setenv("LETTABOX_STUDIO_TOKEN", TOKEN)
        yield running


@pytest.fixture
def hurried(monkeypatch):
    """Pauses that take no time."""
    monkeypatch.setattr(time, "sleep", lambda _: None)


def rendered(studio, **told):
    """The id of a job that made a video of its own."""
    output = studio.config.boxes["one"].folder
    video = f"video/take-{len(studio.jobs.made)}.mp4"
    (output / video).hardlink_to(output / "video" / "fox.mp4")
    return studio.jobs.completed(f"one/{video}", **told).id


@pytest.mark.parametrize("name", crew_tool_source.NAMES)
def test_letta_can_make_a_schema_of_it(name):
    """The tool is the last function as ast.walk finds them; no name of the source hides an argument, which is set
    before it; what a model gives is text."""
    tree = ast.parse(crew_tool_source.source(name))
    functions = [one for one in ast.walk(tree) if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert functions[-1].name == name and functions == [one for one in tree.body if isinstance(one, ast.FunctionDef)]
    assert len({one.name for one in functions}) == len(functions)
    tool = FUNCTIONS[name]
    made = set(tool.__globals__) - set(typing.__all__) - set(dir(builtins)) | {"client", "agent_state", "os", "sys"}
    parameters = inspect.signature(tool).parameters
    assert not made & set(parameters)
    assert not {"agent_id", "agent_state"} & set(parameters), "Letta gives these itself"
    for parameter in parameters.values():
        assert parameter.annotation in (str, typing.Optional[str])  # noqa: UP045 - as the source has it
        assert f"        {parameter.name} (" in tool.__doc__, "a model is told what it is"
    assert "Returns:" in tool.__doc__


# --- the queue ----------------------------------------------------------------------------------------------


def test_ideas_become_a_batch_and_later_ones_join_it(crew):
    said = call("queue_videos", "1. a fox\n2. an owl, at night", "mythical creatures")
    assert said["added"] == ["[b1-1] a fox", "[b1-2] an owl, at night"]
    assert (said["batch"], said["total"], said["pending"]) == ("b1 (mythical creatures)", 2, 2)
    more = call("queue_videos", '["a bear", "A FOX"]', None)
    assert more["added"] == ["[b1-3] a bear"] and more["already_there"] == ["[b1-1] A FOX"] and more["total"] == 3
    fields = crew.fields()
    assert fields["PENDING_VIDEOS"] == ["[b1-1] a fox", "[b1-2] an owl, at night", "[b1-3] a bear"]
    assert (fields["QUEUE_STATUS"], fields["BATCH_TOTAL"], fields["BATCH_COMPLETE"]) == ("active", 3, 0)
    assert fields["UPDATED_AT"] > NOW


def test_the_same_ideas_again_change_nothing(crew):
    call("queue_videos", "a fox\nan owl")
    before = crew.text()
    said = call("queue_videos", "a fox\nan owl", "another name")
    assert "nothing was added" in said["note"] and crew.text() == before
    call("next_video")
    assert "nothing was added" in call("queue_videos", "a fox\nan owl")["note"], "the one in progress is one of them"


@pytest.mark.parametrize("ideas", ["", "none", "null", None, "\n", "[]"])
def test_no_ideas_are_told(crew, ideas):
    assert call("queue_videos", ideas).startswith("Nothing was queued. Give one idea a line")
    assert crew.fields()["PENDING_VIDEOS"] == []


def test_too_many_ideas_are_told(crew):
    assert "at most 50" in call("queue_videos", "\n".join(f"idea {n}" for n in range(51)))
    assert "at most 500 characters" in call("queue_videos", "x" * 501 + "\nb")


def test_a_block_does_not_outgrow_its_limit(crew):
    said = call("queue_videos", "\n".join(f"{n} " + "x" * 300 for n in range(40)))
    assert "its limit is 8000" in said and crew.fields()["PENDING_VIDEOS"] == []


def test_one_video_at_a_time_is_taken_with_what_it_has_to_heed(crew):
    call("update_memory", "user_style", "mood_preferences", "dark")
    call("update_memory", "current_series", "ACTIVE_SERIES", "Guardians")
    call("update_memory", "quality_standards", "failure_patterns_to_avoid", "blurred faces", "add")
    call("queue_videos", "a fox\nan owl")
    said = call("next_video")
    assert (said["video_id"], said["idea"], said["rounds"]) == ("b1-1", "a fox", "0")
    assert said["style"] == {"mood_preferences": "dark"} and said["series"] == {"active_series": "Guardians"}
    assert said["quality"]["failure_patterns_to_avoid"] == ["blurred faces"] and said["quality"]["max_retries"] == 3
    before = crew.text()
    again = call("next_video")
    assert again["video_id"] == "b1-1" and "in progress already" in again["note"] and crew.text() == before
    assert crew.fields()["PENDING_VIDEOS"] == ["[b1-2] an owl"]


def test_no_next_video_is_told(crew):
    assert call("next_video")["queue"] == "complete"
    call("queue_videos", "a fox")
    assert call("change_queue", "Pause.")["queue"] == "paused"
    assert call("next_video")["queue"] == "paused" and crew.fields()["IN_PROGRESS"] == "none"
    assert call("change_queue", "continue")["queue"] == "active"
    assert call("next_video")["video_id"] == "b1-1"


def test_what_a_model_wrote_into_the_queue_is_worked_on(crew):
    crew.set("production_queue", "**Queue status**: running\nPENDING VIDEOS:\n1. a fox | and a hare\n2. an owl\nHi!")
    said = call("next_video")
    assert (said["video_id"], said["idea"]) == ("m1", "a fox / and a hare")
    assert crew.text().endswith("\nNOTES:\nHi!"), "nothing of it is lost"
    assert "skipped" in call("skip_video", "m1", "no hares")
    assert call("next_video")["video_id"] == "m2"


def test_a_render_is_noted_with_the_video_in_progress(crew, studio):
    call("queue_videos", "a fox\nan owl")
    job = rendered(studio)
    assert "still waits in the queue. None is in progress" in call("note_render", "b1-1", job, "p")
    call("next_video")
    assert call("note_render", "[b1-1] a fox", f"`{job.upper()}`", "A fox,\nrunning | fast")["job_id"] == job
    kept = memory.item(crew.fields()["IN_PROGRESS"])
    assert (kept["job"], kept["prompt"]) == (job, "A fox, running / fast")
    before = crew.text()
    assert "before" in call("note_render", "b1-1", job, "something else")["note"] and crew.text() == before
    other = rendered(studio)
    assert call("note_render", "b1-1", other, None)["instead_of"] == job
    assert "In progress is b1-1" in call("note_render", "b1-2", job, "p")
    assert "no id of a job" in call("note_render", "b1-1", "the job", "p")
    assert "there is no video 'b7-1'" in call("note_render", "b7-1", job, "p")


@pytest.fixture
def under_way(crew, studio):
    """A batch of two; the first one is rendered and noted. Gives a function that renders the next take."""
    call("queue_videos", "a fox\nan owl")

    def render(prompt="A fox in the snow"):
        video = call("next_video")["video_id"]
        job = rendered(studio, prompt=prompt)
        assert call("note_render", video, job, prompt)["job_id"] == job
        return job

    return render


def test_a_good_video_is_accepted_and_archived_once(crew, under_way):
    job = under_way()
    said = call("grade_video", "b1-1", "Grade: A", "sharp, calm | light")
    assert (said["verdict"], said["rounds"], said["complete"], said["total"]) == ("accepted", "1", 1, 2)
    assert said["next"] == "next_video" and "not_archived" not in said
    (done,) = map(memory.item, crew.fields()["COMPLETED_TODAY"])
    assert (done["id"], done["grade"], done["rounds"], done["job"]) == ("b1-1", "A", "1", job)
    assert done["video"] == "one/video/take-0.mp4"
    assert crew.fields()["IN_PROGRESS"] == "none" and crew.fields()["BATCH_COMPLETE"] == 1
    assert crew.fields("quality_standards")["SUCCESSFUL_PATTERNS"] == ["a fox: sharp, calm | light"]
    for role in ("director", "writer"):
        (entry,) = crew.archived(role)
        assert entry["tags"] == ["graded-video", "grade-a", "accepted", "b1"]
        assert f"Video b1-1, job {job}" in entry["text"] and "Prompt: A fox in the snow" in entry["text"]
    texts = [crew.text(label) for label in memory.LABELS]
    again = call("grade_video", "b1-1", "C", "changed my mind")
    assert again["verdict"] == "accepted" and again["grade"] == "A" and "graded before" in again["note"]
    assert [crew.text(label) for label in memory.LABELS] == texts and len(crew.archived("writer")) == 1


def test_the_last_one_completes_the_batch(crew, under_way):
    for id in ("b1-1", "b1-2"):
        under_way()
        said = call("grade_video", id, "b", "good enough")
    assert (said["queue"], said["complete"]) == ("complete", 2)
    assert said["next"] == "The batch is complete. Report to the user."
    assert crew.fields()["QUEUE_STATUS"] == "complete"
    assert crew.fields("quality_standards")["SUCCESSFUL_PATTERNS"] == [], "a B is no model for others"
    assert call("queue_videos", "a fox")["added"] == ["[b2-1] a fox"], "a new batch, and a new wish"
    assert crew.fields()["BATCH_TOTAL"] == 1 and len(crew.fields()["COMPLETED_TODAY"]) == 2


def test_a_bad_video_is_refined_until_it_is_given_up(crew, under_way):
    for number in (1, 2):
        under_way(f"prompt {number}")
        said = call("grade_video", "b1-1", "C-", f"blurred faces {number}")
        assert (said["verdict"], said["rounds"]) == ("refine", str(number))
        assert f"{3 - number} of 3 rounds" in said["next"]
        before = crew.text()
        again = call("grade_video", "b1-1", "C", f"blurred faces {number}")
        assert again["verdict"] == "refine" and "graded before" in again["note"] and crew.text() == before
        told = call("next_video")
        assert (told["video_id"], told["rounds"]) == ("b1-1", str(number))
        assert told["reason"] == f"blurred faces {number}"
    job = under_way("prompt 3")
    said = call("grade_video", "b1-1", "F", "still blurred")
    assert (said["verdict"], said["failed"], said["pending"], said["queue"]) == ("failed", 1, 1, "active")
    (lost,) = map(memory.item, crew.fields()["FAILED_RETRIES"])
    assert (lost["id"], lost["rounds"], lost["job"], lost["reason"]) == ("b1-1", "3", job, "still blurred")
    assert crew.fields("quality_standards")["FAILURE_PATTERNS_TO_AVOID"] == [
        "blurred faces 1", "blurred faces 2", "still blurred"
    ]  # fmt: skip
    assert len(crew.archived("writer")) == 3
    assert call("grade_video", "b1-1", "A", "no")["verdict"] == "failed"
    assert call("next_video")["video_id"] == "b1-2", "the queue goes on"


def test_the_standard_is_that_of_the_block(crew, under_way):
    call("update_memory", "quality_standards", "MIN_ACCEPTABLE_GRADE", "C")
    call("update_memory", "quality_standards", "MAX_RETRIES", "one")
    under_way()
    assert call("grade_video", "b1-1", "C", "fine")["verdict"] == "accepted"
    under_way()
    assert call("grade_video", "b1-2", "D", "not fine")["verdict"] == "failed"


def test_a_graded_job_is_not_noted_again(crew, under_way):
    job = under_way()
    call("grade_video", "b1-1", "D", "dull")
    assert "graded already" in call("note_render", "b1-1", job, "p")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"state": RUNNING}, "is running. Call wait_for_video"),
        ({"state": FAILED, "video": None, "error": "out of memory"}, "(out of memory). Submit it again"),
        ({"state": "cancelled", "video": None}, "is cancelled and has no video"),
        ({"video": "one/video/none.mp4"}, "it is not listed yet"),
        ({"video": "one/half.mp4"}, "Its video is not ready"),
    ],
)
def test_only_a_video_that_is_there_is_graded(crew, studio, under_way, told, said):
    (studio.config.boxes["one"].folder / "half.mp4").write_bytes(b"no video yet")
    job = under_way()
    studio.jobs.made[job] = replace(studio.jobs.made[job], **told)
    before = crew.text()
    answer = call("grade_video", "b1-1", "A", "fine")
    assert answer.startswith("Nothing was graded.") and said in answer and crew.text() == before


@pytest.mark.parametrize(
    ("grade", "reasons", "said"),
    [
        ("very good", "fine", "from A (best) to F"),
        ("", "fine", "from A (best) to F"),
        (None, "fine", "from A (best) to F"),
        ("A", "", "Give reasons"),
        ("A", None, "Give reasons"),
    ],
)
def test_a_grade_needs_a_letter_and_reasons(crew, under_way, grade, reasons, said):
    under_way()
    assert said in call("grade_video", "b1-1", grade, reasons)


def test_what_has_no_render_is_not_graded(crew, studio):
    call("queue_videos", "a fox\nan owl")
    assert "still waits" in call("grade_video", "b1-1", "A", "fine")
    call("next_video")
    assert "has no render yet" in call("grade_video", "b1-1", "A", "fine")
    assert "there is no video" in call("grade_video", "b9-9", "A", "fine")


def test_a_grading_stands_when_it_cannot_be_archived(crew, letta, under_way):
    letta.no_embedding = True
    under_way()
    said = call("grade_video", "b1-1", "A", "fine")
    assert said["verdict"] == "accepted" and "not in the writer's archival memory" in said["not_archived"]
    assert crew.fields()["BATCH_COMPLETE"] == 1


def test_a_skipped_video_stays_known(crew):
    call("queue_videos", "a fox\nan owl\na bear")
    call("next_video")
    assert call("skip_video", "b1-2", "no owls")["pending"] == 1
    said = call("skip_video", "b1-1", "no foxes")
    assert (said["failed"], said["pending"], said["queue"]) == (2, 1, "active")
    before = crew.text()
    assert "before" in call("skip_video", "b1-1", "again")["note"] and crew.text() == before
    assert "Give a reason" in call("skip_video", "b1-3", None)
    assert "there is no video" in call("skip_video", "", "x")
    assert call("skip_video", "b1-3", "no bears")["queue"] == "complete"


def test_a_cleared_queue_loses_nothing(crew):
    call("queue_videos", "a fox\nan owl\na bear")
    call("next_video")
    said = call("change_queue", "clear")
    assert said["cleared"] == ["b1-2", "b1-3"] and said["in_progress"] == "b1-1" and said["queue"] == "active"
    assert [memory.item(one)["reason"] for one in crew.fields()["FAILED_RETRIES"]] == ["cleared", "cleared"]
    assert "Say pause, resume or clear" in call("change_queue", "explode")


def test_what_was_done_on_former_days_makes_room(crew, letta):
    fields = memory.fresh("production_queue", NOW) | {"BATCH_ID": "b4"}
    old = "[b4-1] a fox | grade=A | at=2026-01-14T10:00:00Z"
    fields |= {"COMPLETED_TODAY": [old, "[b4-2] an owl"], "FAILED_RETRIES": ["[b4-3] x | at=2026-01-14T10:00:00Z"]}
    crew.set("production_queue", memory.write("production_queue", fields, "", NOW))
    letta.no_embedding = True
    call("queue_videos", "a cat")
    assert old in crew.fields()["COMPLETED_TODAY"], "it stays until it is kept elsewhere"
    crew.set("production_queue", memory.write("production_queue", fields, "", NOW))
    letta.no_embedding = False
    assert call("queue_videos", "a cat")["added"] == ["[b5-1] a cat"]
    assert crew.fields()["COMPLETED_TODAY"] == ["[b4-2] an owl"] and crew.fields()["FAILED_RETRIES"] == []
    (entry,) = crew.archived()
    assert old in entry["text"] and "[b4-3] x" in entry["text"] and entry["tags"] == ["production-log"]


# --- several at once, and answers that are lost -----------------------------------------------------------------


def test_a_change_of_somebody_else_in_between_is_not_lost(crew, letta, hurried):
    def meanwhile(block):
        fields, notes, _ = memory.read("production_queue", block["value"])
        fields["PENDING_VIDEOS"] = ["[b1-1] an owl"]
        block["value"] = memory.write("production_queue", fields | {"BATCH_TOTAL": 1}, notes, NOW)

    letta.meanwhile = meanwhile
    assert call("queue_videos", "a fox")["added"] == ["[b1-2] a fox"]
    assert letta.patches == 2 and crew.fields()["PENDING_VIDEOS"] == ["[b1-1] an owl", "[b1-2] a fox"]


def test_many_at_once_lose_and_double_nothing(crew, letta):
    def add(number):
        for one in range(5):
            call("queue_videos", f"idea {number} {one}\nthe same")

    work([lambda number=number: add(number) for number in range(6)])
    pending = [memory.item(one) for one in crew.fields()["PENDING_VIDEOS"]]
    wanted = ["the same", *(f"idea {number} {one}" for number in range(6) for one in range(5))]
    assert sorted(one["text"] for one in pending) == sorted(wanted)
    assert len({one["id"] for one in pending}) == 31 == crew.fields()["BATCH_TOTAL"]

    skipped = []

    def skip():
        while video := call("next_video").get("video_id"):
            skipped.append(call("skip_video", video, "x"))

    work([skip] * 4)
    told = [one["video_id"] for one in skipped if "skipped" in one]
    assert sorted(told) == sorted(one["id"] for one in pending), "each is skipped once, by one of them"
    assert len(crew.fields()["FAILED_RETRIES"]) == 31


def work(jobs):
    """Do these at the same time; what one of them raises is raised here."""
    wrong = []

    def run(job):
        try:
            job()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    for one in threads:
        one.start()
    for one in threads:
        one.join(60)
    assert not wrong, wrong


def test_an_answer_that_was_lost_changes_nothing_twice(crew, letta, studio, hurried):
    def lossy(*arguments):
        letta.lost = 1
        said = call(*arguments)
        assert letta.lost == 0
        return said

    assert lossy("queue_videos", "a fox\nan owl")["added"] == ["[b1-1] a fox", "[b1-2] an owl"]
    assert crew.fields()["PENDING_VIDEOS"] == ["[b1-1] a fox", "[b1-2] an owl"] and crew.fields()["BATCH_TOTAL"] == 2
    assert lossy("next_video")["video_id"] == "b1-1"
    assert lossy("note_render", "b1-1", rendered(studio), "p")["video_id"] == "b1-1"
    assert lossy("grade_video", "b1-1", "A", "fine")["verdict"] == "accepted"
    assert crew.fields()["BATCH_COMPLETE"] == 1 and len(crew.fields()["COMPLETED_TODAY"]) == 1
    assert crew.fields("quality_standards")["SUCCESSFUL_PATTERNS"] == ["a fox: fine"], "what follows is done too"
    assert lossy("skip_video", "b1-2", "x")["failed"] == 1
    lossy("start_ab_test", "light", "dawn\ndusk")
    assert lossy("pick_winner", "A", "dawn")["winner"] == "A" and len(crew.fields("ab_testing")["USER_SELECTIONS"]) == 1
    assert [one["tags"][0] for one in crew.archived("writer")] == ["graded-video", "ab-test"]
    lossy("start_ab_test", "mood", "calm\nwild")
    letta.losing = "archival-memory"
    assert "not_archived" not in lossy("pick_winner", "B", "wild")
    assert len(crew.archived("director")) == len(crew.archived("writer")) == 3, "and once"
    letta.losing = ""
    lossy("update_memory", "session_state", "PENDING_WORK", "x", "add")
    assert crew.fields("session_state")["PENDING_WORK"] == ["x"]


# --- memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "label", "name", "value"),
    [
        (("user_style", "COLOR_PREFERENCES", "purple, blue"), "user_style", "COLOR_PREFERENCES", "purple, blue"),
        (("User Style", "colour preferences", '"purple"'), "user_style", "COLOR_PREFERENCES", "purple"),
        (("user_style", "DISLIKED_ELEMENTS", "neon\nred", "add"), "user_style", "DISLIKED_ELEMENTS", ["neon", "red"]),
        (("user_style", "DISLIKED_ELEMENTS", '["a", "b"]', None), "user_style", "DISLIKED_ELEMENTS", ["a", "b"]),
        (("session_state", "last_activity", "now"), "session_state", "LAST_ACTIVITY", None),
        (("current_series", "EPISODES_PLANNED", "3"), "current_series", "EPISODES_PLANNED", 3),
        (("quality_standards", "MIN_ACCEPTABLE_GRADE", "grade: a-"), "quality_standards", "MIN_ACCEPTABLE_GRADE", "A"),
    ],
)
def test_memory_is_updated_as_the_schema_has_it(crew, given, label, name, value):
    said = call("update_memory", *given)
    assert crew.fields(label)[name] == said["value"] and (said["value"] == value or value is None)
    assert crew.fields(label)["UPDATED_AT"] > NOW
    before = crew.text(label)
    call("update_memory", *given)
    assert crew.fields(label)[name] == said["value"]
    assert name == "LAST_ACTIVITY" or crew.text(label) == before, "again changes nothing"


def test_lists_and_texts_are_added_to_and_removed_from(crew):
    def now(*given):
        return call("update_memory", "user_style", *given)

    assert now("DISLIKED_ELEMENTS", "neon\nText", "add")["value"] == ["neon", "Text"]
    assert now("DISLIKED_ELEMENTS", "NEON\nlogos", "append")["value"] == ["neon", "Text", "logos"]
    assert now("DISLIKED_ELEMENTS", "text", "remove")["value"] == ["neon", "logos"]
    assert "It has: neon; logos." in now("DISLIKED_ELEMENTS", "text", "remove")
    assert now("DISLIKED_ELEMENTS", "none")["value"] == "none" and crew.fields("user_style")["DISLIKED_ELEMENTS"] == []
    assert now("MOOD_PREFERENCES", "dark", "add")["value"] == "dark"
    assert now("MOOD_PREFERENCES", "calm", "add")["value"] == "dark; calm"
    assert now("MOOD_PREFERENCES", "Dark", "remove")["value"] == "calm"
    assert "does not say that" in now("MOOD_PREFERENCES", "wild", "remove")
    assert now("MOOD_PREFERENCES", "null")["value"] == "none"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("production_queue", "QUEUE_STATUS", "paused"), "its own tools (queue_videos"),
        (("ab_testing", "ACTIVE_TEST", "x"), "its own tools (start_ab_test"),
        (("persona", "x", "y"), "there is no block 'persona'"),
        (("user_style", "SHOE_SIZE", "9"), "no field 'SHOE_SIZE'. Its fields are COLOR_PREFERENCES"),
        (("user_style", "UPDATED_AT", "now"), "no field 'UPDATED_AT'"),
        (("user_style", "NOTES", "now"), "no field 'NOTES'"),
        (("quality_standards", "MAX_RETRIES", "many"), "MAX_RETRIES is a whole number; it was 'many'"),
        (("quality_standards", "MAX_RETRIES", "1", "add"), "use the action set"),
        (("quality_standards", "MIN_ACCEPTABLE_GRADE", "good"), "a letter from A to F"),
        (("session_state", "LAST_ACTIVITY", "today"), "a time such as"),
        (("user_style", "DISLIKED_ELEMENTS", "", "add"), "Give what to add"),
        (("user_style", "MOOD_PREFERENCES", "x", "explode"), "set, add or remove"),
    ],
)
def test_what_cannot_be_updated_is_told(crew, given, said):
    before = [crew.text(label) for label in memory.LABELS]
    assert said in call("update_memory", *given)
    assert [crew.text(label) for label in memory.LABELS] == before


# --- A/B tests --------------------------------------------------------------------------------------------------


def test_an_ab_test_from_its_start_to_its_winner(crew, studio):
    said = call("start_ab_test", "a dragon | at rest", "A: at dawn\nVariation B: at dusk\n3. at night")
    assert said["variations"] == ["[A] at dawn", "[B] at dusk", "[C] at night"]
    assert "before" in call("start_ab_test", "A dragon | at rest", "at dawn\nat dusk\nat night")["note"]
    assert "A test is running" in call("start_ab_test", "a cat", "x\ny")
    jobs = [rendered(studio) for _ in range(3)]
    for label, job in zip(("a", "[B]", "variation C"), jobs, strict=True):
        said = call("note_variation", label, job)
    assert "without_a_job" not in said
    assert "before" in call("note_variation", "A", jobs[0])["note"]
    fields = crew.fields("ab_testing")
    assert (fields["VARIATION_A_ID"], fields["VARIATION_B_ID"]) == tuple(jobs[:2])
    assert memory.item(fields["VARIATIONS"][2])["job"] == jobs[2]
    assert "no variation 'D'" in call("note_variation", "D", jobs[0])
    assert "Its labels are A, B, C." in call("pick_winner", "E", "x")

    said = call("pick_winner", "b", "warm light")
    assert (said["winner"], said["pattern"]) == ("B", "warm light")
    fields = crew.fields("ab_testing")
    (chosen,) = map(memory.item, fields["USER_SELECTIONS"])
    assert (chosen["id"], chosen["text"], chosen["job"], chosen["pattern"]) == ("B", "at dusk", jobs[1], "warm light")
    assert fields["WINNING_PATTERNS"] == ["warm light"]
    assert fields["ACTIVE_TEST"] == "none" and fields["VARIATIONS"] == []
    for role in ("director", "writer"):
        (entry,) = crew.archived(role)
        assert entry["tags"] == ["ab-test", "winner-b"] and "at night" in entry["text"]
    before = crew.text("ab_testing")
    assert "before" in call("pick_winner", "B", "warm light")["note"] and crew.text("ab_testing") == before
    assert "No test is running" in call("pick_winner", "A", "cold light")


@pytest.mark.parametrize("variations", ["one", "", None, "same\nSame", "\n".join("1234567")])
def test_a_test_has_two_to_six_variations(crew, variations):
    assert "2 to 6 variations" in call("start_ab_test", "a dragon", variations)
    assert "Give a concept" in call("start_ab_test", None, "a\nb")


# --- each other -------------------------------------------------------------------------------------------------


def test_a_member_is_asked_and_answers(crew, letta):
    letta.replies[AGENTS["writer"]] = lambda text: f"heard: {text}"
    said = call("ask_crew", "The Writer", "a prompt, please")
    assert said["state"] == "completed" and said["reply"] == "heard: [Message from director] a prompt, please"
    assert call("check_reply", f'"{said["run_id"]}"') == said


def test_a_reply_that_takes_long_is_asked_for_later_and_the_message_is_sent_once(crew, letta, hurried):
    letta.held = True
    said = call("ask_crew", "writer", "a prompt, please", "0")
    assert said["state"] == "still working" and "check_reply" in said["note"]
    assert call("ask_crew", "writer", "a prompt, please", "0")["run_id"] == said["run_id"], "a call that is repeated"
    assert len(letta.runs) == 1
    run = letta.runs[said["run_id"]]
    run |= {"status": "completed", "said": [*run["said"], {"message_type": "assistant_message", "content": "here"}]}
    assert call("check_reply", said["run_id"])["reply"] == "here"


def test_a_member_who_works_is_waited_for(crew, letta, monkeypatch):
    letta.held = True
    call("ask_crew", "writer", "first", "0")
    assert "busy with another message" in call("ask_crew", "writer", "second", "1")
    letta.held = False
    monkeypatch.setattr(time, "sleep", lambda _: letta.runs[next(iter(letta.runs))].update(status="completed"))
    letta.replies[AGENTS["writer"]] = "done"
    assert call("ask_crew", "writer", "second")["reply"] == "done" and len(letta.runs) == 2


def test_a_call_that_is_repeated_sends_nothing_although_its_run_shows_the_message_late(crew, letta, monkeypatch):
    """Letta keeps the message of a run of one step when that has ended."""
    letta.held = True
    run = letta.runs[call("ask_crew", "writer", "a prompt", "0")["run_id"]]
    late, run["said"] = [*run["said"], {"message_type": "assistant_message", "content": "here"}], []
    monkeypatch.setattr(time, "sleep", lambda pause: pause and run.update(status="completed", said=late))
    assert call("ask_crew", "writer", "a prompt", "6")["reply"] == "here" and len(letta.runs) == 1
    letta.held, letta.replies[AGENTS["writer"]] = False, "another one"
    assert call("ask_crew", "writer", "a prompt")["reply"] == "another one", "once it has ended it is a new wish"


def test_a_run_that_a_restart_cut_off_does_not_stop_the_crew(crew, letta):
    letta.held = True
    call("ask_crew", "writer", "first", "0")
    next(iter(letta.runs.values()))["created_at"] = "2026-01-01T00:00:00"
    letta.held, letta.replies[AGENTS["writer"]] = False, "done"
    assert call("ask_crew", "writer", "second")["reply"] == "done"


def test_a_message_whose_answer_was_lost_is_not_sent_again(crew, letta):
    letta.replies[AGENTS["writer"]] = "done"
    letta.lost = 1
    assert call("ask_crew", "writer", "a prompt")["reply"] == "done" and len(letta.runs) == 1


def test_a_run_without_a_reply_is_told(crew, letta):
    said = call("ask_crew", "writer", "a prompt")
    assert "ended without a reply" in said["problem"]
    letta.runs[said["run_id"]] |= {"status": "failed", "metadata": {"error": "no credit"}}
    assert "no credit" in call("check_reply", said["run_id"])["problem"]


@pytest.mark.parametrize("member", ["director", "writer-sleeptime", "director-sleeptime", "boss", "", None])
def test_only_other_members_are_asked(crew, letta, member):
    assert "Give one of writer, cameraman" in call("ask_crew", member, "hello") and not letta.runs


def test_what_is_no_run_is_told(crew):
    assert "is no run_id" in call("check_reply", "the run")
    assert "There is no run" in call("check_reply", "run-00000000-0000-4000-8000-000000000000")
    assert "the message is empty" in call("ask_crew", "writer", None)


# --- waiting for a video ----------------------------------------------------------------------------------------


def test_a_video_is_waited_for(studio, monkeypatch):
    job = rendered(studio)
    studio.jobs.made[job] = replace(studio.jobs.made[job], state=RUNNING, video=None)

    def done(_):
        studio.jobs.made[job] = replace(studio.jobs.made[job], state=COMPLETED, video=FOX)

    monkeypatch.setattr(time, "sleep", done)
    assert call("wait_for_video", f"[{job}]")["video"] == FOX
    studio.jobs.made[job] = replace(studio.jobs.made[job], state=FAILED, video=None, error="out of memory")
    assert call("wait_for_video", job)["error"] == "out of memory"
    assert "Its status is not known" in call("wait_for_video", "no job")


def test_waiting_ends_before_letta_ends_the_tool(studio, monkeypatch):
    job = rendered(studio)
    studio.jobs.made[job] = replace(studio.jobs.made[job], state=RUNNING, video=None)
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(time, "monotonic", lambda: sum(slept))
    assert call("wait_for_video", job)["state"] == "running" and 60 < sum(slept) < 120


# --- a server that is away ----------------------------------------------------------------------------------------


JOB = "00000000-0000-4000-8000-000000000000"
ALL = [
    ("ask_crew", ("writer", "hello")),
    ("check_reply", (f"run-{JOB}",)),
    ("queue_videos", ("a fox",)),
    ("next_video", ()),
    ("note_render", ("b1-1", JOB, "p")),
    ("grade_video", ("b1-1", "A", "fine")),
    ("skip_video", ("b1-1", "x")),
    ("change_queue", ("pause",)),
    ("update_memory", ("user_style", "MOOD_PREFERENCES", "dark")),
    ("start_ab_test", ("a", "b\nc")),
    ("note_variation", ("A", JOB)),
    ("pick_winner", ("A", "x")),
]


def test_each_tool_is_tried_without_a_server():
    assert {name for name, _ in ALL} | {"wait_for_video"} == set(crew_tool_source.NAMES)


@pytest.mark.parametrize(("tool", "given"), ALL)
def test_says_that_letta_is_away(crew, tool, given, monkeypatch, hurried):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("LETTA_BASE_URL", f"http://127.0.0.1:{port}")
    said = call(tool, *given)
    assert "does not answer" in said and "make letta-status" in said
    monkeypatch.delenv("LETTA_BASE_URL")
    assert "make deploy" in call(tool, *given)


@pytest.mark.parametrize(("tool", "given"), ALL)
@pytest.mark.parametrize("known", ["", "{}", '{"agents": {}, "blocks": {}}', "nonsense"])
def test_says_that_there_is_no_crew(crew, tool, given, known, monkeypatch):
    monkeypatch.setenv("LETTABOX_CREW", known)
    said = call(tool, *given)
    assert "make crew" in said or tool == "check_reply"


def test_says_that_a_block_is_gone(crew, letta):
    letta.blocks.clear()
    assert "production_queue is gone" in call("next_video")


def test_says_that_the_password_is_wrong(crew, monkeypatch):
    monkeypatch.setenv("LETTA_API_KEY", "an older one")
    assert "HTTP 401" in call("next_video")
