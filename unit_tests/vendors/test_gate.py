"""Gate: requests, rows, ids, sides and amounts, contracts, answers in the words of HTTP. On the vendor's samples."""

from __future__ import annotations

import copy
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import (
    ConfigurationError,
    LiquidationsError,
    NotAdvancing,
    UnexpectedAnswer,
    WindowTooLarge,
)
from source_liquidations.http.answers import Response, reset_seconds, vendor_words
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.paging import Pages
from source_liquidations.symbols import exchange
from source_liquidations.timestamps import HOUR, SECOND
from source_liquidations.vendors.gate import orders
from source_liquidations.vendors.gate.calls import explain, market, translated
from source_liquidations.vendors.gate.contracts import ContractRow, settles_of, size_of
from source_liquidations.vendors.vendor import Feed
from unit_tests.vendors.bodies import (
    configured,
    decoded,
    feed_of,
    outputs_of,
    partly,
    records,
    response,
    rows_of,
    sample,
    span_of,
)

ORDERS, STATS, LIST = "gate_liquidation_orders", "gate_contract_stats", "gate_contracts"
SAMPLE = "gate/futures__usdt__liq_orders.200"
FIRST = timestamps.parse("2026-03-01T00:00:00Z")


def gate_orders(contract: str = "BTC_USDT", settle: str = "usdt") -> tuple[Feed, Span]:
    """An endpoint that knows the contracts of the samples."""
    feed = feed_of(ORDERS, {"contracts": [f"{settle}/{contract}"]})
    contracts = feed.endpoint._contracts  # type: ignore[attr-defined]
    for name in ("usdt", "btc"):
        rows = [ContractRow(**fields(row)) for row in sample(f"gate/futures__{name}__contracts.200")]
        contracts.lists[name] = {row.name: row for row in rows}
        contracts._sizes |= {row.name: size_of(row) for row in rows}
    values = {"settle": settle} if contract == "*" else {"settle": settle, "contract": contract}
    return feed, span_of(Partition.of(**values, entry="gate.contracts[0]"))


