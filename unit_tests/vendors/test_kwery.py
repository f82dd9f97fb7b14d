"""Kwery: requests, ids that survive any re-reading, plans, credits."""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_liquidations.vendors.kwery.credits import Credits, cost

from source_liquidations import timestamps
from source_liquidations.errors import (
    AccessRefused,
    ConfigurationError,
    RequestRefused,
    SpendingLimit,
    UnexpectedAnswer,
    WindowTooLarge,
)
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Span
from source_liquidations.vendors.kwery.liquidations import Liquidations
from source_liquidations.vendors.kwery.vendor import explain
from unit_tests.vendors.bodies import answered, changed, configured, decoded, kwery, records, sample

MILLISECOND = 1_000_000
START = timestamps.parse("2026-03-08T00:00:00Z")
DAY = timestamps.DAY


def endpoint_of(**section: Any) -> Liquidations:
    held, _ = kwery(**section)
    assert isinstance(held.endpoint, Liquidations)
    return held.endpoint


# Requests.


def test_the_first_request_names_every_parameter() -> None:
    held, span = kwery()
    request = held.endpoint.first(Span(span.partitions, START, START + DAY + MILLISECOND))
    assert request == Request(
        "/v1/liquidations",
        (
            ("symbol", "BTC"),
            ("start", "2026-03-08T00:00:00.000Z"),
            ("end", "2026-03-09T00:00:00.001Z"),
            ("side", "all"),
            ("limit", "1000"),
        ),
    )


def test_filters_are_passed_on() -> None:
    held, span = kwery("ETH", side="short", min_usd=2500.5)
    params = dict(held.endpoint.first(span).params)
    assert (params["side"], params["min_usd"]) == ("short", "2500.5")


@pytest.mark.parametrize(
    ("meta", "after"),
    [
        ({"next_cursor": "abc", "has_more": True}, "abc"),
        ({"next_cursor": "abc", "count": 1, "interval": None}, "abc"),
        ({"next_cursor": "abc", "has_more": False}, None),
        ({"next_cursor": None, "has_more": True}, None),
        ({"next_cursor": ""}, None),
        ({}, None),
    ],
)
def test_the_cursor_is_followed_as_it_is(meta: dict[str, Any], after: str | None) -> None:
    held, span = kwery()
    body = {**sample("kwery/liquidations"), "meta": meta}
    following = decoded(held, body, span).following
    if after is None:
        assert following is None
    else:
        assert following is not None
        assert following.params == (*held.endpoint.first(span).params, ("after", after))


def test_a_later_cursor_takes_the_place_of_the_one_before() -> None:
    held, span = kwery()
    body = {**sample("kwery/liquidations"), "meta": {"next_cursor": "one"}}
    first = decoded(held, body, span).following
    assert first is not None
    second = held.endpoint.decode(answered({**body, "meta": {"next_cursor": "two"}}), span, first, {}).following
    assert second is not None
    assert [value for name, value in second.params if name == "after"] == ["two"]


def test_an_empty_page_is_the_last_whatever_its_cursor() -> None:
    held, span = kwery()
    body = {"data": [], "meta": {"next_cursor": "abc", "has_more": True}}
    assert decoded(held, body, span).following is None


def test_a_body_without_meta_is_the_last_page() -> None:
    held, span = kwery()
    assert decoded(held, {"data": sample("kwery/liquidations")["data"]}, span).following is None


# Rows.


def test_the_documented_example() -> None:
    held, span = kwery()
    body = sample("kwery/docs_example_page")
    found = records(held, body, span)["kwery_liquidations"]
    for row, sent in zip(found, body["data"], strict=True):
        identity = row.pop("liquidation_id")
        assert len(identity) == 34
        assert identity.endswith("-0")
        assert row == {**sent, "time": sent["timestamp"]}


def test_the_recorded_answer() -> None:
    held, span = kwery()
    body = sample("kwery/liquidations")
    (row,) = records(held, body, span)["kwery_liquidations"]
    assert row["time"] == "2026-03-16T07:53:38.520000Z"
    assert {name: value for name, value in row.items() if name not in ("time", "liquidation_id")} == body["data"][0]


def test_an_id_never_changes_between_versions() -> None:
    """Ids are primary keys in people's tables: a change here doubles every row that they have."""
    held, span = kwery()
    (row,) = records(held, sample("kwery/liquidations"), span)["kwery_liquidations"]
    assert row["liquidation_id"] == PINNED


PINNED = "62a78c7ce7ae24ef5ac5b55019e9920f-0"


