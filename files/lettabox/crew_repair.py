"""Bring the texts of the crew's blocks to their canonical form: nothing is lost, and no agent's change is undone."""

from datetime import UTC, datetime

from lettabox import crew_memory, crew_record, files, paths
from lettabox.api import Api, Refused
from lettabox.errors import BUSY, FAILED, OK, USAGE, LettaboxError

TIMES = 10  # that agents may write to a block while it is repaired


def repair(dry_run: bool) -> int:
    """Print what is wrong with each block, and repair it unless `dry_run`; return an exit code.

    Raises LettaboxError where there is no crew, Letta does not answer, or agents write to a block all the time.
    """
    try:
        blocks = crew_record.read().blocks
    except ValueError as error:
        raise LettaboxError(f"{error}; remove that file, and blocks are found again by their tags: make crew") from None
    if not blocks:
        raise LettaboxError("no crew was set up; set settings.crew.model, then: make deploy", USAGE)
    api, code, wrong = Api(), OK, 0
    for label, id in blocks.items():
        if label not in crew_memory.LABELS:
            continue  # one of the operator's own, whose fields are not known
        try:
            problems, kept = _repair(api, label, id, dry_run)
        except Refused as error:
            if error.status != 404:
                raise
            print(f"{label}: {id} is gone from Letta; make crew has it again, empty", flush=True)
            code = FAILED
            continue
        if problems:
            wrong += 1
            done = "to repair" if dry_run else f"repaired, the text as it was is in {kept}"
            print("\n  ".join([f"{label}: {done}", *problems]), flush=True)
    if not wrong and code == OK:
        print("nothing to repair")
    return code


def _repair(api: Api, label: str, id: str, dry_run: bool) -> tuple[list[str], str]:
    """(what was wrong with a block, the file that has its text as it was)."""
    for _ in range(TIMES):
        before = api.get(f"/v1/blocks/{id}")["value"]
        text, problems = crew_memory.repaired(label, before, crew_memory.stamp())
        if not problems or dry_run:
            return problems, ""
        kept = _keep(label, before)
        try:
            api.patch(f"/v1/blocks/{id}", {"value": text, "if_value": before})
        except Refused as error:
            if error.status != 409:
                raise
            continue  # an agent has written to it meanwhile
        return problems, kept
    raise LettaboxError(f"{label}: agents write to it all the time; try again: make crew-repair", BUSY)


def _keep(label: str, text: str) -> str:
    paths.CREW_TEXTS.mkdir(mode=0o700, exist_ok=True)
    file = paths.CREW_TEXTS / f"{label}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}.txt"
    files.write(file, text, mode=0o600)
    return str(file)
