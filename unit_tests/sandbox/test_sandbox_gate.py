"""Gate's documented and measured rules, one by one, over HTTP."""

from __future__ import annotations

import time
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from sandbox.times import DAY, NS, instant_of, iso, parse
from sandbox.world import Disagreement

NOW = "2026-11-21T02:30:00Z"
FROM = parse("2026-11-20T00:00:00Z") // NS
HOUR = {"from_": FROM, "to": FROM + 3599}
SPAN = ("2026-11-20T00:00:00Z", "2026-11-20T01:00:00Z")
BTC = "usdt/BTC_USDT"


def at(text: str) -> int:
    return instant_of(text) // NS


def error(answer: Any) -> tuple[int, str, str]:
    body = answer.json()
    return answer.status_code, body["label"], body["message"]


class TestOrders:
    def test_newest_first_within_inclusive_bounds(self, shared: Any) -> None:
        expected = shared.sandbox.expected("gate", BTC, *SPAN)
        answer = shared.gate("usdt/liq_orders", contract="BTC_USDT", limit=1000, **HOUR)
        assert answer.json() == expected[::-1]
        first, last = expected[5]["time"], expected[40]["time"]
        body = shared.gate("usdt/liq_orders", contract="BTC_USDT", limit=1000, from_=first, to=last).json()
        assert body[::-1] == [row for row in expected if first <= row["time"] <= last]
        second = shared.gate("usdt/liq_orders", contract="BTC_USDT", from_=first, to=first).json()
        assert second[::-1] == [row for row in expected if row["time"] == first]

    def test_without_a_contract_the_whole_settle_currency(self, shared: Any) -> None:
        expected = shared.sandbox.expected("gate", "usdt", *SPAN)
        window = {"from_": FROM, "to": FROM + 900}
        body = shared.gate("usdt/liq_orders", limit=1000, **window).json()
        assert body[::-1] == [row for row in expected if row["time"] <= FROM + 900]
        assert {"BTC_USDT", "ETH_USDT"} <= {row["contract"] for row in body}
        assert {row["contract"] for row in shared.gate("btc/liq_orders", limit=1000).json()} == {"BTC_USD"}
        assert shared.gate("usd1/liq_orders").json() == []

    def test_a_page_is_cut_at_the_limit(self, shared: Any) -> None:
        expected = shared.sandbox.expected("gate", BTC, *SPAN)
        assert len(shared.gate("usdt/liq_orders", **HOUR).json()) == 100
        body = shared.gate("usdt/liq_orders", contract="BTC_USDT", limit=7, **HOUR).json()
        assert body == expected[-7:][::-1]
        assert shared.gate("usdt/liq_orders", contract="BTC_USDT", limit=7, offset=7, **HOUR).json() == body

    @pytest.mark.parametrize("kept", ["newest", "oldest"])
    @pytest.mark.parametrize("order", ["descending", "ascending", "shuffled"])
    def test_which_end_a_cut_page_keeps_and_in_which_order(self, make: Any, kept: str, order: str) -> None:
        api = make(gate_kept=kept, gate_order=order)
        expected = api.sandbox.expected("gate", BTC, *SPAN)
        part = expected[-20:] if kept == "newest" else expected[:20]
        body = api.gate("usdt/liq_orders", contract="BTC_USDT", limit=20, **HOUR).json()
        if order == "shuffled":
            assert body not in (part, part[::-1])
            assert sorted(map(str, body)) == sorted(map(str, part))
        else:
            assert body == (part if order == "ascending" else part[::-1])

    def test_the_default_window_is_the_hour_before_to(self, shared: Any) -> None:
        hour = shared.sandbox.expected("gate", BTC, "2026-11-21T01:30:00Z", "2026-11-21T02:30:01Z")
        assert shared.gate("usdt/liq_orders", contract="BTC_USDT", limit=1000).json() == hour[::-1]
        until = shared.gate("usdt/liq_orders", contract="BTC_USDT", to=FROM + 3600, limit=1000).json()
        assert until[::-1] == shared.sandbox.expected("gate", BTC, SPAN[0], "2026-11-20T01:00:01Z")

    def test_a_window_is_an_hour_at_most(self, shared: Any) -> None:
        assert shared.gate("usdt/liq_orders", from_=FROM, to=FROM + 3600).status_code == 200
        refused = shared.gate("usdt/liq_orders", from_=FROM, to=FROM + 3601)
        assert error(refused) == (400, "INVALID_PARAM_VALUE", "range from/to must in 1 hour")
        assert shared.gate("usdt/liq_orders", from_=FROM).status_code == 400

    def test_events_are_there_for_90_days(self, shared: Any, make: Any) -> None:
        edge = at(NOW) - 90 * 86400
        assert shared.gate("usdt/liq_orders", from_=edge, to=edge + 3599).json()
        assert shared.gate("usdt/liq_orders", from_=edge - 3600, to=edge - 1).json() == []
        across = shared.gate("usdt/liq_orders", from_=edge - 1800, to=edge + 1799, limit=1000).json()
        assert across
        assert min(row["time"] for row in across) >= edge
        assert shared.sandbox.expected("gate", BTC, "2025-11-20", "2026-08-01") == []
        refused = make(gate_old_windows="refuse").gate("usdt/liq_orders", from_=edge - 3600, to=edge - 1)
        assert error(refused) == (400, "INVALID_PARAM_VALUE", "range from/to must in 1 hour")
        longer = make(gate_event_days=95.0)
        assert longer.gate("usdt/liq_orders", from_=edge - 3600, to=edge - 1).json()

    def test_sides(self, shared: Any) -> None:
        """Positive: a long, whose order sells at no less than its limit."""
        rows = shared.sandbox.expected("gate", BTC, *SPAN)
        for row in rows:
            long = Decimal(row["size"]) > 0
            assert (Decimal(row["order_size"]) < 0) is long
            if row["fill_price"] != "0":
                assert (Decimal(row["fill_price"]) > Decimal(row["order_price"])) is long
        assert {row["size"].startswith("-") for row in rows} == {True, False}

    def test_most_orders_are_the_whole_position_and_some_are_not(self, shared: Any) -> None:
        rows = shared.sandbox.expected("gate", BTC, "2026-11-20", "2026-11-21")
        whole = [row for row in rows if Decimal(row["size"]) == -Decimal(row["order_size"]) and row["left"] == "0"]
        assert 0.7 < len(whole) / len(rows) < 1
        staged = [
            (a, b) for a, b in pairwise(rows)
            if (a["time"], a["size"]) == (b["time"], b["size"])
            and Decimal(a["order_size"]) + Decimal(b["order_size"]) == -Decimal(a["size"])
        ]  # fmt: skip
        assert staged
        assert any(0 < Decimal(row["left"]) < abs(Decimal(row["order_size"])) for row in rows)
        unfilled = [row for row in rows if Decimal(row["left"]) == abs(Decimal(row["order_size"]))]
        assert unfilled
        assert {row["fill_price"] for row in unfilled} == {"0"}

    def test_sizes_by_the_header(self, shared: Any) -> None:
        exact = shared.gate("usdt/liq_orders", contract="ETH_USDT", limit=1000, **HOUR).json()
        cut = shared.gate("usdt/liq_orders", decimals=False, contract="ETH_USDT", limit=1000, **HOUR).json()
        assert cut[::-1] == shared.sandbox.expected("gate", "usdt/ETH_USDT", *SPAN, decimals=False)
        assert any("." in row["size"] for row in exact)
        for one, other in zip(exact, cut, strict=True):
            for name in ("size", "order_size", "left"):
                assert other[name] == int(Decimal(one[name]))
        assert [*exact[0]] == ["time", "contract", "size", "order_size", "order_price", "fill_price", "left"]

    def test_order_size_may_be_absent(self, make: Any) -> None:
        row = make(gate_order_size=False).gate("usdt/liq_orders").json()[0]
        assert [*row] == ["time", "contract", "size", "order_price", "fill_price", "left"]

    @pytest.mark.parametrize("form", ["integer", "string", "decimal", "decimal_string"])
    def test_forms_of_time(self, make: Any, form: str) -> None:
        api = make(gate_time=form)
        raw = api.gate("usdt/liq_orders", limit=1).text.partition('"time":')[2].partition(',"contract"')[0]
        second = raw.strip('"').removesuffix(".000")
        assert int(second) <= at(NOW)
        texts = {"integer": second, "string": f'"{second}"', "decimal": f"{second}.000"}
        assert raw == texts.get(form, f'"{second}.000"')

    def test_young_orders_may_still_work(self, make: Any) -> None:
        api = make(gate_working_seconds=600)
        before = api.sandbox.expected("gate", BTC, "2026-11-21T02:25:00Z", NOW)
        assert before
        for row in before:
            assert Decimal(row["left"]) >= abs(Decimal(row["order_size"])) // 2
        api.sandbox.advance(3600)
        after = api.sandbox.expected("gate", BTC, "2026-11-21T02:25:00Z", NOW)
        assert [row["size"] for row in after] == [row["size"] for row in before]
        assert after != before

    def test_an_inverse_contract_counts_dollars(self, shared: Any) -> None:
        rows = shared.sandbox.expected("gate", "btc/BTC_USD", "2026-11-20", "2026-11-21")
        assert all("." not in row["size"] for row in rows)
        assert max(abs(int(row["size"])) for row in rows) > 1000


