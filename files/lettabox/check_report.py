"""What `lettabox check` says, its exit codes, and the question whether a Letta answers at an address.

Only the standard library, and nothing else of lettabox but `neighbours`: the script that other projects carry
(files/consumer) contains this module as it is.
"""

from __future__ import annotations

import concurrent.futures
import http.client
import json
import urllib.parse
from dataclasses import asdict, dataclass, field
from typing import Any

from lettabox.neighbours import Duplicate, Unseen

FINE, STOPPED, UNHEALTHY, DUPLICATE, USAGE = 0, 1, 2, 3, 4
VERDICTS = {FINE: "fine", STOPPED: "stopped", UNHEALTHY: "unhealthy", DUPLICATE: "duplicate"}
# With the slash: without it the server answers with a redirect, and /health does not exist.
HEALTH = "/v1/health/"
PATIENCE_HTTP = 5  # seconds that a server gets to answer
# What each kind of another Letta does to people who believe that there is one.
TWO = "Two servers have agents of their own each: to whoever asks the other one, they seem gone."
HARM = {
    "container": TWO,
    "process": TWO,
    "port": TWO,
    "data": "Two that write to the same files destroy them.",
    "name": "Who calls the server by its name gets now the one and now the other, or Letta cannot be started.",
}
FAILING = "nothing is lost by this; what is said above, or docs/operate.md of lettabox, says what to do"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with our Letta."""

    code: int  # STOPPED or UNHEALTHY
    what: str
    where: str = ""
    since: str = ""
    look: str = ""  # the command that shows more
    fix: str = ""
    startable: bool = False  # whether a start of the stack is the cure


@dataclass(frozen=True)
class Answer:
    """What came from an address that was asked for its health."""

    url: str
    healthy: bool
    said: str
    version: str = ""
    refused: bool = False  # nobody listens there


@dataclass
class Report:
    findings: list[Finding] = field(default_factory=list)
    duplicates: list[Duplicate] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    unseen: list[Unseen] = field(default_factory=list)
    api: str = ""  # version and number of agents, where they were asked for

    @property
    def code(self) -> int:
        return DUPLICATE if self.duplicates else max((one.code for one in self.findings), default=FINE)

    @property
    def startable(self) -> bool:
        """Whether to offer a start. Never beside another Letta: which of them is the right one is for a person."""
        return not self.duplicates and any(one.startable for one in self.findings)

    def document(self) -> str:
        """The report for programs."""
        whole: dict[str, Any] = {"code": self.code, "verdict": VERDICTS[self.code], **asdict(self)}
        return json.dumps(whole, indent=2)

    def text(self) -> str:
        """The report for people: one or two lines when all is well."""
        lines = [line for one in self.findings for line in _lines(one.what, _rows(one))]
        for one in self.duplicates:
            rows = {"where": one.where, "since": one.since, "started by": one.started_by}
            lines += _lines(one.what, {**rows, "look": one.look, "stop": one.stop})
        if not lines:
            version = next((one.version for one in self.answers if one.version), "")
            only = "no other one was seen" if self.unseen else "the only one here"
            lines = [f"{self.api or f'Letta {version}'}: fine at {self.answers[-1].url}, {only}"]
        lines += dict.fromkeys(HARM[one.kind] for one in self.duplicates)
        if self.unseen:
            lines.append(f"not looked at: {'; '.join(dict.fromkeys(one.what for one in self.unseen))}")
        return "\n".join(lines)


def _rows(one: Finding) -> dict[str, str]:
    return {"where": one.where, "since": one.since, "look": one.look, "fix": one.fix}


def _lines(what: str, rows: dict[str, str]) -> list[str]:
    return [what, *(f"  {label:<11}{text}" for label, text in rows.items() if text)]


def address_parts(url: str) -> tuple[str, str, int]:
    """(scheme, host, port) of a server's address. Raises ValueError when it is none."""
    parts = urllib.parse.urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    port_is_wrong = port is None and ":" in parts.netloc.rpartition("]")[2]
    if parts.scheme not in ("http", "https") or not parts.hostname or port_is_wrong:
        raise ValueError(f"{url!r} is no address of a server; write it as http://host:port")
    return parts.scheme, parts.hostname, port or (443 if parts.scheme == "https" else 80)


def ask_all(urls: list[str]) -> list[Answer]:
    """Ask several at once, so that those which hang cost the time of one."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(pool.map(ask, urls))


def ask(url: str) -> Answer:
    """Ask the server at an address for its health, past any proxy. Raises ValueError when it is no address."""
    scheme, host, port = address_parts(url)
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    connection = kind(host, port, timeout=PATIENCE_HTTP)
    try:
        connection.request("GET", urllib.parse.urlsplit(url).path.rstrip("/") + HEALTH)
        answer = connection.getresponse()
        body, status = answer.read(65536), answer.status
    except ConnectionRefusedError:
        return Answer(url, False, "nobody listens there", refused=True)
    except TimeoutError:
        return Answer(url, False, f"no answer in {PATIENCE_HTTP} s")
    except (OSError, http.client.HTTPException) as error:
        return Answer(url, False, str(error) or type(error).__name__)
    finally:
        connection.close()
    if status != 200:
        leads = f" to {answer.getheader('Location')}" if answer.getheader("Location") else ""
        return Answer(url, False, f"{HEALTH} answers HTTP {status}{leads}")
    try:
        told = json.loads(body)
        return Answer(url, told["status"] == "ok", f"status {told['status']}", str(told["version"]))
    except (ValueError, LookupError, TypeError):
        return Answer(url, False, f"what answers {HEALTH} is not a Letta server")