def test_undocumented_fields_arrive_and_do_not_change_the_id() -> None:
    held, span = kwery()
    body = sample("kwery/liquidations")
    (plain,) = records(held, body, span)["kwery_liquidations"]
    (row,) = records(held, changed(body, order_type="LIQUIDATION", usd_value=1), span)["kwery_liquidations"]
    assert row["order_type"] == "LIQUIDATION"
    assert row["liquidation_id"] == plain["liquidation_id"]


def test_the_vendors_own_id_would_win_over_ours() -> None:
    held, span = kwery()
    (row,) = records(held, changed(sample("kwery/liquidations"), liquidation_id="theirs"), span)["kwery_liquidations"]
    assert row["liquidation_id"] == "theirs"
    assert row["time"] == "2026-03-16T07:53:38.520000Z"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("timestamp", "yesterday"),
        ("timestamp", 1773647618520),
        ("timestamp", ...),
        ("symbol", ...),
        ("quantity", "many"),
        ("price", {}),
        ("avg_price", [1]),
    ],
)
def test_a_row_of_another_shape_is_an_error_that_names_the_field(field: str, value: Any) -> None:
    held, span = kwery()
    with pytest.raises(UnexpectedAnswer, match=field):
        decoded(held, changed(sample("kwery/liquidations"), **{field: value}), span)


@pytest.mark.parametrize("body", [{}, {"meta": {}}, {"data": None}, {"data": {}}, []])
def test_a_body_of_another_shape_is_an_error(body: Any) -> None:
    held, span = kwery()
    with pytest.raises(UnexpectedAnswer):
        decoded(held, body, span)


# Ids: the same on every re-read, whatever the windows, pages, order and flavour, and twins kept apart.


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
            # One as JSON numbers, one as strings with the same values; and its own rounding of the product.
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
    found = draw(st.lists(one, max_size=25))
    twins = draw(st.lists(st.sampled_from(found), max_size=8)) if found else []
    return sorted([*found, *twins], key=lambda event: event.instant)


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
    borders=st.lists(st.integers(1, 30), max_size=4, unique=True).map(lambda found: tuple(sorted(found))),
    page=st.integers(1, 9),
    recorded=st.booleans(),
    backwards=st.booleans(),
    seed=st.integers(0, 3),
)


def read(history: Sequence[Liquidation], way: Way, since: int = 0) -> list[tuple[str, Liquidation]]:
    """(id, event) of all rows, read window by window and page by page from `since` on."""
    held, span = kwery()
    found: list[tuple[str, Liquidation]] = []
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
            ids = [row["liquidation_id"] for row in records(held, body, window, memory=memory)["kwery_liquidations"]]
            found += zip(ids, page, strict=True)
    return found


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


# Plans.


def test_a_capped_answer_asks_for_a_smaller_window_from_then_on() -> None:
    held, span = kwery()
    capped = {"X-Rows-Capped": "true"}
    body = {**sample("kwery/docs_example_page"), "meta": {}}
    before = held.endpoint.next_length(DAY, 1, 100)
    with pytest.raises(WindowTooLarge, match="X-Rows-Capped") as raised:
        decoded(held, body, span, headers=capped)
    assert "a larger plan is needed" in raised.value.advice
    assert before == 4 * DAY
    assert held.endpoint.next_length(DAY, 1, 100) == DAY // 4, "else the next window would be capped again"


def test_a_capped_page_with_a_cursor_goes_on() -> None:
    held, span = kwery()
    answer = decoded(held, sample("kwery/docs_example_page"), span, headers={"X-Rows-Capped": "true"})
    assert answer.following is not None


def test_windows_follow_the_rows() -> None:
    endpoint = endpoint_of()
    assert endpoint.longest == DAY
    assert endpoint.next_length(DAY, 1, 0) == 8 * DAY
    assert endpoint.next_length(DAY, 4, 4000) == DAY
    assert endpoint.next_length(DAY, 40, 40_000) == DAY // 4
    assert endpoint.next_length(MILLISECOND, 40, 40_000) == MILLISECOND


