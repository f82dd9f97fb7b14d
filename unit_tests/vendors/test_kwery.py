"""Kwery: requests, ids that survive any re-reading, plans, credits."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_liquidations import planning, timestamps
from source_liquidations.errors import (
    AccessRefused,
    ConfigurationError,
    LiquidationsError,
    NotAdvancing,
    OutOfReach,
    RequestRefused,
    SpendingLimit,
    UnexpectedAnswer,
    VendorUnavailable,
    WindowTooLarge,
)
from source_liquidations.http.answers import FailedTry, Response
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.http.transport import Transport
from source_liquidations.reading import loop
from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.pages import Block
from source_liquidations.reading.paging import Pages
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading
from source_liquidations.vendors.kwery.credits import AffordableWindows, Credits, cost
from source_liquidations.vendors.kwery.liquidations import Liquidations
from source_liquidations.vendors.kwery.vendor import Kwery, explain
from source_liquidations.vendors.vendor import Feed, Shared, Vendor
from unit_tests.simulated import status_of
from unit_tests.vendors.bodies import changed, configured, decoded, feed_of, kwery, records, response, sample

MILLISECOND = 1_000_000
START = timestamps.parse("2026-03-08T00:00:00Z")
DAY, HOUR, MINUTE, SECOND = timestamps.DAY, timestamps.HOUR, timestamps.MINUTE, timestamps.SECOND
KEY = "k" * 8
STREAM = "kwery_liquidations"
PATH = "/v1/liquidations"


def endpoint_of(**section: Any) -> Liquidations:
    return liquidations_of(kwery(**section)[0])


def liquidations_of(feed: Feed) -> Liquidations:
    assert isinstance(feed.endpoint, Liquidations)
    return feed.endpoint


def purse_of(feed: Feed) -> Credits:
    """The client's credits."""
    purse = feed.endpoint.client.purse
    assert isinstance(purse, Credits)
    return purse


# Kwery in memory. No test uses a network.


def unreachable(*_: Any) -> Response:
    raise AssertionError("a test reaches for the network")


@pytest.fixture(autouse=True, scope="module")
def no_network() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOURCE_LIQUIDATIONS_PATIENCE", "0.001")  # pauses are short
        patch.setattr(Transport, "get", unreachable)
        yield


@dataclass(frozen=True)
class Arrived:
    path: str
    params: dict[str, str]
    headers: Mapping[str, str]


@dataclass
class Wire:
    """Kwery's side of the wire: its rows, plan and peculiarities, the requests that arrived, and their cost.

    plan       the body of /v1/limits, or an answer of another kind; None where there is none
    reach      the first instant that the key has
    refuses    what is older is refused; else it is left out silently
    backwards  the newest rows come first
    keys       where a key is taken: header, query, nowhere
    breaks     the liquidations' answers break so on the way
    """

    instants: Sequence[int] = ()
    plan: dict[str, Any] | Response | None = field(default_factory=dict)
    reach: int = 0
    refuses: bool = True
    backwards: bool = False
    keys: str = "header"
    keyless: tuple[str, ...] = ()
    breaks: Exception | None = None
    arrived: list[Arrived] = field(default_factory=list)
    bill: int = 0

    @contextmanager
    def connected(self) -> Iterator[None]:
        with mock.patch.object(Transport, "get", self.get):
            yield

    def get(self, url: str, headers: Mapping[str, str], sending: Callable[[], None]) -> Response:
        assert len(self.arrived) < 1_000, "the sync would never end"
        sending()
        parts = urlsplit(url)
        request = Arrived(parts.path, dict(parse_qsl(parts.query)), headers)
        self.arrived.append(request)
        keys = {"header": headers.get("X-API-Key"), "query": request.params.get("api-key")}
        if keys.get(self.keys) != KEY and parts.path not in self.keyless:
            return refusal(401, "unauthorized")
        if parts.path == "/v1/limits":
            plan = refusal(404, "not_found") if self.plan is None else self.plan
            return plan if isinstance(plan, Response) else response(plan)
        if parts.path == "/v1/symbols":
            return response(sample("kwery/symbols"))
        if self.breaks is not None:
            raise self.breaks
        return self.liquidations(request.params)

    def liquidations(self, params: Mapping[str, str]) -> Response:
        start, end = timestamps.parse(params["start"]), timestamps.parse(params["end"])
        if self.refuses and start < self.reach:
            return refusal(400, "invalid_time_range")
        instants = [instant for instant in self.instants if max(start, self.reach) <= instant < end]
        instants = instants[::-1] if self.backwards else instants
        limit, offset = int(params["limit"]), int(params.get("after", 0))
        page = instants[offset : offset + limit]
        self.bill += cost(len(page))
        cursor = str(offset + limit) if offset + limit < len(instants) else None
        rows = [row_at(instant, symbol=params["symbol"]) for instant in page]
        return response({"data": rows, "meta": {"next_cursor": cursor}})

    @property
    def paid(self) -> list[Arrived]:
        return [request for request in self.arrived if request.path == PATH]


def refusal(status: int, code: str) -> Response:
    return Response(status, {}, json.dumps({"error": code, "message": "Words of the vendor."}).encode())


def row_at(instant: int, **values: Any) -> dict[str, Any]:
    row: dict[str, Any] = sample("kwery/liquidations")["data"][0]
    return {**row, "timestamp": timestamps.format_instant(instant, 9), **values}


def page_of(*instants: int, **meta: Any) -> dict[str, Any]:
    return {"data": [row_at(instant) for instant in instants], "meta": meta}


@dataclass
class Synced:
    """The result of a sync with the real core between the vendor and the rows."""

    rows: list[dict[str, Any]]
    state: StreamState
    vendors: Sequence[Vendor]
    readings: Sequence[Reading]
    status: str

    def slices(self, symbol: str = "BTC") -> list[tuple[int, int]]:
        return list(self.state.of(Partition.of(symbol=symbol)).recorded)

    @property
    def coverage(self) -> list[dict[str, Any]]:
        """The rows of the coverage that this sync saw."""
        table = planning.coverage_rows(self.vendors, self.readings)
        rows = [json.loads(line) for line in table.lines(b"", b"\n").splitlines()]
        return [row for row in rows if row["source"] == "seen by this sync"]


def synced(wire: Wire, start: int, end: int | None = None, *, state: Any = None, **section: Any) -> Synced:
    config = configured("kwery", {"api_key": KEY, "requests_per_minute": 60_000, **section})
    config = replace(config, start=start, end=end or config.end)
    vendors = planning.configured_vendors(config, Shared(start=start))
    states = {STREAM: StreamState(STREAM, "time", state, start=start)}
    readings = planning.readings(config, vendors, states)
    rows: list[dict[str, Any]] = []
    status = ""
    with wire.connected():
        for item in loop.Sync(readings, states, workers=2, stop=threading.Event()):
            if isinstance(item, Block):
                rows += [json.loads(line)["record"]["data"] for line in item.data.splitlines()]
            else:
                status = status_of(item) or status
    return Synced(rows, states[STREAM], vendors, readings, status)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


# Requests.


def test_the_first_request_names_every_parameter() -> None:
    feed, span = kwery()
    request = feed.endpoint.first_request(Span(span.partitions, START, START + DAY + MILLISECOND))
    assert request == Request(
        PATH,
        (
            ("symbol", "BTC"),
            ("start", "2026-03-08T00:00:00.000Z"),
            ("end", "2026-03-09T00:00:00.001Z"),
            ("side", "all"),
            ("limit", "1000"),
        ),
    )


