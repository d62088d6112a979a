"""A crew that leaves by `make crew-export` and comes back by `make crew-import`, on the real Letta server.

It comes back to the server it was deleted from, so with other ids throughout: to Letta another server would be no
different, as nothing that is imported refers to what is there but models and tools, by name.
"""

import json
import os
import random
import subprocess
from pathlib import Path

import pytest
import requests
from lettabox import crew_folder

from tests.lab import small_crew
from tests.lab.conftest import ROOT, Api
from tests.lab.small_crew import LEARNED, MAIN, MARK, PASSAGES, ROLES, TAG, TOOL
from tests.lab.waiting import wait_for

SCALE = int(os.environ.get("LETTABOX_TEST_SCALE") or 1)
KILLS = 12 if SCALE > 1 else 1
SENT = "/root/crew-import"  # on the box: what the laptop sends


@pytest.fixture(scope="module")
def chance():
    seed = int(os.environ.get("LETTABOX_TEST_SEED") or random.randrange(10**6))
    print(f"LETTABOX_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.fixture(scope="module")
def module_api(deployed, laptop):
    return Api(deployed, laptop.make("-s", "letta-password").out.strip())


@pytest.fixture(scope="module")
def settings(laptop, tmp_path_factory):
    return small_crew.settings(laptop, tmp_path_factory.mktemp("crew"))


@pytest.fixture(scope="module")
def bystanders(provider, module_api):
    """An agent, a block and a tool of others, with the names of ours."""
    agent = module_api.call(
        "POST", "/v1/agents/", json={"name": "director", "model": small_crew.CHAT, "tags": ["other"]}
    )
    block = module_api.call("POST", "/v1/blocks/", json={"label": "user_style", "value": "theirs"})
    yield {"agent": agent["id"], "block": block["id"]}
    module_api.call("DELETE", f"/v1/agents/{agent['id']}")
    module_api.call("DELETE", f"/v1/blocks/{block['id']}")


@pytest.fixture(scope="module")
def provider(deployed, box, module_api):
    small_crew.forget_models(box)
    id_ = small_crew.provider(module_api, deployed.model_url)
    yield
    module_api.call("DELETE", f"/v1/providers/{id_}")
    small_crew.forget_models(box)


@pytest.fixture(scope="module")
def crew(provider, settings, deployed, laptop, box, module_api):
    """A crew with a past; {"agents": {role: id}, "blocks": {label: id}}."""
    requests.delete(f"{deployed.model_control_url}/_script", timeout=5).raise_for_status()
    small_crew.forget_all(module_api, box)
    done = laptop.make("crew", inventory=settings)
    assert done.code == 0, done.text
    made = small_crew.record(box)
    small_crew.live(module_api, made)
    yield made
    small_crew.forget_all(module_api, box)
    box.check(f"rm -f {SENT}*")


@pytest.fixture(scope="module")
def exported(crew, bystanders, settings, laptop, tmp_path_factory):
    """(the folder, what the verb said)."""
    folder = tmp_path_factory.mktemp("exports") / "crew"
    done = laptop.make("crew-export", f"DIR={folder}", inventory=settings)
    assert done.code == 0, done.text
    return folder, done.text


@pytest.fixture(scope="module")
def imported(exported, settings, laptop, box, module_api):
    """(the record, what the verb said) of the crew after it was deleted and came back."""
    small_crew.forget(module_api, box)
    done = laptop.make("crew-import", f"DIR={exported[0]}", inventory=settings)
    assert done.code == 0, done.text
    return small_crew.record(box), done.text


def seen(api: Api, path: str = "/v1/agents/", tag: str = TAG) -> dict[str, dict]:
    """{id: row} of what has a tag."""
    return {row["id"]: row for row in api.call("GET", path, params={"tags": tag, "limit": 200})}


def counts(box) -> tuple[int, ...]:
    """How many agents, blocks, groups, archives and passages the server has."""
    tables = ("agents", "block", "groups", "archives", "archival_passages")
    query = "; ".join(f"SELECT count(*) FROM {table} WHERE NOT is_deleted" for table in tables)
    return tuple(map(int, box.check(f"echo '{query}' | docker exec -i letta-postgres psql -XqAtU letta").split()))


def test_the_folder_has_all_of_it_and_no_secret(exported, crew, laptop, deployed, box, module_api):
    folder, said = exported
    manifest = crew_folder.check(folder)
    # Two of the director's messages are no longer in context.
    assert manifest["counts"] | {"messages in context": 0} == {
        "agents": 4, "blocks": 7, "messages in context": 0, "older messages": 2, "archival passages": 57
    }  # fmt: skip
    assert manifest["letta"] == "0.16.8" and "writer: its secrets must be given anew: LAB_KEY" in said
    for role in ROLES:
        file = json.loads((folder / f"agents/{role}.af").read_text())
        assert file["agents"][0]["name"] == role and {one["label"] for one in file["blocks"]} >= {"user_style"}
    both = json.loads((folder / "agents/director.af").read_text())
    assert [one["name"] for one in both["agents"]] == ["director", "director-sleeptime"] and len(both["groups"]) == 1
    text = b"".join(one.read_bytes() for one in folder.rglob("*") if one.is_file())
    secrets = box.check("cd /etc/lettabox/secrets && grep -h '' -- * | grep .").split()
    assert len(secrets) >= 3
    for secret in (*secrets, small_crew.KEY, small_crew.SECRET):
        assert secret.encode() not in text
    assert "WARNING" not in said


def test_where_a_crew_is_nothing_is_imported(exported, crew, settings, laptop, box, module_api):
    api = module_api
    api.call("PATCH", f"/v1/agents/{crew['agents']['writer']}", json={"description": "changed since"})

    def state() -> tuple:
        agents = {(row["id"], row["updated_at"], *sorted(row["tags"])) for row in seen(api).values()}
        blocks = {(row["id"], row["value"], *sorted(row["tags"])) for row in seen(api, "/v1/blocks/").values()}
        return agents, blocks, small_crew.record(box), counts(box)

    before = state()
    done = laptop.make("crew-import", f"DIR={exported[0]}", inventory=settings)
    assert done.code == 2 and "this box has a crew" in done.text and crew["agents"]["writer"] in done.text, done.text
    # Without the record it is known by its tags.
    box.check("mv /var/lib/lettabox/crew.json /root/record")
    done = laptop.make("crew-import", f"DIR={exported[0]}", inventory=settings)
    box.check("mv /root/record /var/lib/lettabox/crew.json")
    assert done.code == 2 and "this box has a crew" in done.text, done.text
    assert state() == before


def test_it_comes_back_as_it_was(imported, exported, crew, settings, laptop, box, module_api, tmp_path):
    record, said = imported
    assert set(record["agents"]) == set(ROLES) and not set(record["agents"].values()) & set(crew["agents"].values())
    assert not set(record["blocks"].values()) & set(crew["blocks"].values())
    # Nothing of it differs from what is declared, but that tools know the new ids.
    assert "crew: 4 agents, 6 blocks, 1 change" in said, said
    done = laptop.make("crew-plan", inventory=settings)
    assert "nothing to change" in done.text, done.text
    # All that an export knows is the same: models, tools, tags, blocks and who has them, groups and how far they are,
    # older messages, archival memory with its tags and times.
    again = tmp_path / "again"
    done = laptop.make("crew-export", f"DIR={again}", inventory=settings)
    assert done.code == 0, done.text
    for name in json.loads((again / "manifest.json").read_text())["files"]:
        if not name.startswith("agents/"):
            assert (again / name).read_text() == (exported[0] / name).read_text(), name
    for role in ROLES:
        assert context(again, role) == context(exported[0], role)
    told = json.loads((exported[0] / "crew.json").read_text())["agents"]["director"]["sleeptime"]
    assert (told["frequency"], told["turns"], told["processed"]) == (5, 1, 2)


def context(folder: Path, role: str) -> tuple:
    """The agent of an .af file, and what is said in its context; the prompt in it without the ids and times."""
    agent = json.loads((folder / f"agents/{role}.af").read_text())["agents"][0]
    messages = {one["id"]: one for one in agent["messages"]}
    keys = ("role", "content", "name", "model", "tool_calls", "tool_call_id", "tool_returns", "created_at")
    said = [{key: messages[id_][key] for key in keys} for id_ in agent["in_context_message_ids"]]
    (prompt,) = said.pop(0)["content"]
    fields = ("name", "system", "description", "agent_type", "tool_rules", "message_buffer_autoclear", "llm_config")
    # Letta puts the blocks in any order.
    return [agent[key] for key in fields], sorted(prompt["text"].partition("<memory_metadata>")[0].splitlines()), said


def test_its_blocks_are_shared_and_its_memory_is_searched(imported, bystanders, deployed, box, module_api):
    api, (record, _) = module_api, imported
    agents = {role: api.call("GET", f"/v1/agents/{id_}") for role, id_ in record["agents"].items()}
    for role, agent in agents.items():
        labels = {block["label"]: block["id"] for block in agent["memory"]["blocks"]}
        assert {label: labels[label] for label in record["blocks"]} == record["blocks"], "one block, not copies"
        assert set(labels) - set(record["blocks"]) == ({"notes"} if role.startswith("writer") else set())
        (prompt,) = api.call("GET", f"/v1/messages/{agent['message_ids'][0]}")
        assert LEARNED.strip() in prompt["content"] and agent["id"] in prompt["content"]
        assert agent["message_buffer_autoclear"] is role.endswith("-sleeptime")
        assert MARK not in agent["tags"]
    assert {tool["name"] for tool in agents["director"]["tools"]} == {*small_crew.TOOLS, TOOL}
    assert api.call("GET", f"/v1/blocks/{record['blocks']['user_style']}")["value"] == LEARNED
    for role in MAIN:
        group = agents[role]["multi_agent_group"]
        assert group["agent_ids"] == [record["agents"][f"{role}-sleeptime"]] and group["sleeptime_agent_frequency"] == 5
        assert agents[role]["enable_sleeptime"]
    # The fake model's embeddings find a text by itself.
    path = f"/v1/agents/{record['agents']['writer']}/archival-memory"
    found = api.call("GET", f"{path}/search", params={"query": PASSAGES[41]["text"], "top_k": 1})["results"]
    assert found[0]["content"] == PASSAGES[41]["text"] and set(found[0]["tags"]) == set(PASSAGES[41]["tags"])
    found = api.call("GET", f"{path}/search", params={"query": "x", "tags": ["grade-2"], "top_k": 100})["results"]
    assert len(found) == 19
    # Recall: all that was said, the oldest first.
    said = api.call("GET", f"/v1/agents/{record['agents']['director']}/messages", params={"limit": 100, "order": "asc"})
    texts = [one["content"] for one in said if one["message_type"] == "user_message"]
    assert texts == [f"Make {number} videos of mythical creatures 🐉" for number in range(2)]
    # Tools know the new ids, and strangers are as they were.
    (sandbox,) = api.call("GET", "/v1/sandbox-config/", params={"sandbox_type": "local"})
    rows = api.call("GET", f"/v1/sandbox-config/{sandbox['id']}/environment-variable")
    assert [json.loads(row["value"]) for row in rows if row["key"] == small_crew.VARIABLE] == [record]
    assert api.call("GET", f"/v1/blocks/{bystanders['block']}")["value"] == "theirs"
    assert api.call("GET", f"/v1/agents/{bystanders['agent']}")["tags"] == ["other"]


def test_it_goes_on_where_it_was(imported, deployed, box, module_api):
    record, _ = imported
    requests.delete(f"{deployed.model_control_url}/_requests", timeout=5).raise_for_status()
    answers = module_api.say({"id": record["agents"]["director"]}, "And now?")
    assert [one["content"] for one in answers if one["message_type"] == "assistant_message"] == ["You said: And now?"]
    (asked,) = requests.get(f"{deployed.model_control_url}/_requests", timeout=5).json()["requests"]
    prompt, *rest = asked["body"]["messages"]
    assert LEARNED.strip() in prompt["content"] and prompt["content"].startswith("You are the director.")
    texts = ["Make 1 videos of mythical creatures 🐉", "You said: Make 1 videos of mythical creatures 🐉", "And now?"]
    assert [one["content"] for one in rest] == texts, "what was out of context stays out"
    # The third turn of five: no sleeptime agent begins, and none looks at the whole history anew.
    group = module_api.call("GET", f"/v1/agents/{record['agents']['director']}")["multi_agent_group"]
    assert group["turns_counter"] == 2


def test_an_agent_at_work_is_waited_for(imported, settings, deployed, laptop, module_api, tmp_path):
    script, api = f"{deployed.model_control_url}/_script", module_api
    # A turn that goes on until the script is forgotten.
    search = {"tool_calls": [{"name": "conversation_search", "arguments": {"query": "x"}}], "delay_s": 1}
    requests.post(script, json={"replies": [search] * 200}, timeout=5).raise_for_status()
    writer = imported[0]["agents"]["writer"]
    body = {"messages": [{"role": "user", "content": "Take your time"}], "max_steps": 200}
    try:
        run = api.call("POST", f"/v1/agents/{writer}/messages/async", json=body)
        done = laptop.make("crew-export", f"DIR={tmp_path / 'crew'}", "WAIT=0", inventory=settings)
        assert done.code == 2 and f"at work after 0 s: writer ({run['id']})" in done.text, done.text
        assert list(tmp_path.iterdir()) == []
        command = ["make", "crew-export", f"DIR={tmp_path / 'crew'}"]
        environment = os.environ | {"LETTABOX_INVENTORY": str(settings)}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as export:
            said = [line for line in iter(export.stderr.readline, "") if _forgotten(script, line)]
    finally:
        requests.delete(script, timeout=5).raise_for_status()
    assert export.returncode == 0 and f"waiting up to 120 s for writer ({run['id']})\n" in said, said
    messages = json.loads((tmp_path / "crew/agents/writer.af").read_text())["agents"][0]["messages"]
    assert messages[-1]["role"] == "assistant", "the whole turn"


def _forgotten(script: str, line: str) -> bool:
    """True; the agent may end its turn once somebody waits for it."""
    if line.startswith("waiting"):
        requests.delete(script, timeout=5).raise_for_status()
    return True


def test_an_import_that_is_killed_is_undone_or_done_again(
    imported, exported, bystanders, settings, deployed, laptop, box, module_api, chance, tmp_path
):
    """On a server that lacks a model of the crew, and has another tool of the name of one."""
    api = module_api
    small_crew.forget(api, box)
    theirs = small_crew.shout(api, end="?")
    others = counts(box)
    folder = without_model(exported[0], tmp_path / "crew")
    done = laptop.make("crew-import", f"DIR={folder}")
    assert done.code == 2 and "director has model gone/model, this server has none such" in done.text, done.text
    assert counts(box) == others
    send(deployed, laptop, settings, folder, tmp_path)
    for _ in range(KILLS):
        killed(deployed, chance)
        if small_crew.recorded(box):  # it was there, with the mark or without
            done = laptop.make("crew-import", f"DIR={folder}", inventory=settings)
            assert "it is complete now" in done.text or "this box has a crew" in done.text, done.text
            exactly_one(api, box, others)
            small_crew.forget(api, box)
            theirs = small_crew.shout(api, end="?")
            continue
        assert seen(api) == {}, "no deploy takes it for a crew"
        if chance.random() < 0.5:
            # Letta may be at work yet on what it was asked last.
            wait_for("the import to be undone", lambda: undone(laptop, box, others), 120)
    done = laptop.make("crew-import", f"DIR={folder}", inventory=settings)
    assert done.code == 0, done.text
    assert f"director: model {small_crew.CHAT}, as this server has no gone/model" in done.text
    assert f"tool {TOOL}: left out; this server has another one so named" in done.text
    exactly_one(api, box, others)
    (tool,) = api.call("GET", "/v1/tools/", params={"name": TOOL})
    assert (tool["id"], tool["source_code"]) == (theirs["id"], theirs["source_code"])
    # Killed when all was there, and not all had lost the mark.
    writer = small_crew.record(box)["agents"]["writer"]
    api.call("PATCH", f"/v1/agents/{writer}", json={"tags": [MARK, "favourite"]})
    done = laptop.make("crew-import", f"DIR={folder}", inventory=settings)
    assert done.code == 0 and "it is complete now" in done.text, done.text
    exactly_one(api, box, others)
    assert set(api.call("GET", f"/v1/agents/{writer}")["tags"]) == {TAG, f"{TAG}:writer", "favourite"}


def undone(laptop, box, others: tuple[int, ...]) -> str | None:
    done = laptop.make("crew-import", "UNDO=1")
    assert done.code == 0, done.text
    return None if (now := counts(box)) == others else f"{now}, and {others} before; {done.text}"


def killed(deployed, chance: random.Random) -> None:
    """Have an import killed at some point of its work, by what it has said until then."""
    lines, more = chance.randrange(5, 16), chance.uniform(0, 0.5)
    script = (
        f"lettabox crew import < {SENT} > {SENT}.said 2>&1 & "
        f"until [ $(wc -l < {SENT}.said) -ge {lines} ] || ! kill -0 $! 2> /dev/null; do sleep 0.05; done; "
        f"sleep {more:.2f}; kill -9 $! 2> /dev/null; wait $!; echo exit $?; cat {SENT}.said"
    )
    _, said = deployed.exec(script)
    print(f"killed after {lines} lines and {more:.2f} s: {said.splitlines()[:1]}, {said.splitlines()[-1:]}")


def without_model(folder: Path, to: Path) -> Path:
    """A copy whose agents have a model that no server has."""
    for name in crew_folder.FOLDERS:
        (to / name).mkdir(parents=True)
    manifest = crew_folder.check(folder)
    for name in manifest["files"]:
        (to / name).write_bytes((folder / name).read_bytes())
    told = json.loads((to / "crew.json").read_text())
    for agent in told["agents"].values():
        agent["model"] = "gone/model"
    (to / "crew.json").write_text(json.dumps(told))
    manifest["files"]["crew.json"] = crew_folder.entry(to / "crew.json")
    (to / "manifest.json").write_text(json.dumps(manifest))
    return to


def send(deployed, laptop, settings, folder: Path, scratch: Path) -> None:
    """Put what the laptop sends into a file on the box."""
    ssh = scratch / "bin/ssh"
    ssh.parent.mkdir()
    (scratch / "sent").mkdir()
    ssh.write_text(f'#!/bin/sh\ncase "$*" in *"test -x"*) ;; *) cat > {scratch}/sent/{Path(SENT).name} ;; esac\n')
    ssh.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
        assert laptop.make("crew-import", f"DIR={folder}", inventory=settings).code == 0
    deployed.copy_in(scratch / "sent", str(Path(SENT).parent))


def exactly_one(api: Api, box, others: tuple[int, ...]) -> None:
    """One crew, nothing unfinished, and nobody else was touched."""
    assert {row["name"] for row in seen(api).values()} == set(ROLES) and len(seen(api)) == 4
    assert len(seen(api, "/v1/blocks/")) == 6
    assert not seen(api, tag=MARK) and not seen(api, "/v1/blocks/", tag=MARK)
    # 6 shared blocks and the writer's own; one archive, as one agent has memories.
    assert counts(box) == tuple(number + more for number, more in zip(others, (4, 7, 2, 1, len(PASSAGES)), strict=True))
