"""Facts are read ahead in one command, and answered exactly as if each had been asked by itself."""

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyinfra import host
from pyinfra.api import Config, FactBase, Inventory, State, StringCommand, operation
from pyinfra.api.connect import connect_all
from pyinfra.api.operations import run_ops
from pyinfra.api.state import StateStage
from pyinfra.context import ctx_host, ctx_state

from deploys import read_ahead


class Said(FactBase[list[str]]):
    """The lines a command writes."""

    default = list

    def command(self, words: str) -> str:
        return words

    def process(self, output: list[str]) -> list[str]:
        return output


@operation()
def write(path: str, text: str, seen: list):
    """Write `text` unless the file has it; `seen` gets what the fact said."""
    now = host.get_fact(Said, words=f"cat {shlex.quote(path)} 2>/dev/null; :")
    seen.append(now)
    if now != [text]:
        yield StringCommand(f"echo {shlex.quote(text)} > {shlex.quote(path)}")


@operation()
def ask(seen: list, *commands: str):
    """Ask one fact after the other and change nothing."""
    for one in commands:
        seen.append(host.get_fact(Said, words=one))
    return
    yield


@dataclass
class Run:
    """One pyinfra run on this machine, with a count of the commands that were sent."""

    state: State
    sent: list[str] = field(default_factory=list)

    @property
    def local(self):
        return self.state.inventory.get_host("@local")

    def add(self, *operations) -> None:
        """Each operation as (function, arguments, keyword arguments), inside read_ahead.operations()."""
        self.state.set_stage(StateStage.Prepare)
        with ctx_state.use(self.state), ctx_host.use(self.local), read_ahead.operations():
            for function, arguments, options in operations:
                function(*arguments, **options)

    def go(self) -> None:
        self.state.set_stage(StateStage.Execute)
        run_ops(self.state)


@pytest.fixture
def make_run():
    def make(check_for_changes: bool = False) -> Run:
        state = State(Inventory((["@local"], {})), Config(), check_for_changes=check_for_changes)
        connect_all(state)
        run = Run(state)
        connector = run.local.connector
        send = connector.run_shell_command

        def counted(command, *args, **options):
            run.sent.append(str(command))
            return send(command, *args, **options)

        connector.run_shell_command = counted
        return run

    return make


def test_facts_of_all_operations_are_one_command(make_run):
    run, seen = make_run(), []
    run.add(*((ask, (seen, f"echo {i}"), {}) for i in range(20)))
    run.go()
    assert seen == [[str(i)] for i in range(20)]
    assert len(run.sent) == 1


def test_what_an_operation_changed_is_seen_by_the_next(make_run, tmp_path):
    run, seen, path = make_run(), [], str(tmp_path / "file")
    run.add(
        (write, (path, "one", seen), {}),
        (write, (path, "one", seen), {}),
        (write, (path, "two", seen), {}),
        (ask, (seen, f"cat {path}", f"cat {path}; echo again"), {}),
        (write, (path, "two", seen), {}),
    )
    run.go()
    assert seen == [[], ["one"], ["one"], ["two"], ["two", "again"], ["two"]]
    assert Path(path).read_text() == "two\n"


def test_after_a_change_only_the_next_operation_is_read_for(make_run, tmp_path):
    run, seen = make_run(), []
    run.add(
        *((write, (str(tmp_path / str(i)), "x", seen), {}) for i in range(4)),
        *((ask, (seen, f"echo {i}"), {}) for i in range(10)),
    )
    run.go()
    # All ahead, four changes and three facts in between, the first that changes nothing, the rest.
    assert len(run.sent) == 1 + 4 + 3 + 1 + 1


def test_a_command_that_fails_leaves_nothing_known(make_run, tmp_path):
    run, seen = make_run(), []
    path = tmp_path / "file"

    @operation()
    def fails():
        yield StringCommand(f"echo x > {path}; exit 1")

    run.add((ask, (seen, f"cat {path} 2>/dev/null; :"), {}), (fails, (), {"_ignore_errors": True}))
    run.add((ask, (seen, f"cat {path} 2>/dev/null; :"), {}))
    run.go()
    assert seen == [[], ["x"]]


