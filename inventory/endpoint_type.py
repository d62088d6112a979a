"""The values an agent's `model_endpoint_type` may have."""

import re

# What the patched image always accepts besides Letta's own.
ALWAYS = "claude-max-router"
# Letta 0.16.8: LLMConfig.model_endpoint_type (letta/schemas/llm_config.py) and ProviderType (schemas/enums.py).
# fmt: off
LETTAS_OWN = frozenset((
    "anthropic", "azure", "baseten", "bedrock", "cerebras", "chatgpt_oauth", "deepseek", "fireworks",
    "google_ai", "google_vertex", "groq", "hugging-face", "koboldcpp", "letta", "llamacpp", "lmstudio",
    "lmstudio-chatcompletions", "lmstudio-legacy", "lmstudio_openai", "minimax", "mistral", "ollama", "openai",
    "openrouter", "sglang", "together", "vllm", "webui", "webui-legacy", "xai", "zai", "zai_coding",
))
# fmt: on


def name(value: str) -> str:
    """Return `value` if it may name a further endpoint type; ValueError with the fix if not."""
    if value in LETTAS_OWN:
        raise ValueError("Letta has this type itself, with a client of its own; remove it from the list")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,49}", value):
        raise ValueError("write a name of lower-case letters, digits, - and _, at most 50, like my-router")
    return value
