"""The simulated truth: deterministic, liquidation-like, growing with the clock."""

from __future__ import annotations

from collections import Counter

import pytest

from sandbox import Sandbox
from sandbox.market import Density, Market
from sandbox.times import HOUR, NS, Clock, instant_of, iso, parse

NOW = "2026-11-21T02:30:00Z"
DAY = ("2026-11-10T00:00:00Z", "2026-11-11T00:00:00Z")


def rows(sandbox: Sandbox, market: str, start: str = DAY[0], end: str = DAY[1]) -> list[dict[str, str]]:
    return sandbox.expected("coin_metrics", market, start, end)


def test_the_same_seed_gives_the_same_rows() -> None:
    one, two, other = (Sandbox(seed=seed, now=NOW) for seed in (3, 3, 4))
    assert rows(one, "bybit-BTCUSDT-future") == rows(two, "bybit-BTCUSDT-future")
    assert rows(one, "bybit-BTCUSDT-future") != rows(other, "bybit-BTCUSDT-future")


def test_rows_do_not_depend_on_what_was_read_before_or_on_the_clock() -> None:
    early, late = Sandbox(seed=3, now="2026-11-11T00:00:00Z"), Sandbox(seed=3, now=NOW)
    rows(late, "bybit-BTCUSDT-future", "2026-11-12T00:00:00Z", "2026-11-13T00:00:00Z")
    assert rows(early, "bybit-BTCUSDT-future") == rows(late, "bybit-BTCUSDT-future")


def test_cascades_put_many_rows_into_one_instant() -> None:
    sandbox = Sandbox(seed=3, now=NOW)
    assert max(Counter(row["time"] for row in rows(sandbox, "bybit-BTCUSDT-future")).values()) >= 10
    assert max(Counter(row["time"] for row in rows(sandbox, "deribit-BTC-PERPETUAL-future")).values()) >= 3


def test_some_exchanges_have_nanoseconds() -> None:
    found = rows(Sandbox(seed=3, now=NOW), "deribit-BTC-PERPETUAL-future")
    assert any(not row["time"].endswith("000Z") for row in found)
    assert all(row["time"].endswith("000000Z") for row in rows(Sandbox(seed=3, now=NOW), "bybit-BTCUSDT-future"))


def test_quiet_markets_have_empty_hours() -> None:
    found = rows(Sandbox(seed=3, now=NOW), "bitmex-XBTUSD-future")
    assert len({row["time"][:13] for row in found}) < 24


def test_sides_follow_the_price() -> None:
    sandbox = Sandbox(seed=3, now=NOW)
    by_hour: dict[str, list[dict[str, str]]] = {}
    for row in rows(sandbox, "bybit-BTCUSDT-future"):
        by_hour.setdefault(row["time"][:13], []).append(row)
    agreeing = 0
    for found in by_hour.values():
        fell = float(found[-1]["price"]) < float(found[0]["price"])
        longs = sum(row["side"] == "sell" for row in found) > len(found) / 2
        agreeing += fell == longs
    assert agreeing > len(by_hour) * 0.7


def test_identical_twins_exist_with_different_ids() -> None:
    found = rows(Sandbox(seed=3, now=NOW), "bybit-BTCUSDT-future")
    contents = Counter((r["time"], r["amount"], r["price"], r["side"]) for r in found)
    assert max(contents.values()) >= 2
    assert len({r["coin_metrics_id"] for r in found}) == len(found)


def test_binance_gives_one_a_second_since_2021_apart_from_twins() -> None:
    sandbox = Sandbox(seed=3, now=NOW, rows_per_day=200_000)
    found = rows(sandbox, "binance-BTCUSDT-future", "2026-11-10T00:00:00Z", "2026-11-10T06:00:00Z")
    contents = {}
    for row in found:
        contents.setdefault(row["time"][:19], set()).add((row["time"], row["amount"], row["price"], row["side"]))
    assert len(found) > 5000
    assert {len(of_second) for of_second in contents.values()} == {1}
    old = rows(sandbox, "binance-BTCUSDT-future", "2021-04-01T00:00:00Z", "2021-04-10T00:00:00Z")
    assert len({row["time"][:19] for row in old}) < len(old) * 0.9


