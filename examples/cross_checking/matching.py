"""Which vendor's event is which other vendor's, and what each lacks.

Two events match where their times are no further apart than the tolerance, their sizes are the same but for a small
part (or by one contract, where a contract is worth a fixed sum), and their sides do not contradict each other. Each
event matches one of every other vendor at most; of several that would do, the nearest in time, to the millisecond that
all vendors tell, then in size.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cross_checking.rows import MILLISECOND, SECOND, Event, Listed


@dataclass(frozen=True)
class Tolerance:
    """`seconds` between two reports of one liquidation, and how far sizes may differ, as a part of the larger one.

    A vendor has a gap, rather than lacks an event now and then, where `gap` or more in a row are not there.
    """

    seconds: float = 1.0
    size: float = 0.001
    gap: int = 10


@dataclass
class Merged:
    """One liquidation as the vendors together tell it; US dollars by vendor."""

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
    """Liquidations in a row that `witnesses` have and `vendor` has not, from the first to the last of them."""

    vendor: str
    witnesses: tuple[str, ...]
    first: int
    last: int
    events: int
    usd: float


def merge(vendors: Sequence[Listed], tolerance: Tolerance) -> list[Merged]:
    """All vendors' events, each once, in order of time."""
    merged: list[Merged] = []
    step = max(listed.step for listed in vendors)
    for listed in vendors:
        matches = dict(_matches(merged, listed.events, tolerance, step))
        for number, event in enumerate(listed.events):
            if number in matches:
                found = merged[matches[number]]
                found.usd[listed.vendor] = event.usd
                found.side = found.side or event.side
            else:
                merged.append(Merged(event.at, event.side, event.size, {listed.vendor: event.usd}))
        merged.sort(key=lambda one: one.at)
    return merged


def _matches(
    merged: Sequence[Merged], events: Sequence[Event], tolerance: Tolerance, step: float
) -> Iterator[tuple[int, int]]:
    """Pairs of places: of an event, and of what it is one with."""
    times = [one.at for one in merged]
    reach = round(tolerance.seconds * SECOND)
    candidates = []
    for number, event in enumerate(events):
        for place in range(bisect_left(times, event.at - reach), bisect_left(times, event.at + reach + 1)):
            other = merged[place]
            apart = abs(event.size - other.size)
            contradict = event.side and other.side and event.side != other.side
            if not contradict and apart <= max(step, tolerance.size * max(event.size, other.size)):
                candidates.append((abs(event.at - other.at) // MILLISECOND, apart, number, place))
    taken: set[int] = set()
    matched: set[int] = set()
    for _, _, number, place in sorted(candidates):
        if number not in matched and place not in taken:
            matched.add(number)
            taken.add(place)
            yield number, place


def gaps(merged: Sequence[Merged], vendors: Sequence[str], tolerance: Tolerance) -> list[Gap]:
    """Where a vendor has nothing while the others agree that there was something; the largest first.

    Of three vendors or more, only what two others have counts.
    """
    found = [gap for vendor in vendors for gap in _gaps_of(vendor, merged, vendors, tolerance)]
    return sorted(found, key=lambda gap: -gap.usd)


def _gaps_of(vendor: str, merged: Sequence[Merged], vendors: Sequence[str], tolerance: Tolerance) -> Iterator[Gap]:
    run: list[Merged] = []
    for one in [*merged, None]:
        if one is not None and vendor not in one.usd:
            if attested(one, vendors):
                run.append(one)
            continue
        if len(run) >= tolerance.gap and run[-1].at - run[0].at > tolerance.seconds * SECOND:
            witnesses = tuple(other for other in vendors if sum(other in event.usd for event in run) > len(run) / 2)
            yield Gap(vendor, witnesses, run[0].at, run[-1].at, len(run), sum(event.value for event in run))
        run = []


def attested(one: Merged, vendors: Sequence[str]) -> bool:
    """Whether so many vendors have it that one who has not lacks it."""
    return len(one.usd) >= min(2, len(vendors) - 1)
