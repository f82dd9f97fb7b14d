"""Matches the vendors' events, and finds what each vendor lacks.

Two events match if their times differ by no more than the tolerance, their sizes are nearly equal (or differ by one
contract, if a contract is worth a fixed amount), and their sides do not contradict each other. Each event matches at
most one event of every other vendor: the nearest in time, in whole milliseconds (the precision of all vendors), then
in size.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cross_checking.rows import MILLISECOND, SECOND, Event, VendorEvents


@dataclass(frozen=True)
class Tolerance:
    """`seconds`: between two reports of one liquidation. `size`: relative difference, as a part of the larger size.

    `gap`: a vendor has a gap if it lacks at least this many liquidations in a row.
    """

    seconds: float = 1.0
    size: float = 0.001
    gap: int = 10


@dataclass
class Merged:
    """One liquidation, merged from the vendors' reports. `usd`: US dollars by vendor."""

    at: int
    side: str | None
    size: float
    usd: dict[str, float]

    @property
    def value(self) -> float:
        """US dollars, of the first vendor that has it."""
        return next(iter(self.usd.values()))


@dataclass(frozen=True)
class Gap:
    """Liquidations in a row, from `first` to `last`, that `witnesses` have and `vendor` lacks."""

    vendor: str
    witnesses: tuple[str, ...]
    first: int
    last: int
    events: int
    usd: float


def merge(vendors: Sequence[VendorEvents], tolerance: Tolerance) -> list[Merged]:
    """All vendors' events, each once, in order of time."""
    merged: list[Merged] = []
    step = max(vendor.step for vendor in vendors)
    for vendor in vendors:
        matches = dict(_matches(merged, vendor.events, tolerance, step))
        for number, event in enumerate(vendor.events):
            if number in matches:
                match = merged[matches[number]]
                match.usd[vendor.name] = event.usd
                match.side = match.side or event.side
            else:
                merged.append(Merged(event.at, event.side, event.size, {vendor.name: event.usd}))
        merged.sort(key=lambda event: event.at)
    return merged


def _matches(
    merged: Sequence[Merged], events: Sequence[Event], tolerance: Tolerance, step: float
) -> Iterator[tuple[int, int]]:
    """Pairs of an event's index and the index of its match in `merged`."""
    times = [event.at for event in merged]
    reach = round(tolerance.seconds * SECOND)
    candidates = []
    for number, event in enumerate(events):
        for place in range(bisect_left(times, event.at - reach), bisect_left(times, event.at + reach + 1)):
            other = merged[place]
            apart = abs(event.size - other.size)
            contradict = event.side and other.side and event.side != other.side
            if not contradict and apart <= max(step, tolerance.size * max(event.size, other.size)):
                candidates.append((abs(event.at - other.at) // MILLISECOND, apart, number, place))
    matched_places: set[int] = set()
    matched_numbers: set[int] = set()
    for _, _, number, place in sorted(candidates):
        if number not in matched_numbers and place not in matched_places:
            matched_numbers.add(number)
            matched_places.add(place)
            yield number, place


def gaps(merged: Sequence[Merged], vendors: Sequence[str], tolerance: Tolerance) -> list[Gap]:
    """The gaps of each vendor, the largest first. With three vendors or more, a gap needs two witnesses."""
    all_gaps = [gap for vendor in vendors for gap in _gaps_of(vendor, merged, vendors, tolerance)]
    return sorted(all_gaps, key=lambda gap: -gap.usd)


def _gaps_of(vendor: str, merged: Sequence[Merged], vendors: Sequence[str], tolerance: Tolerance) -> Iterator[Gap]:
    run: list[Merged] = []
    for event in [*merged, None]:
        if event is not None and vendor not in event.usd:
            if attested(event, vendors):
                run.append(event)
            continue
        if len(run) >= tolerance.gap and run[-1].at - run[0].at > tolerance.seconds * SECOND:
            witnesses = tuple(other for other in vendors if sum(other in missing.usd for missing in run) > len(run) / 2)
            usd = sum(missing.value for missing in run)
            yield Gap(vendor, witnesses, run[0].at, run[-1].at, len(run), usd)
        run = []


def attested(event: Merged, vendors: Sequence[str]) -> bool:
    """Whether enough vendors have the event to say that the others lack it."""
    return len(event.usd) >= min(2, len(vendors) - 1)
