"""Unix times of rows, in every form: their unit, their digits."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import UnexpectedAnswer
from source_liquidations.vendors.instants import unix_instants

YEAR_2009, YEAR_2100 = timestamps.parse("2009-01-01"), timestamps.parse("2100-01-01")
UNITS = {"seconds": 10**9, "milliseconds": 10**6, "microseconds": 10**3, "nanoseconds": 1}

recent = st.integers(YEAR_2009, YEAR_2100 - 1)
some_units = st.lists(st.sampled_from(list(UNITS)), min_size=1, unique=True)


def read(values: list[str], *units: str) -> list[tuple[int, str]]:
    """Nanoseconds and text of each."""
    instants, texts = unix_instants("at", [msgspec.Raw(value.encode()) for value in values], *units)
    return [(instant, text.decode()) for instant, text in zip(instants, texts, strict=True)]


@given(st.lists(st.tuples(recent, st.sampled_from(list(UNITS)))), st.sampled_from(["{}", '"{}"']))
def test_the_unit_follows_from_the_size(times: list[tuple[int, str]], form: str) -> None:
    values = [max(instant, YEAR_2009 + UNITS[unit]) // UNITS[unit] for instant, unit in times]
    instants = [value * UNITS[unit] for value, (_, unit) in zip(values, times, strict=True)]
    digits = [{"microseconds": 6, "nanoseconds": 9}.get(unit, 3) for _, unit in times]
    found = read([form.format(value) for value in values], *UNITS)
    assert found == list(zip(instants, map(timestamps.format_instant, instants, digits), strict=True))


@given(st.integers(-(10**22), 10**22), some_units)
def test_a_time_of_no_such_unit_is_refused_rather_than_guessed(value: int, units: list[str]) -> None:
    meant = [value * UNITS[unit] for unit in units if YEAR_2009 <= value * UNITS[unit] < YEAR_2100]
    if meant:
        assert [instant for instant, _ in read([str(value)], *units)] == meant
        return
    with pytest.raises(UnexpectedAnswer, match=f"`at` of row 0 is '{value}', not a Unix time in {' or '.join(units)}"):
        read([str(value)], *units)


@pytest.mark.parametrize("value", ["null", '""', "true", "[1]", '"soon"', "1e999", '"1772323200 "', "-1772323200"])
def test_what_is_no_time_is_named(value: str) -> None:
    with pytest.raises(UnexpectedAnswer, match="`at` of row 1 is"):
        read(["1772323200", value], "seconds")


@given(recent, st.integers(0, 12))
def test_a_fraction_keeps_its_digits_down_to_the_nanosecond(instant: int, digits: int) -> None:
    seconds, fraction = divmod(instant, 10**9)
    written = f"{seconds}.{fraction:09d}000"[: len(str(seconds)) + 1 + digits].rstrip(".")
    (found,) = read([written], "seconds")
    exact = instant - instant % 10 ** max(0, 9 - digits)
    assert found == (exact, timestamps.format_instant(exact, min(max(3, digits), 9)))
