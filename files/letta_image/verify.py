"""Prove by behaviour, inside the image build, that the patches took effect.

Exits 1 with the reason when a secret still reaches the log or a tool, a tool's
process imports Letta for a text, an endpoint type is not accepted all the way,
a collected client cuts off another connection, or the patched code no longer
does its work. Run on the stock image
it must fail.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CANARY = "c0ffee5ec2e7c0ffee"
PYTHON = "/app/.venv/bin/python"


def run(*command: str, **environment: str) -> str:
    """Return what the command wrote to stdout and stderr, whatever its exit status."""
    with tempfile.TemporaryFile("w+") as output:
        # A file and a session of its own: startup.sh leaves programs in the background,
        # which would hold a pipe open for ever.
        child = subprocess.Popen(
            command,
            cwd="/app",
            env=os.environ | environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            child.wait(timeout=300)
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing was left in the background
                os.killpg(child.pid, signal.SIGKILL)
        output.seek(0)
        return output.read()


def server_password() -> str:
    """The server in secure mode must guard its API and must not print its password."""
    code = (
        "from letta.server.rest_api.app import app\n"
        "guard = [m for m in app.user_middleware if m.cls.__name__ == 'CheckPasswordMiddleware']\n"
        f"assert [m.kwargs['password'] for m in guard] == ['{CANARY}'], guard\n"
        "print('guarded')\n"
    )
    with tempfile.TemporaryDirectory() as home:
        return run(
            PYTHON,
            "-c",
            code,
            HOME=home,
            LETTA_SERVER_SECURE="true",
            LETTA_SERVER_PASSWORD=CANARY,
            LETTA_PG_URI="postgresql://letta:letta@127.0.0.1:1/letta",
        )


def migration() -> str:
    """Alembic must get as far as connecting (port 1 refuses) and must not print the password."""
    return run("/app/.venv/bin/alembic", "current", LETTA_PG_URI=f"postgresql://letta:{CANARY}@127.0.0.1:1/letta")


def start_script() -> str:
    """startup.sh with an internal Postgres, every program it calls replaced by a no-op."""
    with tempfile.TemporaryDirectory() as bin_dir:
        for name in ("redis-server", "redis-cli", "pg_isready", "alembic", "letta"):
            stub = Path(bin_dir, name)
            stub.write_text("#!/bin/sh\necho PONG\n")
            stub.chmod(0o755)
        return run(
            "./letta/server/startup.sh",
            PATH=f"{bin_dir}:{os.environ['PATH']}",
            POSTGRES_PASSWORD=CANARY,
            LETTA_PG_URI="",
            LETTA_REDIS_HOST="nowhere",
        )


def desktop_uri() -> str:
    """The URI that Letta Desktop leaves in a file must be read and not printed."""
    code = (
        "import importlib, sys; sys.argv.append('--use-file-pg-uri')\n"
        # letta/__init__.py puts an object of the same name over the module.
        f"assert '{CANARY}' in importlib.import_module('letta.settings').default_pg_uri\n"
        "print('read')\n"
    )
    with tempfile.TemporaryDirectory() as home:
        Path(home, ".letta").mkdir()
        Path(home, ".letta/pg_uri").write_text(f"postgresql://letta:{CANARY}@127.0.0.1:1/letta")
        return run(PYTHON, "-c", code, HOME=home, LETTA_PG_URI="")


def endpoint_types() -> str:
    """Our endpoint types must pass the whole way of an agent, Letta's own still do, and an invented one must not."""
    with tempfile.TemporaryDirectory() as home:
        return run(PYTHON, str(Path(__file__).with_name("verify_endpoint_types.py")), HOME=home)


def tool_environment() -> str:
    """A tool must see the key it calls the server with, its own variables, and no other secret of the server.

    And a text that it is called with as it is, without an import of Letta.
    """
    secrets = ("LETTA_SERVER_PASSWORD", "LETTA_ENCRYPTION_KEY", "OPENAI_API_KEY", "POSTGRES_PASSWORD", "UNHEARD_OF")
    with tempfile.TemporaryDirectory() as home:
        said = run(
            PYTHON,
            str(Path(__file__).with_name("verify_tool_environment.py")),
            home,
            HOME=home,
            LETTA_PG_URI=f"postgresql://letta:{CANARY}@127.0.0.1:1/letta",
            LETTA_API_KEY="the key for tools",
            LETTA_BASE_URL="http://127.0.0.1:8283",
            **dict.fromkeys(secrets, CANARY),
        )
    wanted = {
        "LETTA_API_KEY=the key for tools",
        "LETTA_BASE_URL=http://127.0.0.1:8283",
        "SET_FOR_TOOLS=in the database",
        "SET_FOR_THE_AGENT=in its secrets",
        f"HOME={home}",
        f"PATH={os.environ['PATH']}",
        'TEXT={"a": true}',
        "LETTA_IMPORTED=False",
    }
    missing = wanted - set(said.splitlines())
    return said + (f"a tool misses {sorted(missing)}" if missing else "\na tool has what it needs")


def collected_clients() -> str:
    """What the collector does with clients that Letta never closed must leave later connections alone."""
    with tempfile.TemporaryDirectory() as home:
        return run(PYTHON, str(Path(__file__).with_name("verify_collected_clients.py")), HOME=home)


# check -> what its output must contain, so that code which never ran cannot pass
EXPECTED = {
    server_password: "guarded",
    migration: "refused",
    start_script: "Database migration completed successfully.",
    desktop_uri: "read",
    endpoint_types: "every endpoint type as wanted",
    tool_environment: "a tool has what it needs",
    collected_clients: "no connection suffers from a collected client",
}
# check -> where its output goes in real life, if not to the log
REACHED = {tool_environment: "a tool"}


def main() -> int:
    failed = 0
    with ThreadPoolExecutor() as pool:  # each takes a start of Letta, which is slow
        outputs = [pool.submit(check) for check in EXPECTED]
    for (check, sign), output in zip(EXPECTED.items(), (one.result() for one in outputs), strict=True):
        if CANARY in output:
            line = next(line for line in output.splitlines() if CANARY in line)
            print(f"{check.__name__}: a secret reaches {REACHED.get(check, 'the log')}: {line[:200]}", file=sys.stderr)
            failed = 1
        if sign not in output:
            print(f"{check.__name__}: expected {sign!r} in:\n{output[-2000:]}", file=sys.stderr)
            failed = 1
        elif CANARY not in output:
            print(f"{check.__name__}: ok")
    return failed


if __name__ == "__main__":
    sys.exit(main())
