"""The crew on the real Letta server: created, left alone, set right, and completed after whatever cut it off."""

import copy
import json
import os
import random
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from lettabox import crew_memory, crew_plan, crew_tool_source

from inventory import crew as declared
from inventory.load import load
from tests.lab import crews
from tests.lab.conftest import Api
from tests.lab.crews import TAG
from tests.lab.waiting import wait_for

SCALE = int(os.environ.get("LETTABOX_TEST_SCALE") or 1)
KILLS = 12 if SCALE > 1 else 2
LETTAS_OWN = {"archival_memory_search", "archival_memory_insert", "conversation_search", "memory_finish_edits"}
STATE = "cd / && PYTHONPATH=/opt/lettabox/src python3 -B -m lettabox.crew_state"
TABLES = ("agents", "block", "groups", "tools")
CHAT, EMBEDDING = "openai-proxy/gpt-4o", "crewlab/text-embedding-3-small"


class Crew:
    """The verb on the box, and what is in Letta by other means than the verb's own."""

    def __init__(self, lab, box, api, folder):
        self.lab, self.box, self.api, self.folder = lab, box, api, folder

    def run(self, verb, document, *options, before=""):
        """(exit code, output) of a verb with this document on its standard input."""
        (self.folder / "document.json").write_text(json.dumps(document))
        self.lab.copy_in(self.folder, "/srv/crew")
        words = " ".join(options)
        return self.lab.exec(f"{before} lettabox crew {verb} {words} < /srv/crew/document.json")

    def apply(self, document, *options):
        code, said = self.run("apply", document, *options)
        assert code == 0, said
        return said.splitlines()

    def sql(self, query):
        self.lab.copy_in(_file(self.folder / "sql", query), "/srv/sql")
        return self.box.check("docker exec -i letta-postgres psql -XqAtU letta -v ON_ERROR_STOP=1 < /srv/sql/query")

    def touched(self):
        """{id: when it was last changed} of all agents, blocks, groups and tools of the server."""
        rows = " UNION ALL ".join(f"SELECT id, updated_at::text FROM {table}" for table in TABLES)
        return dict(line.split("|") for line in self.sql(f"{rows};").splitlines())

    def agents(self):
        """{role: row} by the record on the box."""
        record = json.loads(self.box.check("cat /var/lib/lettabox/crew.json"))
        return {role: self.api.call("GET", f"/v1/agents/{id_}") for role, id_ in record["agents"].items()}

    def blocks(self):
        record = json.loads(self.box.check("cat /var/lib/lettabox/crew.json"))
        return {label: self.api.call("GET", f"/v1/blocks/{id_}") for label, id_ in record["blocks"].items()}

    def tagged(self, path="/v1/agents/"):
        return crews.tagged(self.api, path)

    def prompt(self, agent):
        """The prompt that an agent really has in its context."""
        (message,) = self.api.call("GET", f"/v1/messages/{agent['message_ids'][0]}")
        return message["content"]

    def state(self):
        return json.loads(self.box.check(STATE))

    def forget(self):
        """Have no crew on the server or on the box."""
        crews.forget(self.api, self.box)

    def is_as(self, document):
        """Assert that Letta has this crew, each of it once."""
        agents, blocks, everybody = self.agents(), self.blocks(), crew_plan.members(document)
        assert sorted(row["id"] for row in self.tagged()) == sorted(row["id"] for row in agents.values())
        assert sorted(row["id"] for row in self.tagged("/v1/blocks/")) == sorted(row["id"] for row in blocks.values())
        assert set(agents) == set(everybody) and set(blocks) == set(document["blocks"])
        for label, want in document["blocks"].items():
            assert {key: blocks[label][key] for key in want} == want
            assert not crew_memory.read(label, blocks[label]["value"])[2]
        for role, want in everybody.items():
            one = agents[role]
            assert (one["system"], one["description"]) == (want["system"], want["description"])
            assert one["llm_config"]["handle"] == want["model"]
            assert one["embedding_config"]["handle"] == want["embedding"]
            assert one["llm_config"]["context_window"] == 128_000, "what the model can take, of the 180,000 wanted"
            assert one["message_buffer_autoclear"] is role.endswith("-sleeptime") is want["autoclear"]
            assert set(want["tools"]) <= {tool["name"] for tool in one["tools"]}
            attached = {block["label"]: block["id"] for block in one["memory"]["blocks"]}
            assert {label: attached[label] for label in want["blocks"]} == {
                label: blocks[label]["id"] for label in want["blocks"]
            }
            assert {TAG, f"{TAG}:{role}"} <= set(one["tags"])
            assert want["system"].strip()[:2000] in self.prompt(one)
            assert "<production_queue>" in self.prompt(one)
        for role, want in document["agents"].items():
            group = agents[role]["multi_agent_group"]
            assert agents[role]["enable_sleeptime"] and group["manager_type"] == "sleeptime"
            assert group["agent_ids"] == [agents[f"{role}-sleeptime"]["id"]]
            assert group["sleeptime_agent_frequency"] == want["sleeptime"]["frequency"]
        told = self.state()
        assert crew_plan.differences(document, told, crew_tool_source.digests()) == []
        assert json.loads(told["variable"]) == {
            "agents": {role: row["id"] for role, row in agents.items()},
            "blocks": {label: row["id"] for label, row in blocks.items()},
        }


