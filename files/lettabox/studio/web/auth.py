"""Who may do what: the token, the cookie that stands for it when reading, and the Host header."""

import hashlib
import hmac
import ipaddress
import time

from aiohttp import web

from lettabox.studio.web.problem import Problem

COOKIE = "studio_session"
LASTS = 30 * 24 * 3600  # seconds
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="lettabox studio"'}
FIX = "send the header `Authorization: Bearer TOKEN`; `make -s studio-token` prints the token"


class Door:
    def __init__(self, token: str, names: tuple[str, ...]) -> None:
        """`names`: what the service may be called, besides addresses."""
        self._token = token.encode()
        self._names = {"localhost", *names}

    def check_host(self, request: web.BaseRequest) -> None:
        """A web page elsewhere can have its own name resolve to this service; the browser then says that name here."""
        named = request.headers.getall("Host", [])
        if len(named) != 1:
            raise Problem(400, "a request has exactly one Host header", "send it", "Host", ", ".join(named))
        host = _without_port(named[0])
        if host.lower() not in self._names and not _address(host):
            fix = "use its address or localhost, or add the name to studio.names in the settings and deploy"
            raise Problem(421, "this service is not called that", fix, "Host", named[0])

    def trusts(self, request: web.BaseRequest) -> bool:
        """Whether the request has the token. Raises Problem for one that is wrong."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return False  # that of a proxy in between is none of ours
        if not self.is_token(token.strip()):
            raise Problem(401, "the token is wrong", FIX, "Authorization", headers=CHALLENGE)
        return True

    def knows(self, request: web.BaseRequest) -> bool:
        """Whether the request has a cookie of ours that is still good; it is for reading only."""
        try:
            given = request.cookies.get(COOKIE, "")
        except ValueError:
            return False
        until, _, _ = given.partition(".")
        if not until.isascii() or not until.isdigit() or len(until) > 12 or int(until) < time.time():
            return False
        return hmac.compare_digest(given.encode("utf-8", "replace"), self._session(until).encode())

    def is_token(self, given: str) -> bool:
        # Nobody has the empty token, even where none is set.
        return bool(self._token) and hmac.compare_digest(given.encode("utf-8", "replace"), self._token)

    def set_cookie(self, response: web.StreamResponse) -> None:
        """The cookie is no copy of the token: what a browser stores must not do for writing."""
        value = self._session(str(int(time.time()) + LASTS))
        response.set_cookie(COOKIE, value, max_age=LASTS, path="/", httponly=True, samesite="Strict")

    def drop_cookie(self, response: web.StreamResponse) -> None:
        """No script of the page can: it does not see the cookie."""
        response.del_cookie(COOKIE, path="/", httponly=True, samesite="Strict")

    def _session(self, until: str) -> str:
        seal = hmac.new(self._token, f"studio session until {until}".encode(), hashlib.sha256)
        return f"{until}.{seal.hexdigest()}"


def missing() -> Problem:
    return Problem(401, "this needs the token", FIX, "Authorization", headers=CHALLENGE)


def _without_port(host: str) -> str:
    if host.startswith("[") and "]" in host:
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
