"""`make models-lock`: ask the hub for revision, size and hash of every declared model, and write them down.

An entry that fits what is declared stays as it is; `--update` reads the branch main of every repository anew. What the
hub does not tell stays empty. Exit codes: 0 all are locked, 1 not all, 4 wrong settings.
"""

import argparse
import difflib
import sys
from dataclasses import dataclass, field
from pathlib import Path

from files.lettabox.files import write
from inventory import environment
from inventory.hub import Hub, HubError, RemoteFile, UnreachableError
from inventory.load import SettingsError, find, load
from inventory.models import Entry, lock_path, read_lock, stale, to_text
from inventory.schema import Model, Models

USAGE = 4


@dataclass
class Result:
    """What became of one model: `state` for the table, `why` where it is not locked."""

    name: str
    state: str
    entry: Entry | None = None
    why: str = ""


@dataclass
class _Asked:
    """A hub that is asked once for each thing, and not again once it does not answer."""

    hub: Hub
    commits: dict[str, str | HubError] = field(default_factory=dict)
    trees: dict[tuple[str, str], dict[str, RemoteFile] | HubError] = field(default_factory=dict)
    gone: UnreachableError | None = None

    def commit(self, repository: str) -> str:
        return self._once(self.commits, repository, lambda: self.hub.commit(repository))

    def files(self, repository: str, revision: str) -> dict[str, RemoteFile]:
        return self._once(self.trees, (repository, revision), lambda: self.hub.files(repository, revision))

    def _once(self, known, key, ask):
        if self.gone:
            raise self.gone
        if key not in known:
            try:
                known[key] = ask()
            except HubError as error:
                known[key] = error
                if isinstance(error, UnreachableError):
                    self.gone = error
        if isinstance(known[key], HubError):
            raise known[key]
        return known[key]


def lock(told: Models, old: dict[str, Entry], hub: Hub, update: bool) -> list[Result]:
    """What is to be known of every declared model, from the settings, the old lock and the hub."""
    asked = _Asked(hub)
    return [_one(name, one, old.get(name), asked, update) for name, one in told.declared.items()]


def _one(name: str, one: Model, before: Entry | None, asked: _Asked, update: bool) -> Result:
    if one.locked:
        return Result(name, "in the settings")
    fits = before is not None and not stale(one, before)
    if fits and not (update and not one.revision):
        return Result(name, "as before", before)
    try:
        entry = _ask(one, asked)
    except HubError as error:
        return Result(name, "NOT UPDATED" if fits else "NOT LOCKED", before if fits else None, str(error))
    return Result(name, "locked" if before is None else "as before" if entry == before else "changed", entry)


def _ask(one: Model, asked: _Asked) -> Entry:
    revision = one.revision or asked.commit(one.repository)
    files = asked.files(one.repository, revision)
    found = files.get(one.file)
    if found is None:
        near = difflib.get_close_matches(one.file, files, n=3)
        there = f"; there are {', '.join(near)}" if near else ""
        raise HubError(f"{one.repository} has no file {one.file} at revision {revision[:12]}{there}")
    if not found.size:
        raise HubError(f"{one.file} of {one.repository} is empty")
    sha256 = found.sha256 or asked.hub.sha256(one.repository, revision, one.file, found.size)
    for what, mine, theirs in (("sha256", one.sha256, sha256), ("size", one.size, found.size)):
        if mine and mine != theirs:
            raise HubError(f"the settings say {what} {mine} of {one.file}, the hub {theirs}; mend or remove yours")
    return Entry(repository=one.repository, file=one.file, revision=revision, sha256=sha256, size=found.size)


def table(told: Models, results: list[Result]) -> str:
    """The results for people."""
    declared = told.declared
    width = max(len(one.name) for one in results)
    rows = [f"{'model':<{width}}  {'revision':<12}  {'size':>9}  {'sha256':<12}  state"]
    for one in results:
        known = one.entry or declared[one.name]
        size = f"{known.size / 1e9:.3f} GB" if known.size else "-"
        state = one.state + (f": {one.why}" if one.why else "")
        revision, sha256 = known.revision[:12] or "-", known.sha256[:12] or "-"
        rows += [f"{one.name:<{width}}  {revision:<12}  {size:>9}  {sha256:<12}  {state}"]
    return "\n".join(rows)


def main() -> int:
    """Lock what is declared, print the table, return the exit code."""
    parser = argparse.ArgumentParser(prog="make models-lock", description="Lock the declared models.")
    parser.add_argument("--update", action="store_true", help="read the branch main of every repository anew")
    update = parser.parse_args().update
    try:
        file = find()
        told = load(file).settings.models
        path = lock_path(file)
        old = read_lock(path)
        token = environment.value(told.token) if told.token else None
    except (SettingsError, ValueError) as error:
        print(error, file=sys.stderr)
        return USAGE
    if not told.declared:
        print(f"{file} declares no models: nothing to lock")
        return 0
    results = lock(told, old, Hub(told.endpoint, token, told.token), update)
    print(table(told, results))
    new = {one.name: one.entry for one in results if one.entry}
    if not _save(path, old, new):
        return 1
    failed = [one.name for one in results if one.why]
    if failed:
        print(f"not locked, or not as asked: {', '.join(failed)}; the others are in {path}", file=sys.stderr)
    return 1 if failed else 0


def _save(path: Path, old: dict[str, Entry], new: dict[str, Entry]) -> bool:
    """Write the lock where it changed; say what was done. False when it cannot be written."""
    if new == old:
        print(f"{path} stays as it is")
        return True
    try:
        write(path, to_text(new))
    except OSError as error:
        print(f"{path}: cannot be written: {error.strerror}", file=sys.stderr)
        return False
    print(f"{path} written: {len(new)} models")
    return True


if __name__ == "__main__":
    sys.exit(main())
