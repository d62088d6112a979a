"""The benchmark's own parts: the delay proxy, what counts as a no-op, medians and verdicts."""

import asyncio
import os
import re
import time

import pytest

from tests.bench import delay, report, runs
from tests.bench.report import Aim
from tests.bench.runs import Invalid, Run, Step

ROUND_TRIP = 0.05
# A loaded machine may be late; the proxy may not be early.
LATE = 1.0

RESULTS = """--> Results:
    Operation              Hosts   Success   Error   No Change
    Box | Packages         2       {success}         -       {same}
    Letta stack | Secrets  2       -         -       2
    Grand total            4       {success}         -       {all}

--> Disconnecting from hosts...
"""


def through_proxy(client, server=None):
    """What `client(reader, writer)` returns, whose connection goes through the proxy to `server`, or to an echo."""

    async def echo(reader, writer):
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.write_eof()

    async def run():
        target = await asyncio.start_server(server or echo, "127.0.0.1", 0)
        proxy = await delay.serve(target.sockets[0].getsockname()[1], ROUND_TRIP)
        async with target, proxy:
            reader, writer = await asyncio.open_connection(*proxy.sockets[0].getsockname())
            try:
                return await asyncio.wait_for(client(reader, writer), 10)
            finally:
                writer.close()

    return asyncio.run(run())


def test_the_proxy_delays_by_the_round_trip():
    async def client(reader, writer):
        writer.write(b"a")
        await reader.readexactly(1)  # the handshake is over
        began = time.monotonic()
        writer.write(b"b")
        await reader.readexactly(1)
        return time.monotonic() - began

    assert ROUND_TRIP <= through_proxy(client) < ROUND_TRIP + LATE


def test_a_connection_costs_a_round_trip():
    async def greet(reader, writer):
        writer.write(b"hello")

    async def client(reader, writer):
        began = time.monotonic()
        await reader.readexactly(5)
        return time.monotonic() - began

    assert 2 * ROUND_TRIP <= through_proxy(client, greet) < 2 * ROUND_TRIP + LATE


def test_the_proxy_delays_and_does_not_slow_down():
    sent = os.urandom(4_000_000)

    async def client(reader, writer):
        writer.write(sent)
        writer.write_eof()
        began = time.monotonic()
        return await reader.read(-1), time.monotonic() - began

    received, seconds = through_proxy(client)
    assert received == sent
    # A round trip for each piece that the proxy reads would be 3 s and more.
    assert seconds < 2 * ROUND_TRIP + LATE


def test_a_hang_up_over_there_is_one_for_the_client():
    async def hang_up(reader, writer):
        writer.transport.abort()

    async def client(reader, writer):
        writer.write(b"anybody?")
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""

    assert through_proxy(client, hang_up) == b""


@pytest.fixture
def said(monkeypatch):
    """pyinfra is not run: it says what is set here."""
    words = []
    monkeypatch.setattr(runs, "pyinfra", lambda inventories, *options: Run(1.0, "".join(words)))
    return words


def test_a_no_op_is_one_where_no_host_changed(said):
    said.append(RESULTS.format(success="-", same=2, all=4))
    assert runs.pyinfra_unchanged([], "-y").seconds == 1.0


@pytest.mark.parametrize("words", [RESULTS.format(success=1, same=1, all=3), "", "--> Results:\n\n"])
def test_anything_else_is_no_measurement(said, words):
    said.append(words)
    with pytest.raises(Invalid, match="not a no-op"):
        runs.pyinfra_unchanged([], "-y")


def test_a_dry_run_must_have_nothing_to_propose(said):
    head = "--> Detected changes:\n    Operation        Change   Conditional Change\n"
    said.append(f"{head}    Box | Packages   -        -\n\n")
    runs.pyinfra_unchanged([], "--dry")
    said[:] = [f"{head}    Box | Packages   1        -\n\n"]
    with pytest.raises(Invalid, match=r"Box \| Packages"):
        runs.pyinfra_unchanged([], "--dry")


def test_enter_is_pressed_at_the_question():
    script = 'test -t 0; printf "Press enter to execute..."; read -r line; echo "went on"'
    seconds, output = runs.on_terminal(["sh", "-ec", script], {}, "Press enter to execute...")
    assert output.endswith("went on\n")
    assert 0 < seconds < 2


def test_a_failing_command_and_a_question_that_is_not_asked_are_no_measurements():
    with pytest.raises(Invalid, match="ended with 3"):
        runs.on_terminal(["sh", "-c", "exit 3"], {})
    with pytest.raises(Invalid, match="did not ask"):
        runs.on_terminal(["true"], {}, "Press enter")


def test_verdicts():
    assert Aim("channels", 12, 12).row == ("channels", "12", "at most 12", "met")
    assert Aim("time", 1.999, 2, " s", below=True).met
    assert Aim("time", 2.0, 2, " s", below=True).row == ("time", "2.00 s", "under 2 s", "**NOT met**")
    assert not Aim("ratio", 1.21, 1.2, " times").met


def results(seconds: float) -> report.Results:
    run = Run(seconds, "", 2, [Step("before the first step", seconds, 1), Step("Box | Packages", 0, 1)])
    slow = Run(9 * seconds, "", 3, run.steps)
    return report.Results(
        noops={kind: [run, slow, run] for kind in report.NO_OPS},
        first=[Run(60.0, "", 9, run.steps)],
        bare=[{"packages": 10.0, "build": 20.0}, {"packages": 30.0, "build": 40.0}],
        near=0.0002,
        far=0.0514,
        published=False,
        load=0.1,
    )


def test_aims_compare_medians():
    by_name = {aim.what: aim for aim in report.aims(results(1.5))}
    assert by_name["No-op with -y: time"].figure == 1.5
    assert by_name["No-op with -y: SSH channels a host"].figure == 3  # of the worst run
    first = by_name["First deploy, of the unavoidable work"]
    assert (first.figure, first.met) == (60.0 / 50.0, True)


def test_the_page_shows_what_is_not_met(monkeypatch):
    monkeypatch.setattr(report, "_ansible", lambda: "2.19")
    page = report.page(results(2.5))
    assert "| No-op with -y: time | 2.50 s | under 2 s | **NOT met** |" in page
    assert "| pyinfra -y | 2.50 s | 2.50 s | 22.50 s | 2 |" in page
    assert "| Box \\| Packages | 0.00 s | 1 |" in page
    assert "| the unavoidable work, in sum | 50.00 s | 30.00 s | 70.00 s |" in page
    # Every row of a table has as many cells as its head.
    for table in re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE):
        assert len({row.replace("\\|", "").count("|") for row in table.splitlines()}) == 1, table
