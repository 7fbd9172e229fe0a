"""Retry-After as servers write it; values worked out by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

for library in ("httpx2", "tenacity"):
    pytest.importorskip(library)

from captioning.teachers.attempts import retry_after_s  # noqa: E402

NOON = "Wed, 21 Oct 2015 12:00:00 GMT"


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        (None, NOON, None),
        ("120", NOON, 120),
        ("0", None, 0),
        (" 1.5 ", None, 1.5),
        ("-3", None, 0),
        ("inf", None, None),
        ("nan", None, None),
        ("", NOON, None),
        ("soon", NOON, None),
        ("Wed, 21 Oct 2015 12:00:30 GMT", NOON, 30),
        ("Wed, 21 Oct 2015 14:00:30 +0200", NOON, 30),
        ("Wednesday, 21-Oct-15 12:00:30 GMT", NOON, 30),
        ("Wed Oct 21 12:00:30 2015", NOON, 30),
        ("Wed, 21 Oct 2015 11:59:00 GMT", NOON, 0),
        ("Wed, 21 Oct 2015 12:00:30 GMT", None, 0),  # long past by our clock
    ],
)
def test_seconds_and_dates(value: str | None, date: str | None, expected: float | None) -> None:
    assert retry_after_s(value, date) == expected


@pytest.mark.parametrize("date", [None, "yesterday"])
def test_our_clock_where_the_server_tells_no_time(date: str | None) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after_s(until, date) == pytest.approx(89.5, abs=1.5)
