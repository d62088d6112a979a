"""What the crew's agents say in a test: a batch of three videos, one of them refused once, played by the lab's model.

Each agent is known by the title of its prompt. Who acts when is up to the agents: the play says what each does next.
"""

from tests.lab.conftest import ROOT

IDEAS = ("a griffin at dawn", "a phoenix over a city", "a kraken in a storm")
MOOD = "dark and moody"
SUMMARY = "The person asked for three videos of mythical creatures."
REFUSED = "middle frame has brightness 71 where the prompt is a night: name dark surroundings"
WORKING = "still working"
_SMALL = {"width": "64", "height": "64", "frames": "9", "tags": "crew"}
_RUN = {"run": r'"run_id": ?"([^"]+)"'}
_VIDEO = {"video": r'(?:"video_id": ?"|VIDEO )(b\d+-\d+)'}
_ASKED = _VIDEO | {"prompt": r"PROMPT (.+)"}
_JOB = _ASKED | {"job": r'"job_id": ?"([^"]+)"'}


def title(role: str) -> str:
    """By what a request shows whose it is."""
    file = ROOT / "inventory" / "crew" / f"{role.replace('-', '_')}.md"
    return file.read_text().splitlines()[0] + "\n"


def call(role: str, tool: str, take: dict | None = None, **arguments: str) -> dict:
    return {"when": [title(role)], "take": take or {}, "tool_calls": [{"name": tool, "arguments": arguments}]}


def say(role: str, text: str, take: dict | None = None) -> dict:
    return {"when": [title(role)], "take": take or {}, "content": text}


def look_again(role: str) -> dict:
    """Whenever somebody asked is not done yet."""
    return call(role, "check_reply", _RUN, run_id="{run}") | {"last": [WORKING], "stays": True}


def ask_cameraman(prompt: str, wait_seconds: str) -> list[dict]:
    message = f"VIDEO {{video}}\nJOB none\nPROMPT {prompt}"
    return [call("writer", "ask_crew", _VIDEO, member="cameraman", message=message, wait_seconds=wait_seconds)]


def render(grade: str, reasons: str, verdict: str, *looks: dict) -> list[dict]:
    """The cameraman's turn for one prompt; `looks` are calls before it grades."""
    return [
        call("cameraman", "submit_video", _ASKED, prompt="{prompt}", **_SMALL),
        call("cameraman", "note_render", _JOB, video_id="{video}", job_id="{job}", prompt="{prompt}"),
        call("cameraman", "wait_for_video", _JOB, job_id="{job}"),
        *looks,
        call("cameraman", "grade_video", _JOB, video_id="{video}", grade=grade, reasons=reasons, prompt="{prompt}"),
        say("cameraman", f"VIDEO {{video}}\nVERDICT {verdict}\nGRADE {grade}\nJOB {{job}}\nREASONS {reasons}", _JOB),
    ]


def batch() -> list[dict]:
    """One message of a person, to the report of three videos."""
    director = [
        look_again("director"),
        call("director", "queue_videos", ideas="\n".join(IDEAS)),
        call("director", "ask_crew", member="writer", message="WORK ON THE QUEUE.", wait_seconds="30"),
        say("director", "All three videos are made."),
    ]
    writer = [
        look_again("writer"),
        call("writer", "next_video"),
        call("writer", "archival_memory_search", query="griffin"),
        # No cameraman is done with five calls of tools in two seconds.
        *ask_cameraman("A griffin sits on a rock at dawn.", "2"),
        *ask_cameraman("A griffin sits on a black rock in the last of the night.", "120"),
        call("writer", "next_video"),
        *ask_cameraman("A phoenix flies over a burning city.", "120"),
        call("writer", "next_video"),
        *ask_cameraman("A kraken rises in a storm.", "120"),
        call("writer", "next_video"),
        say("writer", "BATCH: 3 of 3 complete, 0 waiting"),
    ]
    cameraman = [
        *render("D", REFUSED, "refine", call("cameraman", "get_frame", _JOB, video="{job}", at="middle")),
        *render("B", "brightness 20 fits the night", "accepted"),
        *render("A", "warm light as asked for", "accepted"),
        *render("B", "contrast 40 fits the storm", "accepted"),
    ]
    return [*keepers(), *director, *writer, *cameraman]


def keepers() -> list[dict]:
    """The director's sums up; the others find nothing to keep."""
    sums_up = call(
        "director-sleeptime",
        "update_memory",
        block="session_state",
        field="LAST_SESSION_SUMMARY",
        value=SUMMARY,
        action="set",
    )
    roles = ("director-sleeptime", "writer-sleeptime", "cameraman-sleeptime")
    ends = [call(role, "memory_finish_edits") | {"last": ["Messages:"], "stays": True} for role in roles[1:]]
    return [sums_up, call(roles[0], "memory_finish_edits"), *ends]


def liking() -> list[dict]:
    """A person says what they like."""
    mood = {"block": "user_style", "field": "MOOD_PREFERENCES", "value": MOOD, "action": "set"}
    return [call("director", "update_memory", **mood), say("director", "I keep that in mind.")]