def test_nothing_is_kept_from_the_table_of_changes_to_the_run(make_run, tmp_path):
    run, seen = make_run(check_for_changes=True), []
    path = tmp_path / "file"
    run.add((write, (str(path), "x", seen), {}), (ask, (seen, "echo 1"), {}))
    assert len(run.sent) == 1
    path.write_text("x\n")  # somebody was faster than the operator's Enter
    run.go()
    assert seen == [[], ["1"], ["x"], ["1"]]
    assert len(run.sent) == 2


def test_changes_are_detected_as_pyinfra_does(make_run, tmp_path):
    path = tmp_path / "there"
    path.write_text("x\n")
    operations = [(str(path), "x"), (str(tmp_path / "missing"), "x"), (str(path), "y")]
    run = make_run(check_for_changes=True)
    run.add(*((write, (*one, []), {"name": one[1]}) for one in operations))
    stock = make_run(check_for_changes=True)
    stock.state.set_stage(StateStage.Prepare)
    with ctx_state.use(stock.state), ctx_host.use(stock.local):
        for one in operations:
            write(*one, [], name=one[1])

    def counts(state):
        meta = state.meta[state.inventory.get_host("@local")]
        changing = [one.operation_meta._maybe_is_change for one in state.ops[next(iter(state.ops))].values()]
        return meta.ops, meta.ops_change, meta.ops_no_change, changing

    assert counts(run.state) == counts(stock.state) == (3, 2, 1, [False, True, True])
    assert (len(run.sent), len(stock.sent)) == (1, 3)


def test_an_operation_that_cannot_tell_yet_is_asked_at_its_turn(make_run):
    run, seen, ready = make_run(), [], []

    @operation()
    def becomes_ready():
        seen.append(host.get_fact(Said, words="echo first"))
        ready.append(True)
        yield StringCommand("true")

    @operation()
    def needs_it():
        seen.append(host.get_fact(Said, words=f"echo {['late'][len(ready) - 1]}" if ready else 1 / 0))
        return
        yield

    run.add((becomes_ready, (), {}), (needs_it, (), {}))
    run.go()
    assert seen == [["first"], ["late"]]


def test_facts_with_other_arguments_get_their_own_environment(make_run):
    run, seen = make_run(), []
    for value, number in (("a", 1), ("b", 2), ("a", 3), ("b", 4), ("a", 1)):
        run.add((ask, (seen, f"echo $WHO {number}"), {"_env": {"WHO": value}}))
    run.go()
    assert seen == [["a 1"], ["b 2"], ["a 3"], ["b 4"], ["a 1"]]
    assert len(run.sent) == 2, "one command for each environment"


def test_a_fact_that_fails_fails_its_operation_only_at_its_turn(make_run, tmp_path):
    run, seen = make_run(), []
    run.add((ask, (seen, "echo out; echo err >&2; exit 3"), {"_ignore_errors": True}), (ask, (seen, "echo 1"), {}))
    run.go()
    assert seen == [[], ["1"]]
    assert len(run.sent) == 1


LINES = st.text(alphabet=st.sampled_from("ab \n\t'\"\\$%-"), max_size=30)


@settings(max_examples=int(20 * float(os.environ.get("LETTABOX_TEST_SCALE") or 1)), deadline=None)
@given(st.lists(st.tuples(LINES, LINES, st.integers(0, 3)), min_size=2, max_size=5))
def test_every_answer_is_the_one_it_would_be_alone(answers):
    state = State(Inventory((["@local"], {})), Config(), check_for_changes=False)
    connect_all(state)
    local = state.inventory.get_host("@local")
    alone = local.run_shell_command
    questions = [
        read_ahead._Wanted(f"printf %s {shlex.quote(out)}; printf %s {shlex.quote(err)} >&2; exit {code}", {})
        for out, err, code in answers
    ]
    reader = read_ahead._Reader(local)
    reader._ask(questions)
    for question in questions:
        done, output = reader.known[question.key]
        expected_done, expected = alone(question.command)
        assert done == expected_done
        assert output.stdout_lines == expected.stdout_lines
        assert output.stderr_lines == expected.stderr_lines
