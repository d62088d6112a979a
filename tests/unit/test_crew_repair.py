"""`lettabox crew repair` against a stand-in of Letta's API."""

import pytest
from lettabox import api, crew_memory, crew_record, crew_repair, paths
from lettabox.crew_record import Record
from lettabox.errors import FAILED, OK, LettaboxError

from tests.unit.letta_stand_in import KEY, LettaStandIn

NOW = "2026-01-15T16:31:18Z"
WRITTEN = "Queue status: running\n- pending videos: a fox\nI did my best."


@pytest.fixture
def letta(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "CREW_RECORD", tmp_path / "crew.json")
    monkeypatch.setattr(paths, "CREW_TEXTS", tmp_path / "crew-texts")
    with LettaStandIn() as running:
        monkeypatch.setattr(api, "address", lambda _: running.url)
        monkeypatch.setattr(api, "read", lambda _: KEY)
        running.ids = {}
        for label in crew_memory.LABELS:
            text = crew_memory.write(label, crew_memory.fresh(label, NOW), "", NOW)
            running.ids[label] = running.add_block(label, text)
        running.ids["my_own"] = running.add_block("my_own", "# whatever")
        crew_record.write(Record({}, running.ids))
        yield running
        running.shutdown()


def set_queue(letta, text=WRITTEN):
    block = letta.blocks[letta.ids["production_queue"]]
    block["value"] = text
    return block


def kept():
    return sorted(paths.CREW_TEXTS.glob("*")) if paths.CREW_TEXTS.exists() else []


def test_nothing_is_written_where_nothing_is_wrong(letta, capsys):
    before = {id: dict(block) for id, block in letta.blocks.items()}
    assert crew_repair.repair(dry_run=False) == OK
    assert capsys.readouterr().out == "nothing to repair\n"
    assert letta.blocks == before and letta.patches == 0 and kept() == []


def test_a_text_is_repaired_and_kept_as_it_was(letta, capsys):
    block = set_queue(letta)
    assert crew_repair.repair(dry_run=False) == OK
    said = capsys.readouterr().out
    fields, notes, problems = crew_memory.read("production_queue", block["value"])
    assert (fields["QUEUE_STATUS"], fields["PENDING_VIDEOS"], notes, problems) == (
        "active", ["a fox"], "I did my best.", []
    )  # fmt: skip
    (file,) = kept()
    assert file.read_text() == WRITTEN and file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert f"production_queue: repaired, the text as it was is in {file}\n  " in said and "BATCH_ID: missing" in said
    assert crew_repair.repair(dry_run=False) == OK and capsys.readouterr().out == "nothing to repair\n"


def test_a_dry_run_changes_nothing(letta, capsys):
    block = set_queue(letta)
    assert crew_repair.repair(dry_run=True) == OK
    said = capsys.readouterr().out
    assert said.startswith("production_queue: to repair\n") and "BATCH_ID: missing" in said
    assert block["value"] == WRITTEN and letta.patches == 0 and kept() == []


def test_what_an_agent_writes_meanwhile_is_repaired_too(letta, capsys):
    block = set_queue(letta)
    letta.meanwhile = lambda now: now.update(value=f"{WRITTEN}\nAnd more.")
    assert crew_repair.repair(dry_run=False) == OK
    assert crew_memory.read("production_queue", block["value"])[1] == "I did my best.\nAnd more."
    assert [file.read_text() for file in kept()] == [WRITTEN, f"{WRITTEN}\nAnd more."]


def test_agents_who_write_all_the_time_are_told(letta):
    def again(now):
        now["value"] += "\nAnd more."
        letta.meanwhile = again

    set_queue(letta)
    letta.meanwhile = again
    with pytest.raises(LettaboxError, match="make crew-repair"):
        crew_repair.repair(dry_run=False)


def test_a_block_that_is_gone_is_told(letta, capsys):
    del letta.blocks[letta.ids["user_style"]]
    set_queue(letta)
    assert crew_repair.repair(dry_run=False) == FAILED
    said = capsys.readouterr().out
    assert "user_style" in said and "is gone from Letta; make crew" in said and "production_queue: repaired" in said


def test_there_must_be_a_crew(letta):
    crew_record.write(Record())
    with pytest.raises(LettaboxError, match="no crew was set up"):
        crew_repair.repair(dry_run=False)
    paths.CREW_RECORD.write_text("{")
    with pytest.raises(LettaboxError, match="remove that file"):
        crew_repair.repair(dry_run=False)
