"""A tool that prints its environment and its argument, run by Letta's own local sandbox; called by verify.py.

With the image's Python. Prints what the tool returned. The database is not asked: it would only add variables.
"""

import asyncio
import sys
from types import SimpleNamespace

from letta.schemas.sandbox_config import SandboxConfig
from letta.schemas.tool import Tool
from letta.services.tool_sandbox.local_sandbox import AsyncToolSandboxLocal

SOURCE = '''
def show_environment(text: str):
    """Show the environment.

    Args:
        text (str): A text.

    Returns:
        str: The environment.
    """
    import os
    import sys
    seen = os.environ | {"TEXT": text, "LETTA_IMPORTED": "letta" in sys.modules}
    return "\\n".join(f"{name}={value}" for name, value in sorted(seen.items()))
'''
SCHEMA = {"name": "show_environment", "parameters": {"properties": {"text": {"type": "string"}}}}
TEXT = '{"a": true}'


class _Variables:
    """In the place of the sandbox's variables in the database."""

    async def get_sandbox_env_vars_as_dict_async(self, **_):
        return {"SET_FOR_TOOLS": "in the database"}


async def main(folder: str) -> None:
    sandbox = AsyncToolSandboxLocal(
        "show_environment",
        {"text": TEXT},
        SimpleNamespace(organization_id="org-00000000-0000-4000-8000-000000000000"),
        tool_id="tool-00000000-0000-4000-8000-000000000000",
        tool_object=Tool(name="show_environment", source_code=SOURCE, json_schema=SCHEMA),
        sandbox_config=SandboxConfig(type="local", config={"sandbox_dir": folder}),
        sandbox_env_vars={"SET_FOR_THE_AGENT": "in its secrets"},
    )
    sandbox._sandbox_config_manager = _Variables()
    result = await sandbox.run()
    print(result.func_return, *(result.stderr or []), sep="\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
