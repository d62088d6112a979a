"""Letta's model providers: as the settings declare them, by the API, with their model lists read anew.

Facts about Letta 0.16.8 that shape this, all seen on the real server:
- A provider that cannot be reached is created all the same, with no models, and a refresh of it answers 200.
  Whether its list was really read shows in `last_synced` alone.
- A PATCH does not read the list anew, and cannot set a value back to nothing or change the type.
- A model that was missing from one list is only marked as deleted. The mark keeps its name taken: it never
  comes back, nor may another provider offer its handle, until the marked row is gone.
"""

import json
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from lettabox import database, files, letta, paths, provider_state, secrets
from lettabox.api import Api
from lettabox.errors import FAILED, OK, UNHEALTHY, LettaboxError

# For a provider without a key: Letta's API demands one, and without one Letta would send the server's own.
NO_KEY = "lettabox-no-key"
SYNC = 90  # seconds Letta gets to read a list: it waits 30 s for an answer, and asks twice
SHOWN = 4  # models named in a line
# What Letta takes every model of an endpoint's list for; the other types choose among them.
TAKES_ALL = ("openai", "vllm")


@dataclass(frozen=True)
class Declared:
    name: str
    type: str
    base_url: str
    key: str = field(repr=False)

    @property
    def hidden(self) -> Callable[[str], str]:
        """Takes the key out of a text."""
        return lambda text: text if self.key == NO_KEY else text.replace(self.key, "***")


@dataclass
class Outcome:
    name: str
    what: str = ""  # created, changed or unchanged
    models: list[str] = field(default_factory=list)  # handles
    warning: str = ""
    failure: str = ""

    def line(self) -> str:
        if self.failure:
            return f"provider {self.name}: FAILED: {self.failure}"
        if self.warning:
            return f"provider {self.name}: {self.what}; WARNING: {self.warning}"
        more = f" and {len(self.models) - SHOWN} more" if len(self.models) > SHOWN else ""
        return f"provider {self.name}: {self.what}, reachable, offers {', '.join(self.models[:SHOWN])}{more}"


def declared() -> list[Declared]:
    """The providers of the settings, with their keys. Raises LettaboxError for a key that the box does not have."""
    found = []
    for name, one in letta.settings().get("providers", {}).items():
        key = NO_KEY
        if one["key"]:
            secret = provider_state.key_name(name)
            if not (paths.SECRETS / secret).is_file():
                raise LettaboxError(
                    f"provider {name} has no key on this box ({paths.SECRETS / secret}); "
                    f"deploy with {one['key']} set in your environment"
                )
            key = secrets.read(secret)
        found.append(Declared(name, one["type"], one["base_url"], key))
    return found


def converge(deploying: bool) -> int:
    """Create and correct the declared providers, have Letta read their lists, and print one line for each.

    Returns OK, or UNHEALTHY when one cannot be reached; `deploying` makes that a warning, for Letta works without.
    Raises LettaboxError when one could not be set. Providers that are not declared are named and left alone.
    """
    wanted, api = declared(), Api()
    now = {row["name"]: row for row in api.all("/v1/providers/")}
    _forget_deleted_models()
    known = provider_state.record()
    with ThreadPoolExecutor(max(len(wanted), 1)) as pool:
        jobs = [pool.submit(_settle, api, one, now.get(one.name), known.get(one.name, {})) for one in wanted]
        outcomes = []
        for job in jobs:
            outcomes.append(job.result())
            print(outcomes[-1].line(), flush=True)
    for name in sorted(set(now) - {one.name for one in wanted}):
        row = now[name]
        print(f"provider {name}: not declared here ({row['provider_type']}, {row['base_url']}), left alone", flush=True)
    after = {row["name"]: row for row in api.all("/v1/providers/")}
    good = [one for one, outcome in zip(wanted, outcomes, strict=True) if not outcome.failure and one.name in after]
    _record({one.name: _left(one, after[one.name]) for one in good})
    if failed := [outcome.name for outcome in outcomes if outcome.failure]:
        raise LettaboxError(f"providers that could not be set: {', '.join(failed)} (see the lines above)", FAILED)
    return UNHEALTHY if not deploying and any(outcome.warning for outcome in outcomes) else OK