def test_filters_are_passed_on() -> None:
    feed, span = kwery("ETH", side="short", min_usd=2500.5)
    params = dict(feed.endpoint.first_request(span).params)
    assert (params["side"], params["min_usd"]) == ("short", "2500.5")


def all_partitions(endpoint: Liquidations) -> list[Partition]:
    with mock.patch.object(endpoint.client, "fetch", return_value=response({})):
        return endpoint.all_partitions(Traffic())


def test_filters_have_progress_of_their_own_and_a_symbol_is_read_once() -> None:
    section = {"symbols": ["BTC", "ETH", "BTC"]}
    partitions = all_partitions(endpoint_of(**section))
    assert partitions == [Partition.of(symbol="BTC"), Partition.of(symbol="ETH")]
    assert all_partitions(endpoint_of(**section, side="all")) == partitions
    partitions = all_partitions(endpoint_of(**section, side="long", min_usd=100))
    assert partitions == [Partition.of(symbol=symbol, side="long", min_usd="100") for symbol in ("BTC", "ETH")]
    assert [partition.entry for partition in partitions] == ["kwery.symbols[0]", "kwery.symbols[1]"]


@pytest.mark.parametrize(
    ("meta", "after"),
    [
        ({"next_cursor": "abc", "has_more": True}, "abc"),
        ({"next_cursor": "abc", "count": 1, "interval": None}, "abc"),
        ({"next_cursor": "abc", "has_more": None}, "abc"),
        ({"next_cursor": 17}, "17"),
        ({"next_cursor": "abc", "has_more": False}, None),
        ({"next_cursor": None, "has_more": False}, None),
        ({"next_cursor": None, "has_more": None}, None),
        ({"next_cursor": ""}, None),
        ({}, None),
    ],
)
def test_the_cursor_is_followed_as_it_is(meta: dict[str, Any], after: str | None) -> None:
    feed, span = kwery()
    body = {**sample("kwery/liquidations"), "meta": meta}
    following = decoded(feed, body, span).next_request
    if after is None:
        assert following is None
    else:
        assert following is not None
        assert following.params == (*feed.endpoint.first_request(span).params, ("after", after))


@pytest.mark.parametrize("meta", [{"next_cursor": None}, {"next_cursor": ""}, {}])
@pytest.mark.parametrize("rows", [0, 1])
def test_more_rows_without_a_cursor_to_them_are_an_error(meta: dict[str, Any], rows: int) -> None:
    feed, span = kwery()
    with pytest.raises(UnexpectedAnswer, match="`has_more` is true, but there is no `next_cursor`"):
        decoded(feed, page_of(*[START] * rows, **meta, has_more=True), span)


def test_a_later_cursor_takes_the_place_of_the_one_before() -> None:
    feed, span = kwery()
    body = {**sample("kwery/liquidations"), "meta": {"next_cursor": "one"}}
    first = decoded(feed, body, span).next_request
    assert first is not None
    second = feed.endpoint.decode(response({**body, "meta": {"next_cursor": "two"}}), span, first, {}).next_request
    assert second is not None
    assert [value for name, value in second.params if name == "after"] == ["two"]


@pytest.mark.parametrize("more", [{}, {"has_more": None}, {"has_more": False}])
def test_an_empty_page_is_the_last_whatever_its_cursor(more: dict[str, Any]) -> None:
    feed, span = kwery()
    body = {"data": [], "meta": {"next_cursor": "abc", **more}}
    assert decoded(feed, body, span).next_request is None


def test_an_empty_page_that_says_that_there_is_more_is_followed() -> None:
    feed, span = kwery()
    following = decoded(feed, page_of(next_cursor="abc", has_more=True), span).next_request
    assert following is not None
    assert dict(following.params)["after"] == "abc"


def test_endless_empty_pages_fail() -> None:
    feed, span = kwery()
    pages, request, memory = Pages(), feed.endpoint.first_request(span), {}  # type: ignore[var-annotated]

    def follow() -> None:
        nonlocal request
        for number in range(100):
            body = response(page_of(next_cursor=f"{number}", has_more=True))
            answer = feed.endpoint.decode(body, span, request, memory)
            pages.accept(request, answer)
            assert answer.next_request is not None
            request = answer.next_request

    with pytest.raises(NotAdvancing, match="empty pages in a row"):
        follow()
    assert pages.count == 20


@pytest.mark.parametrize("meta", [{}, {"meta": None}])
def test_a_body_without_meta_is_the_last_page_unless_it_is_full(meta: dict[str, Any]) -> None:
    feed, span = kwery()
    rows = sample("kwery/liquidations")["data"]
    assert decoded(feed, {"data": rows, **meta}, span).next_request is None
    assert decoded(feed, {"data": [], **meta}, span).next_request is None
    assert decoded(feed, {"data": rows * 999, **meta}, span).next_request is None
    with pytest.raises(UnexpectedAnswer, match="a full page without `meta`"):
        decoded(feed, {"data": rows * 1000, **meta}, span)
    liquidations_of(feed).sizing.page_size = 3
    assert decoded(feed, {"data": rows * 2, **meta}, span).next_request is None
    with pytest.raises(UnexpectedAnswer, match="a full page without `meta`"):
        decoded(feed, {"data": rows * 3, **meta}, span)


def test_a_page_is_full_with_the_rows_that_could_be_paid() -> None:
    feed, span = kwery(max_credits_per_sync=125)
    row = sample("kwery/liquidations")["data"][0]
    request = feed.endpoint.first_request(span)
    for rows in (49, 50):
        paid = purse_of(feed).payable(request)
        assert dict(paid.params)["limit"] == "50"
        body = response({"data": [row] * rows}, {"X-Credits-Used": "0"})
        if rows == 49:
            assert feed.endpoint.decode(body, span, request, {}).next_request is None
            continue
        with pytest.raises(UnexpectedAnswer, match="a full page without `meta`"):
            feed.endpoint.decode(body, span, request, {})


# The key.


@pytest.mark.parametrize("keys", ["header", "query"])
def test_a_key_goes_where_it_is_taken_and_stays_there(keys: str) -> None:
    feed, span = kwery()
    wire, traffic = Wire([START], keys=keys), Traffic()
    request = feed.endpoint.first_request(Span(span.partitions, START, START + DAY))
    with wire.connected():
        for _ in range(2):
            body = feed.endpoint.client.fetch(request, traffic)
            assert len(feed.endpoint.decode(body, span, request, {}).rows) == 1
    in_header = [arrived.headers.get("X-API-Key") for arrived in wire.arrived]
    in_query = [arrived.params.get("api-key") for arrived in wire.arrived]
    if keys == "header":
        assert (in_header, in_query) == ([KEY, KEY], [None, None])
    else:
        assert (in_header, in_query) == ([KEY, None, None], [None, KEY, KEY])
    sent = [{name: value for name, value in a.params.items() if name != "api-key"} for a in wire.arrived]
    assert sent == [dict(request.params)] * len(wire.arrived), "the same request"
    assert traffic.requests == len(wire.arrived)
    assert purse_of(feed).spent == 2 * cost(1)


@pytest.mark.parametrize("path", ["/v1/symbols", "/v1/limits"])
def test_a_call_that_takes_any_key_does_not_say_where_the_others_want_it(path: str) -> None:
    feed, span = kwery()
    wire = Wire([START], keys="query", keyless=(path,))
    with wire.connected():
        feed.endpoint.client.fetch(Request(path))
        feed.endpoint.client.fetch(feed.endpoint.first_request(span))
    assert [a.params.get("api-key") for a in wire.arrived] == [None, None, KEY]