def test_the_last_minute_is_read_apart_where_there_may_be_a_second_page() -> None:
    """A row that arrives late moves the offsets of what is behind it."""
    endpoint = endpoint_of()
    now = time.time_ns()
    end = endpoint.window_end(now - timestamps.HOUR, now)
    assert 59 * timestamps.SECOND <= now - end <= 90 * timestamps.SECOND
    assert end % MILLISECOND == 0
    assert endpoint.window_end(end, now) == now
    assert endpoint.window_end(now - 1000 * timestamps.SECOND, now) == now, "a row a second: no second page"
    assert endpoint.window_end(now - 2 * DAY, now - DAY) == now - DAY


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (400, "invalid_time_range", RequestRefused, "`start_date`"),
        (402, "credits_exhausted", AccessRefused, "buy more"),
        (403, "tier_restricted", AccessRefused, "`kwery.min_usd`"),
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_refusals_say_what_to_do(status: int, code: str, kind: type[Exception], words: str, nested: bool) -> None:
    body: Any = {"error": code, "message": "Words of the vendor."}
    error = explain(Answered(status, {}, json.dumps({"detail": body} if nested else body).encode()))
    assert isinstance(error, kind)
    assert words in error.message
    assert f"HTTP {status}" in error.message
    assert "Words of the vendor." in error.message


@pytest.mark.parametrize(("status", "code"), [(200, ""), (401, "unauthorized"), (429, "rate_limited"), (503, "")])
def test_other_answers_are_left_to_their_status(status: int, code: str) -> None:
    assert explain(Answered(status, {}, json.dumps({"error": code}).encode())) is None


def clamped(
    start: int, rows: list[dict[str, Any]], caplog: pytest.LogCaptureFixture, *, known: bool = True
) -> list[str]:
    """What is logged when a plan of 30 days is asked for a window from `start` on and these rows come."""
    held, span = kwery()
    assert isinstance(held.endpoint, Liquidations)
    held.endpoint._history.reach = time.time_ns() - 30 * DAY if known else None
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="airbyte"):
        for _ in range(2):
            decoded(held, {"data": rows, "meta": {}}, Span(span.partitions, start, start + 40 * DAY))
    told = [record for record in caplog.records if "plan reaches back" in record.getMessage()]
    assert len(held.endpoint.observations) == len(told), "a row of the coverage"
    return [record.getMessage() for record in caplog.records]


def test_rows_that_a_plan_leaves_out_are_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    now = time.time_ns()
    row = sample("kwery/liquidations")["data"][0]
    new, old = (
        {**row, "timestamp": timestamps.format_instant(now - days * DAY, 3).replace("Z", "+00:00")} for days in (29, 31)
    )
    (told,) = clamped(now - 60 * DAY, [new], caplog)
    assert "kwery" in told
    assert "left out without a word" in told
    assert "larger plan" in told
    assert len(clamped(now - 60 * DAY, [], caplog)) == 1
    assert clamped(now - 60 * DAY, [new, old], caplog) == [], "the vendor has more than it says"
    assert clamped(now - 29 * DAY, [new], caplog) == []
    late = {**row, "timestamp": timestamps.format_instant(now - 25 * DAY, 3)}
    assert len(clamped(now - 60 * DAY, [late], caplog)) == 2, "it reaches less far back than it says"
    (told,) = clamped(now - 60 * DAY, [new], caplog, known=False)
    assert "the first row of BTC is of" in told
    assert clamped(now - 60 * DAY, [], caplog, known=False) == []


def test_a_plan_that_reaches_less_far_back_than_it_says_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    """/v1/limits says 30 days, 20 are asked for, and the vendor leaves out all but the last: window by window."""
    held, span = kwery()
    assert isinstance(held.endpoint, Liquidations)
    now = time.time_ns()
    held.endpoint._history.reach = now - 30 * DAY
    row = {**sample("kwery/liquidations")["data"][0], "timestamp": timestamps.format_instant(now - DAY, 3)}
    with caplog.at_level(logging.WARNING, logger="airbyte"):
        for start, end, rows in ((20, 19, []), (19, 11, []), (11, 0, [row])):
            decoded(held, {"data": rows, "meta": {}}, Span(span.partitions, now - start * DAY, now - end * DAY))
    (told,) = [record.getMessage() for record in caplog.records]
    assert "the first row of BTC is of" in told


def test_a_clock_that_is_half_an_hour_off_does_not_hide_what_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    now = time.time_ns()
    old = timestamps.format_instant(now - 30 * DAY - 30 * timestamps.MINUTE, 3)
    (told,) = clamped(now - 60 * DAY, [{**sample("kwery/liquidations")["data"][0], "timestamp": old}], caplog)
    assert "plan reaches back" in told


