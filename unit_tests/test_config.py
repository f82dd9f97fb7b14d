"""A valid configuration in the connector's own terms: instants, durations, defaults."""

from __future__ import annotations

from typing import Any

import pytest

from source_liquidations import config, timestamps
from source_liquidations.errors import ConfigurationError
from source_liquidations.vendors import VENDORS

NOW = timestamps.parse("2026-03-01T12:34:56.789123456Z")
LEAST: dict[str, Any] = {"start_date": "2026-01-01", "coin_metrics": {"markets": ["binance-BTCUSDT-future"]}}


def parsed(**changes: Any) -> config.Config:
    return config.parse(LEAST | changes, now=NOW)


def test_defaults() -> None:
    found = parsed()
    assert found.start == timestamps.parse("2026-01-01T00:00:00Z")
    assert found.end == timestamps.parse("2026-03-01T12:34:56.789Z"), "now, in the vendors' milliseconds"
    assert found.lookback == timestamps.HOUR
    assert found.workers == 8
    assert [vendor.name for vendor in found.vendors] == ["coin_metrics"]


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-02-28", "2026-02-28T00:00:00Z"),
        ("2026-02-28T01:02:03Z", "2026-02-28T01:02:03Z"),
        ("2026-02-28T01:02:03.123456789Z", "2026-02-28T01:02:03.123456789Z"),
    ],
)
def test_dates_are_taken_to_the_nanosecond(text: str, instant: str) -> None:
    assert parsed(start_date=text).start == timestamps.parse(instant)
    assert parsed(end_date=text).end == timestamps.parse(instant)


@pytest.mark.parametrize("end", ["2099-01-01", "2026-03-02", ""])
def test_an_end_ahead_is_now(end: str) -> None:
    assert parsed(end_date=end).end == timestamps.parse("2026-03-01T12:34:56.789Z")


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("PT0S", 0),
        ("PT90S", 90 * timestamps.SECOND),
        ("PT15M", 15 * timestamps.MINUTE),
        ("P1D", timestamps.DAY),
        ("P2W", 14 * timestamps.DAY),
        ("P1DT2H3M4S", timestamps.DAY + 2 * timestamps.HOUR + 3 * timestamps.MINUTE + 4 * timestamps.SECOND),
    ],
)
def test_durations(text: str, nanoseconds: int) -> None:
    assert parsed(lookback_window=text).lookback == nanoseconds


def test_sections_stay_in_the_vendors_order_whatever_the_configurations() -> None:
    sections = {
        "kiyotaka": {"api_key": "key-of-kiyotaka", "symbols": ["BYBIT/BTCUSDT"]},
        "kaiko": {"api_key": "key-of-kaiko", "assets": ["btc"]},
    }
    assert [vendor.name for vendor in parsed(**sections).vendors] == ["kaiko", "coin_metrics", "kiyotaka"]


def test_a_configuration_is_not_changed_by_parsing_it() -> None:
    given: dict[str, Any] = LEAST | {"num_workers": 4.0}
    config.parse(given, now=NOW)
    assert given == LEAST | {"num_workers": 4.0}
    assert isinstance(given["num_workers"], float)


def test_every_key_is_known_as_a_secret_valid_or_not() -> None:
    raw: Any = {
        "kaiko": {"api_key": " padded\n"},
        "kwery": {"api_key": 5},
        "coin_metrics": None,
        "x": {"api_key": "odd"},
    }
    assert set(config.secrets(raw)) == {" padded\n", "padded", "odd"}
    assert list(config.secrets(["no configuration"])) == []


def test_the_specification_has_a_section_for_each_vendor() -> None:
    properties = config.spec()["connectionSpecification"]["properties"]
    assert [vendor.name for vendor in VENDORS if vendor.name in properties] == [vendor.name for vendor in VENDORS]
    assert config.spec() is not config.spec(), "nobody can spoil another's copy"


def test_an_error_names_the_field_first() -> None:
    with pytest.raises(ConfigurationError) as caught:
        parsed(num_workers=99)
    assert caught.value.field == "num_workers"
    assert caught.value.message == "`num_workers`: 99 is too large. Allowed: a whole number, 1 to 40."
    assert (caught.value.failure_type, caught.value.scope) == ("config_error", "reading")
