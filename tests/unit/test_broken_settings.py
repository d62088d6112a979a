"""Broken settings files, made at random: a clean refusal every time, never a traceback, never a connection.

LETTABOX_TEST_SCALE multiplies the number of examples (default 1; `make test-long` uses more).
"""

import copy
import os
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from inventory.load import SettingsError, load
from inventory.schema import Inventory
from tests.unit.test_inventory_seam import Listener, checkout, pyinfra  # noqa: F401  (checkout is a fixture)

SCALE = float(os.environ.get("LETTABOX_TEST_SCALE") or 1)
EXAMPLE = Path(__file__).parents[2] / "inventory" / "lettabox.example.yml"
VALID = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))


def examples(count):
    return settings(
        max_examples=max(1, int(count * SCALE)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )


def outcome(content: bytes) -> str | None:
    """What load() says about a file with this content; None if it takes it. Anything else escapes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "inventory.yml"
        path.write_bytes(content)
        try:
            assert isinstance(load(path), Inventory)
        except SettingsError as error:
            message = str(error)
            assert message and all(line.isprintable() for line in message.split("\n"))
            assert all("inventory.yml" in line for line in message.split("\n"))
            return message
    return None


# Bits of YAML that mean something, to be strung together.
_WORDS = """hosts groups settings letta port box [ ] { } - ... --- # ' " &a *a !!int !x <<: ? 8283 true null
    ~ 1e999 @ ` | >- \\U \\x00 , :"""
_SPACED = [
    "\n",
    "\n  ",
    "\n    ",
    ": ",
    ":\n",
    "- ",
    "? ",
    "|\n",
    "%YAML 1.1\n",
    "\t",
    "\0",
    "\ufeff",
    "\x85",
    "\u2028",
]
BITS = st.sampled_from([*_WORDS.split(), *_SPACED, "9" * 30])
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
    st.sampled_from(["", "0.0.0.0", "latest", "512m", "22:22", "no", [], {}, [[]], {"a": 1}, ["box"], 8283, -1, 2**70]),
)
KEYS = st.one_of(
    st.sampled_from(["port", "prot", "letta", "environment", "OPENAI_API_KEY", "LETTA_DEBUG", "data-root", "hosts"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=70),
    st.integers(),
    st.booleans(),
)


def places(data, path=()):
    """Every path to a value in nested mappings and lists."""
    yield path
    for key, value in data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ():
        yield from places(value, (*path, key))


@st.composite
def mutated(draw):
    """The valid example with one to four keys removed, added or given another value."""
    data = copy.deepcopy(VALID)
    for _ in range(draw(st.integers(1, 4))):
        *above, last = draw(st.sampled_from([place for place in places(data) if place] or [("hosts",)]))
        parent = data
        for key in above:
            parent = parent[key]
        action = draw(st.sampled_from(["remove", "add", "retype"]))
        if action == "add" and isinstance(parent, dict):
            parent[draw(KEYS)] = copy.deepcopy(draw(ODD))
        elif action == "remove" and last in (parent if isinstance(parent, dict) else range(len(parent))):
            del parent[last]
        else:
            parent[last] = copy.deepcopy(draw(ODD))
    return data


@examples(300)
@given(st.binary(max_size=400))
def test_random_bytes(content):
    assert outcome(content) is not None


@examples(400)
@given(st.lists(BITS, max_size=40))
def test_random_yaml_like_text(bits):
    assert outcome("".join(bits).encode()) is not None


@examples(300)
@given(st.lists(BITS, min_size=1, max_size=4), st.integers(0, 10**6))
def test_the_example_with_something_put_in(bits, where):
    text = EXAMPLE.read_text(encoding="utf-8")
    where %= len(text)
    outcome((text[:where] + "".join(bits) + text[where:]).encode())


@examples(300)
@given(mutated())
def test_mutated_structure(data):
    outcome(yaml.safe_dump(data, allow_unicode=True).encode())


def test_the_unbroken_example_is_taken():
    assert outcome(EXAMPLE.read_bytes()) is None
    assert outcome(yaml.safe_dump(VALID).encode()) is None


# --- a sample through the real command line -----------------------------------------------------------------


def aimed_at(data, port):
    """The same settings with every host pointing at the listener, so that a connection would be seen."""
    data = copy.deepcopy(data)
    if isinstance(data.get("hosts"), dict):
        for host in data["hosts"].values():
            if isinstance(host, dict):
                host.update({"address": "127.0.0.1", "port": port})
    return data


def exec_true(folder, content):
    return pyinfra(folder, "inventory", "exec", "-y", "--", "true", settings=content)


def test_the_listener_would_see_a_connection(checkout):  # noqa: F811
    with Listener() as box:
        run = exec_true(checkout, yaml.safe_dump(aimed_at(VALID, box.port)))
    assert run.returncode == 1 and box.accepted > 0


@pytest.mark.timeout(600)
def test_broken_files_never_connect_and_never_show_a_traceback(checkout):  # noqa: F811
    seen = []
    with Listener() as box:

        @settings(parent=examples(10), max_examples=max(1, int(10 * SCALE)))
        @given(st.one_of(mutated(), st.lists(BITS, min_size=1, max_size=20).map("".join)))
        def check(broken):
            content = broken if isinstance(broken, str) else yaml.safe_dump(aimed_at(broken, box.port))
            if outcome(content.encode()) is None:
                return  # not broken after all
            run = exec_true(checkout, content)
            seen.append(content)
            assert run.returncode == 1
            assert "Traceback" not in run.stderr + run.stdout
            assert "mine.yml" in run.stderr
            assert not (checkout / "pyinfra-debug.log").exists()
            assert box.accepted == 0

        check()
    assert seen, "no example was broken: nothing was tested"
