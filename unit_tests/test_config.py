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
    config = parsed()
    assert config.start == timestamps.parse("2026-01-01T00:00:00Z")
    assert config.end == timestamps.parse("2026-03-01T12:34:56.789Z"), "now, in the vendors' milliseconds"
    assert config.lookback == timestamps.HOUR
    assert config.workers == 8
    assert [vendor.name for vendor in config.vendors] == ["coin_metrics"]


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


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("P90D", "2025-12-01T12:34:56.789Z"),
        ("P2W", "2026-02-15T12:34:56.789Z"),
        ("PT36H", "2026-02-28T00:34:56.789Z"),
        ("P1Y6M", "2024-09-01T12:34:56.789Z"),
        ("P1M", "2026-02-01T12:34:56.789Z"),
    ],
)
def test_a_start_may_be_a_duration_back_from_now(text: str, instant: str) -> None:
    assert parsed(start_date=text).start == timestamps.parse(instant)


@pytest.mark.parametrize("text", ["P0D", "PT0S", "P9999Y", "P99999999999D"])
def test_a_duration_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parsed(start_date=text)
    assert caught.value.field == "start_date"


def test_an_empty_value_counts_as_absent() -> None:
    empty: dict[str, Any] = {"lookback_window": "", "num_workers": None, "end_date": None, "kaiko": {}, "kwery": None}
    assert parsed(**empty) == parsed()
    section = {"markets": ["binance-BTCUSDT-future"], "api_key": "", "metrics_pairs": [], "requests_per_minute": None}
    assert list(parsed(coin_metrics=section).vendors.values()) == [{"markets": ["binance-BTCUSDT-future"]}]


@pytest.mark.parametrize("text", ["8", " 8 ", "8.0", 8.0, "+8"])
def test_a_whole_number_may_be_text(text: Any) -> None:
    workers = parsed(num_workers=text).workers
    assert (workers, type(workers)) == (8, int)


@pytest.mark.parametrize("number", [10_000, 10_000.0, "10000", "10000.0"])
def test_one_number_has_one_form(number: Any) -> None:
    kwery = {"api_key": "key-of-kwery", "min_usd": number}
    section = next(values for vendor, values in parsed(kwery=kwery).vendors.items() if vendor.name == "kwery")
    assert str(section["min_usd"]) == "10000"


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("start_dat", "start_date"),
        ("startdate", "start_date"),
        ("startDate", "start_date"),
        ("START-DATE", "start_date"),
        ("strat_date", "start_date"),
        ("start_dates", "start_date"),
        ("ztart_date", "start_date"),
        ("kaikoo", "kaiko"),
        ("kwrey", "kwery"),
    ],
)
def test_a_field_one_slip_away_is_refused(name: str, close: str) -> None:
    with pytest.raises(ConfigurationError, match=f"Did you mean `{close}`"):
        parsed(**{name: "x"})


@pytest.mark.parametrize("name", ["amberdata", "strat_dates", "api_key", "start", "end", "_internal"])
def test_any_other_unknown_field_is_ignored(name: str) -> None:
    assert parsed(**{name: {"x": 1}}) == parsed()


def test_an_unknown_field_is_ignored_in_a_section_too() -> None:
    """A later version's form puts its own defaults into every section, and the user may come back from it."""
    assert parsed(kaiko={"region": "us", "interval": "1h", "granularity": "raw"}) == parsed()
    assert parsed(coin_metrics=LEAST["coin_metrics"] | {"mode": "fast"}) == parsed()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, "9" * 5_000, "9" * 400 + ".5"])
@pytest.mark.parametrize("field", ["num_workers", "kwery.min_usd", "kwery.requests_per_minute"])
def test_a_number_that_cannot_be_calculated_with_is_refused(field: str, number: Any) -> None:
    section, _, name = field.rpartition(".")
    with pytest.raises(ConfigurationError) as caught:
        parsed(**({section: {"api_key": "key-of-kwery", name: number}} if section else {name: number}))
    assert caught.value.field == field
    assert " number; " in caught.value.message


@pytest.mark.parametrize(
    "url", ["https://gateway.example/team@desk/v1", "HTTPS://gateway.example:8443", "http://[::1]/x"]
)
def test_a_base_url_may_have_a_path_of_any_letters(url: str) -> None:
    (section,) = parsed(coin_metrics=LEAST["coin_metrics"] | {"base_url": url}).vendors.values()
    assert section["base_url"] == url


def test_all_errors_are_reported_together() -> None:
    with pytest.raises(ConfigurationError) as caught:
        config.parse(
            {
                "end_date": "tomorrow",
                "num_worker": 1,
                "num_workers": 99,
                "lookback_window": "PT1.5H",
                "kaiko": {"region": "mars", "instruments": ["x", "bbit/spot/btc-usdt", 7], "assets": "btc"},
                "kwery": {"api_key": "with blank", "max_credits_per_sync": 5, "base_url": "http://example.com"},
                "coin_metrics": {"markets": ["a,b", "binance-btc-usdt-spot"], "metrics_pairs": ["x"]},
                "kiyotaka": {"coins": ["BTC"], "interval": "hour"},
            },
            now=NOW,
        )
    for field in (
        "start_date",
        "end_date",
        "num_worker",
        "num_workers",
        "lookback_window",
        "kaiko.api_key",
        "kaiko.region",
        "kaiko.instruments[0]",
        "kaiko.instruments[1]",
        "kaiko.instruments[2]",
        "kaiko.assets",
        "kwery.api_key",
        "kwery.max_credits_per_sync",
        "kwery.base_url",
        "coin_metrics.markets[0]",
        "coin_metrics.markets[1]",
        "coin_metrics.metrics_pairs[0]",
        "kiyotaka.api_key",
        "kiyotaka.interval",
        "kiyotaka.coin_exchanges",
    ):
        assert f"`{field}`" in caught.value.message, field
    assert caught.value.message.startswith("The configuration has 20 mistakes: (1) ")


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
        "x": {"api_key": "odd", "inner": {"access_token": "deep"}, "region": "eu"},
        "secret": "top",
    }
    assert set(config.secrets(raw)) == {" padded\n", "padded", "odd", "deep", "top"}
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