def _left(one: Declared, row: dict[str, Any]) -> dict[str, str]:
    return {"key": _fingerprint(one), "stored": provider_state.stored(row)}


def _fingerprint(one: Declared) -> str:
    return secrets.fingerprint(provider_state.key_name(one.name), "" if one.key == NO_KEY else one.key)


def _record(content: dict[str, dict[str, str]]) -> None:
    paths.PROVIDERS.parent.mkdir(parents=True, exist_ok=True)
    files.write(paths.PROVIDERS, json.dumps(content, indent=1, sort_keys=True) + "\n", mode=0o600)


def _settle(api: Api, one: Declared, row: dict[str, Any] | None, known: dict[str, str]) -> Outcome:
    """Bring one provider to what is declared and check it; never raises, the outcome tells."""
    outcome = Outcome(one.name)
    try:
        row = _set(api, one, row, known, outcome)
        synced = row["last_synced"] if outcome.what == "created" else _refreshed(api, row)
        ids, why = listed(one)
        if not synced:
            outcome.warning = one.hidden(
                f"unreachable from letta-server: {why or 'it answers, but Letta cannot use its list of models'}; "
                "agents that use it get no answer; when it is back: make letta-providers"
            )
            return outcome
        outcome.models = models(api, one.name)
        outcome.warning = _missing(api, one, outcome.models, ids)
    except LettaboxError as error:
        outcome.failure = one.hidden(str(error))
    return outcome


def _set(api: Api, one: Declared, row: dict[str, Any] | None, known: dict[str, str], outcome: Outcome) -> dict:
    """Create or correct the row; return it as it is then."""
    values = {"base_url": one.base_url, "api_key": one.key}
    if row and row["provider_type"] != one.type:
        # Letta cannot change a type. Made again under its name it keeps its id, and agents find its key by name.
        api.call("DELETE", f"/v1/providers/{row['id']}")
        row = None
        _forget_deleted_models()
    if row is None:
        outcome.what = "created"
        made = api.call("POST", "/v1/providers/", {"name": one.name, "provider_type": one.type, **values}, SYNC)
        return api.call("GET", f"/v1/providers/{made['id']}")
    as_left = known.get("stored") == provider_state.stored(row) and known.get("key") == _fingerprint(one)
    if as_left and row["base_url"] == one.base_url:
        outcome.what = "unchanged"
        return row
    outcome.what = "changed"
    return api.call("PATCH", f"/v1/providers/{row['id']}", values)


def _refreshed(api: Api, row: dict[str, Any]) -> bool:
    """Have Letta read the list of models; whether it could."""
    after = api.call("PATCH", f"/v1/providers/{row['id']}/refresh", timeout=SYNC)
    return after["last_synced"] not in (None, row["last_synced"])


def models(api: Api, name: str) -> list[str]:
    """Handles of the chat models that Letta has of a provider."""
    return sorted(one["handle"] for one in api.call("GET", "/v1/models/", timeout=SYNC, provider_name=name))


def _missing(api: Api, one: Declared, handles: list[str], ids: list[str]) -> str:
    """What to say when Letta did not take what the endpoint lists; "" when all is well."""
    if not handles and not ids:
        return f"reachable, but it lists no model{_PULL.get(one.type, '')}"
    if not handles:
        return f"reachable, but Letta can use none of its models: {', '.join(ids[:SHOWN])}"
    if one.type not in TAKES_ALL or one.base_url == "https://api.openai.com/v1":
        return ""
    prefix = handles[0].partition("/")[0]
    lost = [f"{prefix}/{id_}" for id_ in ids if f"{prefix}/{id_}" not in handles]
    owners = _owners(api, set(lost)) if lost else {}
    if owners:
        handle, name = next(iter(owners.items()))
        return f"{handle} belongs to provider {name} already: remove that one or this, Letta keeps a handle once"
    return f"Letta did not take {', '.join(lost[:SHOWN])}" if lost else ""


