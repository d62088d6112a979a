"""What an agent of each endpoint type meets in Letta's own code; run by verify.py with the image's Python.

Prints one line at the end when all is as wanted, and exits 1 with the reasons otherwise.
"""

import asyncio
import importlib
import sys
from types import SimpleNamespace

from letta.adapters.letta_llm_stream_adapter import LettaLLMStreamAdapter
from letta.adapters.simple_llm_stream_adapter import SimpleLLMStreamAdapter
from letta.llm_api.llm_client import LLMClient
from letta.llm_api.openai_client import OpenAIClient
from letta.orm.agent import Agent
from letta.schemas.agent import AgentState, AgentType
from letta.schemas.enums import ProviderType
from letta.schemas.llm_config import LLMConfig
from letta.schemas.model import Model, OpenAIModelSettings
from letta.services.streaming_service import StreamingService

INVENTED = "no-such-router"


class _Sent(BaseException):
    """The adapter got as far as sending the request. No Exception: the adapters handle those."""


class _Client:
    async def stream_async(self, *_args, **_more):
        raise _Sent

    def handle_llm_error(self, error, **_more):
        return error


def _config(kind: str) -> dict:
    return {"model": "m", "model_endpoint_type": kind, "model_endpoint": "http://router/v1", "context_window": 9000}


async def _token_stream(adapter: type, kind: str) -> None:
    """Let a stream adapter choose its interface for the type and begin to send."""
    config = LLMConfig(**_config(kind))
    one = adapter(llm_client=_Client(), llm_config=config, call_type="agent_step")
    try:
        async for _ in one.invoke_llm(request_data={"messages": []}, messages=[], tools=[], use_assistant_message=True):
            pass
    except _Sent:
        return
    raise AssertionError(f"{adapter.__name__} ended without sending")


def accepted(kind: str) -> None:
    """Raise whatever an agent of this type would run into."""
    row = Agent(id="agent-00000000-0000-4000-8000-000000000000", name="a", agent_type=AgentType.letta_v1_agent)
    # As it comes out of the database: through the column's own type.
    row.llm_config = Agent.__table__.c.llm_config.type.process_result_value(_config(kind), None)
    row.system, row.tool_rules, row.message_ids, row.message_buffer_autoclear = "", [], [], False
    state = row.to_pydantic(include_relationships=set())
    # And as it goes over the wire and comes back.
    state = AgentState.model_validate_json(state.model_dump_json())
    assert state.llm_config.model_endpoint_type == kind, state.llm_config
    assert isinstance(state.model_settings, OpenAIModelSettings), state.model_settings
    assert type(LLMClient.create(provider_type=kind)) is OpenAIClient, LLMClient.create(provider_type=kind)
    assert StreamingService._is_token_streaming_compatible(
        None, SimpleNamespace(llm_config=state.llm_config, agent_type="")
    )
    for adapter in (SimpleLLMStreamAdapter, LettaLLMStreamAdapter):
        asyncio.run(_token_stream(adapter, kind))
    names = {"handle": "a/b", "name": "b", "display_name": "b", "provider_type": "openai", "provider_name": "a"}
    Model(**_config(kind), **names, max_context_window=9000)


def refused(kind: str) -> bool:
    try:
        LLMConfig(**_config(kind))
    except ValueError:
        return True
    return False


def main() -> int:
    problems = []
    try:
        ours = importlib.import_module("letta.lettabox").ENDPOINT_TYPES
    except ImportError as error:
        ours = ("claude-max-router",)
        problems.append(f"the list of endpoint types is missing: {error}")
    for kind in ("openai", *ours):
        try:
            accepted(kind)
        except Exception as error:
            problems.append(f"{kind} is not accepted: {type(error).__name__}: {error}"[:800])
    if not refused(INVENTED):
        problems.append(f"the invented type {INVENTED} is accepted")
    # A row of such a provider would stop every other image.
    problems += [f"{kind} is a provider type" for kind in ours if kind in {one.value for one in ProviderType}]
    for problem in problems:
        print(problem, file=sys.stderr)
    if not problems:
        print("every endpoint type as wanted")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
