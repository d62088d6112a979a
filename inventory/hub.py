"""What a hub (huggingface.co, or one that speaks as it does) says of the files of a repository."""

import hashlib
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import requests

TIMEOUT = (10, 60)  # seconds to connect, and between two pieces of an answer
SMALL = 64 * 2**20  # a file that is not kept as LFS has no SHA-256 there; the hub takes none above some MB
PAGES = 1000


class HubError(Exception):
    """Why the hub cannot tell; str() says what to do."""


class UnreachableError(HubError):
    """It does not answer at all, so that there is no use in asking on."""


@dataclass(frozen=True)
class RemoteFile:
    size: int
    sha256: str  # "" for a file that is not kept as LFS


class Hub:
    """`token` is the value, or None; `variable` is the name of the variable that holds it, for messages alone."""

    def __init__(self, endpoint: str, token: str | None = None, variable: str = "") -> None:
        self.endpoint = endpoint
        self.variable = variable
        self.session = requests.Session()
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"  # requests drops it when another host takes over
        self.has_token = bool(token)

    def commit(self, repository: str) -> str:
        """The commit of a repository's branch main."""
        found = self._json(f"/api/models/{repository}/revision/main", repository, "")[0]
        sha = found.get("sha") if isinstance(found, dict) else None
        if not isinstance(sha, str) or not re.fullmatch(r"[0-9a-f]{40}", sha):
            raise HubError(f"{self.endpoint} names no commit of {repository}; is settings.models.endpoint a hub?")
        return sha

    def files(self, repository: str, revision: str) -> dict[str, RemoteFile]:
        """{path: file} of all that a repository has at a revision."""
        path, query, found = f"/api/models/{repository}/tree/{revision}", "recursive=1", {}
        for _ in range(PAGES):
            page, following = self._json(f"{path}?{query}", repository, revision)
            try:
                found |= {one["path"]: _file(one) for one in page if one["type"] == "file"}
            except (TypeError, KeyError, ValueError):
                raise HubError(f"{self.endpoint} gave a list of {repository} that cannot be understood") from None
            if not following:
                return found
            # Of the next page's address only the query: the token goes to the endpoint alone.
            query = urlsplit(following).query
        raise HubError(f"{self.endpoint} gave a list of {repository} without end")

    def sha256(self, repository: str, revision: str, file: str, size: int) -> str:
        """The hash of a small file, by getting it."""
        if size > SMALL:
            raise HubError(f"{file} of {repository} is not kept as LFS, and too large to be got for its hash")
        answer = self._get(f"/{repository}/resolve/{revision}/{quote(file)}", repository, revision, stream=True)
        digest, seen = hashlib.sha256(), 0
        try:
            for piece in answer.iter_content(2**20):
                digest.update(piece)
                seen += len(piece)
                if seen > size:
                    break
        except requests.RequestException as error:
            raise UnreachableError(f"{self.endpoint} broke off: {_reason(error)}; try again") from None
        if seen != size:
            raise HubError(f"{file} of {repository} has {seen} bytes where its list says {size}; try again")
        return digest.hexdigest()

    def _json(self, path: str, repository: str, revision: str) -> tuple[Any, str]:
        """An answer, and the address of its next page or ""."""
        answer = self._get(path, repository, revision)
        try:
            return answer.json(), answer.links.get("next", {}).get("url", "")
        except ValueError:
            raise HubError(f"{self.endpoint} does not answer as a hub does; look at settings.models.endpoint") from None

    def _get(self, path: str, repository: str, revision: str, stream: bool = False) -> requests.Response:
        try:
            answer = self.session.get(self.endpoint + path, timeout=TIMEOUT, stream=stream)
        except requests.RequestException as error:
            raise UnreachableError(f"{self.endpoint} cannot be reached: {_reason(error)}") from None
        if answer.status_code in (401, 403):
            raise HubError(refusal(self.endpoint, repository, answer, self.variable, self.has_token))
        if answer.status_code == 404:
            where = f"{repository} at revision {revision}" if revision else repository
            raise HubError(f"{self.endpoint} has no {where}; look it up at {self.endpoint}/{repository}")
        if not answer.ok:
            raise UnreachableError(f"{self.endpoint} answers with HTTP {answer.status_code}; try again later")
        return answer


def _file(told: dict[str, Any]) -> RemoteFile:
    """One file of a list; ValueError where it is not as it should be."""
    lfs = told.get("lfs")
    size, sha256 = (lfs["size"], lfs["oid"]) if lfs else (told["size"], "")
    if not isinstance(size, int) or not (sha256 == "" or re.fullmatch(r"[0-9a-f]{64}", sha256)):
        raise ValueError(told)
    return RemoteFile(size, sha256)


def refusal(endpoint: str, repository: str, answer: requests.Response, variable: str, has_token: bool) -> str:
    """What to say of a 401 or 403."""
    what = f"{repository} is not open to you (HTTP {answer.status_code}): it needs a licence, or does not exist"
    if answer.headers.get("X-Error-Code") == "GatedRepo":
        what = f"{repository} is gated (HTTP {answer.status_code})"
    if has_token:
        return f"{what}; accept its licence at {endpoint}/{repository} as the owner of the token in {variable}"
    how = f"export {variable}= with it" if variable else "name the variable that holds it in settings.models.token"
    return f"{what}; accept its licence at {endpoint}/{repository}, make a token, and {how}"


def _reason(error: Exception) -> str:
    """The innermost reason of a request's failure, on one line; never an address, which may be a signed one."""
    while inner := [one for one in (getattr(error, "reason", None), *error.args) if isinstance(one, Exception)]:
        error = inner[0]
    # Of "<connection>: Failed to …" what comes after the connection.
    return " ".join(str(error).split()).rpartition(">: ")[2][-200:]
