"""Bitfinex: pages that end inside a millisecond, full ones of one millisecond, lists that stop early."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.errors import NotAdvancing, UnexpectedAnswer
from source_liquidations.http.client import Request
from unit_tests.vendors.bitfinex import (
    EPOCH,
    MILLISECOND,
    OWN,
    UNIFIED,
    Elements,
    FakeBitfinex,
    Synced,
    as_sent,
    keys,
    pages_of,
    positions,
    row,
    sent_rows,
    sync,
)

START, END = EPOCH, EPOCH + 10_000
LIMIT = 5
HOUR = 3_600_000


def queries(client: FakeBitfinex) -> list[dict[str, str]]:
    return [dict(request.params) for request in client.sent]


def distinct(milliseconds: Sequence[float]) -> list[Elements]:
    return [row(ms, pos_id=number, amount=1.5 if number % 2 else -2) for number, ms in enumerate(milliseconds, 1)]


def holds(synced: Synced, rows: Sequence[Elements]) -> None:
    """Assert that both streams have these rows, each once."""
    assert synced.failures == []
    assert sent_rows(synced.records[OWN]) == as_sent(rows)
    for stream in (OWN, UNIFIED):
        found = keys(synced.records[stream], stream)
        assert len(found) == len(rows) == len(set(found)), "keys are not unique"


# Requests.


def test_the_first_request_and_the_next_ones() -> None:
    client = FakeBitfinex(distinct([START + number for number in (0, 1, 2, 2, 3, 3, 3, 4)]))
    with pages_of(LIMIT):
        holds(sync(client, START, END), client.rows)
    whole = {"sort": "1", "limit": "5", "start": str(START), "end": str(END - 1)}
    assert queries(client) == [
        whole,
        {**whole, "start": str(START + 3)},
        {"sort": "-1", "limit": "5", "end": str(END - 1)},
    ]
    assert {request.path for request in client.sent} == {"/v2/liquidations/hist"}


def test_a_page_that_is_not_full_is_the_last_and_costs_no_other() -> None:
    client = FakeBitfinex(distinct([START, START + 5]))
    with pages_of(LIMIT):
        holds(sync(client, START, END), client.rows)
    assert len(client.sent) == 1


def test_an_incremental_sync_is_one_request() -> None:
    client = FakeBitfinex(distinct([START + number * 60_000 for number in range(100)]))
    end = START + 24 * HOUR
    first = sync(client, START, end)
    assert len(client.sent) == 2, "the newest rows are known, after a first sync"
    second = sync(client, START, end + HOUR, state=first.state, lookback=HOUR)
    assert len(client.sent) == 3
    assert second.failures == []


def test_several_symbols_are_one_request_and_have_positions_of_their_own() -> None:
    symbols = ["tBTCF0:USTF0", "tETHUST", "tDOGE:USD"]
    rows = [row(START + n, pos_id=n, symbol=symbols[n % 3]) for n in range(20)]
    client = FakeBitfinex(rows)
    entries = ["tBTC*", "tETHUST"]
    with pages_of(LIMIT):
        first = sync(client, START, END, entries=entries)
    holds(first, [r for r in rows if r[4] != "tDOGE:USD"])
    assert set(positions(first.state)) == set(entries)
    assert len(set(positions(first.state).values())) == 1
    before = len(client.sent)
    with pages_of(LIMIT):
        second = sync(client, START, END, entries=[*entries, "tDOGE:*"], state=first.state)
    holds(second, [r for r in rows if r[4] == "tDOGE:USD"])
    assert len(client.sent) - before == before, "the whole history of the added one"


def test_pages_without_a_wanted_row_are_progress() -> None:
    """More of them in a row than a vendor with page tokens could send empty ones."""
    rows = [*distinct([START + n for n in range(200)]), row(START + 300, pos_id=999, symbol="tRARE:USD")]
    client = FakeBitfinex(rows)
    with pages_of(LIMIT):
        synced = sync(client, START, END, entries=["tRARE:USD"])
        killed = sync(FakeBitfinex(rows), START, END, entries=["tRARE:USD"], killed_after=30)
    holds(synced, rows[-1:])
    assert positions(killed.state)["tRARE:USD"] > "2026"
    assert timestamps.parse(positions(killed.state)["tRARE:USD"]) > (START + 20) * MILLISECOND


# One millisecond.


@pytest.mark.parametrize("count", range(LIMIT - 1, 2 * LIMIT + 3))
@pytest.mark.parametrize("others", [[], [START], [START, START + 9, START + 9], [END - 1]])
def test_a_millisecond_that_fills_pages_is_read_whole_or_named(count: int, others: list[int]) -> None:
    crowded = START + 7
    client = FakeBitfinex(distinct([*others, *[crowded] * count]))
    with pages_of(LIMIT):
        synced = sync(client, START, END)
    if count < 2 * LIMIT:
        holds(synced, client.rows)
        return
    assert {type(error) for error in synced.failures} == {UnexpectedAnswer}
    assert timestamps.format_instant(crowded * MILLISECOND, 3) in synced.failures[0].message
    assert sent_rows(synced.records[OWN]) == as_sent([r for r in client.rows if r[2] < crowded])
    assert all(timestamps.parse(at) <= crowded * MILLISECOND for at in positions(synced.state).values())


def test_a_crowded_last_millisecond() -> None:
    client = FakeBitfinex(distinct([END - 1] * (LIMIT + 2)))
    with pages_of(LIMIT):
        holds(sync(client, START, END), client.rows)
    assert queries(client)[1] == {"sort": "-1", "limit": "5", "start": str(END - 1), "end": str(END - 1)}


def test_equal_rows_that_leave_their_number_open_fail() -> None:
    """Two pages of equal rows do not show how many there are."""
    client = FakeBitfinex([row(START + 7)] * (LIMIT + 2))
    with pages_of(LIMIT):
        synced = sync(client, START, END)
    assert synced.records[OWN] == []
    assert "more rows than can be requested" in synced.failures[0].message


def test_a_vendor_that_never_reverses_a_millisecond_fails_loudly() -> None:
    client = FakeBitfinex(distinct([START + 7] * (LIMIT + 2)))
    with pages_of(LIMIT):
        plain = client.fetch

        def kept(request: Request, *args: Any, **more: Any) -> Any:
            if ("sort", "-1") in request.params:
                client.rows.reverse()
            return plain(request, *args, **more)

        client.fetch = kept  # type: ignore[method-assign]
        synced = sync(client, START, END)
    assert "more rows than can be requested" in synced.failures[0].message


# Any rows, kills, late rows.

instants = st.lists(st.tuples(st.integers(0, 12), st.integers(1, LIMIT - 1)), max_size=12)


def laid_out(crowds: Sequence[tuple[int, int]], twins: random.Random | None = None) -> list[Elements]:
    """Rows at several milliseconds, fewer than a page in each, some of them twins."""
    counts: Counter[int] = Counter()
    for ms, count in crowds:
        counts[ms] = min(LIMIT - 1, counts[ms] + count)
    rows = distinct([START + ms for ms in sorted(counts.elements())])
    for number in range(1, len(rows)):
        if twins is not None and rows[number - 1][2] == rows[number][2] and twins.random() < 0.4:
            rows[number] = list(rows[number - 1])
    return rows


@given(crowds=instants, seed=st.integers(0, 2**32), nesting=st.sampled_from(["each", "one", "flat"]))
@settings(max_examples=60, deadline=None)
def test_any_rows_arrive_once_each(crowds: list[tuple[int, int]], seed: int, nesting: str) -> None:
    client = FakeBitfinex(laid_out(crowds, random.Random(seed)), nesting=nesting)
    with pages_of(LIMIT):
        holds(sync(client, START, END), client.rows)


@given(crowds=instants, seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_times_with_fractions_arrive_once_each(crowds: list[tuple[int, int]], seed: int) -> None:
    """Also of the last millisecond, once any time has a fraction."""
    chance = random.Random(seed)
    rows = laid_out([*crowds, (13, 1), (END - 1 - START, 2)])
    for r in rows:
        if r[2] == START + 13:
            r[2] += 0.25
            continue
        r[2] += chance.choice([0, 0.25, 0.5, 0.8125])
    client = FakeBitfinex(rows)
    with pages_of(LIMIT):
        synced = sync(client, START, END)
    holds(synced, rows)


@given(crowds=instants, kills=st.lists(st.integers(1, 40), max_size=5), seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_killed_anywhere_everything_arrives(crowds: list[tuple[int, int]], kills: list[int], seed: int) -> None:
    client = FakeBitfinex(laid_out(crowds, random.Random(seed)))
    tables: dict[str, dict[object, dict[str, object]]] = {OWN: {}, UNIFIED: {}}
    state: dict[str, object] = {}
    for killed_after in (*kills, None):
        with pages_of(LIMIT):
            synced = sync(client, START, END, state=state, killed_after=killed_after)
        state = synced.state
        for stream, rows in tables.items():
            for key, record in zip(keys(synced.records[stream], stream), synced.records[stream], strict=True):
                assert rows.setdefault(key, record) == record, "two rows of one key"
    assert sent_rows(list(tables[OWN].values())) == as_sent(client.rows)
    assert len(tables[UNIFIED]) == len(client.rows)


@given(crowds=instants, late=instants, seed=st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_late_rows_arrive_and_leave_the_keys_of_the_others(
    crowds: list[tuple[int, int]], late: list[tuple[int, int]], seed: int
) -> None:
    chance = random.Random(seed)
    whole = laid_out([*crowds, *late], chance)
    on_time = [r for r in whole if chance.random() < 0.6]
    with pages_of(LIMIT):
        first = sync(FakeBitfinex(on_time), START, END)
        second = sync(FakeBitfinex(whole), START, END, state=first.state, lookback=END - START)
    holds(first, on_time)
    holds(second, whole)
    assert set(keys(first.records[OWN])) <= set(keys(second.records[OWN]))


# Vendors that do not follow their documentation.


def test_a_vendor_that_ignores_where_a_page_starts() -> None:
    client = FakeBitfinex(distinct([START + n for n in range(12)]))
    plain, begun = client.fetch, client.sent
    first = None

    def stuck(request: Request, *args: Any, **more: Any) -> Any:
        nonlocal first
        answer = plain(request, *args, **more)
        first = first or answer
        return first

    client.fetch = stuck  # type: ignore[method-assign]
    with pages_of(LIMIT):
        synced = sync(client, START, END)
    assert {type(error) for error in synced.failures} == {NotAdvancing}
    assert len(begun) <= 3


def test_a_vendor_that_ignores_the_order() -> None:
    client = FakeBitfinex(distinct([START + n for n in range(12)]))
    client.rows = [[*r[:2], 2 * EPOCH + 11 - r[2], *r[3:]] for r in client.rows]
    plain = client.fetch

    def newest_first(request: Request, *args: Any, **more: Any) -> Any:
        params = tuple(("sort", "-1") if name == "sort" else (name, value) for name, value in request.params)
        return plain(Request(request.path, params), *args, **more)

    client.fetch = newest_first  # type: ignore[method-assign]
    with pages_of(LIMIT):
        synced = sync(client, START, END)
    assert synced.records[OWN] == []
    assert "`sort`" in synced.failures[0].message


LONG = START + 30 * 24 * HOUR


def spread(count: int) -> list[Elements]:
    return distinct([START + n * HOUR for n in range(count)])


def test_a_list_that_stops_early_is_detected() -> None:
    """A page that is not full would look like the end, for example if the page limit is below the documented one."""
    client = FakeBitfinex(spread(40), most=LIMIT - 1)
    with pages_of(LIMIT):
        synced = sync(client, START, LONG)
    assert "the list stopped early" in synced.failures[0].message
    assert sent_rows(synced.records[OWN]) == as_sent(client.rows[: LIMIT - 1])
    state = positions(synced.state)
    assert timestamps.parse(state["*"]) <= client.rows[LIMIT - 1][2] * MILLISECOND
    with pages_of(LIMIT):
        again = sync(client, START, LONG, state=synced.state)
    assert "the list stopped early" in again.failures[0].message, "the next sync is no first one"


def test_rows_that_only_the_newest_page_has_are_taken_from_it(caplog: pytest.LogCaptureFixture) -> None:
    """A page came out empty, or rows came meanwhile."""
    client = FakeBitfinex(spread(12), hides=lambda r, n: n == 3)
    with pages_of(LIMIT):
        holds(sync(client, START, LONG), client.rows)
    assert "the list stopped early" in caplog.text


def test_an_empty_first_page_of_a_first_sync_is_detected() -> None:
    client = FakeBitfinex(spread(40), hides=lambda r, n: True)
    with pages_of(LIMIT):
        synced = sync(client, START, LONG)
    assert "the list stopped early" in synced.failures[0].message
    assert positions(synced.state) == {}


@pytest.mark.parametrize("newest", ["empty", "old"])
def test_a_newest_page_without_the_lists_last_row_says_nothing(newest: str) -> None:
    client = FakeBitfinex(spread(12))
    plain = client.fetch

    def fetch(request: Request, *args: Any, **more: Any) -> Any:
        if ("sort", "-1") in request.params:
            client.rows = [] if newest == "empty" else client.rows[:4]
        return plain(request, *args, **more)

    client.fetch = fetch  # type: ignore[method-assign]
    rows = client.rows
    with pages_of(LIMIT):
        synced = sync(client, START, LONG)
    assert "outside the requested time" in synced.failures[0].message
    assert sent_rows(synced.records[OWN]) == as_sent(rows)


def test_nothing_since_a_start_is_no_early_end() -> None:
    client = FakeBitfinex(spread(8))
    with pages_of(LIMIT):
        holds(sync(client, START + 9 * HOUR, LONG), [])
    assert len(client.sent) == 2
