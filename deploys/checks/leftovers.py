"""What older set-ups of Letta left: volumes with agents in them, folders of its clients."""

import re
import time
from collections.abc import Iterator

from deploys import layout
from deploys.finding import Finding, Severity
from facts.environment import Leftover
from facts.fitness import HostState
from inventory.schema import Settings

KINDS = {
    "named": "by its name",
    "database": "it holds a Postgres with a database named letta",
    "home": "it holds the home folder of a Letta server",
    "sqlite": "it holds sqlite.db, the agents of a Letta server without Postgres",
}


def findings(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    """Leftovers are told; data of ours that the wanted Postgres cannot read is fatal."""
    yield from _our_data(name, now, settings)
    for one in now.environment.leftovers:
        if _key(one) not in settings.acknowledged:
            yield _leftover(name, one, settings)
    for folder, inside in sorted(now.environment.dot_letta.items()):
        yield _folder(name, folder, inside)


def _our_data(name: str, now: HostState, settings: Settings) -> Iterator[Finding]:
    wrote = now.environment.postgres_data
    wanted = postgres_major(settings.postgres.image)
    if wrote and wanted and wrote != wanted:
        yield Finding(
            name,
            "postgres-version",
            f"the data in volume {layout.VOLUMES[0]} was written by Postgres {wrote}, "
            f"and {settings.postgres.image} is Postgres {wanted}",
            f"set settings.postgres.image to one of Postgres {wrote}, such as pgvector/pgvector:0.8.0-pg{wrote}",
            cause="Postgres never reads the files of another major version; it would not start",
        )


def postgres_major(image: str) -> str:
    """The major version that an image's tag tells (`pgvector/pgvector:0.8.0-pg17`, `postgres:17.2`), or ""."""
    name, _, tag = image.rpartition(":")
    found = re.search(r"(?:^|-)pg(\d+)", tag) or (name.endswith("postgres") and re.match(r"(\d+)", tag))
    return found[1] if found else ""


def _key(one: Leftover) -> str:
    """What an acknowledgement of this volume says, "" while that cannot be told: made anew, it is another one."""
    return f"volume:{one.name}@{one.created}" if one.created else ""


def _leftover(name: str, one: Leftover, settings: Settings) -> Finding:
    size = "" if one.size is None else f", {one.size / 1000**2:.0f} MB"
    since = f", made {one.created.partition('T')[0]}" if one.created else ""
    project = f", by Compose project {one.project}" if one.project else ""
    written = time.strftime("%Y-%m-%d", time.gmtime(one.last_written))
    remove = f"only if nothing in it is needed: docker volume rm {one.name}"
    look = f"look inside: sudo find {one.path} -maxdepth 2"
    if one.postgres:
        image = settings.postgres.image
        if postgres_major(image) != one.postgres:
            image = f"pgvector/pgvector:pg{one.postgres}"
        look = (
            "count the agents in it: echo 'select count(*) from agents' | sudo docker run --rm -i --network none "
            f"--user postgres -v {one.name}:/var/lib/postgresql/data {image} "
            "postgres --single -D /var/lib/postgresql/data letta"
        )
    key = _key(one)
    told_no_more = f"; to be told no more: `acknowledged: ['{key}']` in the settings" if key else ""
    return Finding(
        name,
        "volume-leftover",
        f"volume {one.name} looks like one of an older Letta: {KINDS[one.kind]}"
        f"{size}{since}{project}, last written {written}",
        f"{look}; {remove}{told_no_more}",
        cause="nothing uses it, and a deploy neither touches it nor takes its agents over",
        severity=Severity.WARNING,
    )


def _folder(name: str, folder: str, inside: list[str]) -> Finding:
    cause = "a client of Letta that is started there takes its agent and its server from it, not from yours"
    if "sqlite.db" in inside:
        cause = "its sqlite.db holds the agents of a Letta server that ran there without Postgres"
    return Finding(
        name,
        "dot-letta",
        f"{folder} is there" + (f", with {', '.join(inside)}" if inside else ", empty"),
        f"if nobody needs it: mv {folder} {folder}.old",
        cause=cause,
        severity=Severity.WARNING,
    )