@pytest.mark.parametrize(
    ("told", "requests", "seconds"),
    [
        ({"requests_per_second": 20, "requests_per_minute": 600}, 10, 1.0),
        ({"requests_per_second": 2, "requests_per_minute": 600}, 2, 1.0),
        ({"requests_per_second": 2, "requests_per_minute": 40}, 2, 3.0),
        ({"requests_per_minute": 40}, 40, 60.0),
        ({"requests_per_minute": 90}, 1, 60 / 90),
        ({"requests_per_second": 3}, 3, 1.0),
        ({"requests_per_second": 0.5}, 1, 2.0),
    ],
)
def test_both_of_a_plans_rates_are_kept(told: dict[str, float], requests: int, seconds: float) -> None:
    held, _ = kwery()
    assert isinstance(held.endpoint, Liquidations)
    body = answered({"rate_limits": told})
    with mock.patch.object(held.endpoint.client, "fetch", return_value=body):
        held.endpoint.plan_limits(Traffic())
    budget = held.endpoint.client.budget
    assert (budget.requests, budget.seconds) == (requests, pytest.approx(seconds))


def test_windows_without_rows_before_what_a_plan_reaches_say_nothing_yet(caplog: pytest.LogCaptureFixture) -> None:
    held, span = kwery()
    assert isinstance(held.endpoint, Liquidations)
    now = time.time_ns()
    held.endpoint._history.reach = now - 30 * DAY
    old = {**sample("kwery/liquidations")["data"][0], "timestamp": timestamps.format_instant(now - 45 * DAY, 3)}
    with caplog.at_level(logging.WARNING, logger="airbyte"):
        for start, end, rows in ((60, 50, []), (50, 40, [old]), (40, 20, [])):
            asked = Span(span.partitions, now - start * DAY, now - end * DAY)
            decoded(held, {"data": rows, "meta": {}}, asked)
    assert not [record for record in caplog.records if "plan reaches back" in record.getMessage()]
    assert held.endpoint.observations == []


def test_a_page_that_was_cut_off_and_leads_to_an_empty_one_is_asked_for_in_halves() -> None:
    held, span = kwery()
    page = sample("kwery/liquidations")
    capped = {"X-Rows-Capped": "true"}
    memory: dict[Any, Any] = {}
    first = decoded(held, {**page, "meta": {"next_cursor": "c"}}, span, headers=capped, memory=memory)
    assert first.following is not None
    with pytest.raises(WindowTooLarge, match="X-Rows-Capped"):
        decoded(held, {"data": [], "meta": {}}, span, memory=memory)


def test_rows_that_differ_in_undocumented_fields_alone_keep_their_ids_in_any_order() -> None:
    held, span = kwery()
    row = sample("kwery/liquidations")["data"][0]
    twins = [{**row, "order_id": number} for number in (7, 3, 5)]
    forth = {
        r["order_id"]: r["liquidation_id"]
        for r in records(held, {"data": twins, "meta": {}}, span)["kwery_liquidations"]
    }
    back = {
        r["order_id"]: r["liquidation_id"]
        for r in records(held, {"data": twins[::-1], "meta": {}}, span)["kwery_liquidations"]
    }
    assert forth == back
    assert len(set(forth.values())) == 3


# Credits.


@pytest.mark.parametrize("most", [0, 1, 27, 44])
def test_a_limit_too_small_to_get_ahead_is_refused(most: int) -> None:
    with pytest.raises(ConfigurationError, match=r"kwery\.max_credits_per_sync") as raised:
        configured("kwery", {"api_key": "k" * 8, "max_credits_per_sync": most})
    assert ("45 or more" if most else "1 or more") in raised.value.message
    configured("kwery", {"api_key": "k" * 8, "max_credits_per_sync": 45})


def test_a_request_asks_for_no_more_rows_than_can_be_paid() -> None:
    held, span = kwery(max_credits_per_sync=125)
    request = held.endpoint.first(span)
    with held.endpoint.admitted(request) as admitted:
        assert dict(admitted.params)["limit"] == "50"
        assert [pair for pair in admitted.params if pair[0] != "limit"] == list(request.params[:-1])


def test_a_request_that_cannot_be_paid_is_not_sent() -> None:
    held, span = kwery(max_credits_per_sync=45)
    decoded(held, {**sample("kwery/liquidations"), "meta": {}}, span, headers={"X-Credits-Used": "27"})
    with pytest.raises(SpendingLimit) as raised, held.endpoint.admitted(held.endpoint.first(span)):
        pytest.fail("admitted")
    assert "27 of 45 credits are spent" in raised.value.message
    assert "the next sync goes on from there" in raised.value.message


