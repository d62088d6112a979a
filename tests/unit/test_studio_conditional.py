"""What a request for a part of a file comes to, by RFC 9110."""

import pytest
from lettabox.studio.web.conditional import Verdict, date, judge

SIZE, TAG, TIME = 1000, "abc-3e8", 1_700_000_000.75
WHEN, BEFORE, AFTER = date(TIME), date(TIME - 1), date(TIME + 3600)
WHOLE, NOTHING_NEW = Verdict(200, 0, SIZE), Verdict(304)
HUGE = "9" * 5000


def ask(method: str = "GET", size: int = SIZE, **headers: str) -> Verdict:
    return judge(method, {name.replace("_", "-"): value for name, value in headers.items()}, TAG, TIME, size)


@pytest.mark.parametrize(
    ("wanted", "verdict"),
    [
        ("bytes=0-0", Verdict(206, 0, 1)),
        ("bytes=0-", Verdict(206, 0, 1000)),
        ("bytes=10-19", Verdict(206, 10, 10)),
        ("bytes=999-", Verdict(206, 999, 1)),
        ("bytes=990-5000", Verdict(206, 990, 10)),
        (f"bytes=990-{HUGE}", Verdict(206, 990, 10)),
        ("Bytes = 1 - 2 ", Verdict(206, 1, 2)),
        ("bytes=" + "0" * 5000 + "7-8", Verdict(206, 7, 2)),
        # The last ones.
        ("bytes=-1", Verdict(206, 999, 1)),
        ("bytes=-1000", Verdict(206, 0, 1000)),
        ("bytes=-1001", Verdict(206, 0, 1000)),
        (f"bytes=-{HUGE}", Verdict(206, 0, 1000)),
        # None of its bytes.
        ("bytes=-0", Verdict(416)),
        ("bytes=1000-", Verdict(416)),
        ("bytes=1000-1001", Verdict(416)),
        (f"bytes={HUGE}-", Verdict(416)),
        # What is no range is as if it were not there, and so are several ones.
        ("bytes=", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=5-4", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=1.5-2", WHOLE),
        ("bytes=--1", WHOLE),
        ("bytes=١-٢", WHOLE),
        ("frames=0-1", WHOLE),
        ("0-1", WHOLE),
        ("bytes=0-1,5-6", WHOLE),
        ("bytes=0-1," * 500 + "5-6", WHOLE),
    ],
)
def test_a_range(wanted: str, verdict: Verdict) -> None:
    assert ask(Range=wanted) == verdict


def test_ranges_are_for_get() -> None:
    assert ask("HEAD", Range="bytes=0-1") == WHOLE


def test_an_empty_file_has_no_range() -> None:
    assert ask(size=0, Range="bytes=0-") == Verdict(416)
    assert ask(size=0, Range="bytes=-5") == Verdict(416)
    assert ask(size=0) == Verdict(200, 0, 0)


@pytest.mark.parametrize(
    ("headers", "verdict"),
    [
        ({"If_None_Match": f'"{TAG}"'}, NOTHING_NEW),
        ({"If_None_Match": f'W/"{TAG}"'}, NOTHING_NEW),
        ({"If_None_Match": f'"x", W/"y", "{TAG}"'}, NOTHING_NEW),
        ({"If_None_Match": "*"}, NOTHING_NEW),
        ({"If_None_Match": f'"{TAG}"', "Range": "bytes=0-1"}, NOTHING_NEW),
        ({"If_None_Match": '"other"'}, WHOLE),
        ({"If_None_Match": TAG}, WHOLE),
        ({"If_Modified_Since": WHEN}, NOTHING_NEW),
        ({"If_Modified_Since": AFTER}, NOTHING_NEW),
        ({"If_Modified_Since": BEFORE}, WHOLE),
        ({"If_Modified_Since": "yesterday"}, WHOLE),
        ({"If_Modified_Since": "Fri, 32 Foo 99999999999 25:61:61 GMT"}, WHOLE),
        # A tag says more than a time.
        ({"If_None_Match": '"other"', "If_Modified_Since": WHEN}, WHOLE),
        ({"If_Match": f'"{TAG}"'}, WHOLE),
        ({"If_Match": "*"}, WHOLE),
        ({"If_Match": f'W/"{TAG}"'}, Verdict(412)),
        ({"If_Match": '"other"'}, Verdict(412)),
        ({"If_Unmodified_Since": WHEN}, WHOLE),
        ({"If_Unmodified_Since": BEFORE}, Verdict(412)),
        ({"If_Match": f'"{TAG}"', "If_Unmodified_Since": BEFORE}, WHOLE),
        ({"Range": "bytes=0-1", "If_Range": f'"{TAG}"'}, Verdict(206, 0, 2)),
        ({"Range": "bytes=0-1", "If_Range": '"other"'}, WHOLE),
        ({"Range": "bytes=0-1", "If_Range": f'W/"{TAG}"'}, WHOLE),
        ({"Range": "bytes=0-1", "If_Range": WHEN}, Verdict(206, 0, 2)),
        ({"Range": "bytes=0-1", "If_Range": BEFORE}, WHOLE),
        ({"Range": "bytes=0-1", "If_Range": AFTER}, WHOLE),
        ({"Range": "bytes=0-1", "If_Range": "nonsense"}, WHOLE),
        # A part that is not there does not matter when the file is another one.
        ({"Range": "bytes=5000-", "If_Range": '"other"'}, WHOLE),
    ],
)
def test_conditions(headers: dict[str, str], verdict: Verdict) -> None:
    assert ask(**headers) == verdict