def _file(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "query").write_text(text)
    return folder


@pytest.fixture(scope="module")
def api(deployed, laptop):
    return Api(deployed, laptop.make("-s", "letta-password").out.strip())


class Listing(BaseHTTPRequestHandler):
    """An endpoint that lists a model, and has no embeddings."""

    def do_GET(self):
        self.answer(200, {"data": [{"id": "gpt-4.1", "object": "model"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(404, {"error": {"message": "there are no embeddings here"}})

    def answer(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """Nothing is to be said."""


@pytest.fixture(scope="module")
def providers(deployed, box, api):
    """A provider that works, and one without embeddings, whose server this is; a test may close it."""
    here = box.check("ip -4 route show default").split()[2]  # this machine, as the box sees it
    with ThreadingHTTPServer((here, 0), Listing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        urls = {"crewlab": f"{deployed.model_url}/v1", "crewdead": f"http://{here}:{server.server_port}/v1"}
        body = {"provider_type": "openai", "api_key": "x"}
        for name, url in urls.items():
            api.call("POST", "/v1/providers/", json=body | {"name": name, "base_url": url})
        yield server
        server.shutdown()
    crews.forget_providers(api, box, *urls)


@pytest.fixture(scope="module")
def crew(deployed, box, api, providers, tmp_path_factory):
    one = Crew(deployed, box, api, tmp_path_factory.mktemp("crew"))
    one.forget()
    yield one
    one.forget()
    crews.forget_tools(api)


@pytest.fixture(scope="module")
def wanted(deployed, tmp_path_factory):
    """The crew that ships, without the tools of the studio, which this box has not."""
    content = yaml.safe_load(deployed.inventory_path.read_text())
    content["groups"]["gpu"] = list(content["groups"]["letta"])
    content["settings"]["crew"] = {"model": CHAT, "embedding": EMBEDDING}
    path = tmp_path_factory.mktemp("settings") / "inventory.yml"
    path.write_text(yaml.safe_dump(content))
    document = declared.document(load(path))
    for one in crew_plan.members(document).values():
        one["tools"] = [name for name in one["tools"] if name in LETTAS_OWN | set(crew_tool_source.NAMES)]
    return document


@pytest.fixture(scope="module")
def fresh(crew, wanted):
    """What the verb said while it made the crew, and the seconds it took."""
    began = time.monotonic()
    return crew.apply(wanted), time.monotonic() - began


def differing(before, after):
    return {id_ for id_ in before | after if before.get(id_) != after.get(id_)}


def test_a_fresh_crew_and_a_second_run_that_changes_nothing(fresh, crew, wanted):
    crew.is_as(wanted)
    made = [line.removesuffix(": created") for line in fresh[0] if line.endswith(": created")]
    assert {*crew_plan.members(wanted), *(f"block {label}" for label in wanted["blocks"])} <= set(made)
    before = crew.touched()
    assert crew.apply(wanted) == ["crew: 6 agents, 6 blocks, nothing to change"]
    code, said = crew.run("plan", wanted)
    assert (code, said.strip()) == (0, "crew: 6 agents, 6 blocks, nothing to change")
    assert crew.touched() == before
    assert json.loads(crew.box.check("cat /etc/lettabox/crew.json")) == wanted
    code, said = crew.lab.exec("lettabox crew status")
    assert code == 0 and "as declared" in said and "no batch yet" in said and "every 5 turns" in said, said


def test_a_changed_prompt_changes_one_agent(fresh, crew, wanted):
    other = copy.deepcopy(wanted)
    other["agents"]["writer"]["sleeptime"]["system"] += "\nAnd one thing more.\n"
    before = crew.touched()
    assert crew.apply(other) == ["writer-sleeptime: set system", "crew: 6 agents, 6 blocks, 1 change"]
    assert differing(before, crew.touched()) == {crew.agents()["writer-sleeptime"]["id"]}
    assert "And one thing more." in crew.prompt(crew.agents()["writer-sleeptime"])


def test_what_was_undone_by_hand_comes_back_and_what_was_learned_or_added_stays(fresh, crew, api, wanted):
    agents, blocks = crew.agents(), crew.blocks()
    director, writer = agents["director"]["id"], agents["writer"]["id"]
    # Learned.
    now = crew_memory.stamp()
    learned = crew_memory.fresh("user_style", now) | {"COLOR_PREFERENCES": "purple and blue"}
    value = crew_memory.write("user_style", learned, "said on a Tuesday", now)
    api.call("PATCH", f"/v1/blocks/{blocks['user_style']['id']}", json={"value": value})
    api.call("POST", f"/v1/agents/{writer}/archival-memory", json={"text": "grade A: a griffin at dawn"})
    api.say(agents["director"], "I like it dark")
    settled(api)
    said = crew.agents()["director"]["message_ids"]
    # Added by a person.
    mine = api.call("POST", "/v1/blocks/", json={"label": "mine", "value": "x"})
    api.call("PATCH", f"/v1/agents/{director}/core-memory/blocks/attach/{mine['id']}", json={})
    tags = [*agents["director"]["tags"], "favourite"]
    (tool,) = api.call("GET", "/v1/tools/", params={"name": "memory_insert"})
    api.call("PATCH", f"/v1/agents/{director}", json={"tags": tags, "timezone": "Europe/Vienna"})
    api.call("PATCH", f"/v1/agents/{director}/tools/attach/{tool['id']}", json={})
    # Undone by hand.
    search = next(one["id"] for one in agents["writer"]["tools"] if one["name"] == "archival_memory_search")
    api.call("PATCH", f"/v1/agents/{writer}/tools/detach/{search}", json={})
    gone = crew_tool_source.NAMES[0]
    (row,) = api.call("GET", "/v1/tools/", params={"name": gone})
    api.call("DELETE", f"/v1/tools/{row['id']}")
    theirs = api.call("POST", "/v1/blocks/", json={"label": "ab_testing", "value": "of somebody"})
    others = [one["id"] for label, one in blocks.items() if label not in ("ab_testing", "user_style")]
    for there in (others, [*others, theirs["id"]]):
        api.call("PATCH", f"/v1/agents/{writer}", json={"block_ids": there})
    camera = agents["cameraman"]
    api.call("PATCH", f"/v1/agents/{camera['id']}", json={"tags": [], "message_buffer_autoclear": True})
    api.call("PATCH", f"/v1/blocks/{blocks['session_state']['id']}", json={"limit": 700, "description": "other"})
    api.call("PATCH", f"/v1/groups/{agents['writer']['multi_agent_group']['id']}", json={
        "manager_config": {"manager_type": "sleeptime", "sleeptime_agent_frequency": 9}
    })
    api.call("DELETE", f"/v1/agents/{agents['director-sleeptime']['id']}")

    code, planned = crew.run("plan", wanted)
    assert code == 0 and " to make" in planned, planned
    done = crew.apply(wanted)
    assert "director-sleeptime: created" in done
    (conflict,) = [line for line in done if theirs["id"] in line]
    assert conflict.startswith("writer: detach the block ab_testing") and "stays in Letta" in conflict
    director_now = crew.agents()["director"]
    assert director_now["id"] == director and director_now["timezone"] == "Europe/Vienna"
    assert {"favourite", TAG} <= set(director_now["tags"])
    assert mine["id"] in [one["id"] for one in director_now["memory"]["blocks"]]
    assert "memory_insert" in [one["name"] for one in director_now["tools"]]
    assert director_now["message_ids"] == said
    assert crew.blocks()["user_style"]["value"] == value
    passages = api.call("GET", f"/v1/agents/{writer}/archival-memory")
    assert [one["text"] for one in passages] == ["grade A: a griffin at dawn"]
    assert api.call("GET", f"/v1/blocks/{theirs['id']}")["value"] == "of somebody"
    crew.is_as(wanted)
    for one in (mine, theirs):
        api.call("DELETE", f"/v1/blocks/{one['id']}")


def settled(api):
    """Wait until no run is active: a sleeptime agent works on after its main agent has answered."""

    def working():
        runs = api.call("GET", "/v1/runs/", params={"active": "true", "limit": 10})
        return str([(one["agent_id"], one["status"]) for one in runs]) if runs else None

    wait_for("the runs to end", working, 120)


def test_120_strangers_are_neither_touched_nor_taken_for_ours(fresh, crew, api, wanted):
    config = {"model": "fake", "model_endpoint_type": "openai", "model_endpoint": "http://x", "context_window": 32000}
    blocks = [{"label": label, "value": "of somebody", "limit": 500} for label in ("session_state", "user_style")]
    body = {"name": "director", "llm_config": config, "memory_blocks": blocks, "tags": ["crew", "director"]}
    first = api.call("POST", "/v1/agents/", json=body)
    ours = {row["id"] for row in crew.agents().values()}
    try:
        # The others as the first one is, row by row: made by the API they take half a minute.
        crew.sql(
            "INSERT INTO agents SELECT (jsonb_populate_record(one, jsonb_build_object('id', "
            "'agent-00000000-0000-4000-8000-' || lpad(i::text, 12, '0'), 'name', "
            "(ARRAY['director', 'writer', 'cameraman-sleeptime', 'other'])[1 + i % 4]))).* "
            f"FROM agents one, generate_series(1, 119) i WHERE one.id = '{first['id']}';\n"
            "INSERT INTO blocks_agents SELECT a.id, b.block_id, b.block_label FROM agents a, blocks_agents b "
            f"WHERE a.id LIKE 'agent-00000000-0000-%' AND b.agent_id = '{first['id']}';\n"
            "INSERT INTO agents_tags SELECT a.id, t.tag FROM agents a, agents_tags t "
            f"WHERE a.id LIKE 'agent-00000000-0000-%' AND t.agent_id = '{first['id']}';"
        )
        assert api.call("GET", "/v1/agents/count") >= 126
        before = crew.touched()
        assert crew.apply(wanted) == ["crew: 6 agents, 6 blocks, nothing to change"]
        assert crew.touched() == before
        # Not by the record alone: without it they are found by their tags.
        crew.box.check("rm /var/lib/lettabox/crew.json")
        other = copy.deepcopy(wanted)
        other["agents"]["director"]["description"] = "Another one."
        other["blocks"]["user_style"]["limit"] = 9000
        done = crew.apply(other)
        assert "director: set description" in done and "user_style: set the block's limit (8000 -> 9000)" in done
        assert {row["id"] for row in crew.agents().values()} == ours
        changed = differing(before, crew.touched())
        assert changed == {crew.agents()["director"]["id"], crew.blocks()["user_style"]["id"]}
    finally:
        crew.sql(
            "DELETE FROM agents_tags WHERE agent_id LIKE 'agent-00000000-0000-%';\n"
            "DELETE FROM blocks_agents WHERE agent_id LIKE 'agent-00000000-0000-%';\n"
            "DELETE FROM agents WHERE id LIKE 'agent-00000000-0000-%';"
        )
        api.call("DELETE", f"/v1/agents/{first['id']}")
        for block in first["memory"]["blocks"]:
            api.call("DELETE", f"/v1/blocks/{block['id']}")


def test_what_cannot_be_is_refused_before_anything_changes(fresh, crew, api, wanted):
    crew.apply(wanted)
    before, kept = crew.touched(), crew.box.check("cat /etc/lettabox/crew.json")

    def refused(change, code=1, **options):
        document = copy.deepcopy(wanted)
        document["agents"]["writer"]["description"] = "It would change this."
        change(document)
        got, said = crew.run("apply", document)
        assert got == code, said
        return said

    said = refused(lambda one: one["agents"]["writer"]["tools"].append("make_coffee"))
    assert "no tool make_coffee (for writer)" in said and "make studio-tools" in said
    said = refused(lambda one: one["agents"]["director"].update(model="openai-proxy/none"))
    assert "director: Letta knows no model 'openai-proxy/none'" in said and "openai-proxy/gpt-4o-mini" in said
    said = refused(lambda one: one["agents"]["director"].update(embedding="openai-proxy/none"))
    assert "knows no embedding 'openai-proxy/none'" in said and "crewlab/text-embedding-3-large" in said
    record = crew.box.check("cat /var/lib/lettabox/crew.json")
    second = api.agent("director", crew.lab.model_url, tags=[TAG, f"{TAG}:director"])
    try:
        assert any("has its tag too" in line for line in crew.apply(wanted))
        crew.box.check("rm /var/lib/lettabox/crew.json")
        said = refused(lambda one: None)
        assert second["id"] in said and crew.state()["twice"]["director"] and "next: delete" in said
    finally:
        api.call("DELETE", f"/v1/agents/{second['id']}")
        crew.box.check(f"echo '{json.dumps(json.loads(record))}' > /var/lib/lettabox/crew.json")
    code, said = crew.run("apply", {"blocks": {}})
    assert code == 4 and "holds no crew" in said
    assert {id_: time for id_, time in crew.touched().items() if id_ in before} == before
    assert crew.box.check("cat /etc/lettabox/crew.json") == kept


def test_a_dead_embedding_endpoint_is_told(fresh, crew, providers, wanted):
    other = copy.deepcopy(wanted)
    for one in (other["agents"]["director"], other["agents"]["director"]["sleeptime"]):
        one["embedding"] = "crewdead/text-embedding-3-small"
    code, said = crew.run("apply", other)
    (warning,) = [line for line in said.splitlines() if line.startswith("WARNING")]
    assert code == 2, said
    assert "crewdead/text-embedding-3-small at http://" in warning and "HTTP " in warning
    assert "director, director-sleeptime can neither search nor add to archival memory" in warning
    # Gone altogether: Letta tries for seconds.
    providers.shutdown()
    providers.server_close()
    code, said = crew.run("apply", other, "--deploying")
    assert code == 0 and "WARNING" in said and "nothing to change" in said, said
    crew.is_as(other)


def test_half_made_and_killed_at_any_point_ends_with_each_of_it_once(fresh, crew, api, wanted):
    """Last: it begins without a crew."""
    seed = int(os.environ.get("LETTABOX_TEST_SEED") or random.randrange(10**6))
    print(f"LETTABOX_TEST_SEED={seed}")
    chance = random.Random(seed)
    small = {"blocks": wanted["blocks"], "agents": {"director": wanted["agents"]["director"]}}
    crew.forget()
    # Letta answers 500 to this, and the agent exists.
    body = {"name": "director", "model": CHAT, "enable_sleeptime": True, "tags": [TAG, f"{TAG}:director"]}
    answer = api.session.post(f"{api.proxy}/v1/agents/", json=body, timeout=60)
    assert answer.status_code == 500, answer.text
    (half,) = crew.tagged()
    for _ in range(KILLS):
        after = chance.uniform(0.02, 0.6) * fresh[1]
        code, said = crew.run("apply", small, before=f"timeout -s KILL {after:.2f}")
        print(f"killed after {after:.2f} s: {said.splitlines()[-1:]}" if code else "done before")
        if code == 0:
            crew.is_as(small)
            crew.forget()
    assert crew.apply(small)[-1].startswith("crew: 2 agents, 6 blocks")
    crew.is_as(small)
    if KILLS == 2 and half["id"] in {row["id"] for row in crew.tagged()}:
        assert crew.agents()["director"]["id"] == half["id"]
    assert crew.apply(small) == ["crew: 2 agents, 6 blocks, nothing to change"]
