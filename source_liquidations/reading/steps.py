"""One step: a request, its page, and where the window stands after it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from itertools import groupby

from source_liquidations import timestamps
from source_liquidations.errors import (
    AccessRefused,
    LiquidationsError,
    NotAdvancing,
    RequestRefused,
    UnexpectedAnswer,
    VendorUnavailable,
    WindowTooLarge,
)
from source_liquidations.http.client import Request
from source_liquidations.reading.endpoint import Answer, Rows
from source_liquidations.reading.pages import render
from source_liquidations.reading.scheduler import Page, Scheduler, Step
from source_liquidations.reading.windows import Window

logger = logging.getLogger("airbyte")

_EMPTY_PAGES_IN_A_ROW = 20
_REPEATS_OF_TWINS = 20
_QUERY_TIMED_OUT = 504
_FAR = timestamps.DAY  # rows at a bound that the vendor rounds are left out; whole pages further away are no answer


def take_step(scheduler: Scheduler, step: Step, hand_over: Callable[[Page], None]) -> bool:
    """Send the window's next request and hand over its page, in parts; telling the scheduler is left to the caller.

    Returns False where the window has to be read anew, smaller or from a fresh request. From its decoding until it is
    handed over, a page has `scheduler.decoding` to itself: more at once would take memory, and gain no time.
    """
    window = step.window
    assert window is not None
    if window.problem is not None:
        raise window.problem
    span = window.span
    request = window.following or step.reading.endpoint.first(span)
    with ExitStack() as turn:
        answer = _answer(scheduler, step, window, request, turn)
        if answer is None:
            return False
        _guard(window, request, answer)
        window.problem = answer.problem
        rows = _asked_for(step, window, answer.rows)
        window.rows += len(rows)
        with scheduler.lock:
            reached = _move_on(window, answer, rows)
            end = window.end
        blocks = render(step.outputs, _before(rows, end), span)
        last = next(blocks, None)
        for block in blocks:
            hand_over(Page(step, last, {}))
            last = block
        hand_over(Page(step, last, reached))
    return True


def _answer(scheduler: Scheduler, step: Step, window: Window, request: Request, turn: ExitStack) -> Answer | None:
    """The decoded answer to the request, or None where the window has to be read anew. Decoding takes a turn."""
    endpoint, span = step.reading.endpoint, window.span
    too_much = _QUERY_TIMED_OUT if endpoint.worth_halving(span) else None

    try:
        with endpoint.admitted(request) as admitted:
            answered = endpoint.client.fetch(admitted, step.reading.traffic, reserved=True, twice_at_most=too_much)
            scheduler.received(step)
            turn.enter_context(scheduler.decoding)
            return endpoint.decode(answered, span, request, window.memory)
    except WindowTooLarge as error:
        _halve(scheduler, step, window, error)
    except VendorUnavailable as error:
        if too_much is None or error.status != too_much:
            raise
        _halve(scheduler, step, window, error)
    except (RequestRefused, AccessRefused) as error:
        if len(span.partitions) > 1 and error.scope == "partition":
            scheduler.parted(step)  # one unknown market fails the whole call: ask for each by itself
            return None
        endpoint.observe(span, error)
        if isinstance(error, AccessRefused) or window.following is None or not _restart(window):
            raise
        # The life of a page token is not documented: read on from the last row with a fresh request.
        logger.info("%s: page token refused, reading on from a fresh request", step.reading.names)
        scheduler.went_on(step)
    return None


def _halve(scheduler: Scheduler, step: Step, window: Window, error: LiquidationsError) -> None:
    with scheduler.lock:
        try:
            later = window.run.halve(window)
        except ValueError:
            raise UnexpectedAnswer(
                f"{error.cause} (for the smallest window that there is)", advice=error.advice
            ) from None
    scheduler.halved(step, later)


def _restart(window: Window) -> bool:
    """Begin the window again where it has got to; once for any one place."""
    if window.restarted_at == window.reached and window.ascending:
        return False
    if window.restarted_at is not None and not window.ascending:
        return False
    window.restarted_at = window.reached
    window.following = None
    window.page_marks.clear()
    window.memory.clear()
    return True


def _guard(window: Window, request: Request, answer: Answer) -> None:
    """Raise NotAdvancing where following this page's token would never end."""
    window.pages += 1
    window.run.followed = window.run.followed or window.pages > 1
    if answer.following is None:
        return
    raw = answer.rows.raw
    token_mark = hash(answer.following)
    page_mark = hash((len(raw), bytes(raw[0]), bytes(raw[-1]))) if len(raw) else 0
    if answer.following == request or token_mark in window.page_marks:
        raise NotAdvancing("a page repeats its continuation token; the sync would never end.", advice=_REPORT)
    if page_mark and page_mark in window.page_marks:
        window.repeats += 1
        if len(set(map(bytes, raw))) > 1 or window.repeats > _REPEATS_OF_TWINS:
            raise NotAdvancing("a page repeats the rows of an earlier one; the sync would never end.", advice=_REPORT)
    window.page_marks.update((token_mark, page_mark))
    window.empty_pages = 0 if len(raw) else window.empty_pages + 1
    if window.empty_pages >= _EMPTY_PAGES_IN_A_ROW:
        raise NotAdvancing(f"{_EMPTY_PAGES_IN_A_ROW} empty pages in a row, each with a token for more.", advice=_REPORT)