def test_a_key_that_is_taken_nowhere_is_refused_after_both() -> None:
    feed, span = kwery()
    wire = Wire(keys="nowhere")
    with wire.connected(), pytest.raises(AccessRefused, match="HTTP 401: unauthorized") as raised:
        feed.endpoint.client.fetch(feed.endpoint.first_request(span))
    assert raised.value.scope == "reading"
    assert KEY not in raised.value.message
    assert [(a.headers.get("X-API-Key"), a.params.get("api-key")) for a in wire.arrived] == [(KEY, None), (None, KEY)]


# Rows.


def test_the_documented_example() -> None:
    feed, span = kwery()
    body = sample("kwery/docs_example_page")
    rows = records(feed, body, span)[STREAM]
    for row, sent in zip(rows, body["data"], strict=True):
        identity = row.pop("liquidation_id")
        assert len(identity) == 34
        assert identity.endswith("-0")
        assert row == {**sent, "time": sent["timestamp"]}


def test_the_recorded_answer() -> None:
    feed, span = kwery()
    body = sample("kwery/liquidations")
    (row,) = records(feed, body, span)[STREAM]
    assert row["time"] == "2026-03-16T07:53:38.520000Z"
    assert {name: value for name, value in row.items() if name not in ("time", "liquidation_id")} == body["data"][0]


def test_an_id_never_changes_between_versions() -> None:
    """Ids are primary keys in people's tables: a change here doubles every row that they have."""
    feed, span = kwery()
    (row,) = records(feed, sample("kwery/liquidations"), span)[STREAM]
    assert row["liquidation_id"] == PINNED


PINNED = "62a78c7ce7ae24ef5ac5b55019e9920f-0"


def test_undocumented_fields_arrive_and_do_not_change_the_id() -> None:
    feed, span = kwery()
    body = sample("kwery/liquidations")
    (plain,) = records(feed, body, span)[STREAM]
    (row,) = records(feed, changed(body, order_type="LIQUIDATION", usd_value=1), span)[STREAM]
    assert row["order_type"] == "LIQUIDATION"
    assert row["liquidation_id"] == plain["liquidation_id"]


def test_the_vendors_own_id_would_win_over_ours() -> None:
    feed, span = kwery()
    (row,) = records(feed, changed(sample("kwery/liquidations"), liquidation_id="theirs"), span)[STREAM]
    assert row["liquidation_id"] == "theirs"
    assert row["time"] == "2026-03-16T07:53:38.520000Z"
    (row,) = records(feed, changed(sample("kwery/liquidations"), liquidation_id=None), span)[STREAM]
    assert row["liquidation_id"] == PINNED, "null is no key"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", "yesterday"),
        ("timestamp", 1773647618520),
        ("timestamp", ...),
        ("symbol", ...),
    ],
)
def test_a_row_of_another_shape_is_an_error_that_names_the_field(field: str, value: Any) -> None:
    feed, span = kwery()
    with pytest.raises(UnexpectedAnswer, match=field):
        decoded(feed, changed(sample("kwery/liquidations"), **{field: value}), span)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("quantity", "many"),
        ("quantity", "NaN"),
        ("price", {}),
        ("price", True),
        ("avg_price", [1]),
        ("usd_value", "1,5"),
    ],
)
def test_what_is_no_number_is_a_fault_and_the_row_beside_it_arrives(field: str, value: Any) -> None:
    feed, span = kwery()
    body = sample("kwery/docs_example_page")
    body["data"][1][field] = value
    rows = decoded(feed, body, span).rows
    assert len(rows) == len(body["data"]) - 1
    (fault,) = rows.faults
    assert f"`{field}` of row 1" in fault.error.message


@pytest.mark.parametrize("body", [{}, {"meta": {}}, {"data": {}}, {"data": "none"}, []])
def test_a_body_of_another_shape_is_an_error(body: Any) -> None:
    feed, span = kwery()
    with pytest.raises(UnexpectedAnswer):
        decoded(feed, body, span)


@pytest.mark.parametrize("meta", [{}, {"meta": None}, {"meta": {"next_cursor": None, "has_more": False}}])
def test_null_is_an_empty_list(meta: dict[str, Any]) -> None:
    feed, span = kwery()
    answer = decoded(feed, {"data": None, **meta}, span)
    assert (len(answer.rows), answer.next_request, answer.problem) == (0, None, None)
    assert purse_of(feed).complete_windows == 1, "read to its end"
    with pytest.raises(UnexpectedAnswer, match="no `data`"):
        decoded(feed, meta, span)


def unified(**values: Any) -> dict[str, Any]:
    feed, span = kwery()
    (row,) = records(feed, changed(sample("kwery/liquidations"), **values), span)["liquidations"]
    return row


def test_the_recorded_answer_in_the_shape_of_all_vendors() -> None:
    assert unified() == {
        "vendor": "kwery",
        "market": "binance_futures/BTC",
        "exchange": "binance",
        "base_asset": "btc",
        "quote_asset": None,
        "event_type": "trade",
        "amount_unit": "base",
        "liquidation_id": PINNED,
        "liquidated_at": "2026-03-16T07:53:38.520000Z",
        "liquidated_at_ns": timestamps.parse("2026-03-16T07:53:38.520000Z"),
        "position_side": "long",
        "order_side": "sell",
        "price": 73366.2,
        "amount": 0.03,
        "amount_usd": 2200.986,
        "amount_base": 0.03,
        "notional_usd": 2200.986,
        "notional_source": "vendor",
    }


@pytest.mark.parametrize("symbol", ["btc", "BTCUSDT", "BTC-USDT", "BTCUSDT_250627"])
def test_a_symbol_is_no_asset(symbol: str) -> None:
    row = unified(symbol=symbol)
    assert (row["base_asset"], row["market"]) == ("btc", f"binance_futures/{symbol}")


@pytest.mark.parametrize("value", [None, ..., ""])
def test_a_missing_value_in_dollars_has_no_source(value: Any) -> None:
    row = unified(usd_value=value)
    assert (row["amount_usd"], row["notional_usd"], row["notional_source"]) == (None, None, None)
    assert (row["amount"], row["amount_base"]) == (0.03, 0.03)


@pytest.mark.parametrize(("value", "number"), [(0, 0), ("2200.9860", 2200.986), (12, 12)])
def test_a_value_in_dollars_is_the_vendors_however_it_is_written(value: Any, number: float) -> None:
    row = unified(usd_value=value)
    assert (row["amount_usd"], row["notional_usd"], row["notional_source"]) == (number, number, "vendor")


def test_missing_values_of_a_row_are_null() -> None:
    row = unified(source=..., side=..., quantity=..., avg_price=None)
    assert (row["market"], row["exchange"]) == ("binance_futures/BTC", "binance")
    names = ("position_side", "order_side", "price", "amount", "amount_base")
    assert [row[name] for name in names] == [None] * 5
    assert unified(side="SHORT")["position_side"] == "short"


# Ids: the same on every re-read, for any windows, pages, order and flavour; twins have different ones.


@dataclass(frozen=True)
class Liquidation:
    """A true event. Two of them may be equal in everything."""

    instant: int  # milliseconds from START
    side: str
    quantity: int  # thousandths
    price: int  # hundredths
    fill: int

    def written(self, recorded: bool) -> dict[str, Any]:
        instant = START + self.instant * MILLISECOND
        text = timestamps.format_instant(instant, 6 if recorded else 3)
        usd = self.quantity * self.fill / 100_000
        return {
            "timestamp": text.replace("Z", "+00:00") if recorded else text,
            "symbol": "BTC",
            "source": "binance_futures",
            "side": self.side,
            # One row has JSON numbers, one strings with the same values, rounded by the vendor itself.
            "quantity": self.quantity / 1000 if recorded else f"{self.quantity / 1000:.8f}",
            "price": self.price / 100 if recorded else f"{self.price / 100:.4f}",
            "avg_price": self.fill / 100 if recorded else f"{self.fill / 100:.2f}",
            "usd_value": usd if recorded else round(usd, 2),
        }


