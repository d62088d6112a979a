"""The agents' context windows, held against settings.letta.context_window_limit.

Each agent keeps the window it was created with. Up to 0.16.5 Letta's default was 32,000 tokens, and 30,000 is what
it assumes of a model it does not know, so such agents are compacted at 27,000 to 32,000 tokens whatever their model
can take: "Context window exceeded (current: 176539, threshold: 32000)".
"""

from dataclasses import dataclass
from typing import Any

from lettabox import agents, database
from lettabox.api import Api
from lettabox.errors import FAILED, OK, USAGE, LettaboxError
from lettabox.settings import settings

OLD_DEFAULT = 32_000
# LLM_MAX_CONTEXT_WINDOW["DEFAULT"] in letta/constants.py: a provider's model of this size is one of unknown size.
UNKNOWN = 30_000


@dataclass(frozen=True)
class Finding:
    agent: dict[str, Any]
    wanted: int  # tokens

    @property
    def window(self) -> int:
        return self.agent["llm_config"]["context_window"]

    @property
    def small(self) -> bool:
        return self.window < self.wanted


def findings(found: list[dict[str, Any]]) -> list[Finding]:
    """Return the agents among `found` with one of Letta's small defaults, or with more than they may have.

    An agent may have what the settings say, or what its provider says of its model where that is less.
    """
    limit = settings()["letta"]["context_window_limit"]
    known = _models() if found else {}
    all_ = [Finding(one, min(limit, known.get(one["llm_config"].get("handle"), limit))) for one in found]
    return [one for one in all_ if one.window > one.wanted or one.window < min(one.wanted, OLD_DEFAULT + 1)]


def _models() -> dict[str, int]:
    """Context window by handle, of the models whose provider told it."""
    if not database.columns(["provider_models"]):
        return {}
    query = (
        "SELECT handle, min(max_context_window) AS tokens FROM provider_models "
        f"WHERE model_type = 'llm' AND NOT is_deleted AND max_context_window <> {UNKNOWN} GROUP BY 1"
    )
    return {one["handle"]: one["tokens"] for one in database.rows(query)}


def note(found: list[Finding]) -> str:
    """One line about agents with a window that is too small, "" if there is none."""
    small = [one for one in found if one.small]
    if not small:
        return ""
    names = ", ".join(one.agent["name"] for one in small[:5])
    return (
        f"compacted at {OLD_DEFAULT:,} tokens or earlier, {len(small)} of the agents: {names}"
        f"{', …' if len(small) > 5 else ''} (make letta-context shows them, FIX=1 raises them)"
    )


def context(fix: bool, lower: bool, only: tuple[str, ...]) -> int:
    """Print the agents whose window should be another one, and set it if `fix`; return OK or FAILED if some stay.

    `only` are names or ids of agents. Windows are lowered only with `lower`, and no agent is changed while it
    works: its run would go on with the old window.
    """
    if lower and not fix:
        raise LettaboxError("--lower changes nothing by itself; add --fix", USAGE)
    api = Api()
    found = agents.check(api)
    if unknown := [one for one in only if not any(one in (agent["id"], agent["name"]) for agent in found)]:
        raise LettaboxError(f"there is no agent {', '.join(unknown)}", USAGE)
    wrong = [one for one in findings(found) if not only or {one.agent["id"], one.agent["name"]} & set(only)]
    left = 0
    for one in wrong:
        line = f"{one.agent['name']} ({one.agent['id']}): {one.window:,} tokens, {one.wanted:,} wanted"
        if not fix:
            left += 1
        elif not one.small and not lower:
            line, left = f"{line}; left: it would be lowered (--lower)", left + 1
        elif api.get("/v1/runs/", agent_id=one.agent["id"], active="true", limit=1):
            line, left = f"{line}; left: it is at work, try again later", left + 1
        else:
            _set(api, one)
            line += "; set"
        print(line, flush=True)
    if not wrong:
        print(f"{len(found)} agents, none with a window that should be another one")
    return FAILED if left else OK


def _set(api: Api, one: Finding) -> None:
    # Not the field context_window_limit: with it Letta makes the whole model configuration anew from the handle,
    # and fails where there is none.
    config = one.agent["llm_config"] | {"context_window": one.wanted}
    answer = api.patch(f"/v1/agents/{one.agent['id']}", {"llm_config": config})
    if answer["llm_config"] != config:
        raise LettaboxError(f"{one.agent['name']}: Letta answered with another configuration than it was given")
