"""The folder of an exported crew: whole or refused, whatever somebody did to it or put into its tar."""

import io
import json
import stat
import tarfile

import pytest
from lettabox import crew_af, crew_folder
from lettabox.crew_folder import Damaged

from tests.unit import exported_crew


@pytest.fixture
def folder(tmp_path):
    return exported_crew.write(tmp_path / "crew")


def packed(folder) -> bytes:
    out = io.BytesIO()
    crew_folder.pack(folder, list(crew_folder.check(folder)["files"]), out)
    return out.getvalue()


def test_it_travels_as_it_is(folder, tmp_path):
    (there := tmp_path / "there").mkdir()
    crew_folder.unpack(io.BytesIO(packed(folder)), there)
    assert crew_folder.check(there) == crew_folder.check(folder)
    files = [one for one in there.rglob("*") if one.is_file()]
    assert len(files) == 8 and {stat.S_IMODE(one.stat().st_mode) for one in files} == {0o600}
    assert {stat.S_IMODE(one.stat().st_mode) for one in there.iterdir() if one.is_dir()} == {0o700}
    for one in files:
        assert one.read_bytes() == (folder / one.relative_to(there)).read_bytes()
    with tarfile.open(fileobj=io.BytesIO(packed(folder))) as tar:
        assert {(one.uid, one.uname, one.mtime) for one in tar} == {(0, "", 0)}, "it tells nothing of who made it"


def remove(folder):
    (folder / "archival/director.jsonl").unlink()


def link(folder):
    remove(folder)
    (folder / "archival/director.jsonl").symlink_to(folder / "archival/director-sleeptime.jsonl")


def change(folder):
    path = folder / "crew.json"
    path.write_text(path.read_text().replace("blue", "cyan"))


def cut(folder):
    path = folder / "agents/director.af"
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (remove, "archival/director.jsonl is missing"),
        (link, "archival/director.jsonl is missing, or is no plain file"),
        (change, "crew.json was changed since the export: its sha256"),
        (cut, "agents/director.af was changed since the export: its size"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json is missing"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "manifest.json is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[" * 100_000), "manifest.json is not JSON"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "is not the manifest"),
        (lambda folder: exported_crew.seal(folder, format=2), "format 2 is not 1"),
        (lambda folder: exported_crew.seal(folder, format="1"), "format '1' is not 1"),
        (lambda folder: exported_crew.seal(folder, not_in_it=["\x1b[2Jfine"]), "no plain texts"),
        (lambda folder: exported_crew.seal(folder, made=None), "no plain texts"),
        (lambda folder: exported_crew.seal(folder, files={}), "names no crew.json"),
        (lambda folder: exported_crew.seal(folder, files={"../../etc/shadow": {}}), "'../../etc/shadow', which is no"),
        (lambda folder: exported_crew.seal(folder, files={"agents/../crew.json": {}}), "is no file of"),
        (lambda folder: exported_crew.seal(folder, files={"crew.json": 1}), "crew.json has no size and sha256"),
        (lambda folder: exported_crew.seal(folder, files={"crew.json": {"size": True, "sha256": ""}}), "has no size"),
        (
            lambda folder: exported_crew.seal(folder, files={"crew.json": {"size": 1 << 40, "sha256": ""}}),
            "crew.json has 1048576 MiB; 256 are the most",
        ),
        (lambda folder: exported_crew.seal(folder, files={f"agents/a{n}.af": {} for n in range(1001)}), "1001 files"),
    ],
)
def test_what_is_not_whole_is_refused_with_one_reason(folder, harm, word):
    harm(folder)
    with pytest.raises(Damaged) as raised:
        crew_folder.check(folder)
    assert word in str(raised.value) and len(str(raised.value)) < 300