@st.composite
def histories(draw: st.DrawFn) -> list[Liquidation]:
    """A short stretch with a few instants, so that twins and near-twins are frequent."""
    one = st.builds(
        Liquidation,
        instant=st.integers(0, 30),
        side=st.sampled_from(["long", "short"]),
        quantity=st.integers(1, 3),
        price=st.integers(9_215_000, 9_215_001),
        fill=st.integers(9_214_530, 9_214_531),
    )
    events = draw(st.lists(one, max_size=25))
    twins = draw(st.lists(st.sampled_from(events), max_size=8)) if events else []
    return sorted([*events, *twins], key=lambda event: event.instant)


@dataclass(frozen=True)
class Way:
    """One way of reading a history: windows, pages, order, flavour."""

    borders: tuple[int, ...]
    page: int
    recorded: bool
    backwards: bool
    seed: int


ways = st.builds(
    Way,
    borders=st.lists(st.integers(1, 30), max_size=4, unique=True).map(lambda borders: tuple(sorted(borders))),
    page=st.integers(1, 9),
    recorded=st.booleans(),
    backwards=st.booleans(),
    seed=st.integers(0, 3),
)


def read(history: Sequence[Liquidation], way: Way, since: int = 0) -> list[tuple[str, Liquidation]]:
    """(id, event) of all rows, read window by window and page by page from `since` on."""
    feed, span = kwery()
    rows_with_ids: list[tuple[str, Liquidation]] = []
    bounds = [since, *(border for border in way.borders if border > since), 31]
    for start, end in pairwise(bounds):
        window = Span(span.partitions, START + start * MILLISECOND, START + end * MILLISECOND)
        rows = [event for event in history if start <= event.instant < end]
        rows = rows[::-1] if way.backwards else rows
        if way.seed:  # undocumented: rows of one instant in any order
            random.Random(way.seed).shuffle(rows)
        memory: dict[Any, Any] = {}
        for at in range(0, max(1, len(rows)), way.page):
            page = rows[at : at + way.page]
            body = {"data": [event.written(way.recorded) for event in page], "meta": {}}
            ids = [row["liquidation_id"] for row in records(feed, body, window, memory=memory)[STREAM]]
            rows_with_ids += zip(ids, page, strict=True)
    return rows_with_ids


@settings(max_examples=60)
@given(histories(), ways, ways)
def test_ids_are_the_same_in_other_windows_pages_orders_and_flavours(
    history: list[Liquidation], one: Way, other: Way
) -> None:
    first, second = read(history, one), read(history, other)
    assert len({identity for identity, _ in first}) == len(history), "twins share an id"
    assert Counter(first) == Counter(second)


@settings(max_examples=40)
@given(histories(), ways, ways, st.integers(0, 30))
def test_ids_are_the_same_in_a_lookback(history: list[Liquidation], one: Way, other: Way, since: int) -> None:
    whole = dict(read(history, one))
    again = read(history, other, since)
    assert dict(again).items() <= whole.items()
    assert len(again) == sum(event.instant >= since for event in history)


@settings(max_examples=40)
@given(histories(), ways)
def test_a_filter_does_not_change_ids(history: list[Liquidation], way: Way) -> None:
    whole = dict(read(history, way))
    longs = read([event for event in history if event.side == "long"], way)
    assert dict(longs).items() <= whole.items()


def test_rows_that_differ_in_undocumented_fields_alone_keep_their_ids_in_any_order() -> None:
    feed, span = kwery()
    row = sample("kwery/liquidations")["data"][0]
    twins = [{**row, "order_id": number} for number in (7, 3, 5)]
    forth = {r["order_id"]: r["liquidation_id"] for r in records(feed, {"data": twins, "meta": {}}, span)[STREAM]}
    back = {r["order_id"]: r["liquidation_id"] for r in records(feed, {"data": twins[::-1], "meta": {}}, span)[STREAM]}
    assert forth == back
    assert len(set(forth.values())) == 3


# Plans.


def test_a_capped_answer_asks_for_a_smaller_window_from_then_on() -> None:
    feed, span = kwery()
    windows = liquidations_of(feed).sizing
    capped = {"X-Rows-Capped": "true"}
    body = {**sample("kwery/docs_example_page"), "meta": {}}
    before = windows.next_length(DAY, 100)
    with pytest.raises(WindowTooLarge, match="X-Rows-Capped") as raised:
        decoded(feed, body, span, headers=capped)
    assert "a larger plan is needed" in raised.value.advice
    assert before == 4 * DAY
    assert windows.next_length(DAY, 100) == DAY // 4, "else the next window would be capped again"


@pytest.mark.parametrize(
    "meta", [{"has_more": True}, {"has_more": False, "next_cursor": "abc"}, {"next_cursor": ""}, None]
)
def test_a_capped_answer_without_a_cursor_is_understood(meta: Any) -> None:
    """The header says why there are more rows but no cursor."""
    feed, span = kwery()
    liquidations_of(feed).sizing.page_size = 3
    body = {**sample("kwery/docs_example_page"), "meta": meta}
    with pytest.raises(WindowTooLarge, match="X-Rows-Capped"):
        decoded(feed, body, span, headers={"x-rows-capped": "True", "X-Rows-Capped": "True"})


def test_a_capped_page_with_a_cursor_goes_on() -> None:
    feed, span = kwery()
    answer = decoded(feed, sample("kwery/docs_example_page"), span, headers={"X-Rows-Capped": "true"})
    assert answer.next_request is not None


def test_an_answer_that_is_not_capped_or_has_no_rows_is_whole() -> None:
    feed, span = kwery()
    body = {**sample("kwery/docs_example_page"), "meta": {}}
    assert decoded(feed, body, span, headers={"X-Rows-Capped": "false"}).next_request is None
    assert decoded(feed, page_of(), span, headers={"X-Rows-Capped": "true"}).next_request is None


def test_windows_follow_the_rows() -> None:
    endpoint = endpoint_of()
    sizing = endpoint.sizing
    assert not endpoint.splittable, "a window is as long as the one before it says"
    assert sizing.longest() == DAY
    assert sizing.next_length(DAY, 0) == 8 * DAY
    assert sizing.next_length(DAY, 100) == 4 * DAY
    assert sizing.next_length(DAY, 4000) == DAY
    assert sizing.next_length(DAY, 40_000) == DAY // 4
    assert sizing.next_length(MILLISECOND, 40_000) == MILLISECOND
    assert sizing.next_length(DAY, 2_999) % MILLISECOND == 0


def test_the_last_minute_is_read_apart_where_there_may_be_a_second_page() -> None:
    """A late row moves the offsets of the rows after it."""
    sizing = endpoint_of().sizing
    now = time.time_ns()
    end = sizing.window_end(now - HOUR, now)
    assert 59 * SECOND <= now - end <= 90 * SECOND
    assert end % MILLISECOND == 0
    assert sizing.window_end(end, now) == now
    assert sizing.window_end(now - 1000 * SECOND, now) == now, "a row a second: no second page"
    assert sizing.window_end(now - 2 * DAY, now - DAY) == now - DAY