def test_only_the_past_is_visible_and_the_clock_brings_more() -> None:
    sandbox = Sandbox(seed=3, now=NOW)
    window = ("2026-11-21T00:00:00Z", "2026-12-01T00:00:00Z")
    before = rows(sandbox, "bybit-BTCUSDT-future", *window)
    assert before[-1]["time"] <= NOW
    sandbox.advance(600)
    after = rows(sandbox, "bybit-BTCUSDT-future", *window)
    assert after[: len(before)] == before
    assert len(after) > len(before)


def test_the_busiest_market_has_a_row_every_few_seconds() -> None:
    sandbox = Sandbox(seed=3, now=NOW)
    assert 12_000 < len(rows(sandbox, "bybit-BTCUSDT-future")) < 24_000


def test_late_rows_appear_behind_the_clock() -> None:
    sandbox = Sandbox(seed=3, now=NOW, late_fraction=0.2, late_seconds=1800)
    window = ("2026-11-21T02:00:00Z", "2026-11-21T02:25:00Z")
    before = rows(sandbox, "bybit-BTCUSDT-future", *window)
    sandbox.advance(3600)
    after = rows(sandbox, "bybit-BTCUSDT-future", *window)
    assert len(before) < len(after)
    assert {r["coin_metrics_id"] for r in before} < {r["coin_metrics_id"] for r in after}
    assert all(r["database_time"] <= NOW for r in before)


def test_late_rows_do_not_lose_any_in_the_end() -> None:
    punctual, late = Sandbox(seed=3, now=NOW), Sandbox(seed=3, now=NOW, late_fraction=0.2, late_seconds=1800)
    market = "bybit-BTCUSDT-future"
    assert [r["coin_metrics_id"] for r in rows(punctual, market)] == [r["coin_metrics_id"] for r in rows(late, market)]


def test_live_density_begins_at_live_from() -> None:
    sandbox = Sandbox(seed=3, now=NOW, rows_per_day=500, live_rows_per_day=50_000, live_from="2026-11-21T01:00:00Z")
    quiet = rows(sandbox, "bybit-BTCUSDT-future", "2026-11-21T00:00:00Z", "2026-11-21T01:00:00Z")
    busy = rows(sandbox, "bybit-BTCUSDT-future", "2026-11-21T01:00:00Z", "2026-11-21T02:00:00Z")
    assert len(quiet) * 10 < len(busy)


def test_history_reaches_back_to_the_exchange_coverage() -> None:
    sandbox = Sandbox(seed=3, now=NOW, rows_per_day=200)
    series = sandbox.app.vendors["coin_metrics"].series("deribit-BTC-PERPETUAL-future")  # type: ignore[attr-defined]
    first = series.ascending(0, instant_of(NOW), 1).times[0]
    assert iso(first, 0).startswith("2018-08")
    assert rows(sandbox, "ftx-BTC-PERP-future", "2022-11-12T00:00:00Z", NOW) == []


def test_tiny_markets_hold_a_few_rows_each() -> None:
    sandbox = Sandbox(seed=3, now=NOW, tiny_markets=50)
    counts = [len(rows(sandbox, f"bybit-T{n:05d}USDT-future", "2026-01-01", NOW)) for n in range(1, 51)]
    assert 10_000 < sum(counts) < 20_000


def test_markets_of_one_exchanges_own_api_are_in_no_other_vendors_answers() -> None:
    sandbox = Sandbox(seed=3, now=NOW, tiny_markets=5)
    market = sandbox.market
    unshared = market.all_instruments.keys() - market.instruments.keys()
    assert {"gate/BTC_USDT", "gate/BTC_USD", "gate/T00001_USDT", "bitfinex/BTCUSD"} <= unshared
    shared = {instrument.exchange for instrument in market.instruments.values()}
    assert "gate" not in shared
    assert all(instrument.kiyotaka_exchange is None for instrument in market.all_instruments.values()
               if instrument.key in unshared)  # fmt: skip


