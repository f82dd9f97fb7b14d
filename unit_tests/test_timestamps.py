"""Instants: exact to the nanosecond in both directions, and nothing guessed."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.vendors.instants import iso_instants

FIRST = timestamps.parse("0001-01-01T00:00:00Z")
LAST = timestamps.parse("9999-12-31T23:59:59.999999999Z")
YEAR_2009 = timestamps.parse("2009-01-01")
YEAR_2100 = timestamps.parse("2100-01-01")

instants = st.integers(FIRST, LAST)
recent = st.integers(YEAR_2009, YEAR_2100 - 1)


def reference(moment: datetime) -> int:
    """Nanoseconds of a datetime, by integer arithmetic alone."""
    since = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000


@given(instants)
def test_nine_digits_lose_nothing(instant: int) -> None:
    text = timestamps.format_instant(instant)
    assert len(text) == len("2024-01-01T00:00:00.000000000Z")
    assert timestamps.parse(text) == instant


@given(instants)
def test_the_shortest_form_loses_nothing_and_is_the_shortest(instant: int) -> None:
    text = timestamps.format_shortest(instant)
    assert timestamps.parse(text) == instant
    fraction = text.partition(".")[2].removesuffix("Z")
    assert len(fraction) in (0, 3, 6, 9)
    assert not fraction.endswith("000")


@given(instants, st.integers(0, 9))
def test_fewer_digits_are_cut_off_and_never_rounded(instant: int, digits: int) -> None:
    unit = 10 ** (9 - digits)
    assert timestamps.parse(timestamps.format_instant(instant, digits)) == instant - instant % unit


@given(st.datetimes(timezones=st.just(timezone.utc)))
def test_agrees_with_datetime_where_datetime_is_exact(moment: datetime) -> None:
    instant = reference(moment)
    text = moment.isoformat().replace("+00:00", "Z")
    assert timestamps.parse(text) == instant
    assert timestamps.parse(moment.isoformat()) == instant
    assert timestamps.parse(text.replace("T", " ")) == instant
    assert timestamps.parse(text.removesuffix("Z")) == instant
    assert timestamps.format_instant(instant, 6) == moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1)), st.integers(-14 * 60, 14 * 60))
def test_offsets_are_taken_into_account(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    assert timestamps.parse(moment.isoformat()) == reference(moment)
    assert timestamps.parse(moment.strftime("%Y-%m-%dT%H:%M:%S.%f%z")) == reference(moment)


@given(recent, st.integers(1, 9))
def test_any_number_of_fraction_digits_up_to_nine(instant: int, digits: int) -> None:
    whole = instant - instant % 10 ** (9 - digits)
    text = f"{timestamps.format_instant(whole, 0)[:-1]}.{whole % 10**9:09d}"[: 20 + digits]
    assert timestamps.parse(f"{text}Z") == timestamps.parse(f"{text}+00:00") == timestamps.parse(text) == whole


_WRONG = st.tuples(st.integers(0, 40), st.sampled_from(list("0123456789TZ:.+-_ x²٣")))


@given(
    st.lists(st.tuples(recent, st.lists(_WRONG, max_size=2)), max_size=5),
    st.lists(st.integers(0, 9), min_size=1, max_size=2),
)
def test_a_column_is_parsed_as_each_of_its_texts(
    column: list[tuple[int, list[tuple[int, str]]]], forms: list[int]
) -> None:
    texts = []
    for index, (instant, wrong) in enumerate(column):
        text = timestamps.format_instant(instant, forms[index % len(forms)])
        for at, letter in wrong:
            text = text[:at] + letter + text[at + 1 :]
        texts.append(text)
    try:
        expected = [timestamps.parse(text) for text in texts]
    except ValueError as error:
        with pytest.raises(UnexpectedAnswer, match=re.escape(str(error))):
            iso_instants("time", texts)
    else:
        instants, times = iso_instants("time", texts)
        assert (instants, [timestamps.parse(time.decode()) for time in times]) == (expected, expected)
        assert all(time.endswith(b"Z") and len(time) >= len("2024-01-01T00:00:00.123Z") for time in times)


@pytest.mark.parametrize(
    ("text", "same_as"),
    [
        ("2024-02-29", "2024-02-29T00:00:00Z"),
        ("2024-02-29T12:30", "2024-02-29T12:30:00Z"),
        ("2024-02-29T12:30Z", "2024-02-29T12:30:00Z"),
        ("2024-02-29T12:30:01z", "2024-02-29T12:30:01Z"),
        ("2024-02-29T12:30:01.5Z", "2024-02-29T12:30:01.500000000Z"),
    ],
)
def test_accepted_forms(text: str, same_as: str) -> None:
    assert timestamps.parse(text) == timestamps.parse(same_as)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "1740441553739",
        "12 March 2025, 03:14",
        "2025-02-30",
        "2025-13-01T00:00:00Z",
        "2025-01-01T24:00:00Z",
        "2025-01-01T00:00:60Z",
        "2025-01-01T00:00:00.Z",
        "2025-01-01T00:00:00.0000000001Z",
        "2025-01-01T00:00:00.-1Z",
        "2025-01-01T00:00:00.٣Z",
        "٢٠٢٥-01-01T00:00:00Z",
        "2025-01-01T00:00:00Z\n",
        " 2025-01-01T00:00:00Z",
        "2025-01-01T00:00:00ZZ",
        "2025-01-01T00:00:00+24:00",
        "2025-01-01T00:00:00+00:60",
        "2025-01-01T00:00:00+5",
        "20250101T000000Z",
        "0000-01-01",
    ],
)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"instant|range|month|hour|minute|second|day|year"):
        timestamps.parse(text)


@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_refused(text: str) -> None:
    try:
        instant = timestamps.parse(text)
    except ValueError:
        return
    assert timestamps.parse(timestamps.format_instant(instant)) == instant


@given(instants, st.sampled_from([1, 10**6, timestamps.HOUR, 5 * timestamps.HOUR, timestamps.DAY]))
def test_floor_and_ceil_embrace_the_instant(instant: int, step: int) -> None:
    low, high = timestamps.floor_to(instant, step), timestamps.ceil_to(instant, step)
    assert low % step == 0 == high % step
    assert low <= instant <= high
    assert high - low == (0 if instant % step == 0 else step)