def test_the_last_minute_is_read_apart_of_a_plans_pages_too() -> None:
    windows = endpoint_of().sizing
    windows.page_size = 250
    now = time.time_ns()
    assert windows.window_end(now - 251 * SECOND, now) < now
    assert windows.window_end(now - 250 * SECOND, now) == now
    windows.page_size = 10
    assert windows.window_end(now - 61 * SECOND, now) == now - 51 * SECOND, "not one that is as short as what passed"


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (400, "invalid_time_range", OutOfReach, "`start_date`"),
        (402, "credits_exhausted", AccessRefused, "buy more"),
        (403, "tier_restricted", AccessRefused, "`kwery.min_usd`"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_refusals_say_what_to_do(status: int, code: str, kind: type[Exception], words: str, nested: bool) -> None:
    body: Any = {"error": code, "message": "Words of the vendor."}
    error = explain(Response(status, {}, json.dumps({"detail": body} if nested else body).encode()))
    assert type(error) is kind
    assert words in error.message
    assert f"HTTP {status}" in error.message
    assert "Words of the vendor." in error.message
    assert error.scope == ("reading" if status == 402 else "partition")


@pytest.mark.parametrize(("status", "code"), [(200, ""), (401, "unauthorized"), (429, "rate_limited"), (503, "")])
def test_other_answers_are_left_to_their_status(status: int, code: str) -> None:
    assert explain(Response(status, {}, json.dumps({"error": code}).encode())) is None


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_word_in_an_answer_that_passes_is_no_refusal(status: int) -> None:
    assert explain(refusal(status, "credits_exhausted")) is None


def with_plan(feed: Feed, plan: Any) -> Liquidations:
    """The endpoint, with the key's plan from /v1/limits."""
    endpoint = liquidations_of(feed)
    with mock.patch.object(endpoint.client, "fetch", return_value=response(plan)) as fetch:
        endpoint.apply_plan(Traffic())
    (request,) = [call.args[0] for call in fetch.call_args_list]
    assert request == Request("/v1/limits")
    return endpoint


@pytest.mark.parametrize(
    ("rates", "requests", "seconds"),
    [
        ({"requests_per_second": 20, "requests_per_minute": 600}, 10, 1.0),
        ({"requests_per_second": 2, "requests_per_minute": 600}, 2, 1.0),
        ({"requests_per_second": 2, "requests_per_minute": 40}, 2, 3.0),
        ({"requests_per_minute": 40}, 40, 60.0),
        ({"requests_per_minute": "40"}, 40, 60.0),
        ({"requests_per_minute": 90}, 1, 60 / 90),
        ({"requests_per_second": 3}, 3, 1.0),
        ({"requests_per_second": 0.5}, 1, 2.0),
        ({"requests_per_second": None}, 15, 60.0),
        ({}, 15, 60.0),
        (None, 15, 60.0),
    ],
)
def test_both_of_a_plans_rates_are_kept(rates: dict[str, float] | None, requests: int, seconds: float) -> None:
    budget = with_plan(kwery()[0], {"rate_limits": rates}).client.budget
    assert budget.requests == requests
    assert budget.seconds == pytest.approx(seconds)


def test_a_rate_of_the_users_own_stays() -> None:
    budget = with_plan(kwery(requests_per_minute=7)[0], sample("kwery/limits")).client.budget
    assert (budget.requests, budget.seconds) == (7, 60.0)


@pytest.mark.parametrize(
    ("most", "limit"), [(250, 250), ("250", 250), (1000, 1000), (2500, 1000), (-1, 1000), (None, 1000), (0, 1000)]
)
def test_the_limit_of_a_request_is_the_plans(most: Any, limit: int) -> None:
    feed, span = kwery()
    endpoint = with_plan(feed, {"max_rows_per_request": most})
    assert dict(endpoint.first_request(span).params)["limit"] == str(limit)
    assert endpoint.sizing.page_size == limit


def test_the_reach_is_what_the_plan_says() -> None:
    before = time.time_ns()
    endpoint = with_plan(kwery()[0], sample("kwery/limits"))
    assert endpoint.reach is not None
    assert before <= endpoint.reach + 90 * DAY < time.time_ns() + timestamps.SECOND
    assert endpoint.reach % timestamps.SECOND == 0
    for unlimited in (None, 0, -1):
        assert with_plan(kwery()[0], {"max_history_days": unlimited}).reach is None
    assert with_plan(kwery()[0], {}).reach is None
    assert endpoint_of().reach is None, "unknown until /v1/limits is requested"
    assert endpoint_of().refuses_old


@pytest.mark.parametrize(
    "error",
    [
        RequestRefused("HTTP 404: not_found", status=404),
        VendorUnavailable("no usable answer"),
        UnexpectedAnswer("another shape"),
    ],
)
def test_an_unavailable_plan_stops_nothing(error: LiquidationsError, caplog: pytest.LogCaptureFixture) -> None:
    endpoint = endpoint_of(symbols=["BTC", "ETH"])
    with (
        caplog.at_level(logging.INFO, logger="airbyte"),
        mock.patch.object(endpoint.client, "fetch", side_effect=error),
    ):
        assert list(endpoint.partitions(Traffic())) == endpoint.configured_partitions()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "documented limits of the Free plan" in line
    assert error.cause in line
    assert (endpoint.reach, endpoint.sizing.page_size, endpoint.client.budget.requests) == (None, 1000, 15)


def test_a_key_that_is_refused_stops_the_reading() -> None:
    endpoint = endpoint_of()
    error = AccessRefused("HTTP 401: unauthorized", status=401)
    with mock.patch.object(endpoint.client, "fetch", side_effect=error), pytest.raises(AccessRefused):
        list(endpoint.partitions(Traffic()))


# History.


def test_history_beyond_the_plan_is_not_requested_and_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    now = time.time_ns()
    hours = [now - number * HOUR for number in range(60 * 24, 0, -1)]
    wire = Wire(hours, {"max_history_days": 30})
    result = synced(wire, now - 60 * DAY, symbols=["BTC", "ETH"])
    ((first, _),) = result.slices()
    assert now - 30 * DAY <= first <= time.time_ns() - 30 * DAY + SECOND
    read = sorted((row["symbol"], timestamps.parse(row["time"])) for row in result.rows)
    assert read == [(symbol, hour) for symbol in ("BTC", "ETH") for hour in hours if hour >= first]
    assert min(timestamps.parse(request.params["start"]) for request in wire.paid) == first
    (warning,) = warnings(caplog)
    assert f"kwery: data reach back to {timestamps.format_shortest(first)}" in warning
    assert {row["market"] for row in result.coverage} == {"binance_futures/BTC", "binance_futures/ETH"}
    for row in result.coverage:
        assert (row["kind"], row["vendor"]) == ("missing", "kwery")
        assert row["period_start"] == timestamps.format_shortest(now - 60 * DAY)
        assert row["period_end"] == timestamps.format_shortest(first)


def test_history_beyond_the_plan_is_reported_even_without_a_row(caplog: pytest.LogCaptureFixture) -> None:
    now = time.time_ns()
    result = synced(Wire(plan={"max_history_days": 30}), now - 60 * DAY)
    (warning,) = warnings(caplog)
    assert "data reach back to" in warning
    assert len(result.coverage) == 1


def test_history_within_the_plan_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    now = time.time_ns()
    result = synced(Wire([now - 29 * DAY + HOUR], {"max_history_days": 30}), now - 29 * DAY)
    assert len(result.rows) == 1
    assert warnings(caplog) == []
    assert result.coverage == []


@pytest.mark.parametrize(
    ("plan", "days"),
    [
        pytest.param({"max_history_days": 30}, 30, id="a little"),
        pytest.param({"max_history_days": 30}, 20, id="a lot"),
        pytest.param({}, 20, id="not stated"),
        pytest.param(None, 20, id="no list of limits"),
        pytest.param({"max_history_days": 1}, 1, id="the Free plan"),
        pytest.param(None, 1, id="the Free plan, and no list of limits"),
    ],
)
def test_a_history_that_is_shorter_than_the_plan_says_is_found_by_halvings(
    plan: Any, days: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The vendor's clock is ahead of ours, the history rolls on, or /v1/limits says too much, or nothing."""
    now = time.time_ns()
    true = now - days * DAY + 17 * MINUTE
    hours = [now - number * HOUR for number in range(60 * 24, 0, -1)]
    wire = Wire(hours, plan, reach=true)
    result = synced(wire, now - 60 * DAY)
    assert result.status == "COMPLETE"
    ((first, last),) = result.slices()
    assert true <= first <= true + 2 * MINUTE
    assert last > now - MINUTE
    assert sorted(timestamps.parse(row["time"]) for row in result.rows) == [hour for hour in hours if hour >= first]
    (warning,) = warnings(caplog)
    assert f"data reach back to {timestamps.format_shortest(first)}" in warning
    assert "invalid_time_range" in warning
    assert len(wire.paid) < 40
    assert len(result.coverage) == 1


def heard(windows: Sequence[tuple[float, float, Sequence[float]]], caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log of consecutive windows: from, to, and times of rows, in days before now."""
    feed, span = kwery()
    now = time.time_ns()
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="airbyte"):
        for start, end, rows in windows:
            requested = Span(span.partitions, now - int(start * DAY), now - int(end * DAY))
            decoded(feed, page_of(*[now - int(row * DAY) for row in rows]), requested)
    return warnings(caplog)


def test_a_first_row_much_later_than_requested_is_reported_once(caplog: pytest.LogCaptureFixture) -> None:
    (warning,) = heard([(60, 20, [29, 28]), (20, 0, [10])], caplog)
    assert "kwery: requested data of BTC from " in warning
    assert "but the first row is from " in warning
    assert "shorter than the vendor reports" in warning
    assert heard([(60, 20, [59.5, 29]), (20, 0, [1])], caplog) == []
    assert heard([(60, 20, [59.5]), (20, 0, [])], caplog) == []
    assert len(heard([(60, 20, [58.9])], caplog)) == 1
    assert heard([(60, 20, [59.1])], caplog) == []


def test_windows_without_rows_warn_only_once_a_row_arrives(caplog: pytest.LogCaptureFixture) -> None:
    """20 days are requested window by window, and the vendor omits all but the last."""
    silent: list[tuple[float, float, list[float]]] = [(20, 19, []), (19, 11, [])]
    assert heard(silent, caplog) == []
    for first in (10.9, 1):  # long after the first requested instant, anywhere in its own window
        (warning,) = heard([*silent, (11, 0, [first])], caplog)
        assert "the first row is from" in warning


@pytest.mark.parametrize("symbol", ["ETH", "BTCDOM", "BTCDOMUSDT", "BT"])
def test_rows_of_another_symbol_are_refused(symbol: str) -> None:
    feed, span = kwery()
    page = page_of(START, START + HOUR)
    page["data"][1]["symbol"] = symbol
    with pytest.raises(UnexpectedAnswer, match=f"`symbol`: rows of '{symbol}', not of BTC"):
        decoded(feed, page, span)


def test_each_symbols_first_row_is_its_own(caplog: pytest.LogCaptureFixture) -> None:
    feed, _ = kwery()
    with caplog.at_level(logging.WARNING, logger="airbyte"):
        for symbol, days in (("BTC", 3), ("ETH", 3), ("SOL", 0), ("BTC", 9)):
            requested = Span((Partition.of(symbol=symbol),), START, START + 10 * DAY)
            page = page_of(START + days * DAY)
            page["data"][0]["symbol"] = symbol
            decoded(feed, page, requested)
    assert [line.split()[4] for line in warnings(caplog)] == ["BTC", "ETH"]


def test_the_first_row_may_be_on_any_page(caplog: pytest.LogCaptureFixture) -> None:
    """Rows are in no order: a descending feed starts with the last one."""
    late, early = (START + 9 * DAY, START + 8 * DAY), (START + HOUR,)
    for pages in ((late, early), (early, late)):
        feed, span = kwery()
        requested, memory = Span(span.partitions, START, START + 10 * DAY), {}  # type: ignore[var-annotated]
        decoded(feed, page_of(*pages[0], next_cursor="2"), requested, memory=memory)
        decoded(feed, page_of(*pages[1]), requested, memory=memory)
    assert warnings(caplog) == []
    now = time.time_ns()
    rows = [now - 20 * DAY + number * HOUR for number in range(19 * 24)]
    synced(Wire(rows, {"max_rows_per_request": 10}, backwards=True), now - 30 * DAY)
    (warning,) = warnings(caplog)
    assert f"from {timestamps.format_shortest(rows[0])}. " in warning


def test_rows_omitted_although_the_plan_has_them_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    """/v1/limits says 30 days, 60 are requested, and the first row is 25 days old."""
    now = time.time_ns()
    rows = [now - number * HOUR for number in range(60 * 24, 0, -1)]
    wire = Wire(rows, {"max_history_days": 30}, reach=now - 25 * DAY, refuses=False)
    result = synced(wire, now - 60 * DAY)
    assert len(result.rows) == 25 * 24
    silence, reach = warnings(caplog)
    assert "the first row is from" in silence
    assert "data reach back to" in reach


def test_a_capped_page_followed_by_an_empty_one_is_halved() -> None:
    feed, span = kwery()
    page = sample("kwery/liquidations")
    capped = {"X-Rows-Capped": "true"}
    memory: dict[Any, Any] = {}
    first = decoded(feed, {**page, "meta": {"next_cursor": "c"}}, span, headers=capped, memory=memory)
    assert first.next_request is not None
    with pytest.raises(WindowTooLarge, match="X-Rows-Capped"):
        decoded(feed, {"data": [], "meta": {}}, span, memory=memory)


def test_a_page_behind_one_that_was_cut_off_makes_it_whole() -> None:
    feed, span = kwery()
    memory: dict[Any, Any] = {}
    capped = {"X-Rows-Capped": "true"}
    decoded(feed, page_of(START, next_cursor="c"), span, headers=capped, memory=memory)
    assert decoded(feed, page_of(START + SECOND, next_cursor="d"), span, memory=memory).next_request is not None
    assert decoded(feed, page_of(), span, memory=memory).next_request is None


# Credits.


def request_of(rows: int) -> Request:
    return Request(PATH, (("symbol", "BTC"), ("limit", str(rows))))


def rows_paid(request: Request) -> int:
    return int(dict(request.params)["limit"])


@pytest.mark.parametrize("most", [0, 1, 27, 44])
def test_a_limit_too_small_to_advance_is_refused(most: int) -> None:
    with pytest.raises(ConfigurationError, match=r"kwery\.max_credits_per_sync") as raised:
        configured("kwery", {"api_key": KEY, "max_credits_per_sync": most})
    assert ("45 or more" if most else "1 or more") in raised.value.message
    configured("kwery", {"api_key": KEY, "max_credits_per_sync": 45})


def test_a_request_asks_for_no_more_rows_than_can_be_paid() -> None:
    feed, span = kwery(max_credits_per_sync=125)
    request = feed.endpoint.first_request(span)
    paid = purse_of(feed).payable(request)
    assert dict(paid.params)["limit"] == "50"
    assert [pair for pair in paid.params if pair[0] != "limit"] == list(request.params[:-1])
    assert paid.path == request.path


def test_a_free_call_is_free() -> None:
    credits = purse_of(kwery(max_credits_per_sync=45)[0])
    credits.spent += 45
    for path in ("/v1/limits", "/v1/symbols"):
        paid = credits.payable(Request(path))
        assert paid == Request(path)
        assert credits.charge_lost(Request(path)) == ""
    assert credits.unconfirmed == 0


def test_a_request_that_cannot_be_paid_is_not_sent() -> None:
    feed, span = kwery(max_credits_per_sync=45)
    decoded(feed, {**sample("kwery/liquidations"), "meta": {}}, span, headers={"X-Credits-Used": "27"})
    wire = Wire()
    with pytest.raises(SpendingLimit) as raised, wire.connected():
        feed.endpoint.client.fetch(feed.endpoint.first_request(span))
    assert wire.arrived == []
    assert "27 of 45 credits are spent" in raised.value.message
    assert "the next sync continues from there" in raised.value.message
    assert raised.value.scope == "reading"


def test_a_limit_that_pays_for_no_window_says_so() -> None:
    feed, span = kwery(max_credits_per_sync=45)
    decoded(feed, sample("kwery/docs_example_page"), span, headers={"X-Credits-Used": "31"})  # and a cursor
    with pytest.raises(SpendingLimit, match="45 credits") as raised:
        purse_of(feed).payable(feed.endpoint.first_request(span))
    assert "raise it" in raised.value.message


def test_credits_are_what_the_vendor_says_else_what_it_documents() -> None:
    feed, span = kwery()
    body = sample("kwery/docs_example_page")
    decoded(feed, body, span, headers={"X-Credits-Used": "31", "X-Credits-Remaining": "4969"})
    assert feed.endpoint.spent() == {"credits used": 31, "credits left": 4969}
    decoded(feed, body, span)
    decoded(feed, body, span, headers={"X-Credits-Used": "lots"})
    assert feed.endpoint.spent()["credits used"] == 31 + 2 * (25 + 3 * 2)


@pytest.mark.parametrize(
    ("headers", "spent"),
    [
        ({"X-Credits-Charged": "16"}, 16),
        ({"X-Credits-Charged": "0"}, 0),
        ({"X-Credits-Used": "31", "X-Credits-Charged": "16"}, 31),
        ({"X-Credits-Used": "lots", "X-Credits-Charged": "16"}, 16),
        ({"X-Credits-Used": "-3", "X-Credits-Charged": "1.5"}, 31),
    ],
)
def test_credits_are_read_under_either_name(headers: dict[str, str], spent: int) -> None:
    feed, span = kwery()
    decoded(feed, sample("kwery/docs_example_page"), span, headers=headers)
    assert feed.endpoint.spent() == {"credits used": spent}


@pytest.mark.parametrize(
    ("body", "spent"),
    [
        ({"data": sample("kwery/docs_example_page")["data"], "meta": {"has_more": True}}, cost(3)),
        (changed(sample("kwery/docs_example_page"), timestamp=17), cost(3)),
        ({}, cost(1000)),
    ],
    ids=["the meta", "a field", "the body"],
)
def test_an_answer_that_cannot_be_used_has_been_paid_for(body: Any, spent: int) -> None:
    """The requested number of rows, if nothing says how many were sent."""
    feed, span = kwery()
    for headers, more in (({"X-Credits-Used": "31"}, 31), ({}, spent)):
        before = purse_of(feed).spent
        with pytest.raises(UnexpectedAnswer):
            decoded(feed, body, span, headers=headers)
        assert purse_of(feed).spent - before == more


def test_what_requests_and_rows_cost() -> None:
    assert endpoint_of().estimated_cost(3, 368, 3.0) == {"credits": 811}


@given(st.integers(45, 200_000), st.integers(2, 1000), st.integers(0, 1000))
def test_a_first_window_is_paid_for_however_many_rows_it_has(most: int, page: int, rows: int) -> None:
    """Two rows a second, in full pages, never cost more than there is."""
    credits = Credits(most)
    affordable = credits.affordable_rows(page)
    assert affordable is not None
    pages = -(-affordable // page)
    assert pages * 25 + affordable * 2 <= most
    own = AffordableWindows(credits)
    own.page_size = page
    for windows in (own, endpoint_of(max_credits_per_sync=most).sizing):
        longest = windows.longest()
        in_window = 2 * longest // SECOND
        assert -(-in_window // windows.page_size) * 25 + in_window * 2 <= most
        longer = windows.next_length(longest, rows)
        assert longer >= longest, "never less than what is paid for anyway"


def test_a_window_leaves_room_for_twice_the_rows_that_are_expected() -> None:
    windows = endpoint_of(max_credits_per_sync=10_000).sizing
    payable = 4 * 1000 + (10_000 - 4 * cost(1000) - 25) // 2
    assert windows.longest() == payable // 2 * SECOND
    assert windows.next_length(HOUR, 1000) == HOUR * payable // 2000 // MILLISECOND * MILLISECOND < 4 * HOUR
    assert windows.next_length(HOUR, 100_000) == windows.longest()
    assert endpoint_of(max_credits_per_sync=10_000_000).sizing.next_length(2 * DAY, 1000) == 8 * DAY


def test_what_is_spent_shortens_the_windows_that_follow() -> None:
    feed, span = kwery(max_credits_per_sync=10_000)
    windows = liquidations_of(feed).sizing
    before = windows.longest()
    decoded(feed, sample("kwery/docs_example_page"), span, headers={"X-Credits-Used": "9900"})
    assert windows.longest() == 37 // 2 * SECOND < before


def test_the_lookback_is_no_more_than_half_of_what_is_paid_for() -> None:
    small, large = endpoint_of(max_credits_per_sync=300), endpoint_of(max_credits_per_sync=100_000)
    assert small.sizing.longest_lookback() == 34 * SECOND
    longest = large.sizing.longest_lookback()
    assert longest is not None
    assert longest > HOUR
    assert endpoint_of().sizing.longest_lookback() is None
    assert (small.max_concurrent_requests, endpoint_of().max_concurrent_requests) == (1, None)


def test_the_lookback_is_that_of_a_plans_pages() -> None:
    feed, _ = kwery(max_credits_per_sync=300)
    endpoint = with_plan(feed, {"max_rows_per_request": 10})
    assert endpoint.sizing.longest_lookback() == 62 // 2 * SECOND // 2


def test_a_lost_answer_counts_as_paid() -> None:
    credits = Credits(125)
    paid = credits.payable(request_of(40))
    assert rows_paid(paid) == 40
    words = credits.charge_lost(paid)
    assert "up to 105 credits" in words, "105 may be spent, and another 105 is more than what is left"
    assert "`kwery.max_credits_per_sync` does not allow another try" in words
    with pytest.raises(SpendingLimit, match="0 of 125 credits are spent, and up to 105 on answers that did not arrive"):
        credits.payable(request_of(1))
    assert credits.spent == 0, "only what the vendor reported"


def test_a_lost_answer_may_be_paid_again_while_credits_last() -> None:
    credits = Credits(1_000)
    paid = credits.payable(request_of(100))
    assert [bool(credits.charge_lost(paid)) for _ in range(4)] == [False, False, False, True]
    assert credits.unconfirmed == 4 * cost(100)


def test_possibly_lost_credits_are_reported_next_to_the_spent_ones() -> None:
    credits = Credits(125)
    credits.spent += 27
    paid = credits.payable(request_of(30))
    credits.charge_lost(paid)
    with pytest.raises(SpendingLimit) as raised:
        credits.payable(request_of(30))
    assert "27 of 125 credits are spent, and up to 85 on answers that did not arrive" in raised.value.message


def test_lost_answers_are_not_requested_again_beyond_the_limit() -> None:
    feed, span = kwery(max_credits_per_sync=8_000)
    wire = Wire(breaks=FailedTry("cut"))
    request = feed.endpoint.first_request(span)
    with wire.connected():
        with pytest.raises(VendorUnavailable, match="in 3 tries") as raised:
            feed.endpoint.client.fetch(request)
        assert "Answers that did not arrive may have cost up to 6,075 credits" in raised.value.message
        assert len(wire.paid) == 3, "a fourth might have been too much"
        with pytest.raises(VendorUnavailable, match="in 1 tries"):
            feed.endpoint.client.fetch(request)
        with pytest.raises(SpendingLimit, match="up to 8,000 on answers that did not arrive"):
            feed.endpoint.client.fetch(request)
    assert [int(arrived.params["limit"]) for arrived in wire.paid] == [1000, 1000, 1000, 950]
    assert purse_of(feed).spent == 0


def test_a_request_that_is_not_sent_costs_nothing() -> None:
    feed, span = kwery(max_credits_per_sync=100)
    wire = Wire(breaks=FailedTry("nobody listens", sent=False))
    with wire.connected(), pytest.raises(VendorUnavailable, match="nobody listens"):
        feed.endpoint.client.fetch(feed.endpoint.first_request(span))
    assert len(wire.paid) == 6, "the outage ends it, not the limit"
    assert purse_of(feed).unconfirmed == 0


def test_without_a_limit_nothing_is_held_back() -> None:
    credits = Credits(None)
    for _ in range(3):
        paid = credits.payable(request_of(1000))
        assert rows_paid(paid) == 1000
        assert credits.charge_lost(paid) == ""
    assert credits.affordable_rows(1000) is None


@given(
    most=st.integers(27, 30_000),
    wishes=st.lists(st.integers(1, 1000), min_size=1, max_size=30),
    seed=st.integers(0, 10**6),
)
def test_the_ledger_never_exceeds_the_limit(most: int, wishes: list[int], seed: int) -> None:
    """Fewer rows than requested, lost answers, and never more spent than allowed."""
    credits, charged, chance = Credits(most), 0, random.Random(seed)

    def loses(paid: Request) -> bool:
        """Whether an answer is lost and no other attempt can be paid."""
        nonlocal charged
        while chance.random() < 0.3:
            charged += cost(rows_paid(paid))
            assert charged <= most
            if credits.charge_lost(paid):
                return True
        return False

    for wish in wishes:
        with suppress(SpendingLimit):
            paid = credits.payable(request_of(wish))
            assert 0 < rows_paid(paid) <= wish
            if not loses(paid):
                rows = chance.randint(0, rows_paid(paid))
                charged += cost(rows)
                credits.spent += cost(rows)
        assert charged == credits.spent + credits.unconfirmed <= most


@pytest.mark.parametrize(
    ("most", "symbols", "seconds", "backwards"),
    [(45, ["BTC"], 60, False), (100, ["BTC", "ETH"], 200, True), (2_500, ["BTC", "ETH"], 4_000, True)],
)
def test_the_limit_is_kept_and_every_sync_advances_until_all_is_read(
    most: int, symbols: list[str], seconds: int, backwards: bool
) -> None:
    instants = [START + second * SECOND for second in range(seconds) if second % 7 in (0, 1, 3)]
    end = START + seconds * SECOND
    state: Any = None
    ids: dict[str, set[str]] = {symbol: set() for symbol in symbols}
    before = 0
    for _ in range(100):
        wire = Wire(instants, backwards=backwards)
        result = synced(wire, START, end, state=state, symbols=symbols, max_credits_per_sync=most)
        assert wire.bill <= most
        assert result.status == "COMPLETE"
        for row in result.rows:
            ids[row["symbol"]].add(row["liquidation_id"])
        state = result.state.blob()
        read = sum(last - first for symbol in symbols for first, last in result.slices(symbol))
        if read == len(symbols) * (end - START):
            break
        assert read > before, "no progress"
        before = read
    else:
        pytest.fail("never done")
    assert {symbol: len(ids_read) for symbol, ids_read in ids.items()} == dict.fromkeys(symbols, len(instants))


# The check.


def checked(wire: Wire, start: int = START, **section: Any) -> list[str]:
    with wire.connected():
        return Kwery({"api_key": KEY, "symbols": ["BTC"], **section}, Shared(start=start)).check(Traffic())


def test_the_check_sends_no_request_that_costs() -> None:
    wire = Wire(plan=sample("kwery/limits"))
    assert checked(wire, time.time_ns() - 89 * DAY) == []
    assert [(request.path, request.params) for request in wire.arrived] == [("/v1/limits", {}), ("/v1/symbols", {})]


def test_the_check_says_how_far_back_the_plan_reaches() -> None:
    now = time.time_ns()
    (note,) = checked(Wire(plan={"max_history_days": 30}), now - 60 * DAY)
    since = timestamps.parse(note.removeprefix("kwery: data reach back to ").split(". ")[0])
    assert 0 <= since - (now - 30 * DAY) < timestamps.MINUTE
    assert timestamps.format_shortest(now - 60 * DAY) in note
    assert checked(Wire(plan={}), now - 6000 * DAY) == [], "nothing is known"


def test_the_check_requests_a_millisecond_without_a_list_of_limits() -> None:
    wire = Wire(plan=None)
    assert checked(wire) == []
    (request,) = wire.paid
    assert request.params["symbol"] == "BTC"
    assert timestamps.parse(request.params["end"]) - timestamps.parse(request.params["start"]) == MILLISECOND


@pytest.mark.parametrize(
    ("plan", "section", "field", "words"),
    [
        ({"credits": {"remaining": 0}}, {}, "kwery.api_key", "credits of this billing cycle are spent"),
        ({"plan": "Pro"}, {"min_usd": 5}, "kwery.min_usd", "the Pro plan does not include it"),
        ({}, {"symbols": ["BTC", "DOGE"]}, "kwery.symbols[1]", "Allowed: BTC, ETH, SOL, XRP"),
    ],
)
def test_the_check_says_what_is_wrong(plan: Any, section: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        checked(Wire(plan=plan), **section)
    assert raised.value.field == field
    assert words in raised.value.message


def test_the_check_costs_nothing_if_limits_are_refused_for_another_reason() -> None:
    wire = Wire(plan=refusal(400, "invalid_parameter"))
    with pytest.raises(RequestRefused, match="HTTP 400"):
        checked(wire)
    assert wire.paid == []


def test_the_check_has_nothing_against_a_filter_of_the_business_plan() -> None:
    assert checked(Wire(plan={"plan": "business", "credits": {"remaining": 1}}), min_usd=5) == []


# The list of symbols.


def test_the_list_of_symbols_says_since_when_there_is_data(caplog: pytest.LogCaptureFixture) -> None:
    feed = feed_of("kwery_symbols", {"api_key": KEY})
    dates: list[Any] = ["2024-01-15T00:00:00Z", "2024-01-15", 1705276800, None, "", "soon", "later", ...]
    rows = [{"symbol": f"S{number}", "earliest_data": date} for number, date in enumerate(dates) if date is not ...]
    body = {"symbols": [*rows, {"symbol": "S7"}]}
    rows = records(feed, body, Span((Partition(()),), 0, 1))["liquidation_coverage"]
    assert [(row["market"], row["kind"], row["period_start"]) for row in rows] == [
        (f"binance_futures/S{number}", "starts", "2024-01-15T00:00:00Z") for number in range(3)
    ]
    (warning,) = warnings(caplog)
    assert "S5" in warning
    assert "'soon'" in warning or '"soon"' in warning
