"""From a configuration and saved state to what has to be read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from source_liquidations import coverage, timestamps
from source_liquidations.config import Config
from source_liquidations.coverage import COVERAGE
from source_liquidations.reading.checkpoints import StreamState
from source_liquidations.reading.endpoint import Endpoint, Partition, Span
from source_liquidations.reading.pages import Output
from source_liquidations.reading.scheduler import Planned, Reading
from source_liquidations.streams import Stream
from source_liquidations.vendors.vendor import Shared, Vendor


def configured_vendors(config: Config, shared: Shared) -> list[Vendor]:
    return [vendor(section, shared) for vendor, section in config.vendors.items()]


def streams(config: Config) -> list[Stream]:
    """The streams of the configured vendors, the unified ones that they feed, each once, and the coverage of all."""
    own = [stream for vendor in config.vendors for stream in vendor.streams]
    unified = [stream for vendor, section in config.vendors.items() for stream in vendor.unified_streams(section)]
    return [*own, *dict.fromkeys(unified), COVERAGE]


def readings(config: Config, vendors: Sequence[Vendor], states: Mapping[str, StreamState]) -> list[Reading]:
    """One reading per endpoint that feeds a selected stream."""
    found = []
    for vendor in vendors:
        for feed in vendor.feeds():
            outputs = [Output(feed.stream)] if feed.stream in states else []
            outputs += [
                Output(stream, mapper, vendor.name, in_passing=stream == COVERAGE.name)
                for stream, mapper in feed.mappers.items()
                if stream in states
            ]
            if outputs:
                plan: Callable[[Sequence[Partition]], list[Planned]] = partial(
                    _plan, config, feed.endpoint, outputs, states
                )
                found.append(Reading(feed.endpoint, tuple(outputs), plan))
    return found


def coverage_rows(vendors: Sequence[Vendor], found: Sequence[Reading]) -> list[bytes]:
    """What the vendors document, and what these readings saw."""
    periods = [period for vendor in vendors for period in vendor.coverage]
    return coverage.rows([*periods, *(seen for reading in found for seen in reading.endpoint.observations)])


def _plan(
    config: Config,
    endpoint: Endpoint,
    outputs: Sequence[Output],
    states: Mapping[str, StreamState],
    partitions: Sequence[Partition],
) -> list[Planned]:
    """Partitions with the same start for the same streams go together; the endpoint says how many at once.

    Those that are furthest behind come first, so that a sync that ends early leaves none behind for good.
    A stream whose partition has another position than its sibling's is read for itself.
    """
    end = timestamps.ceil_to(config.end, endpoint.step)
    settled = timestamps.floor_to(config.end, endpoint.step) - endpoint.settling
    lookback = config.lookback
    if endpoint.longest_lookback is not None:
        lookback = min(lookback, endpoint.longest_lookback)
    # A bucket that began before start_date and reaches into it is wanted; an event before it is not.
    since = config.start if endpoint.rows_per_step is None else None
    groups: dict[tuple[int, tuple[Output, ...]], list[Partition]] = {}
    for partition in partitions:
        starts: dict[int, list[Output]] = {}
        for output in outputs:
            saved = states[output.stream].position(output.state_partition(partition))
            start = config.start if saved is None else max(config.start, min(saved, config.end) - lookback)
            starts.setdefault(timestamps.floor_to(start, endpoint.step), []).append(output)
        for start, together in starts.items():
            if start < end:
                groups.setdefault((start, tuple(together)), []).append(partition)
    return [
        Planned(Span(batch, start, end), settled, together, since, config.end)
        for (start, together), members in sorted(groups.items(), key=lambda group: group[0][0])
        for batch in endpoint.batches(members, start, end)
    ]
