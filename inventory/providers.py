"""Model providers as Letta 0.16.8 knows them: which types work, where they live, which handles they offer.

Source: letta/schemas/providers/*.py (how a type lists its models), letta/llm_api/*_client.py (which key a request
carries) and letta/services/provider_manager.py of that release.
"""

import re
from typing import Any, Literal
from urllib.parse import urlsplit

Type = Literal["openai", "anthropic", "google_ai", "openrouter", "zai", "zai_coding", "ollama", "vllm"]

OPENAI = "https://api.openai.com/v1"
# Names on letta-network of the optional services.
OLLAMA_HOST, ROUTER_HOST = "letta-ollama", "letta-router"
OLLAMA = f"http://{OLLAMA_HOST}:11434"

# Where each type is reached when no base_url is set. Always written out: Letta's PATCH cannot set one back to nothing.
BASE_URLS: dict[str, str] = {
    "openai": OPENAI,
    "anthropic": "https://api.anthropic.com/v1",
    "google_ai": "https://generativelanguage.googleapis.com",
    "openrouter": "https://openrouter.ai/api/v1",
    "zai": "https://api.z.ai/api/paas/v4/",
    "zai_coding": "https://api.z.ai/api/coding/paas/v4/",
    "ollama": OLLAMA,
    "vllm": "",  # the operator's own
}
# Letta sends requests to the vendor whatever the base URL says (anthropic_client.py, google_ai_client.py).
FIXED = ("anthropic", "google_ai")
# Work without a key; vllm lists its models without one even if it is set (schemas/providers/vllm.py).
KEYLESS = ("ollama", "vllm")

_USE_OPENAI = "use type openai with its base_url"
_NO_KEY = "Letta 0.16.8 lists its models with the key but sends requests without it"
# What an operator may write instead of a type -> why not, and what to do.
REFUSED: dict[str, str] = {
    "claude-max-router": "it is an endpoint type of agents, not a provider type: a stock image would not start with "
    "such a provider in its database; use type openai with base_url http://letta-router:3000/v1",
    "openai-proxy": "it is the first part of handles, not a type; use type openai with base_url",
    "zhipu": "use zai, or zai_coding for the coding plan",
    "groq": f"{_NO_KEY}; use type openai with base_url https://api.groq.com/openai/v1",
    "deepseek": f"{_NO_KEY}; use type openai with base_url https://api.deepseek.com/v1",
    "xai": f"{_NO_KEY}; use type openai with base_url https://api.x.ai/v1",
    "baseten": f"{_NO_KEY}; {_USE_OPENAI}",
    "lmstudio_openai": f"its URLs are built wrong in Letta 0.16.8; {_USE_OPENAI}",
}

# Environment variables by which Letta makes a provider of its own, whose name is then taken.
LETTAS_OWN = {
    "OLLAMA_BASE_URL": "ollama",
    "VLLM_API_BASE": "vllm",
    "SGLANG_API_BASE": "sglang",
    "LMSTUDIO_BASE_URL": "lmstudio_openai",
    "GOOGLE_CLOUD_PROJECT": "google_vertex",
}


# --- single values: each function returns the value or raises ValueError with the fix ----------------------


def checked_type(value: Any) -> Any:
    """A type that can be declared; whether it is text at all is pydantic's question."""
    if isinstance(value, str) and value not in BASE_URLS:
        unknown = f"no type that lettabox sets up; use one of {', '.join(BASE_URLS)}; "
        raise ValueError(REFUSED.get(value, f"{unknown}for an OpenAI-compatible API {_USE_OPENAI}"))
    return value


def checked_name(value: str) -> str:
    """A provider's name: the first part of handles, and of the name of a file."""
    if value == "letta":
        raise ValueError("Letta has a provider of this name already; choose another")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,39}", value):
        raise ValueError("a provider's name is lower-case letters, digits, _ and -, at most 40; rename it")
    return value


