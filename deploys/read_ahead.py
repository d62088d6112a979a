"""Read ahead: the facts that the coming operations need, in one command a host instead of one a fact.

Over SSH every command costs two round trips, and pyinfra sends one for every fact. An operation asks its
fact first and yields what must change after that. So before an operation runs, it and all later ones are
begun and left again where they ask: their questions go to the host in one command, and their facts are
answered from there until an operation changes something. Operations and facts know nothing of it, and
neither need a new step: one that asks twice, or nothing, only costs a command more.
"""

import shlex
import uuid
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

from paramiko import SSHException
from pyinfra import state
from pyinfra.api import Host, StringCommand
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.output import echo
from pyinfra.api.state import BaseStateCallback, State, StateOperationHostData
from pyinfra.connectors.util import CommandOutput, OutputLine
from pyinfra.context import ctx_host

from deploys import lock

Answer = tuple[bool, CommandOutput]
# What belongs to one command and cannot be shared by those of a batch, with its value where nobody set it.
ALONE = {"_success_exit_codes": [0], "_timeout": None, "_get_pty": False, "_stdin": None}


@contextmanager
def operations() -> Iterator[None]:
    """Have the operations that are added inside read ahead.

    Without -y pyinfra looks for changes while it adds an operation. That is done at the end
    instead, when all questions are known, and with the same result.
    """
    if _run not in state.callback_handlers:
        # deploy.py runs once for each host; the run has one state.
        state.add_callback_handler(_run)
        _run.detects_changes, state.check_for_changes = state.check_for_changes, False
    host = ctx_host.get()
    if host not in _run.readers:
        _run.readers[host] = _Reader(host)
    reader = _run.readers[host]
    yield
    if _run.detects_changes:
        reader.detect_changes()
    # Somebody may read the table of changes now, for as long as they like.
    reader.forget()


class _Wanted(BaseException):
    """Carries a question out of the operation that asks it. No Exception: nothing may take it for a failure."""

    def __init__(self, command: str, arguments: dict[str, Any]) -> None:
        super().__init__(command)
        self.command = command
        self.arguments = arguments

    @property
    def key(self) -> str:
        return _key(self.command, self.arguments)


def _key(command: str, arguments: dict[str, Any]) -> str:
    return f"{command}\0{sorted(arguments.items())}"


