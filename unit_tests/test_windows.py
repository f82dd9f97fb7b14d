"""Windows: contiguous whatever is opened, cut and halved; a position is what has been written without a gap."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from source_liquidations.reading.endpoint import Partition, Span
from source_liquidations.reading.windows import Run, Window
from unit_tests.simulated import FakeVendor

MARKET = Partition.of(market="a")


def run_of(start: int, end: int, *, step: int = 1, longest: int | None = None, cuts: int = 8, markets: int = 1) -> Run:
    endpoint = FakeVendor({}, step=step, longest=longest)
    partitions = tuple(Partition.of(market=f"m{n}") for n in range(markets))
    return Run(endpoint, Span(partitions, start, end), settled=end, cuts_left=cuts)


def read_on(window: Window, to: int, pages: int = 1) -> None:
    window.reached = to
    window.pages += pages
    window.run.followed = True


def write(window: Window, to: int) -> None:
    window.written = [max(written, to) for written in window.written]


def contiguous(run: Run, start: int) -> bool:
    bounds = [(window.start, window.end) for window in run.windows]
    ends = [start, *(end for _, end in bounds)]
    return all(start == end for (start, _), end in zip(bounds, ends, strict=False)) and ends[-1] == run.frontier


def test_one_window_takes_the_whole_span_unless_the_vendor_caps_it() -> None:
    run = run_of(100, 1_000)
    window = run.open_window()
    assert window is not None
    assert (window.start, window.end, window.asked_end) == (100, 1_000, 1_000)
    assert run.open_window() is None


def test_a_capped_span_is_opened_window_by_window() -> None:
    run = run_of(100, 1_000, longest=400)
    opened = [run.open_window() for _ in range(4)]
    assert [(w.start, w.end) for w in opened if w] == [(100, 500), (500, 900), (900, 1_000)]
    assert opened[3] is None


def test_an_empty_span_opens_nothing() -> None:
    assert run_of(100, 100).open_window() is None


def test_a_window_with_much_left_is_cut_in_the_middle_of_what_is_left() -> None:
    run = run_of(0, 1_000)
    window = run.open_window()
    assert window is not None
    read_on(window, 100, pages=10)
    assert run.can_cut(window)
    later = run.cut(window)
    assert (window.end, later.start, later.end) == (550, 550, 1_000)
    assert window.asked_end == 1_000, "the request under way asked for all of it"
    assert run.cuts_left == 7


def test_neither_half_is_cut_again_before_a_page_of_its_own() -> None:
    """Rows may be many at first and few from then on: every cut of what holds none would cost a request."""
    run = run_of(0, 1_000)
    window = run.open_window()
    assert window is not None
    read_on(window, 100, pages=10)
    later = run.cut(window)
    assert not run.can_cut(window)
    assert not run.can_cut(later)
    read_on(window, 110, pages=1)
    read_on(later, 560, pages=1)
    assert run.can_cut(window)
    assert run.can_cut(later)
    run.misses = 2
    read_on(window, 130, pages=2)
    assert not run.can_cut(window)
    read_on(window, 140, pages=1)
    assert run.can_cut(window)


def test_a_window_with_little_left_is_not_cut() -> None:
    run = run_of(0, 1_000)
    window = run.open_window()
    assert window is not None
    read_on(window, 500, pages=5)
    assert not run.can_cut(window)


def test_what_is_not_to_be_cut() -> None:
    for spoil in ("unordered", "finished", "no cuts left", "not splittable", "two markets"):
        run = run_of(0, 1_000, cuts=0 if spoil == "no cuts left" else 8, markets=2 if spoil == "two markets" else 1)
        window = run.open_window()
        assert window is not None
        read_on(window, 10, pages=50)
        window.ascending = spoil != "unordered"
        window.finished = spoil == "finished"
        run.endpoint.splittable = spoil != "not splittable"
        assert not run.can_cut(window), spoil


@given(st.integers(1, 60), st.integers(1, 5), st.integers(0, 2_000))
def test_cuts_are_at_multiples_of_the_step(step: int, pages: int, length: int) -> None:
    run = run_of(step * 3, step * 3 + length * step, step=step)
    window = run.open_window()
    if window is None:
        return
    read_on(window, window.start + step, pages=1_000 * pages)
    if run.can_cut(window):
        later = run.cut(window)
        assert later.start % step == 0
        assert window.reached < later.start < later.end


@given(st.integers(1, 50), st.integers(1, 400), st.integers(0, 10))
def test_halving_goes_on_down_to_one_step_and_then_says_so(step: int, steps: int, offset: int) -> None:
    start = offset * step
    run = run_of(start, start + steps * step, step=step)
    window = run.open_window()
    assert window is not None
    halvings = 0
    while window.end - window.start > step:
        assert run.halve(window) is None, "the second half is opened in the new length"
        halvings += 1
        assert run.frontier == window.end == window.asked_end
        assert (window.end - start) % step == 0
        assert run.length == window.end - window.start
    assert halvings <= steps.bit_length()
    assert contiguous(run, start)
    with pytest.raises(ValueError, match="smaller"):
        run.halve(window)


def test_a_window_between_others_is_halved_in_its_place() -> None:
    run = run_of(0, 1_000, longest=400)
    first, second = run.open_window(), run.open_window()
    assert first is not None
    assert second is not None
    later = run.halve(first)
    assert later is not None
    assert (first.start, first.end, later.start, later.end, run.length) == (0, 200, 200, 400, 200)
    assert run.halve(second) is None
    assert (second.end, run.frontier, run.length) == (600, 600, 200), "the shorter length stays"
    assert contiguous(run, 0)


def test_the_position_is_where_the_first_gap_begins() -> None:
    run = run_of(0, 1_000)
    window = run.open_window()
    assert window is not None
    read_on(window, 100, pages=100)
    later = run.cut(window)
    write(later, 1_000)
    assert run.position(0) == 0
    write(window, 300)
    assert run.position(0) == 300
    write(window, window.end)
    assert run.position(0) == 1_000


def test_written_windows_are_forgotten_but_for_the_last() -> None:
    run = run_of(0, 1_000, longest=100)
    windows = [window for window in (run.open_window() for _ in range(10)) if window]
    for window in windows:
        write(window, window.end)
    run.forget_written()
    assert run.windows == windows[-1:]
    assert run.position(0) == 1_000


@given(st.data(), st.integers(1, 7), st.sampled_from([None, 50, 333]))
@settings(max_examples=200)
def test_any_sequence_keeps_windows_contiguous_and_positions_true(
    data: st.DataObject, step: int, cap: int | None
) -> None:
    """Opens, cuts, halvings, pages and writes in any order; what is written is kept beside, second by second."""
    start, end = step * 2, step * 2 + data.draw(st.integers(1, 120)) * step
    run = run_of(start, end, step=step, longest=cap and max(step, cap - cap % step))
    written: set[int] = set()
    last = start
    forgotten = start
    for _ in range(data.draw(st.integers(1, 40))):
        action = data.draw(st.sampled_from(["open", "cut", "halve", "read", "write", "forget"]))
        if action == "open":
            run.open_window()
        windows = [window for window in run.windows if not window.finished]
        if action == "forget":
            run.forget_written()
            forgotten = run.windows[0].start if run.windows else start
        elif windows:
            window = data.draw(st.sampled_from(windows))
            if action == "cut" and run.can_cut(window):
                run.cut(window)
            elif action == "halve" and window.reached == window.start and window.end - window.start > step:
                run.halve(window)
            elif action == "read":
                read_on(window, data.draw(st.integers(window.reached, window.end)), pages=50)
                window.finished = window.reached == window.end
            elif action == "write":
                written.update(range(window.start, window.reached))
                write(window, window.reached)
        for window in (window for window in run.windows if window.finished and action == "write"):
            written.update(range(window.start, window.end))
            write(window, window.end)
        position = run.position(0)
        assert contiguous(run, forgotten)
        assert position >= last, "a position went back"
        assert written.issuperset(range(start, position)), "a position ran ahead"
        last = position
