"""A tool that prints its environment, run by Letta's own local sandbox; called by verify.py with the image's Python.

Prints what the tool returned. The database is not asked: it would only add variables.
"""

import asyncio
import sys
from types import SimpleNamespace

from letta.schemas.sandbox_config import SandboxConfig
from letta.schemas.tool import Tool
from letta.services.tool_sandbox.local_sandbox import AsyncToolSandboxLocal

SOURCE = '''
def show_environment():
    """Show the environment.

    Returns:
        str: The environment.
    """
    import os
    return "\\n".join(f"{name}={value}" for name, value in sorted(os.environ.items()))
'''


class _Variables:
    """In the place of the sandbox's variables in the database."""

    async def get_sandbox_env_vars_as_dict_async(self, **_):
        return {"SET_FOR_TOOLS": "in the database"}


async def main(folder: str) -> None:
    sandbox = AsyncToolSandboxLocal(
        "show_environment",
        {},
        SimpleNamespace(organization_id="org-00000000-0000-4000-8000-000000000000"),
        tool_id="tool-00000000-0000-4000-8000-000000000000",
        tool_object=Tool(name="show_environment", source_code=SOURCE, json_schema={"name": "show_environment"}),
        sandbox_config=SandboxConfig(type="local", config={"sandbox_dir": folder}),
        sandbox_env_vars={"SET_FOR_THE_AGENT": "in its secrets"},
    )
    sandbox._sandbox_config_manager = _Variables()
    result = await sandbox.run()
    print(result.func_return, *(result.stderr or []), sep="\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
