"""From a configuration and saved state to what has to be read."""

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
    """The streams of the configured vendors, the unified ones that they feed, each once, and the coverage of all."""
    feeds = [feed for vendor in vendors for feed in vendor.cached_feeds]
    unified = dict.fromkeys(stream for feed in feeds for stream in feed.mappers if stream != COVERAGE)
    return [*(feed.stream for feed in feeds), *unified, COVERAGE]


def readings(config: Config, vendors: Sequence[Vendor], states: Mapping[str, StreamState]) -> list[Reading]:
    """One reading per endpoint that feeds a selected stream."""
    found = []
    for vendor in vendors:
        for feed in vendor.cached_feeds:
            unified = [Output(stream.name, mapper, vendor.name) for stream, mapper in feed.mappers.items()]
            outputs = [output for output in (Output(feed.stream.name), *unified) if output.stream in states]
            if outputs:
                plan = partial(gaps, states=states, lookback=config.lookback)
                prepare = feed.prepare if any(output.mapper for output in outputs) else None
                found.append(Reading(feed.endpoint, tuple(outputs), config.start, config.end, plan, prepare))
    return found


def coverage_rows(vendors: Sequence[Vendor], found: Sequence[Reading], *, rolling_start: bool = False) -> Table:
    """What the vendors document, and what these readings saw.

    Where start_date is a duration, what is missing from there on is said of all time before: the instant is part of the
    key, and each sync would have another.
    """
    documented = [period for vendor in vendors for period in vendor.coverage]
    seen = [
        period._replace(period_start=0) if rolling_start and _begins(reading, period) else period
        for reading in found
        for period in reading.endpoint.observations
    ]
    return coverage.rows([*documented, *seen])


def _begins(reading: Reading, period: Period) -> bool:
    """Whether a period begins where the reading does."""
    earliest = reading.start - reading.endpoint.step
    return period.period_end is not None and earliest < period.period_start <= reading.start


def gaps(
    reading: Reading, partitions: Sequence[Partition], *, states: Mapping[str, StreamState], lookback: int
) -> list[Gap]:
    """What has to be read of each partition, and for which streams. Partitions with the same gaps go together.

    Those that are furthest behind come first, so that a sync that ends early leaves none behind for good.
    """
    endpoint = reading.endpoint
    start, end = reading.start, reading.end
    longest = endpoint.sizing.longest_lookback()
    lookback = lookback if longest is None else min(lookback, longest)
    if reading.is_aggregate:  # whole intervals; an event has no length
        start, end = timestamps.floor_to(start, endpoint.step), timestamps.ceil_to(end, endpoint.step)
        # From the saved position, which is a bound of the vendor's intervals: a week may begin on a Monday.
        lookback = timestamps.ceil_to(lookback, endpoint.step)
    groups: dict[tuple[tuple[Slice, ...], tuple[Output, ...]], list[Partition]] = {}
    for partition in partitions:
        progress = {output: states[output.stream].of(output.state_partition(partition)) for output in reading.outputs}
        reading.missing[partition] = Slices.of(
            part for one in progress.values() for part in one.saved.missing(start, end)
        )
        wanted = {output: one.todo(start, end, lookback) for output, one in progress.items()}
        for outputs, slices in _apart(wanted).items():
            if reading.is_aggregate:
                step = endpoint.step
                slices = Slices.of((timestamps.floor_to(a, step), timestamps.ceil_to(b, step)) for a, b in slices)
            groups.setdefault((slices.ranges, outputs), []).append(partition)
    found = [
        Gap(reading, batch, outputs, list(ranges))
        for (ranges, outputs), members in sorted(groups.items(), key=lambda group: group[0][0])
        for batch in endpoint.batches(members, ranges[0][0], ranges[-1][1])
    ]
    own = [gap for gap in found if any(not output.mapper for output in gap.outputs)]
    reading.rows_expected = known_rows(endpoint, reachable(own))
    return found


def reachable(gaps: Iterable[Gap]) -> list[Span]:
    """What of some gaps is available, as far as that is known beforehand."""
    return [
        Span(gap.partitions, *part)
        for gap in gaps
        for part in Slices.of(gap.ranges).within(
            gap.reading.reach.first_available or gap.ranges[0][0], gap.ranges[-1][1]
        )
    ]


def known_rows(endpoint: Endpoint, spans: Iterable[Span]) -> int | None:
    """How many rows the vendor has of some spans, where that is known: one for every interval and series."""
    if endpoint.rows_per_step is None:
        return None
    return sum(span.total_time for span in spans) // endpoint.step * endpoint.rows_per_step


def _apart(wanted: Mapping[Output, Slices]) -> dict[tuple[Output, ...], Slices]:
    """What has to be read for all of some streams, and for no other: nothing is requested twice."""
    bounds = sorted({bound for slices in wanted.values() for part in slices for bound in part})
    found: dict[tuple[Output, ...], list[Slice]] = {}
    for part in pairwise(bounds):
        outputs = tuple(output for output, slices in wanted.items() if slices.within(*part).ranges)
        if outputs:
            found.setdefault(outputs, []).append(part)
    return {outputs: Slices.of(parts) for outputs, parts in found.items()}
