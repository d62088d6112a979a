"""`lettabox check` and its one-file copy: answers, words and exit codes; the lab asks a real Letta."""

import ast
import http.server
import json
import runpy
import socket
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from consumer import main as script
from lettabox import check, check_report, letta, paths
from lettabox.check_report import DUPLICATE, FINE, STOPPED, UNHEALTHY, USAGE, Finding, Report, address_parts, ask
from lettabox.errors import LettaboxError
from lettabox.neighbours import Container, Duplicate, Listener, Process, Seen, Unseen

ROOT = Path(__file__).parents[2]
VENDORED = ROOT / "docs/consumer/lettabox-check"
GOOD = (200, '{"version": "0.16.8", "status": "ok"}')
OTHER = Duplicate(
    "container",
    "another Letta",
    "container foo",
    "started then",
    "anna",
    "docker logs",
    "docker stop foo",
    "container:1",
)


@pytest.fixture
def server():
    """A server that gives `answers[path]`: (status, body), or None for silence."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, body = answers.get(self.path, (404, "not found"))
            done.wait(10) if status is None else None
            self.send_response(status or 200)
            if status in (301, 307):
                self.send_header("Location", body)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    answers, asked, done = {"/v1/health/": GOOD}, [], threading.Event()
    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{httpd.server_port}", answers, asked
    done.set()
    httpd.shutdown()
    httpd.server_close()


@pytest.fixture
def nobody():
    """An address at which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{one.getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, "no"), "HTTP 404"),
        ((401, "no"), "HTTP 401"),
        ((502, "bad gateway"), "HTTP 502"),
        ((301, "https://elsewhere/"), "HTTP 301 to https://elsewhere/"),
        ((200, "<html>"), "not a Letta server"),
        ((200, "[]"), "not a Letta server"),
        ((200, '{"version": "1", "status": "draining"}'), "status draining"),
        ((None, ""), "no answer in"),
    ],
)
def test_only_a_letta_that_says_ok_is_healthy(server, monkeypatch, answer, said):
    url, answers, _ = server
    monkeypatch.setattr(check_report, "PATIENCE_HTTP", 0.3)
    answers["/v1/health/"] = answer
    found = ask(url)
    assert not found.healthy and said in found.said and not found.refused


def test_the_health_path_is_the_one_that_exists(server, monkeypatch, nobody):
    url, _, asked = server
    monkeypatch.setenv("http_proxy", nobody)
    assert ask(f"{url}/").healthy and ask(url).version == "0.16.8"
    assert set(asked) == {"/v1/health/"}
    ask(f"{url}/below/")
    assert asked[-1] == "/below/v1/health/"
    assert ask(nobody).refused


@pytest.mark.parametrize("url", ["foo", "localhost:8283", "ftp://x", "http://", "http://x:port", "http://x:99999"])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(ValueError, match="http://host:port"):
        address_parts(url)


def test_addresses():
    assert address_parts("http://x") == ("http", "x", 80)
    assert address_parts("https://[::1]:8284/a") == ("https", "::1", 8284)


def test_one_code_for_all_that_was_found():
    stopped, unhealthy = Finding(STOPPED, "s", startable=True), Finding(UNHEALTHY, "u")
    assert Report().code == FINE
    assert Report([stopped]).code == STOPPED and Report([stopped]).startable
    assert Report([stopped, unhealthy]).code == UNHEALTHY
    both = Report([stopped], [OTHER])
    assert both.code == DUPLICATE and not both.startable, "a start beside another Letta must be a person's decision"


def test_the_text_is_short_when_all_is_well_and_says_all_when_not():
    answers = [check_report.Answer("http://a", True, "status ok", "0.16.8")]
    assert Report(answers=answers).text() == "Letta 0.16.8: fine at http://a, the only one here"
    part = Report(
        answers=answers, unseen=[Unseen("containers (no permission)", "sudo")], api="Letta 0.16.8, 3 agents"
    ).text()
    assert part.splitlines() == [
        "Letta 0.16.8, 3 agents: fine at http://a, no other one was seen",
        "not looked at: containers (no permission)",
    ]
    text = Report([Finding(STOPPED, "it is stopped", "here", "then", "logs", "start")], [OTHER]).text()
    for part in ("it is stopped", "here", "then", "logs", "start", *list(vars(OTHER).values())[1:-1], "seem gone"):
        assert part in text
    document = json.loads(Report([], [OTHER]).document())
    assert document["code"] == 3 and document["verdict"] == "duplicate"
    assert document["duplicates"][0] == vars(OTHER)
    for kind in ("container", "process", "data", "name", "port"):
        text = Report([], [replace(OTHER, kind=kind)]).text()
        assert text.splitlines()[-1] == check_report.HARM[kind]


# The box's command


