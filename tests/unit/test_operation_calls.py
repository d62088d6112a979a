"""How the deploy may call operations."""

import ast
import subprocess
import sys
from pathlib import Path

OPERATIONS = {path.stem for path in Path("operations").glob("*.py")} - {"__init__"}


def calls(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in OPERATIONS
        ):
            yield node


def test_every_operation_has_a_name():
    """pyinfra prints the arguments of an operation that has none, whatever they hold."""
    unnamed, seen = [], 0
    for path in [Path("deploy.py"), *Path("deploys").glob("*.py")]:
        for call in calls(path):
            if call.func.attr[0].isupper():  # tree.File, tree.Directory: values, no operations
                continue
            seen += 1
            if "name" not in {keyword.arg for keyword in call.keywords}:
                unnamed.append(f"{path}:{call.lineno}")
    assert seen >= 8
    assert not unnamed


def test_no_error_is_ignored():
    """pyinfra's JSON totals do not count ignored errors, so there must be none to count."""
    sources = [Path("deploy.py"), *Path("deploys").glob("*.py"), *Path("operations").glob("*.py")]
    assert len(sources) > 10
    assert not [path for path in sources if "_ignore_errors" in path.read_text()]


def test_the_steps_can_be_imported_without_pyinfras_command_line():
    """pyinfra_cli puts gevent under the standard library's threads; in a test run those would then never end."""
    code = (
        "import deploys.preflight, deploys.box, deploys.docker_engine, deploys.letta_image, deploys.letta_stack\n"
        "import deploys.llm_router, deploys.llm_providers, deploys.comfyui, deploys.models, deploys.workflow\n"
        "import deploys.studio, deploys.render_worker, deploys.box_link, deploys.crew\n"
        "from gevent import monkey\n"
        "assert not monkey.is_module_patched('threading')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
