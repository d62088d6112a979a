"""How the crew is: one screen."""

from datetime import UTC, datetime
from typing import Any

from lettabox import crew_apply, crew_memory, crew_plan, crew_tool_source
from lettabox.api import Api
from lettabox.crew_plan import SLEEPTIME
from lettabox.errors import FAILED, OK, UNHEALTHY

QUEUE = "production_queue"


def status() -> int:
    """Print it; return OK, FAILED where something is not as declared, or UNHEALTHY where embeddings do not work.

    Raises LettaboxError where no crew was set up, or Letta does not answer.
    """
    document, api = crew_apply.stored(), Api()
    now = crew_apply.look()
    sources = crew_tool_source.digests()
    changes = crew_plan.differences(document, now, sources)
    there = [role for role in crew_plan.members(document) if role in now["agents"]]
    broken = crew_apply.broken_embeddings(api, now, there)
    blocks = {label: api.get(f"/v1/blocks/{one['id']}")["value"] for label, one in now["blocks"].items()}
    if broken:
        verdict, code = "unhealthy: see embedding", UNHEALTHY
    elif changes:
        verdict, code = f"not as declared: {len(changes)} to change (see: make crew-plan, then: make crew)", FAILED
    else:
        verdict, code = "as declared", OK
    rows = [("crew", verdict)]
    if QUEUE in blocks:
        rows.append(("queue", progress(blocks[QUEUE])))
    rows += [("embedding", line) for line in broken or ["answers"]]
    rows += [("note", line) for line in crew_plan.notes(document, now, sources)]
    print("\n".join(f"{key:<11}{value}" for key, value in rows), end="\n\n")
    print(f"{'agent':<21}{'messages':<10}{'last run':<13}{'model':<28}{'id':<44}in the background")
    for role, one in now["agents"].items():
        row = api.get(f"/v1/agents/{one['id']}", include_relationships="tags")
        count, ran = len(row["message_ids"] or []), _ago(row["last_run_completion"])
        cells = f"{role:<21}{count:<10}{ran:<13}{one['model'] or '-':<28}{one['id']:<44}"
        print(cells + _background(role, now))
    print(f"\n{'block':<21}{'characters':<18}{'updated':<13}problems")
    for label, one in now["blocks"].items():
        updated, problems = _read(label, blocks[label])
        size = f"{one['length']} of {one['limit']}"
        print(f"{label:<21}{size:<18}{updated:<13}{problems}")
    return code


def progress(text: str) -> str:
    """How far the batch is, by the text of the block."""
    fields, _, _ = crew_memory.read(QUEUE, text)
    batch = str(fields["BATCH_ID"])
    pending, failed = fields["PENDING_VIDEOS"], fields["FAILED_RETRIES"]
    working = 0 if crew_memory.is_nothing(fields["IN_PROGRESS"]) else 1
    if crew_memory.is_nothing(batch) and not pending and not working:
        return "no batch yet"
    number = batch.partition(" ")[0]  # its name may stand behind it
    lost = [one for one in failed if crew_memory.item(one)["id"].startswith(f"{number}-")]
    said = (
        f"batch {batch}: {fields['BATCH_COMPLETE']} of {fields['BATCH_TOTAL']} done, {working} in progress, "
        f"{len(pending)} pending, {len(lost)} failed"
    )
    return f"{said} ({fields['QUEUE_STATUS']})"


def _background(role: str, now: dict[str, Any]) -> str:
    group, other = now["agents"][role]["group"], now["agents"].get(role + SLEEPTIME)
    if not other:
        return ""
    if not (group and other["id"] in group["members"] and now["agents"][role]["sleeptime"]):
        return "off"
    return f"{role + SLEEPTIME}, every {group['frequency']} turns"


def _read(label: str, text: str) -> tuple[str, str]:
    """(when a block was last written, what its reader says)."""
    if label not in crew_memory.LABELS:
        return "-", "-"
    fields, _, problems = crew_memory.read(label, text)
    more = f" and {len(problems) - 1} more (make crew-repair)" if len(problems) > 1 else ""
    return _ago(fields["UPDATED_AT"]), f"{problems[0]}{more}" if problems else "none"


def _ago(time: str | None) -> str:
    """How long ago a time was, for people."""
    if not time or time == crew_memory.NEVER:
        return "-"
    then = datetime.fromisoformat(time.replace("Z", "+00:00"))
    seconds = (datetime.now(UTC) - (then if then.tzinfo else then.replace(tzinfo=UTC))).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{max(0, seconds):.0f} s ago"