@pytest.fixture
def nothing_here(monkeypatch, tmp_path):
    monkeypatch.setattr(check, "_engine", lambda: None)
    monkeypatch.setattr(check.neighbours, "gather", lambda **_: Seen())
    monkeypatch.setattr(paths, "SETTINGS", tmp_path / "none")


def test_before_the_first_deploy_it_is_stopped_and_cannot_be_started(nothing_here, monkeypatch, capsys):
    monkeypatch.setattr(letta, "start", lambda: pytest.fail("there is nothing to start"))
    assert check.check(start=True, as_json=False, url="") == STOPPED
    assert "not deployed here" in capsys.readouterr().err


def test_an_address_that_is_none_is_wrong_use(nothing_here):
    with pytest.raises(LettaboxError, match="--url: 'foo'") as error:
        check.check(start=False, as_json=False, url="foo")
    assert error.value.code == USAGE


def test_a_box_that_gives_no_clear_answer_is_not_called_stopped(nothing_here, monkeypatch):
    def unclear(**_):
        raise LettaboxError("docker compose config: something")

    monkeypatch.setattr(check.neighbours, "gather", unclear)
    with pytest.raises(LettaboxError) as error:
        check.check(start=False, as_json=False, url="")
    assert error.value.code == UNHEALTHY


@pytest.fixture
def deployed(monkeypatch, tmp_path, nobody):
    """A box on which Letta is deployed and stopped; a function says what is seen of it, and what the check makes of it.

    `acknowledged` is of the settings, `url` where the server was told to listen.
    """
    monkeypatch.setattr(check, "_engine", lambda: None)
    monkeypatch.setattr(paths, "SETTINGS", tmp_path / "settings.json")
    monkeypatch.setattr(paths, "PROJECT", tmp_path)
    (tmp_path / "compose.yml").touch()
    monkeypatch.setattr(check.compose, "services", lambda: ["letta-server"])
    monkeypatch.setattr(check.compose, "containers", lambda names: {})

    def made(seen, acknowledged=(), url=nobody):
        ports = {"letta": url, "nginx": nobody}
        told = {name: {"bind": "127.0.0.1", "port": address_parts(at)[2]} for name, at in ports.items()}
        paths.SETTINGS.write_text(json.dumps({**told, "acknowledged": list(acknowledged)}))
        monkeypatch.setattr(check.neighbours, "gather", lambda **_: seen)
        return check.look()

    return made


FOO = Container("1" * 64, "foo", state="exited", image="letta/letta:1", project="thoth", folder="/srv/thoth")


def test_what_the_operator_acknowledged_is_no_duplicate(deployed):
    seen = Seen(True, containers=[FOO], engine="answered")
    (other,) = deployed(seen).duplicates
    assert deployed(seen).code == DUPLICATE
    report = deployed(seen, [other.key])
    assert report.code == STOPPED and report.startable and not report.duplicates


def test_whoever_answers_at_our_address_while_ours_is_stopped_is_named(deployed, server):
    url, port = server[0], address_parts(server[0])[2]
    theirs = replace(FOO, state="running", image="app:1", ports=(("127.0.0.1", port),))
    listener = Listener("127.0.0.1", port, "docker-proxy", 7)
    (told,) = deployed(Seen(True, containers=[theirs], listeners=[listener], engine="answered"), url=url).duplicates
    assert told.kind == "port" and "(0.16.8)" in told.what and "container foo of project thoth" in told.what
    assert "docker stop foo" in told.stop
    process = Process(7, 1, 1000, "anna", 0.0, "/user.slice", "", "python3", "/home/anna", name="python3")
    seen = Seen(True, processes=[process], listeners=[replace(listener, process="python3")], engine="answered")
    (told,) = deployed(seen, url=url).duplicates
    assert "process python3 (7, in /home/anna)" in told.what and told.stop == "sudo kill 7"
    (told,) = deployed(Seen(True, engine="answered"), url=url).duplicates  # nobody is seen to listen
    assert told.kind == "port" and f":{port}" in told.look and told.stop


def test_containers_that_were_not_seen_are_neither_missing_nor_fine(deployed, monkeypatch):
    monkeypatch.setattr(check.compose, "containers", lambda names: pytest.fail("Docker cannot be asked"))

    def unreadable():
        raise LettaboxError("docker compose config: permission denied")

    monkeypatch.setattr(check.compose, "services", unreadable)
    monkeypatch.setattr(check.os, "geteuid", lambda: 1001)
    report = deployed(Seen(True, uid=1001, engine="forbidden"))
    assert report.code == STOPPED and "nobody listens" in report.text()
    assert "not looked at: containers (no permission to ask Docker)" in report.text()
    monkeypatch.setattr(check.os, "geteuid", lambda: 0)
    report = deployed(Seen(True, engine="stored"))
    assert report.code == UNHEALTHY and "does not answer" in report.text()


