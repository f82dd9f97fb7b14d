"""`source-liquidations estimate`: what a sync would read and cost, before it runs.

Least requests are known: a window costs at least one. Rows of aggregates are known: so many intervals, so many series.
Rows of events are not, unless sampled: `--sample` reads a few short windows, which costs what it says. Where somebody
has measured how many a vendor has a day, that is taken without a sample.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from source_liquidations import planning, timestamps
from source_liquidations.config import Config
from source_liquidations.errors import SpendingLimit, WindowTooLarge
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Span
from source_liquidations.reading.paging import Order
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.report import table
from source_liquidations.vendors.listing import Listing
from source_liquidations.vendors.vendor import Vendor

_SAMPLED_LENGTH = timestamps.HOUR
_SAMPLES = 3
COLUMNS = ("streams", "partitions", "windows", "rows", "requests", "cost", "time", "assumes")


class Estimate(msgspec.Struct):
    """One reading's estimate. Without a sample, rows of events are None, and `requests` the least there can be."""

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


def estimate(
    config: Config, vendors: Sequence[Vendor], states: Mapping[str, StreamState], *, sample: bool
) -> list[Estimate]:
    """One estimate per reading of the sync that the configuration, the selected streams and their states ask for.

    Asks only what is free (lists of markets, the plan's limits), unless `sample`.
    """
    return [_of(reading, sample) for reading in planning.readings(config, vendors, states)]


def _of(reading: Reading, sample: bool) -> Estimate:
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
        assumes = f"{endpoint.rows_per_day:,} rows a day, as measured once; --sample measures"
    else:
        assumes = "no rows: the least there can be; --sample measures"
    full = sum(span.total_time for span in spans) * endpoint.page_size  # no page has rows of two windows
    requests = sum(count * max(1, -(-(rows or 0) * window.total_time // full)) for window, count in windows.items())
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
    """The windows that a span takes where they hold next to nothing, each by its length alone."""
    left = span.end - span.start
    length = endpoint.sizing.longest() or max(1, left)
    while left > 0:
        yield Span(span.partitions, 0, min(length, left))
        left -= length
        length = max(1, endpoint.sizing.next_length(length, 0))


def _sampled_rows(endpoint: Endpoint, spans: Sequence[Span]) -> tuple[int, str, dict[str, int]]:
    """Rows by the density of a few short windows, spread over partitions and time."""
    traffic = Traffic()
    found = 0
    covered = 0
    for number in range(_SAMPLES):
        span = spans[number * (len(spans) - 1) // (_SAMPLES - 1)]
        length = min(_SAMPLED_LENGTH, span.end - span.start)
        at = span.start + (span.end - span.start - length) * number // (_SAMPLES - 1)
        at -= at % endpoint.step
        one = Span(span.partitions, at, at + max(endpoint.step, length - length % endpoint.step))
        try:
            one, answer = _sample(endpoint, one, traffic)
        except SpendingLimit:
            break
        found += len(answer.rows)
        covered += _covered(endpoint, one, answer)
    rows = round(found / covered * sum(span.total_time for span in spans)) if covered else 0
    assumes = f"the density of {traffic.requests} samples of an hour ({found:,} rows)"
    return rows, assumes, {"requests": traffic.requests, **endpoint.spent()}


def _covered(endpoint: Endpoint, span: Span, answer: Answer) -> int:
    """The time of a span's partitions, added up, that an answer has all rows of: a full page is not all of the span."""
    if answer.next_request is None or not answer.rows.instants:
        return span.total_time
    order = Order(endpoint.ascending, len(span.partitions))
    order.accept(answer.rows, span.end, endpoint.vendor)
    if order.reached:
        return sum(instant - span.start for instant in order.reached.values())
    return (answer.rows.latest - answer.rows.earliest) * len(span.partitions)


def _sample(endpoint: Endpoint, span: Span, traffic: Traffic) -> tuple[Span, Answer]:
    """The answer to a span, or to the beginning of it that the vendor does not find too large."""
    request = endpoint.first_request(span)
    try:
        return span, endpoint.decode(endpoint.client.fetch(request, traffic), span, request, {})
    except WindowTooLarge:
        half = timestamps.floor_to((span.end - span.start) // 2, endpoint.step)
        if not half:
            raise
    return _sample(endpoint, Span(span.partitions, span.start, span.start + half), traffic)


def as_table(estimates: Sequence[Estimate]) -> str:
    """For people. Costs are in the vendor's own currency."""
    rows: list[Sequence[Any]] = [COLUMNS]
    for one in estimates:
        least = "" if one.rows is not None else "≥ "
        rows.append(
            (
                ", ".join(one.streams),
                f"{one.partitions:,}",
                f"{one.windows:,}",
                "?" if one.rows is None else f"{one.rows:,}",
                f"{least}{one.requests:,}",
                ", ".join(f"{least}{amount:,} {what}" for what, amount in one.cost.items()),
                f"{least}{_duration(one.seconds)}",
                one.assumes,
            )
        )
    return table(rows)


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"
