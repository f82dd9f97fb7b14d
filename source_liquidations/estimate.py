"""`source-liquidations estimate`: what a sync would read and cost, before it runs.

The least number of requests is known: one for each window. The rows of aggregates are known: one for each interval and
series. The rows of events are not: `--sample` reads a few short windows to estimate them, and reports what that cost.
Without a sample, the estimate uses the vendor's rows a day, if they were ever measured.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from source_liquidations import planning, timestamps
from source_liquidations.errors import SpendingLimit, WindowTooLarge
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Span
from source_liquidations.reading.paging import Order
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.report import text_table
from source_liquidations.vendors.listing import Listing

_SAMPLE_LENGTH = timestamps.HOUR
_SAMPLES = 3
COLUMNS = ("streams", "partitions", "windows", "rows", "requests", "cost", "time", "assumes")


class Estimate(msgspec.Struct):
    """One reading's estimate. If `rows` is None (events without a sample), `requests` is the least possible number."""

    vendor: str
    streams: list[str]
    partitions: int
    windows: int
    rows: int | None
    requests: int
    cost: dict[str, int]
    seconds: float
    assumes: str
    sampled: dict[str, int]


def estimate(reading: Reading, *, sample: bool) -> Estimate:
    """What a reading would read and cost.

    Sends only requests that are free (lists of markets, the plan's limits), unless `sample`.
    """
    endpoint = reading.endpoint
    partitions = endpoint.all_partitions(reading.traffic)
    spans = planning.reachable(reading.plan(reading, partitions))
    windows = Counter(window for span in spans for window in _windows(endpoint, span))
    rows = planning.known_rows(endpoint, spans)
    sampled: dict[str, int] = {}
    if rows is not None:
        assumes = "a row for every interval and series"
    elif isinstance(endpoint, Listing):
        assumes = "a list of one page"
    elif sample and spans:
        rows, assumes, sampled = _sampled_rows(endpoint, spans)
    elif endpoint.rows_per_day is not None:
        rows = round(sum(span.end - span.start for span in spans) / timestamps.DAY * endpoint.rows_per_day)
        assumes = f"{endpoint.rows_per_day:,} rows a day, as once measured; --sample measures again"
    else:
        assumes = "no rows, so the least possible; --sample measures"
    # Rows are spread evenly over time, and no page has rows of two windows.
    full_pages_time = sum(span.total_time for span in spans) * endpoint.page_size
    pages = {window: -(-(rows or 0) * window.total_time // full_pages_time) for window in windows}
    requests = sum(count * max(1, pages[window]) for window, count in windows.items())
    weight = sum(count * endpoint.first_request(window).weight for window, count in windows.items())
    return Estimate(
        vendor=endpoint.vendor,
        streams=[output.stream for output in reading.outputs],
        partitions=len(partitions),
        windows=windows.total(),
        rows=rows,
        requests=requests,
        cost=endpoint.estimated_cost(requests, rows or 0, weight),
        seconds=round(endpoint.client.budget.seconds_for(requests, weight), 1),
        assumes=assumes,
        sampled=sampled,
    )


def _windows(endpoint: Endpoint, span: Span) -> Iterator[Span]:
    """The windows that a span takes if they have no rows. All start at 0: only their lengths matter."""
    rest = span.end - span.start
    length = endpoint.sizing.longest() or max(1, rest)
    while rest > 0:
        yield Span(span.partitions, 0, min(length, rest))
        rest -= length
        length = max(1, endpoint.sizing.next_length(length, 0))


def _sampled_rows(endpoint: Endpoint, spans: Sequence[Span]) -> tuple[int, str, dict[str, int]]:
    """The rows that the density in a few short windows suggests, what was assumed, and what the windows cost.

    The windows are spread over partitions and time.
    """
    traffic = Traffic()
    sampled_rows = 0
    sampled_time = 0
    for number in range(_SAMPLES):
        span = spans[number * (len(spans) - 1) // (_SAMPLES - 1)]
        length = min(_SAMPLE_LENGTH, span.end - span.start)
        start = span.start + (span.end - span.start - length) * number // (_SAMPLES - 1)
        start -= start % endpoint.step
        sample = Span(span.partitions, start, start + max(endpoint.step, length - length % endpoint.step))
        try:
            sample, answer = _sample(endpoint, sample, traffic)
        except SpendingLimit:
            break
        sampled_rows += len(answer.rows)
        sampled_time += _covered_time(endpoint, sample, answer)
    rows = round(sampled_rows / sampled_time * sum(span.total_time for span in spans)) if sampled_time else 0
    assumes = f"the density of {traffic.requests} samples of an hour ({sampled_rows:,} rows)"
    return rows, assumes, {"requests": traffic.requests, **endpoint.spent()}


def _covered_time(endpoint: Endpoint, span: Span, answer: Answer) -> int:
    """The time, summed over partitions, for which an answer has all rows: a full page does not cover the span."""
    if answer.next_request is None or not answer.rows.instants:
        return span.total_time
    order = Order(endpoint.ascending, len(span.partitions))
    order.accept(answer.rows, span.end, endpoint.vendor)
    if order.reached:
        return sum(instant - span.start for instant in order.reached.values())
    return (answer.rows.latest - answer.rows.earliest) * len(span.partitions)


def _sample(endpoint: Endpoint, span: Span, traffic: Traffic) -> tuple[Span, Answer]:
    """The answer to a span, or to the first half, quarter, … of it that the vendor does not find too large."""
    request = endpoint.first_request(span)
    try:
        return span, endpoint.decode(endpoint.client.fetch(request, traffic), span, request, {})
    except WindowTooLarge:
        half = timestamps.floor_to((span.end - span.start) // 2, endpoint.step)
        if not half:
            raise
    return _sample(endpoint, Span(span.partitions, span.start, span.start + half), traffic)


def as_table(estimates: Sequence[Estimate]) -> str:
    """Estimates as a table for people. Costs are in the vendor's own currency."""
    rows: list[Sequence[Any]] = [COLUMNS]
    for entry in estimates:
        least = "" if entry.rows is not None else "≥ "
        rows.append(
            (
                ", ".join(entry.streams),
                f"{entry.partitions:,}",
                f"{entry.windows:,}",
                "?" if entry.rows is None else f"{entry.rows:,}",
                f"{least}{entry.requests:,}",
                ", ".join(f"{least}{amount:,} {currency}" for currency, amount in entry.cost.items()),
                f"{least}{_duration(entry.seconds)}",
                entry.assumes,
            )
        )
    return text_table(rows)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
