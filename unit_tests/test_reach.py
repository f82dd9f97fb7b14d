"""The reach of a key: stated, or found by a few halvings, and its cost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from source_liquidations import timestamps
from source_liquidations.reading.endpoint import Partition
from source_liquidations.reading.pages import Output
from source_liquidations.reading.queues import Queue
from source_liquidations.reading.reach import Reach
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.slices import Slice, Slices
from source_liquidations.reading.windows import Gap
from unit_tests.simulated import FakeVendor

DAY, HOUR, MINUTE = timestamps.DAY, timestamps.HOUR, timestamps.MINUTE
END = 20_000 * DAY


def begin_of(reach: Reach, start: int, end: int, *, is_older: bool = False) -> int:
    begin = reach.next_start(start, end, is_older=is_older)
    assert begin is not None, "no probe is under way"
    return begin


def find_reach(
    start: int, true: int, *, step: int = HOUR, older: int | None = None, stated: int | None = None
) -> tuple[Slices, list[int], Reach]:
    """What is read of [start, END) with a key that reaches back to `true`: slices, refused starts, the reach."""
    reach = Reach(stated, refuses_old=True, step=step, end=END)
    ranges: list[Slice] = [(start, END)] if older is None else [(start, older), (END - HOUR, END)]
    read: list[Slice] = []
    refused: list[int] = []
    while ranges:
        first, last = ranges.pop()
        begin = begin_of(reach, first, last, is_older=older is not None and last <= older)
        if begin == last:
            continue
        reach.request_ended(begin)
        if first < begin:
            ranges.append((first, begin))
        if begin < true:
            refused.append(begin)
            assert not reach.may_read_nothing(begin), "a later one may be granted"
            reach.was_refused(begin, "HTTP 403")
            ranges.append((begin, last))
        else:
            reach.was_granted(begin)
            read.append((begin, last))
    return Slices.of(read), refused, reach


@pytest.mark.parametrize(("later", "most"), [(1, 1), (MINUTE, 1), (HOUR, 12), (23 * DAY, 34)])
def test_a_stated_limit_that_has_rolled_on_costs_few_requests(later: int, most: int) -> None:
    """A request was sent a second too late, or the vendor's statement about the plan is wrong by days."""
    stated = END - 30 * DAY
    read, refused, _ = find_reach(END - 400 * DAY, stated + later, step=timestamps.MILLISECOND, stated=stated)
    assert len(refused) <= most
    (start, end), *others = read
    assert stated + later <= start <= stated + later + 2 * MINUTE
    assert (end, others) == (END, [])


@pytest.mark.parametrize("minutes", [1, 5, 60])
def test_a_limit_that_was_found_and_rolls_on_is_not_searched_for_again(minutes: int) -> None:
    """By the next market, whose history is read later."""
    start, true = END - 400 * DAY, END - 30 * DAY
    _, _, reach = find_reach(start, true, step=timestamps.MILLISECOND)
    refused = 0
    while (begin := begin_of(reach, start, END)) < true + minutes * MINUTE:
        reach.request_ended(begin)
        refused += 1
        reach.was_refused(begin, "HTTP 403")
    assert begin < END
    assert begin <= true + 2 * minutes * MINUTE + 2 * MINUTE
    assert refused <= 2 + math.log2(minutes)


def test_a_stated_limit_that_the_vendor_confirms_leaves_nothing_to_read() -> None:
    stated = END + DAY
    asked: list[int] = []
    reach = Reach(stated, refuses_old=False, step=HOUR, end=END)
    while (begin := begin_of(reach, END - 30 * DAY, END)) < END:
        asked.append(begin)
        assert not reach.may_read_nothing(begin), "that is no failure"
        reach.was_refused(begin, "HTTP 400: too old")
        reach.request_ended(begin)
    assert asked[0] == END - 30 * DAY, "this machine's clock may be wrong, so the vendor is asked nevertheless"
    assert len(asked) <= 2 + math.log2(30 * DAY / HOUR)
    assert reach.first_available == stated


@given(st.integers(1, 2_000 * 24 * 60), st.integers(25 * 60, 2_000 * 24 * 60), st.sampled_from([MINUTE, HOUR, DAY]))
def test_everything_available_is_read_and_the_reach_is_found_by_halving(asked: int, history: int, step: int) -> None:
    start, true = END - asked * MINUTE, END - history * MINUTE
    start -= start % step
    read, refused, reach = find_reach(start, true, step=step)
    if start >= true:
        assert read.ranges == ((start, END),)
        assert not refused
        assert reach.first_available is None
        return
    ((first, last),) = read.ranges
    assert last == END
    assert true <= first < true + 2 * step
    assert len(refused) <= 1 + math.log2((END - start) / step)
    assert reach.first_available == first


def test_what_earlier_syncs_could_not_read_costs_one_request() -> None:
    older = END - 90 * DAY
    read, refused, reach = find_reach(END - 400 * DAY, END - 90 * DAY, older=older)
    assert read.ranges == ((END - HOUR, END),)
    assert refused == [older - HOUR]
    assert reach.first_available == older


def test_a_plan_that_reaches_further_now_brings_what_was_missing() -> None:
    older, true = END - 90 * DAY, END - 365 * DAY
    read, refused, _ = find_reach(END - 400 * DAY, true, older=older)
    ((first, last), _) = read.ranges
    assert last == older
    assert true <= first < true + 2 * HOUR
    assert len(refused) < 14