def tar_of(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for member, data in members:
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    one = tarfile.TarInfo(name)
    one.type, one.linkname, one.mode = kind, target, 0o6777
    return one


@pytest.mark.parametrize(
    "hostile",
    [
        member("/etc/cron.d/x"),
        member("../crew.json"),
        member("agents/../../x.af"),
        member("agents/x.af/y"),
        member("agents/X.af"),
        member("agents/.af"),
        member("crew.json\n"),
        member("other.json"),
        member("agents", tarfile.DIRTYPE),
        member("crew.json", tarfile.SYMTYPE, "/etc/shadow"),
        member("crew.json", tarfile.LNKTYPE, "/etc/shadow"),
        member("crew.json", tarfile.CHRTYPE),
        member("crew.json", tarfile.FIFOTYPE),
    ],
    ids=lambda one: repr(one.name),
)
def test_a_tar_can_write_nothing_but_files_of_a_crew(tmp_path, hostile):
    (there := tmp_path / "there").mkdir()
    first = (member("agents/director.af"), b"{}")
    with pytest.raises(Damaged, match="which is no file of an exported crew"):
        crew_folder.unpack(io.BytesIO(tar_of(first, (hostile, b""))), there)
    written = {one.relative_to(tmp_path).as_posix() for one in tmp_path.rglob("*") if not one.is_dir()}
    assert written == {"there/agents/director.af"}
    assert stat.S_IMODE((there / "agents/director.af").stat().st_mode) == 0o600, "no mode of the tar"


def test_a_tar_is_bounded_and_whole(tmp_path, folder, monkeypatch):
    def unpack(data: bytes, name: str) -> None:
        (tmp_path / name).mkdir()
        crew_folder.unpack(io.BytesIO(data), tmp_path / name)

    whole = packed(folder)
    with pytest.raises(Damaged, match="cut short, or is none"):
        unpack(whole[:600], "cut")
    # Between two files it looks like a whole tar; the manifest knows better.
    end = 512 + -(-(folder / "manifest.json").stat().st_size // 512) * 512
    unpack(whole[:end], "between")
    with pytest.raises(Damaged, match="is missing"):
        crew_folder.check(tmp_path / "between")
    with pytest.raises(Damaged, match="cut short, or is none"):
        unpack(b"<html>" * 500, "none")
    with pytest.raises(Damaged, match=r"crew\.json twice"):
        unpack(tar_of((member("crew.json"), b"1"), (member("crew.json"), b"2")), "twice")
    for name, limit in (("LARGEST", 100), ("WHOLE", 3000), ("MANY", 3)):
        with monkeypatch.context() as patch:
            patch.setattr(crew_folder, name, limit)
            with pytest.raises(Damaged, match="larger than an exported crew may be"):
                unpack(whole, name)


# --- what is understood of it, and what is given to Letta ------------------------------------------------------------


def test_older_messages_stand_where_they_stood(folder):
    crew = crew_af.read(folder)
    document = crew_af.import_document(crew.agents["director"], "director", ["mark"], ["conversation_search"])
    (agent,) = document["agents"]
    texts = {one["id"]: one["content"][0]["text"] for one in agent["messages"]}
    assert list(texts.values()) == ["compiled", "older 1", "older 2", "the newest", "a summary"]
    assert [texts[id_] for id_ in agent["in_context_message_ids"]] == ["compiled", "a summary", "the newest"]
    assert {one["created_at"] for one in agent["messages"]} == {exported_crew.TIME}


def test_letta_gets_only_what_is_meant_for_it(tmp_path):
    """Nothing of a folder leads an agent to another model, another server or other blocks, or replaces a tool."""
    files = exported_crew.content()
    evil = {"model_endpoint": "http://evil.example/v1", "model": "evil"}
    file = files["agents/director.af"]
    file["agents"][0] |= {
        "llm_config": evil,
        "embedding_config": {"embedding_endpoint": "http://evil.example"},
        "memory_blocks": [{"label": "evil", "value": "evil"}],
        "block_ids": ["block-0"],
        "source_ids": ["source-0"],
        "tool_ids": ["tool-0"],
        "tools": ["evil"],
        "secrets": {"evil": "evil"},
        "tags": ["evil"],
        "name": "evil",
        "include_base_tools": True,
        "model_settings": evil,
        "enable_sleeptime": True,
    }
    file["agents"][0]["messages"][1] |= {"agent_id": "evil", "group_id": "evil", "run_id": "evil", "sender_id": "evil"}
    file["tools"].append({"name": "memory_insert", "tool_type": "letta_core", "source_code": "evil"})
    file["mcp_servers"] = [{"server_name": "evil", "stdio_config": {"command": "evil"}}]
    files["crew.json"]["agents"]["director"]["model_settings"] |= evil | {"temperature": 0.5}
    crew = crew_af.read(exported_crew.write(tmp_path / "crew", files))
    agent = crew.agents["director"]
    document = crew_af.import_document(agent, "director", ["mark"], ["conversation_search"])
    assert "evil" not in json.dumps([document, agent.model_settings, crew_af.tools_document(list(crew.tools.values()))])
    assert agent.model_settings == {"context_window": 30000, "temperature": 0.5}
    assert document["agents"][0]["tools"] == ["conversation_search"] and list(crew.tools) == ["shout"]
    assert {name for name, rows in document.items() if rows} == {"agents"}


def af(files):
    return files["agents/director.af"]


def agent(files):
    return files["agents/director.af"]["agents"][0]


def told(files):
    return files["crew.json"]["agents"]["director"]


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (lambda files: files.update({"crew.json": "{}"}), "crew.json has no agents and blocks"),
        (lambda files: files.update({"agents/director.af": "not"}), "agents/director.af is not JSON"),
        (lambda files: files.update({"agents/director.af": "[]"}), "is no agent file of Letta"),
        (lambda files: files.pop("agents/director-sleeptime.af"), "is not in the manifest"),
        (lambda files: af(files).update(agents=[]), "is no agent file of Letta"),
        (lambda files: agent(files).update(system=""), "no system prompt"),
        (lambda files: agent(files).update(messages=None), "the agent has no messages"),
        (lambda files: agent(files)["messages"].pop(), "a message is missing"),
        (lambda files: agent(files)["messages"][0].update(role="user"), "is not the system prompt"),
        (lambda files: agent(files)["messages"][1].update(created_at="now"), "created_at 'now' is no time"),
        (lambda files: af(files)["tools"][0].pop("json_schema"), "tool shout has no schema"),
        (lambda files: told(files).pop("model"), "model is missing, or no str"),
        (lambda files: told(files).update(tools=[1]), "tags and tools are plain texts"),
        (lambda files: told(files).update(tools=["\x1b]0;x\x07"]), "tags and tools are plain texts"),
        (lambda files: told(files).update(places=[0, 1]), "places are not those of the messages"),
        (lambda files: told(files).update(places=[0, 3, 3]), "places are not those of the messages"),
        (lambda files: told(files).update(places=[0, 1, 2]), "line 1: place 1 is no number, or is taken"),
        (lambda files: told(files)["sleeptime"].update(agents=["ghost"]), "sleeptime names no agents of the crew"),
        (lambda files: told(files)["sleeptime"].update(turns="1; DROP TABLE agents"), "sleeptime.turns: '1; DROP"),
        (lambda files: told(files)["sleeptime"].update(processed=-1), "sleeptime.processed: -1"),
        (lambda files: files["crew.json"]["blocks"][0].update(value=None), "value is missing, or no str"),
        (lambda files: files["crew.json"]["blocks"][0].update(agents=["ghost"]), "has unknown agents"),
        (lambda files: files["crew.json"]["blocks"].append(exported_crew.crew()["blocks"][0]), "have one label"),
        (lambda files: files["archival/director.jsonl"].append({"text": ""}), "line 2 has no text"),
        (lambda files: files["archival/director.jsonl"][0].update(tags=[1]), "tags are texts"),
        (lambda files: files["archival/director.jsonl"][0].update(created_at=None), "created_at None is no time"),
        (lambda files: files.update({"archival/director.jsonl": "{}\nno\n"}), "line 1 has no text"),
        (lambda files: files.update({"messages/director.jsonl": "no\n"}), "line 1 is not JSON"),
        (lambda files: files.update({"messages/director.jsonl": "1\n"}), "line 1 is not an object"),
    ],
)
def test_what_is_not_understood_is_refused_before_anything_is_done(tmp_path, harm, word):
    files = exported_crew.content()
    harm(files)
    with pytest.raises(Damaged) as raised:
        crew_af.read(exported_crew.write(tmp_path / "crew", files))
    assert word in str(raised.value) and len(str(raised.value)) < 300
