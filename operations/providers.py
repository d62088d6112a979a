"""Letta's model providers, as the settings declare them."""

import json
from collections.abc import Generator
from typing import Any

from pyinfra import host, logger, state
from pyinfra.api import StringCommand, operation

from facts.box_state import BoxState
from inventory import environment
from inventory.schema import Provider
from operations.compose import LoudCommand

COMMAND = "/usr/local/bin/lettabox"


def changed_secrets(variables: dict[str, str], there: dict[str, str]) -> dict[str, str]:
    """{secret: value} of what the box lacks or has otherwise, of `variables` {secret: variable of the environment}.

    `there` holds the box's fingerprints. A variable that is not set changes nothing: another shell deployed the key.
    """
    values = {name: environment.value(variable) for name, variable in variables.items()}
    return {
        name: value
        for name, value in values.items()
        if value is not None and environment.fingerprint(name, value) != there.get(name)
    }


def store(values: dict[str, str]) -> StringCommand:
    """The command that stores secrets; the values travel on standard input, which pyinfra never prints."""
    return StringCommand(f"{COMMAND} secrets put", _stdin=json.dumps(values))


@operation()
def converged(providers: dict[str, Provider]) -> Generator[StringCommand, None, None]:
    """Have these providers in Letta, with the keys of the operator's environment; none is ever removed."""
    now = host.get_fact(BoxState, module="provider_state")
    keys, rows = (now["keys"], now["rows"]) if now else ({}, {})
    news = changed_secrets({f"provider-{name}": one.key for name, one in providers.items() if one.key}, keys)
    reasons = {name: _difference(name, one, keys, rows.get(name)) for name, one in providers.items()}
    reasons |= {name: "a new key" for name in providers if f"provider-{name}" in news}
    reasons = {name: why for name, why in reasons.items() if why}
    if not reasons:
        host.noop(f"{len(providers)} model providers are as they should be")
        return
    if state.config.DIFF:
        for name, why in reasons.items():
            host.log(f"Will set provider {name}: {why}", logger.info)
    if news:
        yield store(news)
    yield LoudCommand(f"{COMMAND} letta providers --deploying")


def _difference(name: str, want: Provider, keys: dict[str, str], row: dict[str, Any] | None) -> str:
    """How a provider differs from what is wanted; "" when it does not."""
    if row is None:
        return "it does not exist"
    if row["type"] != want.type:
        return f"type {row['type']} -> {want.type}"
    if row["base_url"] != want.base_url:
        return f"base_url {row['base_url']} -> {want.base_url}"
    secret = f"provider-{name}"
    given = keys.get(secret) if want.key else environment.fingerprint(secret, "")
    if not row["as_left"] or row["key"] != given:
        return "its key in Letta is another"
    if not row["answered"]:
        return "it has never answered"
    return ""