def test_a_stated_reach_costs_no_request() -> None:
    reach = Reach(END - DAY, refuses_old=False, step=1, end=END)
    assert reach.next_start(END - 9 * DAY, END, is_older=False) == END - DAY
    assert reach.next_start(END - 9 * DAY, END - DAY, is_older=True) == END - DAY
    assert reach.next_start(END - HOUR, END, is_older=False) == END - HOUR


def test_a_reach_that_would_leave_nothing_is_not_believed_until_rows_confirm_it() -> None:
    """The clock of this machine may be wrong, or the end of the sync far in the past."""
    reach = Reach(END + DAY, refuses_old=False, step=1, end=END)
    assert reach.next_start(END - 9 * DAY, END, is_older=False) == END - 9 * DAY
    assert reach.first_available == END + DAY, "nothing counts as read"
    reach.note_rows([END - DAY])
    assert reach.first_available is None
    assert reach.next_start(END - 9 * DAY, END, is_older=False) == END - 9 * DAY


def test_one_warning_says_from_when_on_there_is_data(caplog: pytest.LogCaptureFixture) -> None:
    endpoint = FakeVendor({})
    endpoint.reach, endpoint.retained_since = END - 7 * DAY, END - DAY
    reading = Reading(endpoint, (Output("x"),), END - 9 * DAY, END, lambda *_: [])
    one, other, new = (Partition.of(market=name) for name in ("one", "other", "new"))
    reading.missing = {
        one: Slices.of([(END - 9 * DAY, END - 8 * DAY), (END - HOUR, END)]),
        other: Slices.of([(END - 9 * DAY, END)]),
        new: Slices.of([(END - HOUR, END)]),
    }
    reading.warn_of_missing_data()
    periods = [(period.kind, period.period_start, period.period_end) for period in endpoint.observations]
    assert periods == [
        ("missing", END - 9 * DAY, END - 8 * DAY),
        ("missing", END - 9 * DAY, END - 7 * DAY),
        ("under_reported", END - 9 * DAY, END - 8 * DAY),
        ("under_reported", END - 9 * DAY, END - DAY),
    ]
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0].endswith(
        f": data reach back to {timestamps.format_shortest(END - 7 * DAY)}. Older data are not read."
    )
    assert len(lines) == 2
    reading.reach.note_rows([END - 9 * DAY])
    caplog.clear()
    reading.warn_of_missing_data()
    assert "data reach back" not in caplog.text, "rows proved the limit wrong"


def test_one_probe_at_a_time() -> None:
    reach = Reach(None, refuses_old=True, step=HOUR, end=END)
    start = END - 64 * DAY
    assert reach.next_start(start, END, is_older=False) == start
    reach.was_refused(start, "")
    reach.request_ended(start)
    probe = reach.next_start(start, END, is_older=False)
    assert probe == END - 32 * DAY
    assert reach.next_start(start, END, is_older=False) is None
    assert reach.next_start(END - DAY, END, is_older=False) == END - DAY, "what is newer does not wait"
    reach.request_ended(END - 32 * DAY)
    assert reach.next_start(start, END, is_older=False) == probe


def test_a_probe_that_is_no_longer_sent_blocks_no_other() -> None:
    endpoint = FakeVendor({})
    endpoint.refuses_old = True
    reading = Reading(endpoint, (Output("x"),), END - 9 * DAY, END, lambda *_: [])
    one, other = (
        Gap(reading, (Partition.of(market=name),), reading.outputs, [(END - 9 * DAY, END - 8 * DAY)]) for name in "ab"
    )
    queue = Queue(reading)
    assert queue.open(one)
    assert other.open() is None
    assert other.ranges, "it waits"
    queue.fail(one)
    assert other.open() is not None


def test_a_key_without_the_newest_day_is_refused_unless_something_was_granted() -> None:
    reach = Reach(None, refuses_old=True, step=HOUR, end=END)
    assert not reach.may_read_nothing(END - 2 * DAY)
    assert reach.may_read_nothing(END - DAY)
    reach.was_granted(END - HOUR)
    assert not reach.may_read_nothing(END - DAY), "of a history of one day, the edge rolls on while it is read"


def test_a_history_that_rolls_on_while_it_is_read_is_found_again() -> None:
    reach = Reach(None, refuses_old=True, step=MINUTE, end=END)
    reach.was_granted(END - 30 * DAY)
    reach.was_refused(END - 30 * DAY, "")
    assert reach.first_available == END - 30 * DAY + MINUTE, "nothing before is available"
    assert begin_of(reach, END - 30 * DAY, END) > END - 30 * DAY


def test_a_reach_that_would_leave_nothing_is_believed_after_a_hundred_empty_pages() -> None:
    """Otherwise every sync would request years of Gate's hours, each empty without an error."""
    reach = Reach(END + DAY, refuses_old=False, step=1, end=END)
    for _ in range(100):
        assert reach.next_start(END - 9 * DAY, END, is_older=False) == END - 9 * DAY
        reach.note_rows([])
    assert reach.next_start(END - 9 * DAY, END, is_older=False) == END
    assert reach.is_doubtful, "nothing counts as read"
