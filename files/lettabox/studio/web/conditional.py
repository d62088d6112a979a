"""What a request for a file's bytes comes to, by RFC 9110: all, a part, nothing new, or a refusal."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

ONE_RANGE = re.compile(r"bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.ASCII | re.IGNORECASE)
TAGS = re.compile(r'(W/)?"([^"]*)"')
DIGITS = 18  # a number with more is beyond the end of any file


@dataclass(frozen=True)
class Verdict:
    status: int  # 200, 206, 304, 412, 416
    start: int = 0
    count: int = 0  # bytes to send


def judge(method: str, headers: Mapping[str, str], etag: str, modified: float, size: int) -> Verdict:
    """`etag` without quotes; `modified` in seconds since 1970.

    Several ranges in one request get the whole: no player asks so, and RFC 9110 lets a server ignore them.
    """
    if (wanted := headers.get("If-Match")) is not None:
        if not _matches(wanted, etag, weak=False):
            return Verdict(412)
    elif (before := _date(headers.get("If-Unmodified-Since"))) is not None and int(modified) > before:
        return Verdict(412)
    if not_new(headers, etag, modified):
        return Verdict(304)
    # For HEAD, ranges are not defined.
    if method == "GET" and "Range" in headers and _same(headers.get("If-Range"), etag, modified):
        return _part(headers["Range"], size)
    return Verdict(200, 0, size)


def not_new(headers: Mapping[str, str], etag: str, modified: float) -> bool:
    """Whether the client has it already."""
    if "If-None-Match" in headers:
        return has(headers, etag)
    since = _date(headers.get("If-Modified-Since"))
    return since is not None and int(modified) <= since


def has(headers: Mapping[str, str], etag: str) -> bool:
    """The same of what is made anew for each request, and has no time of its own."""
    return _matches(headers.get("If-None-Match", ""), etag, weak=True)


def date(seconds: float) -> str:
    """As headers have it."""
    return format_datetime(datetime.fromtimestamp(int(seconds), UTC), usegmt=True)


def _part(wanted: str, size: int) -> Verdict:
    found = ONE_RANGE.fullmatch(wanted)
    if not found or found.groups() == ("", ""):
        return Verdict(200, 0, size)
    first, last = found.groups()
    if not first:
        count = min(_number(last), size)
        return Verdict(206, size - count, count) if count else Verdict(416)
    start, end = _number(first), min(_number(last), size - 1) if last else size - 1
    if last and _number(last) < start:
        return Verdict(200, 0, size)  # not a range at all, says the RFC
    return Verdict(206, start, end - start + 1) if start < size else Verdict(416)


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= DIGITS else 10**DIGITS


def _same(if_range: str | None, etag: str, modified: float) -> bool:
    """Whether a part goes with what the client has of the file."""
    if if_range is None:
        return True
    if '"' in if_range:
        return if_range.strip() == f'"{etag}"'
    return _date(if_range) == int(modified)


def _matches(given: str, etag: str, weak: bool) -> bool:
    if given.strip() == "*":
        return True
    return any(tag == etag and (weak or not mark) for mark, tag in TAGS.findall(given))


def _date(given: str | None) -> int | None:
    if given is None:
        return None
    try:
        return int(parsedate_to_datetime(given).timestamp())
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