def filled(rows: list[dict[str, Any]], sign: int) -> Decimal:
    """The executed contracts of one position side."""
    parts = [abs(Decimal(r["order_size"])) - abs(Decimal(r["left"])) for r in rows if Decimal(r["size"]) * sign > 0]
    return sum(parts, Decimal(0))


class TestStats:
    @pytest.mark.parametrize("market", [BTC, "usdt/ETH_USDT", "usdt/XRP_USDT", "btc/BTC_USD"])
    def test_sums_are_those_of_the_orders(self, shared: Any, market: str) -> None:
        events = shared.sandbox.expected("gate", market, *SPAN)
        (row,) = shared.sandbox.expected("gate", f"contract_stats/{market}", *SPAN, interval="1h")
        assert Decimal(row["long_liq_size"]) == filled(events, 1)
        assert Decimal(row["short_liq_size"]) == filled(events, -1)
        settle, _, contract = market.partition("/")
        listed = {c["name"]: c for c in shared.gate(f"{settle}/contracts").json()}
        multiplier = float(listed[contract]["quanto_multiplier"])
        for side in ("long", "short"):
            count, amount, quote = (float(row[f"{side}_liq_{name}"]) for name in ("size", "amount", "usd"))
            if multiplier:
                assert amount == pytest.approx(count * multiplier)
                assert quote == pytest.approx(amount * row["mark_price"], rel=0.02)
                assert row[f"{side}_liq_usd_new"] == pytest.approx(amount * row["mark_price"])
            else:
                assert quote == count
                assert amount == pytest.approx(count / row["mark_price"], rel=0.02)
                assert f"{side}_liq_usd_new" not in row

    @pytest.mark.parametrize(("interval", "seconds"), [
        ("1m", 60), ("5m", 300), ("15m", 900), ("30m", 1800), ("1h", 3600), ("4h", 14400), ("1d", 86400),
    ])  # fmt: skip
    def test_intervals_add_up_to_a_day(self, shared: Any, interval: str, seconds: int) -> None:
        query = {"contract": "SOL_USDT", "interval": interval, "from_": FROM, "limit": 86400 // seconds}
        rows = shared.gate("usdt/contract_stats", **query).json()
        events = shared.sandbox.expected("gate", "usdt/SOL_USDT", "2026-11-20", "2026-11-21")
        assert rows[0]["time"] == FROM
        assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
        assert all(row["time"] % seconds == 0 and row["time"] < FROM + 86400 for row in rows)
        assert sum(Decimal(row["long_liq_size"]) for row in rows) == filled(events, 1)

    def test_from_is_the_first_bucket_at_or_after_it(self, shared: Any) -> None:
        query = {"contract": "BTC_USDT", "interval": "5m", "limit": 2}
        for start, first in ((FROM, FROM), (FROM + 1, FROM + 300), (FROM + 300, FROM + 300)):
            rows = shared.gate("usdt/contract_stats", from_=start, **query).json()
            assert [row["time"] for row in rows] == [first, first + 300]

    def test_without_from_the_newest_and_the_last_is_open(self, make: Any) -> None:
        api = make()
        rows = api.gate("usdt/contract_stats", contract="BTC_USDT").json()
        assert [row["time"] for row in rows] == [at(NOW) - n * 300 for n in reversed(range(30))]
        hour = api.gate("usdt/contract_stats", contract="BTC_USDT", interval="1h", limit=1).json()[0]
        api.sandbox.advance(900)
        grown = api.gate("usdt/contract_stats", contract="BTC_USDT", interval="1h", limit=1).json()[0]
        assert hour["time"] == grown["time"] == at("2026-11-21T02:00:00Z")
        assert Decimal(grown["long_liq_size"]) > Decimal(hour["long_liq_size"])

    def test_some_quiet_buckets_are_absent(self, shared: Any, make: Any) -> None:
        query = {"contract": "SOL_USDT", "interval": "1m", "from_": at("2026-11-15T00:00:00Z"), "limit": 2000}
        rows = shared.gate("usdt/contract_stats", **query).json()
        assert 1980 < len(rows) < 2000
        full = make(gate_stats_gaps=0).gate("usdt/contract_stats", **query).json()
        assert len(full) == 2000
        assert [row for row in full if row in rows] == rows
        assert all(Decimal(r["long_liq_size"]) == Decimal(r["short_liq_size"]) == 0 for r in full if r not in rows)

    def test_180_days(self, shared: Any) -> None:
        edge = at(NOW) - 180 * 86400
        query = {"contract": "BTC_USD", "interval": "1d", "limit": 5}
        assert len(shared.gate("btc/contract_stats", from_=edge, **query).json()) == 5
        refused = shared.gate("btc/contract_stats", from_=edge - 1, **query)
        assert error(refused) == (400, "INVALID_PARAM_VALUE", "from time exceeds 180-day limit")
        newest = shared.gate("btc/contract_stats", contract="BTC_USD", interval="1d", limit=1000).json()
        assert len(newest) == 180

    def test_to_is_ignored_unless_the_option_says_otherwise(self, make: Any) -> None:
        query = {"contract": "BTC_USDT", "interval": "1h", "from_": FROM, "to": FROM + 3600}
        assert len(make().gate("usdt/contract_stats", **query).json()) == 27
        assert len(make(gate_stats_to=True).gate("usdt/contract_stats", **query).json()) == 2

    def test_the_day_may_begin_at_another_hour(self, make: Any) -> None:
        api = make(gate_stats_day_hour=16)
        rows = api.gate("usdt/contract_stats", contract="SOL_USDT", interval="1d", limit=2).json()
        assert [iso(row["time"] * NS, 0) for row in rows] == ["2026-11-19T16:00:00Z", "2026-11-20T16:00:00Z"]
        events = api.sandbox.expected("gate", "usdt/SOL_USDT", "2026-11-19T16:00:00Z", "2026-11-20T16:00:00Z")
        assert Decimal(rows[0]["long_liq_size"]) == filled(events, 1)

    def test_older_rows_have_fewer_fields(self, make: Any) -> None:
        api = make(now="2026-05-01T00:00:00Z")
        query = {"contract": "BTC_USDT", "interval": "1d", "from_": at("2026-04-26T00:00:00Z"), "limit": 2}
        old, new = api.gate("usdt/contract_stats", **query).json()
        assert set(new) - set(old) == {
            "long_liq_usd_new", "short_liq_usd_new", "long_taker_size", "short_taker_size", "last_funding_rate",
        }  # fmt: skip

    @pytest.mark.parametrize(("form", "with_header", "without"), [
        ("header", str, int), ("integer", int, int), ("string", str, str),
    ])  # fmt: skip
    def test_types_of_sizes(self, make: Any, form: str, with_header: type, without: type) -> None:
        api = make(gate_stats_sizes=form)
        for decimals, kind in ((True, with_header), (False, without)):
            row = api.gate("usdt/contract_stats", decimals=decimals, contract="ETH_USDT", limit=1).json()[0]
            assert (type(row["long_liq_size"]), type(row["short_liq_size"])) == (kind, kind)

    def test_the_mark_price_may_be_text(self, shared: Any, make: Any) -> None:
        query = {"contract": "BTC_USDT", "limit": 1}
        number = shared.gate("usdt/contract_stats", **query).json()[0]["mark_price"]
        text = make(gate_mark_price="string").gate("usdt/contract_stats", **query).json()[0]["mark_price"]
        assert text == str(number)

    def test_a_delisted_contract_ends(self, shared: Any) -> None:
        query = {"contract": "EOS_USDT", "interval": "1d", "from_": at("2026-10-10T00:00:00Z"), "limit": 100}
        rows = shared.gate("usdt/contract_stats", **query).json()
        assert iso(rows[-1]["time"] * NS, 0) == "2026-10-15T00:00:00Z"


class TestContracts:
    def test_multipliers(self, shared: Any) -> None:
        rows = {row["name"]: row for row in shared.gate("usdt/contracts").json()}
        found = {name: (row["type"], row["quanto_multiplier"], row["enable_decimal"]) for name, row in rows.items()}
        assert found == {
            "BTC_USDT": ("direct", "0.0001", False),
            "ETH_USDT": ("direct", "0.01", True),
            "SOL_USDT": ("direct", "1", True),
            "XRP_USDT": ("direct", "10", True),
        }
        (inverse,) = shared.gate("btc/contracts").json()
        assert (inverse["name"], inverse["type"], inverse["quanto_multiplier"]) == ("BTC_USD", "inverse", "0")
        assert shared.gate("usd/contracts").json() == []

    def test_pages_by_offset(self, make: Any) -> None:
        api = make(tiny_markets=120)
        pages = [api.gate("usdt/contracts", offset=offset).json() for offset in (0, 100, 200)]
        assert [len(page) for page in pages] == [100, 24, 0]
        assert len({row["name"] for page in pages for row in page}) == 124
        assert len(api.gate("usdt/contracts", limit=1000).json()) == 124
        assert error(api.gate("usdt/contracts", limit=1001))[:2] == (400, "INVALID_PARAM_VALUE")
        assert len(make(tiny_markets=1100, gate_contracts_default=None).gate("usdt/contracts").json()) == 1104

    def test_delisted_contracts(self, shared: Any, make: Any) -> None:
        assert "EOS_USDT" not in {row["name"] for row in shared.gate("usdt/contracts").json()}
        assert shared.sandbox.expected("gate", "usdt/EOS_USDT", "2026-10-01", "2026-11-01")
        listed = {row["name"]: row for row in make(gate_delisted="listed").gate("usdt/contracts").json()}
        row = listed["EOS_USDT"]
        assert (row["status"], row["in_delisting"]) == ("delisted", True)
        assert row["delisted_time"] == at("2026-10-15T08:00:00Z")


@pytest.mark.parametrize(
    ("path", "params", "status", "label"),
    [
        ("usdt/liq_orders", {"limit": 0}, 400, "INVALID_PARAM_VALUE"),
        ("usdt/liq_orders", {"from_": "2026-11-20"}, 400, "INVALID_PARAM_VALUE"),
        ("usdt/liq_orders", {"from_": FROM + 10, "to": FROM}, 400, "INVALID_PARAM_VALUE"),
        ("usdt/liq_orders", {"from_": FROM * 1000, "to": FROM * 1000 + 3599000}, 400, "INVALID_PARAM_VALUE"),
        ("usdt/liq_orders", {"contract": "NOPE_USDT"}, 400, "CONTRACT_NOT_FOUND"),
        ("btc/liq_orders", {"contract": "BTC_USDT"}, 400, "CONTRACT_NOT_FOUND"),
        ("usdt/liq_orders", {"symbol": "BTC_USDT"}, 400, "INVALID_PARAM_VALUE"),
        ("usdt/contract_stats", {}, 400, "MISSING_REQUIRED_PARAM"),
        ("usdt/contract_stats", {"contract": "NOPE_USDT"}, 400, "CONTRACT_NOT_FOUND"),
        ("usdt/contract_stats", {"contract": "BTC_USDT", "interval": "HOUR"}, 400, "INVALID_PARAM_VALUE"),
        ("usdt/contract_stats", {"contract": "BTC_USDT", "limit": 2001}, 400, "INVALID_PARAM_VALUE"),
        ("eur/contracts", {}, 400, "INVALID_PARAM_VALUE"),
        ("usdt/liquidates", {}, 400, "MISSING_REQUIRED_HEADER"),
        ("usdt/open_interest", {}, 400, "MISSING_REQUIRED_HEADER"),
        ("usdt/nothing", {}, 404, "NOT_FOUND"),
    ],
)
def test_errors(shared: Any, path: str, params: dict[str, Any], status: int, label: str) -> None:
    assert error(shared.gate(path, **params))[:2] == (status, label)


def test_other_hosts_paths_and_methods(shared: Any) -> None:
    assert shared.get("/gate/futures/usdt/contracts").json()["label"] == "NOT_FOUND"
    answer = shared.session.post(f"{shared.sandbox.url}/gate/api/v4/futures/usdt/contracts", timeout=20)
    assert answer.status_code == 405


def test_an_error_may_have_detail_instead_of_message(make: Any) -> None:
    body = make(gate_error_field="detail").gate("usdt/liq_orders", limit=1001).json()
    assert body == {"label": "INVALID_PARAM_VALUE", "detail": "Invalid request parameter `limit` value: 1001"}


class TestLimits:
    def test_200_in_10_seconds_for_each_endpoint(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True)
        statuses = [api.gate("usd/contracts").status_code for _ in range(200)]
        assert set(statuses) == {200}
        refused = api.gate("usd/contracts")
        assert error(refused)[:2] == (429, "TOO_MANY_REQUESTS")
        assert refused.headers["X-Gate-RateLimit-Requests-Remain"] == "0"
        assert 9 <= int(refused.headers["X-Gate-RateLimit-Reset-Timestamp"]) - time.time() <= 11
        assert "Retry-After" not in refused.headers
        assert api.gate("usd/liq_orders").status_code == 200
        clock[0] += 10
        assert api.gate("usd/contracts").status_code == 200

    def test_every_answer_has_the_remaining_requests(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True)
        for n, path in enumerate(("usdt/liq_orders", "usdt/liq_orders?limit=x", "btc/liq_orders")):
            headers = api.gate(path).headers
            assert headers["X-Gate-RateLimit-Limit"] == "200"
            assert headers["X-Gate-RateLimit-Requests-Remain"] == str(199 - n)
            assert abs(int(headers["X-Gate-RateLimit-Reset-Timestamp"]) - time.time()) < 30

    def test_other_labels_and_units(self, make: Any, clock: list[float]) -> None:
        api = make(limits=True, gate_rate_label="TOO_FAST", gate_reset_unit="ms")
        answers = [api.gate("usd/contracts") for _ in range(201)]
        assert answers[-1].json()["label"] == "TOO_FAST"
        assert int(answers[-1].headers["X-Gate-RateLimit-Reset-Timestamp"]) > time.time() * 900

    def test_none_without_limits(self, shared: Any) -> None:
        assert {shared.gate("usd/contracts").status_code for _ in range(201)} == {200}
        assert shared.gate("usd/contracts").headers["X-Gate-RateLimit-Requests-Remain"] == "200"


def test_added_orders_raise_the_sums(make: Any) -> None:
    api = make()
    (before,) = api.sandbox.expected("gate", "contract_stats/usdt/ETH_USDT", *SPAN)
    new = {"time": FROM + 5, "contract": "ETH_USDT", "size": "30.5", "order_size": "-20.5", "order_price": "99",
           "fill_price": "100", "left": "0.5"}  # fmt: skip
    api.sandbox.add_rows("gate", "usdt/ETH_USDT", [new])
    query = {"contract": "ETH_USDT", "from_": FROM + 5, "to": FROM + 5}
    assert new in api.gate("usdt/liq_orders", **query).json()
    cut = {**new, "size": 30, "order_size": -20, "left": 0}
    assert cut in api.gate("usdt/liq_orders", decimals=False, **query).json()
    (after,) = api.sandbox.expected("gate", "contract_stats/usdt/ETH_USDT", *SPAN)
    assert Decimal(after["long_liq_size"]) == Decimal(before["long_liq_size"]) + 20
    assert after["long_liq_amount"] == pytest.approx(before["long_liq_amount"] + 0.2)
    assert after["long_liq_usd"] == pytest.approx(before["long_liq_usd"] + 20)
    assert after["short_liq_size"] == before["short_liq_size"]
    with pytest.raises(KeyError):
        api.sandbox.add_rows("gate", "usdt/NOPE_USDT", [new])


def test_a_disagreement_takes_orders_and_sums_away(make: Any) -> None:
    gap = Disagreement("gate", "gate/BTC_USDT", parse(SPAN[0]), parse(SPAN[1]))
    sandbox = make(disagreement=gap).sandbox
    assert sandbox.expected("gate", BTC, *SPAN) == []
    (row,) = sandbox.expected("gate", f"contract_stats/{BTC}", *SPAN)
    assert (row["long_liq_size"], row["short_liq_amount"]) == ("0", 0)


def test_late_orders_get_into_both(make: Any) -> None:
    api = make(late_fraction=0.5, late_seconds=3600)
    span = ("2026-11-21T01:00:00Z", "2026-11-21T02:00:00Z")
    before = api.sandbox.expected("gate", BTC, *span), api.sandbox.expected("gate", f"contract_stats/{BTC}", *span)
    api.sandbox.advance(2 * DAY // NS)
    after = api.sandbox.expected("gate", BTC, *span), api.sandbox.expected("gate", f"contract_stats/{BTC}", *span)
    assert len(before[0]) < len(after[0])
    for events, (row,) in (before, after):
        assert Decimal(row["long_liq_size"]) == filled(events, 1)