def _asked_for(step: Step, window: Window, rows: Rows) -> Rows:
    """The rows of the time asked for. Others are not lost: the window that they belong to brings them."""
    instants = rows.instants
    # A bucket that began earlier and reaches into the window belongs to it; events have no length (a step of 1).
    begins = window.start - window.run.endpoint.settling
    since, before = window.run.since, window.run.before
    earliest = begins if since is None else max(begins, since)
    until = window.asked_end if before is None else min(window.asked_end, before)
    if not instants or (earliest <= min(instants) and max(instants) < until):
        return rows
    if max(instants) < earliest - _FAR or min(instants) > window.asked_end + _FAR:
        raise UnexpectedAnswer(
            f"a page with rows far outside the time asked for, such as {timestamps.format_shortest(instants[0])}.",
            advice=_REPORT,
        )
    keep = [i for i, instant in enumerate(instants) if earliest <= instant < until]
    strays = sum(not begins <= instant < window.asked_end for instant in instants)
    if strays and not step.reading.strays:
        logger.warning("%s: rows outside the time asked for were returned and left out", step.reading.names)
    step.reading.strays += strays
    return rows.only(keep)


def _before(rows: Rows, end: int) -> Rows:
    """The rows before `end`: the rest is left to whoever took the later half of the window."""
    if not rows.instants or max(rows.instants) < end:
        return rows
    return rows.only([i for i, instant in enumerate(rows.instants) if instant < end])


def _move_on(window: Window, answer: Answer, rows: Rows) -> dict[int, int]:
    """Move the window past this page. Returns, by partition index, what is complete up to where."""
    window.following = answer.following
    in_order = window.ascending and _in_order(window, rows)
    if window.ascending and not in_order:
        window.ascending = False
        logger.warning("%s: rows out of order: this window is checkpointed only at its end", window.run.endpoint.vendor)
    past_end = in_order and bool(rows.instants) and rows.instants[-1] >= window.end
    partitions = range(len(window.run.span.partitions))
    if (answer.following is None and answer.problem is None) or past_end:
        window.finished = True
        window.reached = window.end
        return dict.fromkeys(partitions, window.end)
    if not in_order or not rows.instants:
        return {}
    if rows.owners is None:
        window.reached = max(window.reached, rows.instants[-1])
        window.latest = rows.instants[-1]
        return {0: window.reached}
    # Ordered by (partition, time): what another partition has followed is complete; of the last, rows may come.
    window.seen.update(rows.owners)
    last = rows.owners[-1]
    return dict.fromkeys(window.seen - {last}, window.end) | {last: rows.instants[-1]}


def _in_order(window: Window, rows: Rows) -> bool:
    """Whether the page goes on where the last one ended: in time, or by (partition, time)."""
    if not rows.instants:
        return True
    if rows.owners is None:
        return rows.instants[0] >= window.latest and rows.instants == sorted(rows.instants)
    turns = [owner for owner, _ in groupby(rows.owners)]
    if len(set(turns)) != len(turns) or (window.seen - {window.last_owner}) & set(turns):
        return False
    rank = {owner: turn for turn, owner in enumerate(turns)}
    keys = [(rank[owner], instant) for owner, instant in zip(rows.owners, rows.instants)]  # noqa: B905 - equal lengths
    window.last_owner = turns[-1]
    return keys == sorted(keys)


_REPORT = "Rows read so far are kept. Report this to the vendor."
