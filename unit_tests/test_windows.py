"""Gaps and windows: everything is read once, after any openings, cuts, halvings, give-backs and splits."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_liquidations.errors import NotAdvancing
from source_liquidations.http.client import Request
from source_liquidations.reading.endpoint import Answer, Partition
from source_liquidations.reading.pages import Output
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.rows import Rows
from source_liquidations.reading.slices import Slice, Slices
from source_liquidations.reading.windows import Gap, Window
from source_liquidations.timestamps import DAY, MINUTE, floor_to
from unit_tests.simulated import FakeVendor

OUTPUT = Output("x")


def gap_of(
    *ranges: Slice, step: int = 1, longest: int | None = None, cuts: int = 8, markets: int = 1, aggregate: bool = False
) -> Gap:
    endpoint = FakeVendor({}, step=step, longest=longest, rows_per_step=1 if aggregate else None)
    reading = Reading(endpoint, (OUTPUT,), 0, 10**9, lambda *_: [])
    return Gap(reading, tuple(Partition.of(market=f"m{n}") for n in range(markets)), (OUTPUT,), [*ranges], cuts)


def opened(gap: Gap) -> Window:
    window = gap.open()
    assert window is not None
    return window


def page(*instants: int, owners: list[int] | None = None, more: int | None = 1) -> Answer:
    """A page with rows at these instants; `more` numbers its token, None on the last page."""
    raw = [b'{"t":%d,"n":%d}' % (instant, index) for index, instant in enumerate(instants)]
    next_request = None if more is None else Request("/rows", (("token", f"{more}"),))
    return Answer(Rows(raw, list(instants), owners=owners), next_request)


def read(window: Window, answer: Answer) -> tuple[list[int], dict[int, Slice]]:
    rows, whole = window.accept(window.request(), answer)
    return rows.instants, whole


def read_pages(window: Window, to: int, count: int) -> None:
    """So many pages up to an instant, evenly."""
    start = window.unread_from()[0]
    for number in range(1, count + 1):
        read(window, page(start + (to - start) * number // count, more=10**6 * window.start + window.pages.count))


# Opening.


def test_one_window_takes_a_range_unless_the_vendor_caps_it() -> None:
    gap = gap_of((100, 1_000))
    window = opened(gap)
    assert (window.start, window.end) == (100, 1_000)
    assert (window.span.start, window.span.end) == (100, 1_000)
    assert gap.open() is None


def test_a_capped_range_is_opened_window_by_window() -> None:
    gap = gap_of((100, 1_000), longest=400)
    assert [(w.start, w.end) for w in iter(gap.open, None)] == [(100, 500), (500, 900), (900, 1_000)]


def test_the_newest_range_comes_first() -> None:
    gap = gap_of((0, 100), (200, 300), (400, 500))
    assert [(w.start, w.end) for w in iter(gap.open, None)] == [(400, 500), (200, 300), (0, 100)]


def test_a_window_asks_for_whole_steps_and_keeps_what_is_its_own() -> None:
    window = opened(gap_of((1_005, 1_027), step=10))
    assert (window.span.start, window.span.end) == (1_000, 1_030)
    assert read(window, page(1_000, 1_004, 1_005, 1_026, 1_027, 1_029, more=None))[0] == [1_005, 1_026]


def test_no_second_window_starts_before_one_was_read() -> None:
    """The vendor may refuse all of them as too large."""
    gap = gap_of((0, 1_000), longest=100)
    first = opened(gap)
    assert not gap.may_open_another
    read(first, page(50, more=None))
    gap.close(first)
    second = opened(gap)
    assert gap.may_open_another
    assert (second.start, second.end) == (100, 200)


# Pages.


def test_what_is_whole_grows_page_by_page() -> None:
    window = opened(gap_of((0, 1_000)))
    assert read(window, page(10, 20)) == ([10, 20], {0: (0, 20)})
    assert read(window, page(20, 30, more=2)) == ([20, 30], {0: (0, 30)})
    assert read(window, page(40, more=None)) == ([40], {0: (0, 1_000)})
    assert window.finished


def test_rows_out_of_order_make_only_the_whole_window_count() -> None:
    window = opened(gap_of((0, 1_000)))
    assert read(window, page(30, 20)) == ([30, 20], {})
    assert read(window, page(40, more=2)) == ([40], {})
    assert read(window, page(35, more=None)) == ([35], {0: (0, 1_000)})


def test_of_several_partitions_what_another_has_followed_is_whole() -> None:
    window = opened(gap_of((0, 1_000), markets=3))
    _, whole = read(window, page(10, 500, 20, owners=[0, 0, 2]))
    assert whole == {0: (0, 1_000), 2: (0, 20)}
    assert window.unread_from() == {0: 1_000, 1: 0, 2: 20}
    _, whole = read(window, page(30, owners=[2], more=None))
    assert whole == {0: (0, 1_000), 1: (0, 1_000), 2: (0, 1_000)}


def test_a_window_that_was_cut_ends_at_a_page_after_its_end() -> None:
    """A late row may follow rows of the other window; only a page that starts there is past the end."""
    gap = gap_of((0, 1_000))
    window = opened(gap)
    read_pages(window, 100, 20)
    assert window.cut()
    later = opened(gap)
    assert (window.end, later.start, later.end) == (550, 550, 1_000)
    assert read(window, page(549, 560, more=100)) == ([549], {0: (0, 550)})
    assert not window.finished
    assert read(window, page(570, 580, more=101))[0] == []
    assert window.finished


def test_rows_of_another_window_are_left_to_it() -> None:
    window = opened(gap_of((100, 200)))
    instants, _ = read(window, page(99, 100, 199, 200, more=None))
    assert instants == [100, 199]


def test_an_interval_that_reaches_into_the_window_is_its_own() -> None:
    window = opened(gap_of((700, 1_400), step=7, aggregate=True))
    assert read(window, page(694, 700, more=None))[0] == [694, 700], "weeks begin where the vendor says"


def test_a_faulty_row_ends_the_coverage_of_its_window() -> None:
    window = opened(gap_of((100, 1_000), longest=400, markets=2))
    both = {0: (100, 200), 1: (100, 200)}
    assert [window.covered(OUTPUT, index, part).part for index, part in both.items()] == [(100, 200)] * 2
    for instant in (350, 300, 320):
        window.withhold(OUTPUT, [1], instant)
    assert window.covered(OUTPUT, 1, (100, 250)).part == (100, 250)
    assert window.covered(OUTPUT, 1, (100, 500)).part == (100, 300), "nor on a later page"
    assert window.covered(OUTPUT, 0, (100, 500)).part == (100, 500), "another partition's"
    assert window.covered(Output("other"), 1, (100, 500)).part == (100, 500), "another stream's"


# Cutting.


def test_neither_half_is_cut_again_before_a_page_of_its_own() -> None:
    """There may be many rows at first and few later: every cut of an empty range would cost a request."""
    gap = gap_of((0, 1_000))
    window = opened(gap)
    read_pages(window, 100, 10)
    assert window.cut()
    later = opened(gap)
    assert gap.cuts_left == 7
    assert not window.is_worth_cutting()
    assert not later.is_worth_cutting()
    read_pages(window, 110, 1)
    read_pages(later, 560, 2)
    assert window.is_worth_cutting()
    assert later.is_worth_cutting()


def test_a_window_without_rows_makes_the_next_cut_wait_longer() -> None:
    gap = gap_of((0, 1_000))
    window = opened(gap)
    read_pages(window, 100, 10)
    assert window.cut()
    later = opened(gap)
    read(later, page(more=None))
    gap.close(later)
    read_pages(window, 110, 1)
    assert not window.is_worth_cutting()
    read_pages(window, 120, 1)
    assert window.is_worth_cutting()


@pytest.mark.parametrize("spoil", ["little left", "unordered", "finished", "no cuts left", "two markets", "failed"])
def test_what_is_not_to_be_cut(spoil: str) -> None:
    gap = gap_of((0, 1_000), cuts=0 if spoil == "no cuts left" else 8, markets=2 if spoil == "two markets" else 1)
    window = opened(gap)
    read_pages(window, 800 if spoil == "little left" else 100, 10)
    window.order.ascending = spoil != "unordered"
    if spoil == "finished":
        window.pages.next_request = None
    gap.failed = spoil == "failed"
    assert not window.is_worth_cutting()


@given(st.integers(1, 60), st.integers(2, 5), st.integers(10, 2_000))
def test_cuts_are_at_multiples_of_the_step(step: int, pages: int, length: int) -> None:
    gap = gap_of((step * 3, step * 3 + length * step), step=step)
    window = opened(gap)
    read_pages(window, window.start + step, pages)
    if window.is_worth_cutting() and window.cut():
        later = opened(gap)
        assert later.start % step == 0
        assert window.unread_from()[0] < later.start == window.end < later.end


# Too large, given back, split.


@given(st.integers(1, 50), st.integers(1, 400), st.integers(0, 10))
def test_halving_goes_on_down_to_one_step_and_then_says_so(step: int, steps: int, offset: int) -> None:
    start = offset * step
    gap = gap_of((start, start + steps * step), step=step)
    window = opened(gap)
    halvings = 0
    while gap.halve(window):
        halvings += 1
        window = opened(gap)
        assert window.start == start
        assert (window.end - start) % step == 0
        assert Slices.of([*gap.ranges, (window.start, window.end)]).ranges == ((start, start + steps * step),)
    assert window.end - window.start == step
    assert halvings <= steps.bit_length()


def test_a_restart_is_bounded_where_it_brings_nothing_new() -> None:
    gap = gap_of((0, 1_000))
    window = opened(gap)
    read(window, page(10, 20))
    for at in (20, 20):
        assert gap.restart()
        gap.give_back(window, window.unread_from()[0])
        window = opened(gap)
        assert window.start == at
        read(window, page(20, 20))
    assert not gap.restart()


def test_a_restart_that_advances_may_be_followed_by_another() -> None:
    gap = gap_of((0, 1_000))
    window = opened(gap)
    for at in range(10, 500, 10):
        read(window, page(at))
        assert gap.restart()
        gap.give_back(window, window.unread_from()[0])
        window = opened(gap)


def test_a_split_keeps_every_partition_and_range() -> None:
    gap = gap_of((0, 50), (100, 200), markets=3)
    window = opened(gap)
    parts = gap.split(window, [([0, 1], 100), ([2], 150)])
    assert [(len(part.partitions), part.ranges) for part in parts] == [
        (2, [(0, 50), (100, 200)]),
        (1, [(0, 50), (150, 200)]),
    ]
    assert gap.ended


def test_what_is_whole_in_a_window_that_is_split_is_not_read_again() -> None:
    """Older ranges are missing for all; of one that has none, nothing is left."""
    for ranges, left in (([(0, 50), (100, 200)], [[(0, 50)], [(0, 50), (120, 200)]]), ([(100, 200)], [[(120, 200)]])):
        gap = gap_of(*ranges, markets=2)
        gap.reading.gaps.append(gap)
        parts = gap.split(opened(gap), [([0], 200), ([1], 120)])
        assert [part.ranges for part in parts] == left
        unread = gap.reading.counts_of(gap.outputs[0].stream)[2]
        assert unread == len(left)


def test_other_windows_of_a_gap_that_is_split_go_on() -> None:
    gap = gap_of((0, 50), (100, 200), (300, 400), markets=2)
    first = opened(gap)
    gap.close(first)
    second, third = opened(gap), opened(gap)
    parts = gap.split(second, [([0], 100), ([1], 100)])
    assert [part.ranges for part in parts] == [[(100, 200)], [(100, 200)]]
    assert gap.open_windows == [third]
    gap.close(third)
    assert gap.ended


@given(st.data(), st.integers(1, 7), st.sampled_from([None, 50, 333]))
@settings(max_examples=200)
def test_any_sequence_reads_everything_once(data: st.DataObject, step: int, cap: int | None) -> None:
    """Opens, cuts, halvings, pages and give-backs in any order: what is whole, being read and left is all there is."""
    start, end = step * 2, step * 2 + data.draw(st.integers(1, 120)) * step
    gap = gap_of((start, end), step=step, longest=cap and max(step, cap - cap % step))
    closed: list[Slice] = []
    for number in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["open", "cut", "halve", "read", "finish", "give back"]))
        if action == "open":
            gap.open()
        elif gap.open_windows:
            window = data.draw(st.sampled_from(gap.open_windows))
            reached = window.unread_from()[0]
            if action == "cut" and window.is_worth_cutting():
                window.cut()
            elif action == "halve" and not window.pages.count:
                gap.halve(window)
            elif action == "read":
                instant = data.draw(st.integers(reached, window.end - 1))
                read(window, page(instant, more=number))
            elif action == "finish":
                _, whole = read(window, page(more=None))
                closed.append(whole[0])
                gap.close(window)
            elif action == "give back":
                closed.append((window.start, reached))
                gap.give_back(window, reached)
        parts = [*closed, *gap.ranges, *((window.start, window.end) for window in gap.open_windows)]
        assert Slices.of(parts).ranges == ((start, end),)
        assert sum(last - first for first, last in parts) == end - start, "something is read twice"


@pytest.mark.parametrize("pages_are_known", [True, False])
def test_empty_pages_of_a_list_that_is_known_may_be_many(pages_are_known: bool) -> None:
    window = opened(gap_of((0, 100)))
    pages = [replace(page(more=number), pages_are_known=pages_are_known) for number in range(60)]
    if not pages_are_known:
        with pytest.raises(NotAdvancing, match="20 empty pages in a row"):
            [window.accept(window.request(), one) for one in pages]
        return
    for one in [*pages, page(50, more=None)]:
        window.accept(window.request(), one)
    assert window.finished


def test_pages_of_several_partitions_without_owners_are_progress_of_each() -> None:
    """Rows of all of them come in one list, in order of time."""
    window = opened(gap_of((0, 100), markets=3))
    assert read(window, page(10, 20)) == ([10, 20], dict.fromkeys(range(3), (0, 20)))
    assert read(window, page(30, more=None)) == ([30], dict.fromkeys(range(3), (0, 100)))


# The settled intervals of an aggregate.


@pytest.mark.parametrize(
    ("late", "behind", "lost"),
    [
        (0, 0, 0),
        (5 * MINUTE, 0, 5),  # the sync ends now: what ended in the last minutes may still change
        (5 * MINUTE, 3 * MINUTE, 2),
        (5 * MINUTE, DAY, 0),  # it ends long ago
    ],
)
def test_an_interval_that_may_still_change_is_not_settled(late: int, behind: int, lost: int) -> None:
    endpoint = FakeVendor({}, step=MINUTE)
    endpoint.rows_per_step, endpoint.revised_for = 1, late
    now = floor_to(time.time_ns(), MINUTE)
    end = now - behind
    reading = Reading(endpoint, (OUTPUT,), 0, end, lambda *_: [])
    assert end - reading.settled_until in (lost * MINUTE, max(0, lost - 1) * MINUTE)
    reading.note_phase([end - 10 * MINUTE])
    assert end - reading.settled_until in (lost * MINUTE, max(0, lost - 1) * MINUTE)
