"""`liquidation_coverage`: what the data does and does not hold, so that zero and not known can be told apart.

Three sources: what vendors document (dated lists, in their files), what their catalogs say (mappers beside the lists),
and what this sync saw (refused history, results cut off by a plan).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from source_liquidations import timestamps
from source_liquidations.reading.pages import Table
from source_liquidations.streams import Stream

COVERAGE = Stream("liquidation_coverage", ("vendor", "exchange", "market", "kind", "period_start"))

Kind = Literal["starts", "ends", "missing", "under_reported", "throttled"]
ALL = "all"
EVER = "1970-01-01T00:00:00Z"

_encode = msgspec.json.Encoder().encode


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """One row: of this vendor's data of this exchange and market, the period is of this kind.

    `period_start` is inclusive, `period_end` exclusive and None where it is open; `starts` and `ends` are instants.
    """

    vendor: str
    exchange: str = ALL
    market: str = ALL
    kind: Kind
    period_start: str
    period_end: str | None = None
    note: str
    source: str

    @classmethod
    def at(cls, vendor: str, exchange: str, market: str, kind: Kind, start: int, note: str, source: str) -> Period:
        """An instant, in nanoseconds."""
        return cls(
            vendor=vendor,
            exchange=exchange,
            market=market,
            kind=kind,
            period_start=timestamps.format_shortest(start),
            note=note,
            source=source,
        )


def rows(periods: Iterable[Period]) -> Table:
    """Each period once, as JSON."""
    found = [_encode(period) for period in dict.fromkeys(periods)]
    return Table(len(found), (found,))


def observed(vendor: str, exchange: str, market: str, kind: Kind, start: int, end: int | None, note: str) -> Period:
    """What this sync saw of [start, end), nanoseconds; of an instant where there is no end."""
    seen = Period.at(vendor, exchange, market, kind, start, note, "seen by this sync")
    return seen if end is None else msgspec.structs.replace(seen, period_end=timestamps.format_shortest(end))


def throttled_at_binance(vendor: str) -> tuple[Period, ...]:
    """For a vendor that does not say how it gets Binance's liquidations: what holds of the exchange's own feed."""
    note = "at most one liquidation per symbol and second"
    source = "Coin Metrics, Market Level Liquidations, of Binance's API"
    return documented(vendor, source, [("binance", "throttled", "2021-04-27", None, note)])


def documented(
    vendor: str, source: str, table: Sequence[tuple[str, Kind, str, str | None, str]], *, market: str = ALL
) -> tuple[Period, ...]:
    """A vendor's own dated list: rows of exchange, kind, start, end, note; of all its markets, or of one."""
    return tuple(
        Period(
            vendor=vendor,
            exchange=exchange,
            market=market,
            kind=kind,
            period_start=f"{start}T00:00:00Z",
            period_end=f"{end}T00:00:00Z" if end else None,
            note=note,
            source=source,
        )
        for exchange, kind, start, end, note in table
    )