# The one file


def run(monkeypatch, *options, box="", seen=None):
    """Exit code of the script on a machine of which `seen` is known, with the command lettabox at `box`."""
    monkeypatch.setattr(sys, "argv", ["lettabox-check", *options])
    monkeypatch.setattr(script, "gather", lambda: seen or Seen())
    monkeypatch.setattr(script.shutil, "which", lambda name, path=None: box if name == "lettabox" else None)
    try:
        return script.main()
    except SystemExit as end:
        return end.code


def test_the_script_asks_the_address_it_is_given(server, nobody, monkeypatch, capsys):
    url, answers, _ = server
    assert run(monkeypatch, "--url", url) == FINE
    monkeypatch.setenv("LETTA_BASE_URL", url)
    assert run(monkeypatch) == FINE
    assert run(monkeypatch, "--url", nobody) == STOPPED
    answers["/v1/health/"] = (404, "")
    capsys.readouterr()
    assert run(monkeypatch, "--json") == UNHEALTHY
    assert json.loads(capsys.readouterr().out)["code"] == UNHEALTHY
    assert run(monkeypatch, "--url", "http://letta-server.invalid:8283") == UNHEALTHY


def test_the_script_asks_lettaboxes_own_ports_without_an_address(server, nobody, monkeypatch, capsys):
    monkeypatch.delenv("LETTA_BASE_URL", raising=False)
    monkeypatch.setattr(script, "DEFAULTS", (nobody, nobody))
    assert run(monkeypatch, "--start") == STOPPED
    told = capsys.readouterr().err
    assert "make letta-start" in told and "not started" in told
    monkeypatch.setattr(script, "DEFAULTS", (server[0], nobody))
    assert run(monkeypatch) == UNHEALTHY  # the proxy alone is away


def test_the_script_finds_another_letta(server, monkeypatch, capsys):
    seen = Seen(True, uid=1001, containers=[FOO], engine="answered", closed=[("root", "/root")])
    assert run(monkeypatch, "--url", server[0], seen=seen) == DUPLICATE
    told = capsys.readouterr().err
    assert "docker rm foo" in told and "not looked at: engines of other users (root)" in told


@pytest.mark.parametrize("options", [["--bogus"], ["more"], ["--url"], ["--url", "localhost:8283"]])
def test_wrong_use_of_the_script_is_4(monkeypatch, options):
    assert run(monkeypatch, *options) == USAGE


def test_a_wrong_variable_is_named(monkeypatch, capsys):
    monkeypatch.setenv("LETTA_BASE_URL", "letta-server:8283")
    assert run(monkeypatch) == USAGE
    assert "LETTA_BASE_URL" in capsys.readouterr().err


def test_on_the_box_the_script_hands_over(monkeypatch, tmp_path, capfd):
    box = tmp_path / "lettabox"
    box.write_text('#!/bin/sh\necho "$@"\nexit 3\n')
    box.chmod(0o755)
    monkeypatch.delenv("LETTA_BASE_URL", raising=False)
    assert run(monkeypatch, "--start", "--json", box=str(box)) == 3
    assert capfd.readouterr().out == "check --start --json\n"
    monkeypatch.setenv("LETTA_BASE_URL", "http://letta-server:8283")
    assert run(monkeypatch, box=str(box)) == 3
    assert capfd.readouterr().out == "check --url http://letta-server:8283\n"


def test_an_address_elsewhere_is_asked_by_the_script_itself(monkeypatch):
    # .invalid resolves nowhere.
    assert run(monkeypatch, "--url", "http://box.invalid:8284", box="/bin/false") == UNHEALTHY


def test_the_example_carries_the_current_script(tmp_path):
    made = subprocess.run(
        [sys.executable, ROOT / "files/consumer/build.py"], capture_output=True, text=True, check=True
    ).stdout
    assert VENDORED.read_text() == made, "renew it: make -s check-script > docs/consumer/lettabox-check"
    version = subprocess.run([sys.executable, VENDORED, "--version"], capture_output=True, text=True, check=True).stdout
    assert version.split() == ["lettabox-check", made.splitlines()[1].split()[2].rstrip(",")]


def test_the_script_needs_nothing_but_an_old_python():
    tree = ast.parse(VENDORED.read_text(), feature_version=(3, 9))
    imported = {one.name for node in tree.body if isinstance(node, ast.Import) for one in node.names}
    imported |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {one.partition(".")[0] for one in imported} <= sys.stdlib_module_names
    parts = runpy.run_path(str(VENDORED), run_name="vendored")
    assert parts["main"]
    # The shell part inside it is the one of the box, and runs from there.
    assert parts["LOOK"] == (ROOT / "files/lettabox/look.sh").read_text()
    assert parts["gather"](ask_docker=False).looked
    assert VENDORED.stat().st_mode & 0o111