_PULL = {"ollama": "; get one: docker exec letta-ollama ollama pull MODEL, then make letta-providers"}


def _owners(api: Api, handles: set[str]) -> dict[str, str]:
    everything = api.call("GET", "/v1/models/", timeout=SYNC)
    return {one["handle"]: one["provider_name"] for one in everything if one["handle"] in handles}


def _forget_deleted_models() -> None:
    """Remove rows that Letta has marked as deleted: nothing reads them, and they keep models from coming back."""
    database.run("DELETE FROM provider_models WHERE is_deleted;")


# --- the endpoint itself, asked from inside letta-server ---------------------------------------------------


def listed(one: Declared, timeout: int = 15) -> tuple[list[str], str]:
    """(ids of the models that an endpoint lists, why it could not be asked or "").

    Asked with curl inside the server's container: with its network, its names and its proxies. The key is read
    from standard input.
    """
    url, headers = _list_of(one)
    options = [f'url = "{_quoted(url)}"', *(f'header = "{_quoted(header)}"' for header in headers)]
    limits = ["--max-time", str(timeout), "--connect-timeout", "5", "--write-out", r"\n%{http_code}"]
    try:
        done = subprocess.run(
            ["docker", "exec", "-i", "letta-server", "curl", "-sS", *limits, "--config", "-"],
            input="\n".join(options),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout + 10,
        )
    except subprocess.TimeoutExpired:
        return [], f"{url}: no answer in {timeout} s"
    if done.returncode:
        return [], f"{url}: {one.hidden(done.stderr.strip().removeprefix('curl: '))[:300]}"
    body, _, code = done.stdout.rpartition("\n")
    if code != "200":
        return [], f"{url}: HTTP {code}: {one.hidden(' '.join(body.split()))[:300]}"
    try:
        return _ids(json.loads(body)), ""
    except (ValueError, TypeError, KeyError, AttributeError):
        return [], f"{url}: its answer is no list of models: {one.hidden(' '.join(body.split()))[:200]}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _list_of(one: Declared) -> tuple[str, list[str]]:
    """(URL of an endpoint's list of models, headers), as Letta asks it."""
    bearer = f"Authorization: Bearer {one.key}"
    base = one.base_url.rstrip("/")
    match one.type:
        case "anthropic":
            return f"{base}/models?limit=1000", [f"x-api-key: {one.key}", "anthropic-version: 2023-06-01"]
        case "google_ai":
            return f"{base}/v1beta/models", [f"x-goog-api-key: {one.key}"]
        case "ollama":
            return f"{base.removesuffix('/v1')}/api/tags", []
        case "vllm":
            return f"{base.removesuffix('/v1')}/v1/models", []
        case _:
            return f"{base}/models", [bearer]


def _ids(answer: dict[str, Any]) -> list[str]:
    """The models of an answer, in OpenAI's, Anthropic's, Google's or Ollama's form."""
    if "data" in answer:
        return [one["id"] for one in answer["data"]]
    return [one["name"].removeprefix("models/") for one in answer["models"]]


def status() -> list[tuple[str, str]]:
    """[(provider, what is to say of it)] for `letta status`; asks every endpoint, and changes nothing."""
    try:
        wanted, api = declared(), Api()
        rows = {row["name"]: row for row in api.all("/v1/providers/")} if wanted else {}
    except LettaboxError as error:
        return [("providers", str(error))]

    def one_line(one: Declared) -> str:
        if one.name not in rows:
            return "not set up (make deploy)"
        if rows[one.name]["last_synced"] is None:
            return f"unreachable: {listed(one, 8)[1] or 'Letta has not read its models yet (make letta-providers)'}"
        try:
            count = len(models(api, one.name))
        except LettaboxError as error:
            return str(error)
        why = listed(one, 8)[1]
        return f"unreachable: {why}" if why else f"reachable, {count} models"

    with ThreadPoolExecutor(max(len(wanted), 1)) as pool:
        return list(zip([one.name for one in wanted], pool.map(one_line, wanted), strict=True))