def test_a_limit_that_pays_for_no_window_says_so() -> None:
    held, span = kwery(max_credits_per_sync=45)
    decoded(held, sample("kwery/docs_example_page"), span, headers={"X-Credits-Used": "31"})  # and a cursor
    with pytest.raises(SpendingLimit, match="45 credits") as raised, held.endpoint.admitted(held.endpoint.first(span)):
        pytest.fail("admitted")
    assert "raise it" in raised.value.message


def test_credits_are_what_the_vendor_says_else_what_it_documents() -> None:
    held, span = kwery()
    body = sample("kwery/docs_example_page")
    decoded(held, body, span, headers={"X-Credits-Used": "31", "X-Credits-Remaining": "4969"})
    assert held.endpoint.spent() == {"credits used": 31, "credits left": 4969}
    decoded(held, body, span)
    decoded(held, body, span, headers={"X-Credits-Used": "lots"})
    assert held.endpoint.spent()["credits used"] == 31 + 2 * (25 + 3 * 2)


@given(st.integers(45, 200_000), st.integers(1, 1000), st.integers(0, 1000))
def test_a_first_window_is_paid_for_whatever_it_holds(most: int, page: int, rows: int) -> None:
    """Two rows a second, in full pages, never cost more than there is."""
    credits = Credits(most)
    held = credits.rows_left(page)
    assert held is not None
    pages = -(-held // page)
    assert pages * 25 + held * 2 <= most
    endpoint = endpoint_of(max_credits_per_sync=most)
    assert endpoint.longest is not None
    in_window = 2 * endpoint.longest // timestamps.SECOND
    assert -(-in_window // 1000) * 25 + in_window * 2 <= most
    longer = endpoint.next_length(endpoint.longest, 1, rows)
    assert longer >= endpoint.longest, "never less than what is paid for anyway"


def test_the_lookback_is_no_more_than_half_of_what_is_paid_for() -> None:
    small, large = endpoint_of(max_credits_per_sync=300), endpoint_of(max_credits_per_sync=100_000)
    for endpoint in (small, large):
        endpoint.plan_limits = lambda traffic: None  # type: ignore[method-assign, assignment, return-value]
        list(endpoint.partitions(None))  # type: ignore[arg-type]
    assert small.longest_lookback == 34 * timestamps.SECOND
    assert large.longest_lookback is not None
    assert large.longest_lookback > timestamps.HOUR
    assert endpoint_of().longest_lookback is None
    assert (small.most_at_once, endpoint_of().most_at_once) == (1, None)


def test_a_lost_answer_counts_as_paid() -> None:
    credits = Credits(125)
    granted = credits.reserve(40, threading.Event())
    assert granted == 40
    assert not credits.lose(granted), "105 may be gone, and another 105 is more than there is"
    credits.release(granted)
    assert credits.reserve(1, threading.Event()) == 0
    assert credits.spent == 0, "what is told is what the vendor told"


def test_without_a_limit_nothing_is_held_back() -> None:
    credits = Credits(None)
    for _ in range(3):
        assert credits.reserve(1000, threading.Event()) == 1000
        assert credits.lose(1000)
    assert credits.rows_left(1000) is None


@settings(max_examples=25)
@given(
    most=st.integers(27, 30_000),
    wishes=st.lists(st.integers(1, 1000), min_size=1, max_size=30),
    seed=st.integers(0, 10**6),
)
def test_the_ledger_never_exceeds_the_limit_under_concurrency(most: int, wishes: list[int], seed: int) -> None:
    """Eight requests at once: fewer rows than asked for, answers lost, and never more spent than allowed."""
    credits, stop = Credits(most), threading.Event()
    charged, lock = [0], threading.Lock()
    waiting = list(enumerate(wishes))

    def charge(rows: int) -> None:
        """What the vendor has put on the bill."""
        with lock:
            charged[0] += cost(rows)
            assert charged[0] <= most

    def work() -> None:
        while True:
            with lock:
                if not waiting:
                    return
                number, wish = waiting.pop()
            chance = random.Random(seed + number)
            granted = credits.reserve(wish, stop)
            assert granted <= wish
            if granted == 0:
                continue
            try:
                payable = True
                while payable and chance.random() < 0.3:
                    charge(granted)
                    payable = credits.lose(granted)
                if payable:
                    rows = chance.randint(0, granted)
                    charge(rows)
                    credits.spend(cost(rows))
            finally:
                credits.release(granted)

    failures: list[BaseException] = []

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=guarded) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures
    assert not any(thread.is_alive() for thread in threads), "a request waits for ever"
    assert credits._reserved == 0
    assert charged[0] <= most
