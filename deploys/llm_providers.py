"""Letta's model providers, set up through its API once the stack is healthy."""

from pyinfra import host
from pyinfra.api import deploy

from operations import providers


@deploy("Model providers")
def llm_providers() -> None:
    if host.data.settings.providers:
        providers.converged(name="Declared providers", providers=host.data.settings.providers)