class _Reader:
    """Stands between one host and its facts."""

    def __init__(self, one: Host) -> None:
        self.host = one
        self.known: dict[str, Answer] = {}
        self.asked: set[str] = set()  # operations whose questions are among the known
        self.in_fact = False
        self.looking = False  # for what an operation asks, not for the answer
        self.changed = False  # the operation before this one changed something
        self._get_fact, self._run = one.get_fact, one.run_shell_command
        one.get_fact, one.run_shell_command = self.get_fact, self.run_shell_command

    # What the host does instead of its own

    def get_fact(self, *args: Any, **kwargs: Any) -> Any:
        before, self.in_fact = self.in_fact, True  # a fact may ask another first
        try:
            return self._get_fact(*args, **kwargs)
        finally:
            self.in_fact = before

    def run_shell_command(
        self, command: Any, print_output: bool = False, print_input: bool = False, **arguments: Any
    ) -> Answer:
        if not self.in_fact:
            command = lock.fenced(self.host, command)
            return self._run(command, print_output=print_output, print_input=print_input, **arguments)
        text = command.get_raw_value() if isinstance(command, StringCommand) else command
        if self.looking:
            raise _Wanted(text, arguments)
        key = _key(text, arguments)
        if key not in self.known:
            self.known[key] = self._run(command, print_output=print_output, print_input=print_input, **arguments)
        elif print_input or print_output:
            self._show(text if print_input else "", self.known[key][1] if print_output else ())
        return self.known[key]

    def _show(self, command: str, output: Any) -> None:
        if command:
            echo(f"{self.host.print_prefix}>>> {command}", err=True)
        for line in output:
            echo(f"{self.host.print_prefix}{line.line}", err=True)

    # Reading ahead

    def begin(self, op_hash: str) -> None:
        """Before an operation of the run: read for it, and for all that follow if nothing is changing."""
        if op_hash not in self.asked:
            coming = state.get_op_order()
            coming = coming[coming.index(op_hash) :]
            # In a first deploy each operation changes something: what the others ask would be read in vain.
            self._read(coming[:1] if self.changed else coming)
        data = state.ops[self.host][op_hash]
        data.command_generator = self._watched(data.command_generator)
        self.changed = False

    def detect_changes(self) -> None:
        """Do what pyinfra does while it adds an operation: find out whether it would change something."""
        hashes = [op_hash for op_hash in self.host.op_hash_order if op_hash in state.ops[self.host]]
        self._read(hashes)
        meta = state.get_meta_for_host(self.host)
        for op_hash in hashes:
            if state.ops[self.host][op_hash].operation_meta.will_change:
                meta.ops_change += 1
                meta.ops_no_change -= 1

    def forget(self) -> None:
        self.known.clear()
        self.asked.clear()

    def _watched(self, generator: Any) -> Any:
        def commands() -> Generator[PyinfraCommand, None, None]:
            for command in generator():
                self.changed = True
                self.forget()
                yield command
                self.forget()

        return commands

    def _read(self, hashes: list[str]) -> None:
        """Ask the host what these operations will ask first."""
        there = state.ops[self.host]
        self.asked.update(hashes)
        batches: dict[str, dict[str, _Wanted]] = {}
        for wanted in filter(None, (self._first_question(there[one]) for one in hashes if one in there)):
            if all(wanted.arguments.get(name) in (None, usual) for name, usual in ALONE.items()):
                batches.setdefault(_key("", wanted.arguments), {})[wanted.command] = wanted
        for batch in batches.values():
            if len(batch) > 1:
                self._ask(list(batch.values()))

    def _first_question(self, data: StateOperationHostData) -> _Wanted | None:
        self.looking = True
        commands = data.command_generator()
        try:
            next(commands, None)
        except _Wanted as wanted:
            return wanted
        except Exception:
            return None  # it depends on what is still to come, or it is wrong: its own turn will tell
        finally:
            self.looking = False
            commands.close()
        return None

    def _ask(self, questions: list[_Wanted]) -> None:
        arguments = questions[0].arguments
        shell = arguments.get("_shell_executable") or "sh"
        end = f"end of answer {uuid.uuid4().hex}"
        # All at once, each in a shell of its own. The script comes on standard input, which has no limit.
        script = ["d=$(mktemp -d) && cd $d || exit"]
        script += [
            f"{{ {shell} -c {shlex.quote(one.command)} < /dev/null > {i}.out 2> {i}.err; echo $? > {i}.code; }} &"
            for i, one in enumerate(questions)
        ]
        script += [
            f"wait; i=0; while [ $i -lt {len(questions)} ]; do",
            f"cat $i.out; printf '\\n{end} '; cat $i.code; cat $i.err >&2; printf '\\n{end}\\n' >&2",
            "i=$((i + 1)); done; cd /; rm -r $d",
        ]
        try:
            _, output = self._run(StringCommand(shell), **(arguments | {"_stdin": "\n".join(script)}))
        except (TimeoutError, OSError, SSHException):
            return  # each operation asks by itself then, and pyinfra tells of the trouble as ever
        stdout, stderr = _split(output.stdout_lines, end), _split(output.stderr_lines, end)
        for question, (out, code), (err, _) in zip(questions, stdout, stderr, strict=False):
            lines = [OutputLine("stdout", line) for line in out] + [OutputLine("stderr", line) for line in err]
            self.known[question.key] = (code == "0", CommandOutput(lines))


def _split(lines: list[str], end: str) -> Iterator[tuple[list[str], str]]:
    """(lines, what follows the mark) for each complete answer in the output of a batch."""
    answer: list[str] = []
    for line in lines:
        if not line.startswith(end):
            answer.append(line)
            continue
        # The mark begins with a newline: an empty line, unless the answer's last line had no end.
        yield (answer[:-1] if answer and not answer[-1] else answer), line.removeprefix(end).strip()
        answer = []


class _Run(BaseStateCallback):
    """The readers of a run, told by pyinfra when an operation begins."""

    def __init__(self) -> None:
        self.readers: dict[Host, _Reader] = {}
        self.detects_changes = False

    def operation_host_start(self, state: State, host: Host, op_hash: str) -> None:
        # A nested operation runs while its parent changes things.
        if host in self.readers and host.executing_op_hash is None and op_hash in state.ops[host]:
            self.readers[host].begin(op_hash)

    def operation_host_retry(self, state: State, host: Host, op_hash: str, retry_num: int, max_retries: int) -> None:
        if host in self.readers:
            self.readers[host].forget()


_run = _Run()
