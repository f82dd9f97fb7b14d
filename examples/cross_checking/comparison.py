"""One market and day, vendor beside vendor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import duckdb

from cross_checking.matching import Gap, Merged, Tolerance, gaps, merge
from cross_checking.rows import DAY, HOUR, CannotCompare, Listed, Market, has, listed, nanoseconds
from cross_checking.sums import sums


@dataclass(frozen=True)
class Comparison:
    """One market and day."""

    market: Market
    day: date
    vendors: list[Listed]
    merged: list[Merged]
    gaps: list[Gap]
    sums: dict[int, float]  # Kiyotaka's US dollars by hour of the day
    known: dict[Gap, list[str]] | None  # what liquidation_coverage says of each gap; None where it was not synced

    @property
    def names(self) -> list[str]:
        return [one.vendor for one in self.vendors]

    def hour(self, at: int) -> int:
        """Of the day, of an event's time."""
        return (at - nanoseconds(self.day)) // HOUR

    def hours_of_gap(self, gap: Gap) -> tuple[float, float]:
        """From the last event that the vendor has before it to the first after it, in hours of the day."""
        start = nanoseconds(self.day)
        own = [one.at for one in self.merged if gap.vendor in one.usd]
        before = max((at for at in own if at < gap.first), default=start)
        after = min((at for at in own if at > gap.last), default=start + DAY)
        return (before - start) / HOUR, (after - start) / HOUR

    def by_hour(self, vendor: str) -> dict[int, tuple[int, float]]:
        """Number of events and US dollars of each hour that has any."""
        found: dict[int, tuple[int, float]] = {}
        for one in self.merged:
            if vendor in one.usd:
                hour = self.hour(one.at)
                count, usd = found.get(hour, (0, 0.0))
                found[hour] = count + 1, usd + one.usd[vendor]
        return found


def compare(
    connection: duckdb.DuckDBPyConnection,
    market: str,
    day: str,
    *,
    tolerance: Tolerance | None = None,
    ids: Mapping[str, str] | None = None,
) -> Comparison:
    """Raises CannotCompare where fewer than two vendors have rows of it."""
    tolerance = tolerance or Tolerance()
    which, when = Market.parse(market), _date(day)
    vendors = listed(connection, which, when, ids or {})
    merged = merge(vendors, tolerance)
    found = gaps(merged, [one.vendor for one in vendors], tolerance)
    markets = {one.vendor: one.market for one in vendors}
    known = None
    if has(connection, "liquidation_coverage"):
        known = {gap: _documented(connection, which.exchange, markets[gap.vendor], gap) for gap in found}
    return Comparison(which, when, vendors, merged, found, sums(connection, which, when), known)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CannotCompare(f"{text!r} is no day: write YYYY-MM-DD, e.g. 2025-10-10.") from None


def _documented(connection: duckdb.DuckDBPyConnection, exchange: str, market: str, gap: Gap) -> list[str]:
    """Notes of liquidation_coverage on data that are missing, of the vendor and the time of a gap."""
    found = connection.execute(
        "SELECT DISTINCT kind || ': ' || note || ' (' || source || ')' FROM liquidation_coverage "
        "WHERE vendor = $vendor AND exchange IN ($exchange, 'all') AND market IN ($market, 'all') AND CASE kind "
        "WHEN 'starts' THEN epoch_ns(period_start::TIMESTAMPTZ) > $last "
        "WHEN 'ends' THEN epoch_ns(period_start::TIMESTAMPTZ) < $first "
        "WHEN 'throttled' THEN false "
        "ELSE epoch_ns(period_start::TIMESTAMPTZ) <= $last "
        "AND (period_end IS NULL OR epoch_ns(period_end::TIMESTAMPTZ) > $first) END",
        {"vendor": gap.vendor, "exchange": exchange, "market": market, "first": gap.first, "last": gap.last},
    ).fetchall()
    return [note for (note,) in found]