def test_buckets_equal_the_events_of_every_vendor_of_a_market() -> None:
    sandbox = Sandbox(seed=3, now=NOW)
    (point,) = sandbox.expected("coinalyze", "BTCUSDT_PERP.F", *DAY)
    triggers = [row for row in sandbox.expected("bitfinex", "tBTCF0:USTF0", *DAY) if not row[8]]
    assert point["l"] == pytest.approx(sum(row[5] for row in triggers if row[5] > 0))
    assert point["s"] == pytest.approx(-sum(row[5] for row in triggers if row[5] < 0))
    (sell, buy) = sandbox.expected("kiyotaka", "BITFINEX_DERIVATIVES/BTCF0:USTF0", *DAY, interval="DAY")
    assert buy["points"][0]["Point"]["liquidations"] == pytest.approx(point["l"])
    assert sell["points"][0]["Point"]["liquidations"] == pytest.approx(point["s"])


def test_sums_equal_the_events() -> None:
    market = Market(3, Clock(NOW), Density())
    instrument = market.instruments["bybit/BTCUSDT"]
    hour = parse("2026-11-10T05:00:00Z") // HOUR
    block = market.block(instrument, hour)
    sums = market.sums(instrument, hour)
    assert sums.counts == (len(block) - sum(block.longs), sum(block.longs))
    assert sum(sums.lots) == sum(block.lots)
    halves = [
        market.sums_between(instrument, hour * HOUR + n * HOUR // 2, hour * HOUR + (n + 1) * HOUR // 2) for n in (0, 1)
    ]
    assert tuple(a + b for a, b in zip(halves[0].lots, halves[1].lots, strict=True)) == sums.lots


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:01.5Z", 1_500_000_000),
        ("19700102", 86400 * NS),
        ("1970-01-02", 86400 * NS),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00.123456789", 123456789),
    ],
)
def test_instants_are_read(text: str, instant: int) -> None:
    assert parse(text) == instant


def test_vendors_agree_on_one_market_and_day() -> None:
    sandbox = Sandbox(seed=3, now=NOW)
    kaiko = sandbox.expected("kaiko", "binc/perpetual-future/btc-usdt", *DAY)
    kwery = sandbox.expected("kwery", "BTC", *DAY)
    coin_metrics = rows(sandbox, "binance-BTCUSDT-future")
    (sell, buy) = sandbox.expected("kiyotaka", "BINANCE_FUTURES/BTCUSDT", *DAY, interval="DAY")
    assert len(kaiko) == len(kwery) == len(coin_metrics)
    assert [row["amount"] for row in kaiko] == [row["quantity"] for row in kwery]
    assert [float(row["amount"]) for row in coin_metrics] == [row["quantity"] for row in kwery]
    sides = [(k["position_side"], c["side"], w["side"]) for k, c, w in zip(kaiko, coin_metrics, kwery, strict=True)]
    assert set(sides) == {("long", "sell", "long"), ("short", "buy", "short")}
    longs = sum(row["quantity"] for row in kwery if row["side"] == "long")
    shorts = sum(row["quantity"] for row in kwery if row["side"] == "short")
    assert buy["id"]["side"] == "BUY"
    assert buy["points"][0]["Point"]["liquidations"] == pytest.approx(longs)
    assert sell["points"][0]["Point"]["liquidations"] == pytest.approx(shorts)


def test_the_known_disagreement_is_one_hour_of_one_vendor() -> None:
    sandbox = Sandbox(seed=3, now=NOW)
    hour = ("2025-10-10T21:00:00Z", "2025-10-10T22:00:00Z")
    assert rows(sandbox, "binance-BTCUSDT-future", *hour) == []
    assert len(sandbox.expected("kwery", "BTC", *hour)) > 20
    assert len(sandbox.expected("kaiko", "binc/perpetual-future/btc-usdt", *hour)) > 20
    assert rows(sandbox, "binance-BTCUSDT-future", "2025-10-10T22:00:00Z", "2025-10-10T23:00:00Z")
    assert rows(sandbox, "binance-ETHUSDT-future", *hour)