def checked_url(value: str) -> str:
    """The base URL of a provider or router, or "" for none."""
    if not value:
        return value
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(f"not a URL ({error}); write for example https://api.example.com/v1") from None
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\w:/.@%~+\[\]?#&=-]+", value, re.ASCII):
        raise ValueError("not a URL; write for example https://api.example.com/v1")
    if parts.username is not None or parts.password is not None:
        raise ValueError("carries a user or password; name an environment variable of yours in the key beside it")
    if parts.query or parts.fragment:
        raise ValueError("has a query or fragment; write just scheme, host, port and path")
    if host in ("localhost", "::1", "0.0.0.0") or host.startswith("127."):
        raise ValueError("is the container itself, not the box; use a name on letta-network or an address of the box")
    return value


def checked_variable(value: str) -> str:
    """The name of a variable of the operator's environment, or "" for none."""
    if value and not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}", value):
        raise ValueError("write the name of a variable of your environment, such as ZAI_API_KEY, never the key itself")
    return value


def checked_handle(value: str) -> str:
    """A model's handle in Letta, or "" for none."""
    if value and not re.fullmatch(r"[^\s/]{1,100}/\S{1,200}", value):
        raise ValueError("not a handle; write PROVIDER/MODEL as Letta lists it, such as openai-proxy/gpt-4o")
    return value


def checked_variables(value: dict[str, str]) -> dict[str, str]:
    """Environment variables for a program."""
    for name, text in value.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
            raise ValueError(f"{name[:64]!r} cannot be the name of a variable; write for example LOG_LEVEL")
        if not text.isprintable():
            raise ValueError(f"{name} must be one line of text")
    return value


def checked_git(value: str) -> str:
    """A git URL or a path on the box, or "" for none."""
    if re.search(r"://[^/@\s]*:[^/@\s]*@", value):
        raise ValueError("carries a password; give the user lettabox-router a deploy key, see docs/providers.md")
    if value and not re.fullmatch(r"((https?|ssh|git|file)://|/|[\w.-]+@[\w.-]+:)[\w./:@~+%-]+", value, re.ASCII):
        raise ValueError("not a git URL; write for example https://git.example.com/me/router.git")
    return value


def checked_revision(value: str) -> str:
    """A full commit, or "" for none."""
    if value and not re.fullmatch(r"[0-9a-f]{40}", value):
        raise ValueError("not a full commit; write its 40 hex digits (git rev-parse HEAD): branches and tags move")
    return value


def checked_words(value: list[str]) -> list[str]:
    """A program and its arguments."""
    for one in value:
        if not one or not one.isprintable():
            raise ValueError("each word must be one line of text, and not empty")
    return value


def checked_packages(value: list[str]) -> list[str]:
    """Names of Debian packages."""
    for one in value:
        if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", one):
            raise ValueError(f"{one[:64]!r} is not the name of a Debian package")
    return value


def checked_path(value: str) -> str:
    """A path of a URL."""
    if not re.fullmatch(r"/[A-Za-z0-9._/-]*", value):
        raise ValueError("not a path; write for example /health")
    return value


# --- what a provider offers --------------------------------------------------------------------------------


def trimmed(kind: str, url: str) -> str:
    """`url` as Letta compares it: with a slash at its end https://api.openai.com/v1 would be a foreign one."""
    return url if url == BASE_URLS[kind] else url.rstrip("/")


def prefix(name: str, kind: str, base_url: str) -> str:
    """First part of the handles of a provider's chat models: `openai-proxy` for type openai at a foreign URL."""
    # schemas/providers/openai.py, _list_llm_models
    if kind == "openai" and base_url.endswith("api.baseten.co/environments/production/sync/v1"):
        return "baseten"
    return "openai-proxy" if kind == "openai" and base_url != OPENAI else name


def same_handles(one: str, other: str, shared: str) -> str:
    """What to say of two providers whose handles begin alike."""
    return (
        f"would offer the same handles as settings.providers.{other}: both are {shared}/<model>, and Letta keeps only "
        f"the first of each; leave {one} or {other} out, give one its native type (zai, zai_coding, ollama, vllm, "
        "openrouter), or put both behind one router"
    )
