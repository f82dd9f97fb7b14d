"""Bitfinex' documented and measured rules, one by one, over HTTP."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from sandbox.times import iso, parse

START, END = parse("2026-11-20T00:00:00Z") // 10**6, parse("2026-11-20T06:00:00Z") // 10**6
SPAN = ("2026-11-20T00:00:00Z", "2026-11-20T06:00:00.001Z")
WINDOW = {"start": START, "end": END}
BTC = "tBTCF0:USTF0"


def rows(answer: Any) -> list[Any]:
    """The rows of an answer in the default nesting."""
    return [row for (row,) in answer.json()]


def by_position(rows_read: list[Any]) -> dict[tuple[int, str], list[Any]]:
    positions: dict[tuple[int, str], list[Any]] = {}
    for row in rows_read:
        positions.setdefault((row[1], row[4]), []).append(row)
    return positions


def test_the_whole_exchange_in_one_list(shared: Any) -> None:
    expected = shared.sandbox.expected("bitfinex", "*", *SPAN)
    assert rows(shared.hist(sort=1, limit=500, **WINDOW)) == expected[:500]
    assert {BTC, "tETHF0:USTF0", "tBTCUSD", "tETHUST", "tDOGE:UST", "tAVAXF0:USTF0"} <= {row[4] for row in expected}
    assert [row[2] for row in expected] == sorted(row[2] for row in expected)
    assert all(len(row) == 12 and row[0] == "pos" and row[3] is row[7] is row[10] is None for row in expected)
    assert [row for row in expected if row[4] == BTC] == shared.sandbox.expected("bitfinex", BTC, *SPAN)


def test_newest_first_is_the_reverse(shared: Any) -> None:
    expected = shared.sandbox.expected("bitfinex", "*", *SPAN)
    assert rows(shared.hist(sort=-1, limit=500, **WINDOW)) == expected[::-1][:500]
    assert rows(shared.hist(limit=500, **WINDOW)) == expected[::-1][:500]
    crowded = Counter(row[2] for row in expected).most_common(1)[0]
    one_ms = {"start": crowded[0], "end": crowded[0], "limit": 500}
    assert crowded[1] > 2
    assert rows(shared.hist(sort=1, **one_ms)) == rows(shared.hist(sort=-1, **one_ms))[::-1]
    assert len(rows(shared.hist(sort=1, **one_ms))) == crowded[1]


def test_both_bounds_are_inclusive(shared: Any) -> None:
    expected = shared.sandbox.expected("bitfinex", "*", *SPAN)
    first, last = expected[10][2], expected[60][2]
    between = [row for row in expected if first <= row[2] <= last]
    assert rows(shared.hist(sort=1, start=first, end=last, limit=500)) == between


def test_paging_by_the_last_time_covers_the_window(shared: Any) -> None:
    rows_read: list[Any] = []
    start = START
    while True:
        page = rows(shared.hist(sort=1, start=start, end=END, limit=200))
        kept = [row for row in rows_read if row[2] < start]
        rows_read = kept + page
        if len(page) < 200:
            break
        start = page[-1][2]
    assert rows_read == shared.sandbox.expected("bitfinex", "*", *SPAN)


def test_without_bounds(shared: Any) -> None:
    newest = rows(shared.hist())
    assert len(newest) == 100
    assert newest[0][2] <= parse("2026-11-21T02:30:00Z") // 10**6
    assert newest[0][2] > newest[-1][2] > parse("2026-11-20T00:00:00Z") // 10**6
    oldest = rows(shared.hist(sort=1, limit=1))
    assert iso(oldest[0][2] * 10**6).startswith("2019-08")


def test_an_empty_window_is_an_empty_array(make: Any) -> None:
    for nesting in ("each", "one", "flat"):
        assert make(bitfinex_nesting=nesting).hist(start=1000, end=2000).json() == []
    assert make().hist(start=END, end=START).json() == []


def test_a_trigger_and_its_matches(shared: Any) -> None:
    positions = by_position(shared.sandbox.expected("bitfinex", BTC, *SPAN))
    sizes = Counter(len(steps) for steps in positions.values())
    assert sizes.most_common(1)[0][0] == 2
    assert sizes[3] > 0
    for steps in positions.values():
        trigger = steps[0]
        assert (trigger[8], trigger[9], trigger[11]) == (0, 0, None)
        for match in steps[1:]:
            if match[8]:
                assert (match[5] > 0) == (trigger[5] > 0)
                assert match[6] == trigger[6]
                assert match[11] is not None
                assert trigger[2] <= match[2] <= trigger[2] + 20
    assert {row[9] for steps in positions.values() for row in steps if row[8]} == {0, 1}


def test_the_amount_of_a_match_is_what_was_left(shared: Any, make: Any) -> None:
    positions = by_position(shared.sandbox.expected("bitfinex", BTC, *SPAN))
    threes = {name: steps for name, steps in positions.items() if len(steps) == 3}
    for trigger, first, second in threes.values():
        assert first[5] == trigger[5]
        assert 0 < abs(second[5]) < abs(trigger[5])
    executed = by_position(make(bitfinex_match_amount="executed").sandbox.expected("bitfinex", BTC, *SPAN))
    for name in threes:
        trigger, first, second = executed[name]
        assert first[5] + second[5] == pytest.approx(trigger[5])


def test_the_sign_is_the_positions_side(shared: Any) -> None:
    """The same events that Coin Metrics has as orders: a liquidated long sells."""
    orders = shared.sandbox.expected("coin_metrics", "bitfinex-BTCF0:USTF0-future", *SPAN)
    orders = [row for row in orders if row["type"] == "order"]
    expected = shared.sandbox.expected("bitfinex", BTC, *SPAN)
    triggers = [row for row in expected if not row[8]]
    assert [(parse(o["time"]) // 10**6, float(o["amount"])) for o in orders] == [(t[2], abs(t[5])) for t in triggers]
    sides = {(order["side"], row[5] > 0) for order, row in zip(orders, triggers, strict=True) if "side" in order}
    assert sides == {("sell", True), ("buy", False)}
    # A long is entered above the price at which it is liquidated.
    assert {(row[5] > 0, row[6] > row[11]) for row in expected if row[8]} == {(True, True), (False, False)}


def test_exact_twins_are_equal_rows(make: Any) -> None:
    expected = make(rows_per_day=100_000).sandbox.expected("bitfinex", "*", *SPAN)
    assert any(a == b for a, b in pairwise(expected))


@pytest.mark.parametrize("nesting", ["each", "one", "flat"])
def test_nestings(make: Any, nesting: str) -> None:
    api = make(bitfinex_nesting=nesting)
    expected = api.sandbox.expected("bitfinex", "*", *SPAN)[:3]
    nested = {"each": [[row] for row in expected], "one": [expected], "flat": expected}
    answer = api.hist(sort=1, limit=3, **WINDOW)
    assert answer.json() == nested[nesting]
    assert api.sandbox.requests("bitfinex")[0].rows == 3


def test_fractions_of_a_millisecond(make: Any) -> None:
    api = make(bitfinex_fractional_ms=True)
    sent = rows(api.hist(sort=1, limit=500, **WINDOW))
    assert any(isinstance(row[2], float) for row in sent)
    assert [row[2] for row in sent] == sorted(row[2] for row in sent)
    fractional = next(row for row in sent if row[2] != int(row[2]))
    whole = int(fractional[2])
    assert fractional in rows(api.hist(start=whole, end=whole + 1))
    assert fractional not in rows(api.hist(start=whole, end=whole))
    assert fractional not in rows(api.hist(start=whole + 1, end=whole + 1))


@pytest.mark.parametrize("elements", [10, 11])
def test_shorter_rows(make: Any, elements: int) -> None:
    assert {len(row) for row in rows(make(bitfinex_elements=elements).hist(limit=20))} == {elements}


def test_the_older_meaning_of_market_sold(shared: Any, make: Any) -> None:
    documented = shared.sandbox.expected("bitfinex", BTC, *SPAN)
    reverse = make(bitfinex_market_sold="reversed").sandbox.expected("bitfinex", BTC, *SPAN)
    assert [row[9] for row in reverse] == [1 - row[9] for row in documented]


def test_defaults_can_be_others(make: Any) -> None:
    api = make(bitfinex_default_limit=7, bitfinex_default_sort=1, bitfinex_max_limit=10_000)
    assert rows(api.hist(**WINDOW)) == api.sandbox.expected("bitfinex", "*", *SPAN)[:7]
    assert api.hist(limit=10_000, **WINDOW).status_code == 200


def test_a_start_may_be_clamped_to_a_window(make: Any) -> None:
    api = make(bitfinex_start_days=0.25)
    expected = api.sandbox.expected("bitfinex", "*", *SPAN)
    assert rows(api.hist(start=START, limit=500)) == expected[::-1][:500]
    assert rows(api.hist(start=START, end=END, limit=500)) == expected[::-1][:500]


def test_history_may_end(make: Any) -> None:
    oldest = rows(make(bitfinex_history_days=10).hist(sort=1, limit=1))
    assert iso(oldest[0][2] * 10**6).startswith("2026-11-11")


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"limit": 501}, "limit"),
        ({"limit": 0}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"sort": "asc"}, "sort"),
        ({"start": "2026-11-20"}, "start"),
        ({"end": "1.5"}, "end"),
        ({"symbol": "tBTCF0:USTF0"}, "symbol"),
    ],
)
def test_bad_parameters(shared: Any, params: dict[str, Any], name: str) -> None:
    answer = shared.hist(**params)
    assert (answer.status_code, answer.json()) == (500, ["error", 10020, f"{name}: invalid"])


def test_other_paths_and_methods(shared: Any) -> None:
    assert shared.get("/bitfinex/v2/liquidations/hist/tBTCUSD").status_code == 404
    answer = shared.session.post(f"{shared.sandbox.url}/bitfinex/v2/liquidations/hist", timeout=20)
    assert (answer.status_code, answer.json()[:2]) == (405, ["error", 10020])


def test_the_platforms_status(shared: Any, make: Any) -> None:
    assert shared.get("/bitfinex/v2/platform/status").json() == [1]
    api = make(bitfinex_maintenance=True)
    assert api.get("/bitfinex/v2/platform/status").json() == [0]
    answer = api.hist()
    assert (answer.status_code, answer.json()) == (500, ["error", 20060, "maintenance"])


def test_lists_of_pairs(shared: Any) -> None:
    futures, margin = shared.get("/bitfinex/v2/conf/pub:list:pair:futures,pub:list:pair:margin").json()
    assert {"BTCF0:USTF0", "AVAXF0:USTF0", "TESTBTCF0:TESTUSDTF0"} <= set(futures)
    assert margin == ["BTCUSD", "DOGE:UST", "ETHUST"]
    (codes,) = shared.get("/bitfinex/v2/conf/pub:map:currency:undl").json()
    assert ["USTF0", "UST"] in codes
    assert shared.get("/bitfinex/v2/conf/pub:nothing").json() == ["error", 10020, "keys: invalid"]


def test_a_delisted_pair_keeps_its_rows_and_leaves_the_list(shared: Any) -> None:
    expected = shared.sandbox.expected("bitfinex", "tEOSF0:USTF0", "2025-05-01", "2026-01-01")
    assert expected
    assert iso(expected[-1][2] * 10**6) < "2025-05-28"
    assert "EOSF0:USTF0" not in shared.get("/bitfinex/v2/conf/pub:list:pair:futures").json()[0]


def test_candles_of_a_pair_a_delisted_one_and_none(shared: Any) -> None:
    def candles(symbol: str, **query: int) -> Any:
        return shared.get(f"/bitfinex/v2/candles/trade:1D:{symbol}/hist", params=query).json()

    assert len(candles("tBTCF0:USTF0")) == 100
    (newest,) = candles("tEOSF0:USTF0", limit=1)
    assert len(newest) == 6
    assert iso(newest[0] * 10**6, 0) == "2025-05-28T00:00:00Z"
    assert candles("tNONESUCH:USD") == []
    assert shared.get("/bitfinex/v2/candles/trade:7D:tBTCUSD/hist").json() == ["error", 10020, "key: invalid"]


class TestLimits:
    def test_the_second_of_two_simultaneous_requests_is_refused_and_blocks_for_minutes(
        self, make: Any, clock: list[float]
    ) -> None:
        api = make(limits=True)
        assert api.hist(limit=1).status_code == 200
        refused = api.hist(limit=1)
        assert (refused.status_code, refused.json()) == (429, {"error": "ERR_RATE_LIMIT"})
        assert "Retry-After" not in refused.headers
        clock[0] += 239
        assert api.hist(limit=1).status_code == 429
        clock[0] += 1
        assert api.hist(limit=1).status_code == 200

    def test_a_request_every_20_seconds_is_served(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True)
        for _ in range(10):
            assert api.hist(limit=1).status_code == 200
            clock[0] += 20
        clock[0] -= 1
        assert api.hist(limit=1).status_code == 429

    def test_three_a_minute_as_documented(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True, bitfinex_burst=3, bitfinex_block_seconds=10)
        assert [api.hist(limit=1).status_code for _ in range(4)] == [200, 200, 200, 429]
        clock[0] += 60
        assert api.hist(limit=1).status_code == 200

    def test_every_endpoint_has_its_own(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True)
        assert [api.hist(limit=1).status_code for _ in range(2)] == [200, 429]
        statuses = [api.get("/bitfinex/v2/platform/status").status_code for _ in range(31)]
        assert statuses == [200] * 30 + [429]
        statuses = [api.get("/bitfinex/v2/conf/pub:list:pair:futures").status_code for _ in range(91)]
        assert statuses == [200] * 90 + [429]

    def test_the_other_body_of_a_refusal(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True, bitfinex_rate_body="array", bitfinex_rate_status=500)
        answers = [api.hist(limit=1) for _ in range(2)]
        assert (answers[1].status_code, answers[1].json()) == (500, ["error", 11010, "ratelimit: error"])

    def test_none_without_limits(self, shared: Any) -> None:
        assert {shared.hist(limit=1).status_code for _ in range(10)} == {200}


def test_added_rows_stand_where_their_time_puts_them(make: Any) -> None:
    api = make()
    new = ["pos", 5, START + 0.5, None, "tNEW:USD", 1.5, 10, None, 0, 0, None, None, "more"]
    api.sandbox.add_rows("bitfinex", "tNEW:USD", [new])
    assert rows(api.hist(sort=1, limit=1, **WINDOW)) == [new]
    api.sandbox.add_rows("bitfinex", "*", [[*new[:2], START, *new[3:]]])
    assert [row[2] for row in rows(api.hist(sort=1, limit=2, **WINDOW))] == [START, START + 0.5]
    expected = api.sandbox.expected("bitfinex", "*", *SPAN)
    assert sum(row[4] == "tNEW:USD" for row in expected) == 2
    with pytest.raises(ValueError, match="tNEW:USD"):
        api.sandbox.add_rows("bitfinex", BTC, [new])
    with pytest.raises(KeyError):
        api.sandbox.expected("bitfinex", "tNOPE", *SPAN)


def test_a_disagreement_takes_rows_away(make: Any) -> None:
    from sandbox.world import Disagreement

    gap = Disagreement("bitfinex", "bitfinex/BTCF0:USTF0", parse(SPAN[0]), parse(SPAN[1]))
    sandbox = make(disagreement=gap).sandbox
    assert sandbox.expected("bitfinex", BTC, *SPAN) == []
    assert sandbox.expected("bitfinex", "tETHF0:USTF0", *SPAN)


def test_late_rows_bring_both_of_their_rows(make: Any) -> None:
    api = make(late_fraction=0.5, late_seconds=3600)
    span = ("2026-11-21T01:00:00Z", "2026-11-21T02:30:00Z")
    before = api.sandbox.expected("bitfinex", "*", *span)
    api.sandbox.advance(7200)
    after = api.sandbox.expected("bitfinex", "*", *span)
    assert len(before) < len(after)
    assert [row for row in after if row in before] == before
