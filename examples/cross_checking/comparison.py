"""One market and day, vendor beside vendor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

import duckdb

from cross_checking.matching import Gap, Merged, Tolerance, gaps, merge
from cross_checking.rows import DAY, HOUR, CannotCompare, Market, VendorEvents, events_of, has_table, nanoseconds
from cross_checking.sums import sums


@dataclass(frozen=True)
class Comparison:
    """One market and day."""

    market: Market
    day: date
    vendors: list[VendorEvents]
    merged: list[Merged]
    gaps: list[Gap]
    sums: dict[int, float]  # Kiyotaka's US dollars by hour of the day
    documented: dict[Gap, list[str]] | None  # notes of liquidation_coverage on each gap; None if it was not synced

    @property
    def names(self) -> list[str]:
        return [vendor.name for vendor in self.vendors]

    def hour(self, at: int) -> int:
        """The hour of the day of an event's time."""
        return (at - nanoseconds(self.day)) // HOUR

    def hours_of_gap(self, gap: Gap) -> tuple[float, float]:
        """From the vendor's last event before the gap to its first one after it, in hours of the day."""
        start = nanoseconds(self.day)
        times = [event.at for event in self.merged if gap.vendor in event.usd]
        before = max((at for at in times if at < gap.first), default=start)
        after = min((at for at in times if at > gap.last), default=start + DAY)
        return (before - start) / HOUR, (after - start) / HOUR

    def by_hour(self, vendor: str) -> dict[int, tuple[int, float]]:
        """Number of events and US dollars of each hour that has any."""
        hours: dict[int, tuple[int, float]] = {}
        for event in self.merged:
            if vendor in event.usd:
                hour = self.hour(event.at)
                count, usd = hours.get(hour, (0, 0.0))
                hours[hour] = count + 1, usd + event.usd[vendor]
        return hours


def compare(
    connection: duckdb.DuckDBPyConnection,
    market: str,
    day: str,
    *,
    tolerance: Tolerance | None = None,
    ids: Mapping[str, str] | None = None,
) -> Comparison:
    """Raises CannotCompare if fewer than two vendors have rows of the market on the day."""
    tolerance = tolerance or Tolerance()
    parsed, parsed_day = Market.parse(market), _date(day)
    vendors = events_of(connection, parsed, parsed_day, ids or {})
    merged = merge(vendors, tolerance)
    all_gaps = gaps(merged, [vendor.name for vendor in vendors], tolerance)
    markets = {vendor.name: vendor.market for vendor in vendors}
    documented = None
    if has_table(connection, "liquidation_coverage"):
        documented = {gap: _documented(connection, parsed.exchange, markets[gap.vendor], gap) for gap in all_gaps}
    return Comparison(parsed, parsed_day, vendors, merged, all_gaps, sums(connection, parsed, parsed_day), documented)


def _date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise CannotCompare(f"{text!r} is not a day: write YYYY-MM-DD, e.g. 2025-10-10.") from None


def _documented(connection: duckdb.DuckDBPyConnection, exchange: str, market: str, gap: Gap) -> list[str]:
    """What liquidation_coverage says about data of the gap's vendor that are missing in the gap."""
    notes = connection.execute(
        "SELECT DISTINCT kind || ': ' || note || ' (' || source || ')' FROM liquidation_coverage "
        "WHERE vendor = $vendor AND exchange IN ($exchange, 'all') AND market IN ($market, 'all') AND CASE kind "
        "WHEN 'starts' THEN epoch_ns(period_start::TIMESTAMPTZ) > $last "
        "WHEN 'ends' THEN epoch_ns(period_start::TIMESTAMPTZ) < $first "
        "WHEN 'throttled' THEN false "
        "ELSE epoch_ns(period_start::TIMESTAMPTZ) <= $last "
        "AND (period_end IS NULL OR epoch_ns(period_end::TIMESTAMPTZ) > $first) END",
        {"vendor": gap.vendor, "exchange": exchange, "market": market, "first": gap.first, "last": gap.last},
    ).fetchall()
    return [note for (note,) in notes]