def fields(row: dict[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("name", "type", "status")}
    return {**kept, "quanto_multiplier": json.dumps(row["quanto_multiplier"]).encode()}


def gate_stats(contract: str = "BTC_USDT", settle: str = "usdt", interval: str = "1h") -> tuple[Feed, Span]:
    feed = feed_of(STATS, {"contracts": [f"{settle}/{contract}"], "interval": interval})
    return feed, span_of(Partition.of(settle=settle, contract=contract, interval=interval, entry="gate.contracts[0]"))


def read(feed: Feed, span: Span, body: Any) -> dict[str, list[dict[str, Any]]]:
    """The records of a page by stream."""
    answer = decoded(feed, body, span)
    return {output.stream: rows_of(output, answer, span) for output in outputs_of(feed)}


def changed(name: str, **values: Any) -> Any:
    body = copy.deepcopy(sample(name))
    for row in body:
        row.update(values)
        for field, value in values.items():
            if value is ...:
                del row[field]
    return body


# Samples.


def test_the_documented_order() -> None:
    feed, span = gate_orders()
    by_stream = read(feed, span, sample(SAMPLE))
    (row,) = by_stream[ORDERS]
    (sent,) = sample(SAMPLE)
    name = row.pop("liquidation_id")
    assert row == {
        **sent,
        "timestamp": sent["time"],
        "time": "2019-01-28T05:55:51.000Z",
        "settle": "usdt",
    }
    assert by_stream["liquidations"] == [
        {
            "vendor": "gate",
            "market": "BTC_USDT",
            "liquidation_id": name,
            "exchange": "gate",
            "base_asset": "btc",
            "quote_asset": "usdt",
            "liquidated_at": "2019-01-28T05:55:51.000Z",
            "liquidated_at_ns": 1548654951 * SECOND,
            "position_side": "long",
            "order_side": "sell",
            "event_type": "trade",
            "price": 3424,
            "amount": 600,
            "amount_unit": "contracts",
            "amount_usd": None,
            "amount_base": 0.06,
            "notional_usd": 205.44,
            "notional_source": "computed",
        }
    ]


def test_an_order_of_older_times_has_no_order_size() -> None:
    feed, span = gate_orders()
    by_stream = read(feed, span, sample(f"{SAMPLE}.no_order_size"))
    (unified,) = by_stream["liquidations"]
    assert "order_size" not in by_stream[ORDERS][0]
    assert (unified["position_side"], unified["amount"]) == ("short", 165)


def test_sizes_as_text_stay_text_and_count_as_numbers() -> None:
    feed, span = gate_orders("*")
    by_stream = read(feed, span, sample(f"{SAMPLE}.strings"))
    assert {row["size"] for row in by_stream[ORDERS]} == {"600", "-1.7"}
    by_market = {row["market"]: row for row in by_stream["liquidations"]}
    assert by_market["BTC_USDT"]["amount"] == 600
    assert by_market["ETH_USDT"]["amount"] == 1.7
    assert by_market["ETH_USDT"]["position_side"] == "short"
    assert by_market["ETH_USDT"]["amount_base"] is None, "the list does not have it"


def test_the_documented_sums() -> None:
    feed, span = gate_stats(interval="5m")
    by_stream = read(feed, span, sample("gate/futures__usdt__contract_stats.200"))
    (sent,) = sample("gate/futures__usdt__contract_stats.200")
    names = {"settle": "usdt", "contract": "BTC_USDT", "interval": "5m"}
    assert by_stream[STATS] == [
        {**sent, **names, "timestamp": 1603865400, "time": "2020-10-28T06:10:00.000Z"},
    ]
    keys = {(row["position_side"], row["unit"], row["amount"]) for row in by_stream["liquidation_volumes"]}
    assert keys == {(side, unit, 0) for side in ("long", "short") for unit in ("coin", "usd")}
    assert {row["interval"] for row in by_stream["liquidation_volumes"]} == {"PT5M"}


@pytest.mark.parametrize(
    ("contract", "settle", "units"),
    [("BTC_USDT", "usdt", {"coin", "usd"}), ("BTC_USD", "btc", {"coin", "usd"}), ("ETH_BTC", "btc", {"coin"})],
)
def test_usd_is_the_quote_asset(contract: str, settle: str, units: set[str]) -> None:
    feed, span = gate_stats(contract, settle)
    body = [{"time": FIRST // SECOND, "long_liq_amount": 1.5, "long_liq_usd": "60000.10", "short_liq_usd": None}]
    volumes = read(feed, span, body)["liquidation_volumes"]
    assert {row["unit"] for row in volumes} == units
    assert {row["position_side"] for row in volumes} == {"long"}, "what is absent or null has no row"
    assert {row["asset"] for row in volumes} == {contract.split("_")[0].lower()}


# Requests.


def test_bounds_are_inclusive() -> None:
    feed, span = gate_orders()
    one = Span(span.partitions, FIRST, FIRST + HOUR)
    first = str(FIRST // SECOND)
    assert feed.endpoint.first_request(one) == Request(
        "/api/v4/futures/usdt/liq_orders",
        (("contract", "BTC_USDT"), ("from", first), ("to", str(FIRST // SECOND + 3599)), ("limit", "1000")),
    )
    feed, span = gate_orders("*", "btc")
    whole = feed.endpoint.first_request(Span(span.partitions, FIRST, FIRST + HOUR))
    assert whole.path == "/api/v4/futures/btc/liq_orders"
    assert [name for name, _ in whole.params] == ["from", "to", "limit"]


def test_the_current_second_is_not_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    feed, span = gate_orders()
    second = FIRST // SECOND
    monkeypatch.setattr(orders.time, "time_ns", lambda: FIRST + 10 * SECOND + 5)
    one = Span(span.partitions, FIRST, FIRST + 11 * SECOND)
    request = feed.endpoint.first_request(one)
    assert dict(request.params)["to"] == str(second + 9)
    answer = feed.endpoint.decode(Response(200, {}, b"[]"), one, request, {})
    assert answer.readable_range == (None, FIRST + 10 * SECOND)
    alone = Span(span.partitions, FIRST + 10 * SECOND, FIRST + 11 * SECOND)
    request = feed.endpoint.first_request(alone)
    assert (dict(request.params)["from"], dict(request.params)["to"]) == (str(second + 9), str(second + 9))
    body = changed(SAMPLE, time=second + 9)
    answer = feed.endpoint.decode(Response(200, {}, json.dumps(body).encode()), alone, request, {})
    assert len(answer.rows) == 0
    assert answer.readable_range == (None, alone.start), "and so nothing of it counts as read"


def test_sums_continue_after_the_last_row_and_not_past_the_end() -> None:
    feed, span = gate_stats()
    hour = FIRST // SECOND
    one = Span(span.partitions, FIRST, FIRST + 5 * HOUR)
    followed = decoded(feed, [{"time": hour}, {"time": hour + 7200}], one).next_request
    assert followed is not None
    assert dict(followed.params)["from"] == str(hour + 10800)
    last = decoded(feed, [{"time": hour + 3600 * n} for n in range(9)], one)
    assert (last.next_request, len(last.rows)) == (None, 5)
    assert decoded(feed, [], one).next_request is None


def test_a_vendor_that_ignores_from_is_detected() -> None:
    feed, span = gate_stats()
    one = Span(span.partitions, FIRST, FIRST + 5 * HOUR)
    page = Response(200, {}, json.dumps([{"time": FIRST // SECOND}]).encode())
    request, pages = feed.endpoint.first_request(one), Pages()
    pages.accept(request, feed.endpoint.decode(page, one, request, {}))
    assert pages.next_request is not None
    again = feed.endpoint.decode(page, one, pages.next_request, {})
    with pytest.raises(NotAdvancing, match="would never end"):
        pages.accept(pages.next_request, again)


# Cut answers.


def rows_in(seconds: int, count: int) -> list[dict[str, Any]]:
    (row,) = sample(SAMPLE)
    return [{**row, "time": FIRST // SECOND + n % seconds, "size": n + 1, "order_size": -n - 1} for n in range(count)]


def test_an_answer_that_is_full_is_too_large() -> None:
    feed, span = gate_orders()
    hour = Span(span.partitions, FIRST, FIRST + HOUR)
    assert len(decoded(feed, rows_in(60, 999), hour).rows) == 999
    with pytest.raises(WindowTooLarge, match=r"1,000 rows"):
        decoded(feed, rows_in(60, 1000), hour)


def test_a_second_that_is_full_names_itself() -> None:
    feed, span = gate_orders()
    second = Span(span.partitions, FIRST, FIRST + SECOND)
    with pytest.raises(UnexpectedAnswer, match=r"BTC_USDT has 1,000 orders or more .* 2026-03-01T00:00:00Z"):
        decoded(feed, rows_in(1, 1000), second)


def test_a_full_second_of_the_market_is_requested_by_contract() -> None:
    feed, span = gate_orders("*")
    second = Span(span.partitions, FIRST, FIRST + SECOND)
    memory: dict[Any, Any] = {}
    body = [{**row, "contract": "NEW_USDT" if n else "BTC_USDT"} for n, row in enumerate(rows_in(1, 1000))]
    answer = decoded(feed, body, second, memory=memory)
    assert len(answer.rows) == 0
    assert answer.pages_are_known
    requested = []
    while answer.next_request is not None:
        request = answer.next_request
        requested.append(dict(request.params)["contract"])
        answer = feed.endpoint.decode(Response(200, {}, b"[]"), second, request, memory)
    assert requested == ["BTC_USDT", "NEW_USDT"], "those of the list, and those that had orders"


@given(st.integers(1, 3600), st.integers(0, 2000))
def test_windows_grow_and_shrink_with_what_they_hold(length: int, rows: int) -> None:
    following = gate_orders()[0].endpoint.sizing.next_length(length * SECOND, rows)
    assert SECOND <= following <= HOUR
    assert following % SECOND == 0
    assert rows >= 500 or following >= min(length * SECOND, HOUR)


# Rows.


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        (b"1772323200", "2026-03-01T00:00:00.000Z"),
        (b'"1772323200"', "2026-03-01T00:00:00.000Z"),
        (b"1772323200.5", "2026-03-01T00:00:00.500Z"),
        (b'"1772323200.000"', "2026-03-01T00:00:00.000Z"),
        (b'"1772323200.123456789"', "2026-03-01T00:00:00.123456789Z"),
    ],
)
@pytest.mark.parametrize("at", ["first", "last"])
def test_times_in_every_form(at: str, literal: bytes, text: str) -> None:
    feed, span = gate_orders()
    (row,) = sample(SAMPLE)
    rest = {name: value for name, value in row.items() if name != "time"}
    whole = {"time": 0, **rest} if at == "first" else {**rest, "time": 0}
    body = json.dumps([whole], separators=(",", ":")).encode().replace(b'"time":0', b'"time":' + literal)
    (row,) = read(feed, span, body)[ORDERS]
    assert row["time"] == text
    assert row["timestamp"] == json.loads(literal)


@pytest.mark.parametrize("value", [1772323200000, "1772323200000", 17, None, "yesterday", "", True, [1], 1.1e-3])
@pytest.mark.parametrize("stream", [ORDERS, STATS])
def test_a_time_of_another_unit_is_refused(stream: str, value: Any) -> None:
    feed, span = gate_orders() if stream == ORDERS else gate_stats()
    with pytest.raises(UnexpectedAnswer, match="`time` of row 0"):
        decoded(feed, changed(SAMPLE, time=value), span)


@pytest.mark.parametrize("field", ["size", "order_size", "order_price", "fill_price", "left"])
@pytest.mark.parametrize("value", ["many", {"a": 1}, True, "0x10", "1e999"])
def test_text_that_is_no_number_fails_its_row_alone(field: str, value: Any) -> None:
    feed, span = gate_orders()
    body = [*changed(SAMPLE, **{field: value}), *changed(SAMPLE, time=1548654952)]
    for rows, faults in partly(feed, body, span).values():
        assert [row.get("timestamp", 1548654952) for row in rows] == [1548654952]
        assert [fault.instant for fault in faults] == [1548654951 * SECOND]
        assert f"`{field}`" in faults[0].error.cause


@pytest.mark.parametrize("field", ["size", "order_price", "fill_price", "left"])
def test_a_row_without_a_required_number_is_refused(field: str) -> None:
    held, span = gate_orders()
    (row,) = sample(SAMPLE)
    row |= dict.fromkeys(("size", "order_size", "order_price", "fill_price", "left"), 1)
    with pytest.raises(UnexpectedAnswer, match=f"missing required field `{field}`"):
        decoded(held, [{name: value for name, value in row.items() if name != field}], span)


def test_rows_of_another_contract_are_refused() -> None:
    feed, span = gate_orders("ETH_USDT")
    with pytest.raises(UnexpectedAnswer, match="'BTC_USDT', but 'ETH_USDT' was requested"):
        decoded(feed, sample(SAMPLE), span)


@pytest.mark.parametrize("body", [None, []])
def test_an_empty_list_in_both_forms(body: Any) -> None:
    for feed, span in (gate_orders(), gate_stats()):
        assert len(decoded(feed, body, span).rows) == 0


def test_a_field_of_ours_that_the_vendor_sends_too_stays_theirs() -> None:
    feed, span = gate_orders()
    (row,) = read(feed, span, changed(SAMPLE, timestamp="theirs", settle="theirs"))[ORDERS]
    assert (row["timestamp"], row["settle"], row["time"]) == ("theirs", "theirs", "2019-01-28T05:55:51.000Z")


# Ids.


def ids(body: Any, contract: str = "BTC_USDT") -> list[str]:
    feed, span = gate_orders(contract)
    return [row["liquidation_id"] for row in read(feed, span, body)[ORDERS]]


def test_an_id_is_the_same_in_every_form_of_the_row() -> None:
    plain = ids(sample(SAMPLE))
    texts = changed(SAMPLE, size="600.0", order_size="-600", order_price="3405.00", time="1548654951.0")
    assert ids(texts) == plain
    assert ids(sample(SAMPLE), "*") == plain
    assert ids(changed(SAMPLE, fill_price="3425", left=7)) == plain, "an order at work may still change"
    for other in ({"size": 601}, {"order_size": -599}, {"order_price": "3406"}, {"time": 1548654952}):
        assert ids(changed(SAMPLE, **other)) != plain
    assert ids(changed(SAMPLE, order_size=...)) != plain


@given(st.permutations(range(5)))
def test_twins_are_numbered_the_same_in_any_order(order: list[int]) -> None:
    (row,) = sample(SAMPLE)
    twins = [{**row, "fill_price": price} for price in ("3424", "3424", "3425", "9", "10")]
    feed, span = gate_orders()
    rows = read(feed, span, [twins[index] for index in order])[ORDERS]
    by_id = {row["liquidation_id"]: row["fill_price"] for row in rows}
    assert len(by_id) == 5
    assert [price for _, price in sorted(by_id.items())] == ["10", "3424", "3424", "3425", "9"]


# Sides and amounts.


@pytest.mark.parametrize("size", [600, "600", "600.5", -600, "-0.5"])
@pytest.mark.parametrize("with_order", [True, False])
def test_a_long_is_closed_by_selling(size: Any, with_order: bool) -> None:
    feed, span = gate_orders()
    order = str(-float(size)) if with_order else ...
    (row,) = read(feed, span, changed(SAMPLE, size=size, order_size=order))["liquidations"]
    assert row["position_side"] == ("long" if float(size) > 0 else "short")
    assert row["order_side"] == ("sell" if float(size) > 0 else "buy")
    assert row["amount"] == abs(float(size))


@pytest.mark.parametrize(
    ("values", "event_type", "amount", "price"),
    [
        ({}, "trade", 600, 3424),
        ({"order_size": -77}, "trade", 77, 3424),  # one step of a position that is closed in several
        ({"left": 100}, "trade", 500, 3424),
        ({"left": "-100"}, "trade", 500, 3424),
        ({"left": "599.9"}, "trade", 0.1, 3424),
        ({"left": 600, "fill_price": "0"}, "order", 600, 3405),
        ({"left": None}, "trade", 600, 3424),
        ({"order_size": ..., "left": 1}, "trade", 599, 3424),
        ({"order_size": None, "left": "0.0"}, "trade", 600, 3424),
    ],
)
def test_what_was_filled(values: dict[str, Any], event_type: str, amount: float, price: float) -> None:
    feed, span = gate_orders()
    (row,) = read(feed, span, changed(SAMPLE, **values))["liquidations"]
    assert (row["event_type"], row["amount"], row["price"]) == (event_type, amount, price)
    assert row["position_side"] == "long"
    assert row["amount_base"] == pytest.approx(amount * 0.0001)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"order_size": 600}, "same sign"),
        ({"size": -600}, "same sign"),
        ({"left": 601}, "more `left`"),
        ({"size": None, "order_size": ...}, "neither a `size`"),
    ],
)
def test_what_contradicts_itself_is_no_row_of_the_unified_stream(values: dict[str, Any], says: str) -> None:
    feed, span = gate_orders()
    by_stream = partly(feed, [*changed(SAMPLE, **values), *changed(SAMPLE, time=1548654952)], span)
    assert (len(by_stream[ORDERS][0]), by_stream[ORDERS][1]) == (2, [])
    rows, faults = by_stream["liquidations"]
    assert len(rows) == 1
    assert [fault.instant for fault in faults] == [1548654951 * SECOND]
    assert says in faults[0].error.cause


def test_a_contract_of_a_dollar() -> None:
    feed, span = gate_orders("BTC_USD", "btc")
    body = changed(SAMPLE, contract="BTC_USD", size="-30000", order_size="30000", fill_price="60000")
    (row,) = read(feed, span, body)["liquidations"]
    assert (row["market"], row["base_asset"], row["quote_asset"]) == ("BTC_USD", "btc", "usd")
    assert (row["amount"], row["amount_base"], row["notional_usd"]) == (30000, 0.5, 30000)


@pytest.mark.parametrize(
    ("kind", "multiplier", "size"),
    [
        ("direct", '"0.0001"', 0.0001),
        ("direct", "10", 10.0),
        ("direct", '"0"', None),
        ("direct", '""', None),
        ("inverse", '"0"', 1.0),
        ("inverse", '"0.5"', None),
        ("quanto", '"0.5"', None),
        (None, '"x"', None),
    ],
)
def test_the_size_of_a_contract(kind: str | None, multiplier: str, size: float | None) -> None:
    row = ContractRow(name="A_USDT", type=kind, quanto_multiplier=multiplier.encode())  # type: ignore[arg-type]
    contract = size_of(row)
    assert (contract and contract.size) == size


# Partitions.


def partitions(*entries: str) -> list[str]:
    feed, _ = gate_orders()
    feed.endpoint._entries = entries  # type: ignore[attr-defined]
    return ["/".join(value for _, value in partition.values) for partition in feed.endpoint.all_partitions(Traffic())]


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (("usdt/BTC_USDT", "usdt/X_USDT", "usdt/BTC_USDT"), ["usdt/BTC_USDT", "usdt/X_USDT"]),
        (("usdt/*",), ["usdt"]),
        (("*",), ["usdt", "btc"]),
        (("*/BTC_*", "usdt/BTC_USDT", "usdt/X_USDT"), ["usdt/BTC_*", "btc/BTC_*", "usdt/X_USDT"]),
        (("usdt/B*", "usdt/*", "usdt/X_USDT", "btc/BTC_USD"), ["usdt", "btc/BTC_USD"]),
        (("*/*_USD",), ["btc/*_USD"]),
    ],
)
def test_what_is_read_together(entries: tuple[str, ...], expected: list[str]) -> None:
    assert partitions(*entries) == expected


def test_a_pattern_that_means_nothing_is_named() -> None:
    feed, _ = gate_orders()
    feed.endpoint._entries = ("usdt/BTC_USDT", "usdt/NONE*")  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match=r"`gate.contracts\[1\]`.*matches 'usdt/NONE\*'"):
        feed.endpoint.all_partitions(Traffic())


def test_lists_of_other_settle_currencies_are_read_where_they_are_named() -> None:
    assert settles_of(["usdt/BTC_USDT", "*/X"]) == ("usdt", "btc")
    assert settles_of(["usd1/BTC_USD1", "*"]) == ("usdt", "btc", "usd1")
    assert market("usdt", "BTC_USDT") == "BTC_USDT"
    assert market("usd1", "BTC_USDT") == "usd1/BTC_USDT"


@pytest.mark.parametrize("code", ["gate", "GATE_IO_FUTURES", "Gate.io", "gateio"])
def test_one_spelling_of_the_exchange(code: str) -> None:
    assert exchange(code) == "gate"


def test_the_section_needs_contracts() -> None:
    with pytest.raises(ConfigurationError, match=r"`gate.contracts`: is required"):
        configured("gate", {"interval": "5m"})
    assert configured("gate", {"contracts": ["usdt/BTC_USDT"]})


# Lists.


def list_pages(*pages: list[str]) -> tuple[list[str], list[str]]:
    """The names in the list, and the requested offsets, of a vendor with these pages of `usdt`."""
    feed = feed_of(LIST, {"contracts": ["usdt/A_USDT"]})
    memory: dict[Any, Any] = {}
    endpoint, left, span = feed.endpoint, [*pages, [], []], Span((Partition(()),), 0, 1)
    request: Request | None = endpoint.first_request(span)
    names, offsets = [], []
    while request is not None and "/usdt/" in request.path:
        offsets.append(dict(request.params)["offset"])
        body = json.dumps([{"name": name} for name in left.pop(0)]).encode()
        answer = endpoint.decode(Response(200, {}, body), span, request, memory)
        request = answer.next_request
        names += [json.loads(row)["name"] for row in answer.rows.raw]
    return names, offsets


@pytest.mark.parametrize("name", ["type", "status"])
@pytest.mark.parametrize("value", [1, 1.5, True, [], {"a": [1]}])
def test_an_odd_contract_of_the_list_stops_no_other(name: str, value: Any) -> None:
    """Neither its stream, nor coverage, nor patterns, nor sizes."""
    listed = [{"name": "ODD_USDT", "type": "direct", "quanto_multiplier": "2", "launch_time": 1568102400, name: value}]
    listed += [{"name": "A_USDT", "type": "direct", "quanto_multiplier": "1", "launch_time": 1568102400}]
    span = Span((Partition(()),), 0, 1)
    by_stream = records(feed_of(LIST, {"contracts": ["usdt/*"]}), listed, span)
    assert [row["name"] for row in by_stream[LIST]] == ["ODD_USDT", "A_USDT"]
    assert [row["market"] for row in by_stream["liquidation_coverage"]] == ["ODD_USDT", "A_USDT"]
    feed, _ = gate_orders()
    contracts = feed.endpoint._contracts  # type: ignore[attr-defined]
    contracts.lists = {}
    contracts._client.fetch = lambda *_: response(listed)
    assert contracts.matching("usdt/*", "gate.contracts[0]", Traffic()) == ["usdt/A_USDT", "usdt/ODD_USDT"]
    assert contracts._sizes["A_USDT"].size == 1


def test_the_list_ends_with_a_short_page_unless_that_may_be_cut() -> None:
    names = [f"C{n}_USDT" for n in range(1500)]
    assert list_pages(names[:857]) == (names[:857], ["0"])
    assert list_pages(names[:1000], names[1000:]) == (names, ["0", "1000", "1500"])
    assert list_pages(names[:100], names[100:150]) == (names[:150], ["0", "100"])
    assert list_pages(names[:1000], names[:1000]) == (names[:1000], ["0", "1000"]), "the offset is ignored"
    assert list_pages([]) == ([], ["0"])


# Answers.


def error(status: int, label: str, **members: Any) -> Response:
    headers = members.pop("headers", {})
    return Response(status, headers, json.dumps({"label": label, **members}).encode())


@pytest.mark.parametrize(
    ("status", "label", "meant"),
    [
        (400, "TOO_FAST", 429),
        (403, "TOO_MANY_REQUESTS", 429),
        (429, "TOO_MANY_REQUESTS", 429),
        (400, "SERVER_ERROR", 500),
        (502, "INTERNAL", 502),
        (400, "INVALID_PARAM_VALUE", 400),
        (404, "NOT_FOUND", 404),
    ],
)
@pytest.mark.parametrize("field", ["message", "detail"])
def test_the_label_decides(field: str, status: int, label: str, meant: int) -> None:
    response = translated(error(status, label, **{field: "the vendor's words"}))
    assert response.status == meant
    refused = explain(response)
    assert refused is None
    assert vendor_words(response.body) == f"{label}: the vendor's words"


def test_an_error_in_a_200_is_a_problem_and_rows_are_none() -> None:
    assert translated(error(200, "INTERNAL", message="no")).problem() == "a 200 with an error: INTERNAL: no"
    assert translated(error(200, "INTERNAL")).problem() == "a 200 with an error: INTERNAL"
    for body in (b"[]", b"null", json.dumps(sample(SAMPLE)).encode(), b'{"name": 1}', b"<html>", b"{"):
        plain = Response(200, {}, body)
        assert translated(plain) == plain


@pytest.mark.parametrize(
    ("ahead", "least", "most"), [(-5, 1, 1), (0.3, 1, 1), (20, 18, 20), (900, 60, 60), (None, None, None)]
)
@pytest.mark.parametrize("unit", [1, 1000])
@pytest.mark.parametrize("status", [200, 429])
def test_a_limit_is_waited_out_for_a_second_to_a_minute(
    status: int, unit: int, ahead: float | None, least: float | None, most: float | None
) -> None:
    """Also where an answer is good and says that nothing is left: by a clock that is wrong, it would wait for long."""
    headers = {"X-Gate-RateLimit-Requests-Remain": "0", "X-Gate-RateLimit-Limit": "200"}
    if ahead is not None:
        headers["X-Gate-RateLimit-Reset-Timestamp"] = str(int((time.time() + ahead) * unit))
    delay = reset_seconds(translated(Response(status, headers, b"[]")))
    if least is None or most is None:
        assert delay is None
    else:
        assert delay is not None
        assert least <= delay <= most


@pytest.mark.parametrize("per_minute", [1, 7, 19, 95, 600, 1_201])
def test_a_limit_a_minute_is_kept_in_the_vendors_period(per_minute: int) -> None:
    """A shorter period would allow two of them within the vendor's period."""
    budget = feed_of(STATS, {"contracts": ["usdt/BTC_USDT"], "requests_per_minute": per_minute}).endpoint.client.budget
    assert 0.85 * per_minute <= budget.requests * 60.0 / budget.seconds <= per_minute
    assert budget.seconds >= 10.0


def test_what_refusals_mean() -> None:
    def meaning(response: Response) -> LiquidationsError:
        error = explain(translated(response))
        assert isinstance(error, LiquidationsError)
        return error

    closed = meaning(error(400, "MISSING_REQUIRED_HEADER", message="Missing required header: KEY"))
    assert (closed.failure_type, closed.scope) == ("system_error", "reading")
    key = meaning(Response(401, {}, b"{}"))
    assert (key.failure_type, key.scope) == ("config_error", "reading")
    assert "need none" in key.advice
    place = meaning(Response(403, {}, b"Forbidden"))
    assert (place.failure_type, place.scope) == ("config_error", "partition")
    retention = sample("gate/futures__usdt__contract_stats.400.retention")
    old = Response(400, {}, json.dumps(retention).encode())
    assert type(meaning(old)).__name__ == "OutOfReach"
    limit = Response(400, {}, json.dumps(sample("gate/futures__usdt.400.limit")).encode())
    assert explain(translated(limit)) is None
