"""From a configuration and saved state to the readings of a sync, and their gaps."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import pairwise

from source_liquidations import timestamps
from source_liquidations.config import Config
from source_liquidations.reading import coverage
from source_liquidations.reading.coverage import COVERAGE, Period
from source_liquidations.reading.endpoint import Endpoint, Partition, Span
from source_liquidations.reading.pages import Output, Table
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.slices import Slice, Slices
from source_liquidations.reading.windows import Gap
from source_liquidations.streams import Stream
from source_liquidations.vendors.vendor import Shared, Vendor


def configured_vendors(config: Config, shared: Shared) -> list[Vendor]:
    return [vendor(section, shared) for vendor, section in config.vendors.items()]


def streams(vendors: Sequence[Vendor]) -> list[Stream]:
    """The streams of the configured vendors, the unified streams that they feed, and `liquidation_coverage`."""
    feeds = [feed for vendor in vendors for feed in vendor.feeds]
    unified = dict.fromkeys(stream for feed in feeds for stream in feed.mappers if stream != COVERAGE)
    return [*(feed.stream for feed in feeds), *unified, COVERAGE]


def readings(config: Config, vendors: Sequence[Vendor], states: Mapping[str, StreamState]) -> list[Reading]:
    """One reading for each endpoint that feeds a selected stream (a stream in `states`)."""
    selected = []
    for vendor in vendors:
        for feed in vendor.feeds:
            unified = [Output(stream.name, mapper, vendor.name) for stream, mapper in feed.mappers.items()]
            outputs = [output for output in (Output(feed.stream.name), *unified) if output.stream in states]
            if outputs:
                plan = partial(gaps, states=states, lookback=config.lookback)
                prepare = feed.prepare if any(output.mapper for output in outputs) else None
                selected.append(Reading(feed.endpoint, tuple(outputs), config.start, config.end, plan, prepare))
    return selected


def coverage_rows(vendors: Sequence[Vendor], readings: Sequence[Reading], *, rolling_start: bool = False) -> Table:
    """The rows of `liquidation_coverage`: what the vendors document, and what these readings found.

    `rolling_start`: start_date is a duration. Then a period that begins with the reading gets the start 0: its start is
    part of the primary key, and would differ in each sync.
    """
    documented = [period for vendor in vendors for period in vendor.coverage]
    observed = [
        period._replace(period_start=0) if rolling_start and _begins_with(reading, period) else period
        for reading in readings
        for period in reading.endpoint.observations
    ]
    return coverage.rows([*documented, *observed])


def _begins_with(reading: Reading, period: Period) -> bool:
    """Whether a period begins where the reading does, to the step."""
    earliest = reading.start - reading.endpoint.step
    return period.period_end is not None and earliest < period.period_start <= reading.start


def gaps(
    reading: Reading, partitions: Sequence[Partition], *, states: Mapping[str, StreamState], lookback: int
) -> list[Gap]:
    """What to read of each partition, and for which streams. Partitions with the same ranges share a gap.

    Those that are furthest behind come first: so syncs that always end early still reach all partitions.
    """
    endpoint = reading.endpoint
    start, end = reading.start, reading.end
    longest = endpoint.sizing.longest_lookback()
    lookback = lookback if longest is None else min(lookback, longest)
    if reading.is_aggregate:  # whole intervals; an event has no length
        start, end = timestamps.floor_to(start, endpoint.step), timestamps.ceil_to(end, endpoint.step)
        # Whole steps back from the saved cursor, where one of the vendor's intervals ends: weeks may begin on Mondays.
        lookback = timestamps.ceil_to(lookback, endpoint.step)
    groups: dict[tuple[tuple[Slice, ...], tuple[Output, ...]], list[Partition]] = {}
    for partition in partitions:
        progresses = {output: states[output.stream].of(output.state_partition(partition)) for output in reading.outputs}
        missing = (part for progress in progresses.values() for part in progress.saved.missing(start, end))
        reading.missing[partition] = Slices.of(missing)
        unread = {output: progress.todo(start, end, lookback) for output, progress in progresses.items()}
        if reading.is_aggregate:  # before they are grouped: otherwise two groups could share a step
            unread = {output: _whole_steps(slices, endpoint.step) for output, slices in unread.items()}
        for outputs, slices in _by_outputs(unread).items():
            groups.setdefault((slices.ranges, outputs), []).append(partition)
    all_gaps = [
        Gap(reading, batch, outputs, list(ranges))
        for (ranges, outputs), members in sorted(groups.items(), key=lambda group: group[0][0])
        for batch in endpoint.batches(members, ranges[0][0], ranges[-1][1])
    ]
    of_own_stream = [gap for gap in all_gaps if any(not output.mapper for output in gap.outputs)]
    reading.rows_expected = known_rows(endpoint, reachable(of_own_stream))
    return all_gaps


def reachable(gaps: Iterable[Gap]) -> list[Span]:
    """The parts of gaps that the key may read, by what is known before the first request."""
    spans = []
    for gap in gaps:
        first = gap.reading.reach.first_available or gap.ranges[0][0]
        spans += [Span(gap.partitions, *part) for part in Slices.of(gap.ranges).within(first, gap.ranges[-1][1])]
    return spans


def known_rows(endpoint: Endpoint, spans: Iterable[Span]) -> int | None:
    """How many rows the vendor has for some spans: `rows_per_step` for each interval; None for events."""
    if endpoint.rows_per_step is None:
        return None
    return sum(span.total_time for span in spans) // endpoint.step * endpoint.rows_per_step


def _whole_steps(slices: Slices, step: int) -> Slices:
    return Slices.of((timestamps.floor_to(start, step), timestamps.ceil_to(end, step)) for start, end in slices)


def _by_outputs(unread: Mapping[Output, Slices]) -> dict[tuple[Output, ...], Slices]:
    """What is unread by exactly the same outputs. These ranges do not overlap, so no time is requested twice."""
    bounds = sorted({bound for slices in unread.values() for part in slices for bound in part})
    by_outputs: dict[tuple[Output, ...], list[Slice]] = {}
    for part in pairwise(bounds):
        outputs = tuple(output for output, slices in unread.items() if slices.within(*part).ranges)
        if outputs:
            by_outputs.setdefault(outputs, []).append(part)
    return {outputs: Slices.of(parts) for outputs, parts in by_outputs.items()}
