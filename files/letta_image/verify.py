"""Prove by behaviour, inside the image build, that the patches took effect.

Exits 1 with the reason when a secret still reaches the log or when the
patched code no longer does its work. Run on the stock image it must fail.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
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


# check -> what its output must contain, so that code which never ran cannot pass
EXPECTED = {
    server_password: "guarded",
    migration: "refused",
    start_script: "Database migration completed successfully.",
    desktop_uri: "read",
}


def main() -> int:
    failed = 0
    for check, sign in EXPECTED.items():
        output = check()
        if sign not in output:
            print(f"{check.__name__}: expected {sign!r} in:\n{output[-2000:]}", file=sys.stderr)
            failed = 1
        elif CANARY in output:
            line = next(line for line in output.splitlines() if CANARY in line)
            print(f"{check.__name__}: a secret reaches the log: {line[:200]}", file=sys.stderr)
            failed = 1
        else:
            print(f"{check.__name__}: ok")
    return failed


if __name__ == "__main__":
    sys.exit(main())
