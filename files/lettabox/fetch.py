"""Get one file of a hub: as far as it goes, further from there, and never more than what is right."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import quote, urlsplit

import requests

TIMEOUT = (15, 60)  # seconds to connect, and between two pieces of an answer
PIECE = 2**16  # what is lost when a connection breaks off
TRIES = 12  # in a row without a new byte
LONGEST = 300  # seconds between two of them


class Refused(Exception):
    """The file cannot be had by trying again; str() says why and what to do."""


class Unreachable(Exception):
    """The hub did not give the file now; it may later."""

    def __init__(self, text: str, wait: float = 0) -> None:
        super().__init__(text)
        self.wait = wait  # seconds that the hub asked for


class Part:
    """A file on its way: its bytes on the disk, and the hash of them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self.file: IO[bytes] = path.open("r+b")
        self.digest = hashlib.sha256()
        self.length = 0

    def load(self) -> None:
        """Hash what an earlier run left."""
        while piece := self.file.read(PIECE):
            self.digest.update(piece)
            self.length += len(piece)

    def append(self, piece: bytes) -> None:
        try:
            self.file.write(piece)
            self.file.flush()
        except OSError as error:
            raise Refused(f"{self.path} cannot be written: {error.strerror}") from None
        self.digest.update(piece)
        self.length += len(piece)

    def restart(self) -> None:
        self.file.seek(0)
        self.file.truncate()
        self.digest = hashlib.sha256()
        self.length = 0

    def close(self) -> None:
        self.file.close()


class Source:
    """A hub. `token` is the value, or ""."""

    def __init__(self, endpoint: str, token: str) -> None:
        self.endpoint = endpoint
        self.has_token = bool(token)
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"  # requests drops it when another host takes over
        self.session.headers["Accept-Encoding"] = "identity"  # as it is: its hash is known

    def stream(self, one: dict, part: Part, tell: Callable[[int], None]) -> None:
        """Append to `part` what comes of a model. Raises Unreachable when that is not all, Refused when it never is."""
        url = f"{self.endpoint}/{one['repository']}/resolve/{one['revision']}/{quote(one['file'])}"
        headers = {"Range": f"bytes={part.length}-"} if part.length else {}
        try:
            with self.session.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
                self._check(one, answer, part)
                for piece in answer.iter_content(PIECE):
                    if part.length + len(piece) > one["size"]:
                        part.restart()
                        raise Refused(f"{self.endpoint} sends more than the {one['size']} bytes that are locked")
                    part.append(piece)
                    tell(part.length)
        except requests.RequestException as error:
            raise Unreachable(f"{self.endpoint}: {_reason(error)}") from None
        if part.length < one["size"]:
            raise Unreachable(f"{self.endpoint}: the connection ended after {part.length} of {one['size']} bytes")

    def _check(self, one: dict, answer: requests.Response, part: Part) -> None:
        """Make sure that what comes belongs behind what is there; start over where it does not."""
        code, repository = answer.status_code, one["repository"]
        if code in (200, 206):
            span, _, total = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
            if code == 200 or span.partition("-")[0] != str(part.length):
                if code == 206:
                    part.restart()
                    raise Unreachable(f"{self.endpoint} sent another part than the one asked for")
                part.restart()  # it does not give parts
                total = answer.headers.get("Content-Length", "")
            if total.isdecimal() and int(total) != one["size"]:
                raise Refused(f"{self.endpoint} has {total} bytes of it, and {one['size']} are locked: {_LOCK}")
            return
        if code == 416:  # nothing behind what is there, which is not all
            part.restart()
            raise Unreachable(f"{self.endpoint} has less of it than is there already")
        # A server that it hands over to has its own reasons, such as an address that has expired.
        own = urlsplit(answer.url).netloc == urlsplit(self.endpoint).netloc
        if own and code in (401, 403):
            licence = f"accept its licence at {self.endpoint}/{repository}"
            if self.has_token:
                todo = f"{licence} as the owner of the token in settings.models.token, or use another token"
            else:
                todo = f"{licence}, and name a variable with a token in settings.models.token"
            raise Refused(f"{repository} is gated (HTTP {code}): {todo}; then deploy again")
        if own and code == 404:
            raise Refused(f"{repository} has no {one['file']} at revision {one['revision'][:12]} any more: {_LOCK}")
        if own and 400 <= code < 500 and code not in (408, 429):
            raise Refused(f"{self.endpoint} answers with HTTP {code} for {one['file']} of {repository}")
        asked = answer.headers.get("Retry-After", "")
        wait = int(asked) if asked.isdecimal() else 0
        raise Unreachable(f"{urlsplit(answer.url).netloc} answers with HTTP {code}", wait)


_LOCK = "read the lock anew (make models-lock UPDATE=1), and deploy again"


def get(source: Source, one: dict, path: Path, tell: Callable[[int], None], wait: Callable[[str, float], None]) -> None:
    """Have all of a model in `path`, with its size and hash.

    `tell` hears of its bytes, `wait` sleeps after a failure. Raises Refused, with `path` removed where its bytes are
    wrong; or Unreachable, with `path` kept.
    """
    part = Part(path)
    try:
        part.load()
        kept = part.length
        _complete(source, one, part, tell, wait)
        if part.digest.hexdigest() != one["sha256"] and kept:
            # What lay there may be what a power cut made of it.
            part.restart()
            _complete(source, one, part, tell, wait)
    finally:
        part.close()
        if not part.length:
            path.unlink()
    if (found := part.digest.hexdigest()) != one["sha256"]:
        path.unlink()
        raise Refused(f"wrong checksum: {source.endpoint} sent {found}, and {one['sha256']} is locked; {_LOCK}")


def _complete(source: Source, one: dict, part: Part, tell: Callable[[int], None], wait: Callable[[str, float], None]):
    failures = 0
    while part.length < one["size"]:
        before = part.length
        try:
            source.stream(one, part, tell)
        except Unreachable as error:
            failures = 1 if part.length > before else failures + 1
            if failures >= TRIES:
                raise
            wait(str(error), max(min(2.0 ** (failures - 1), LONGEST), min(error.wait, LONGEST)))


def _reason(error: Exception) -> str:
    """The innermost reason of a request's failure, on one line; never an address, which may be a signed one."""
    while inner := [one for one in (getattr(error, "reason", None), *error.args) if isinstance(one, Exception)]:
        error = inner[0]
    # Of "<connection>: Failed to …" what comes after the connection.
    return " ".join(str(error).split()).rpartition(">: ")[2][-200:]
