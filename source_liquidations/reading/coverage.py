"""`liquidation_coverage`: what the data does and does not hold, so that zero and not known can be told apart.

Three sources: what vendors document (dated lists, in their files), what their catalogs say (mappers beside the lists),
and what this sync saw (refused history, results cut off by a plan).
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from source_liquidations import timestamps
from source_liquidations.reading.pages import Table, encode
from source_liquidations.streams import Stream

COVERAGE = Stream("liquidation_coverage", ("vendor", "exchange", "market", "kind", "period_start"))

Kind = Literal["starts", "ends", "missing", "under_reported", "throttled"]
ALL = "all"


class Period(NamedTuple):
    """One row: of this vendor's data of this exchange and market, the period is of this kind.

    `period_start` is inclusive, `period_end` exclusive and None where it is open; `starts` and `ends` are instants.
    Nanoseconds.
    """

    vendor: str
    exchange: str
    market: str
    kind: Kind
    period_start: int
    period_end: int | None
    note: str
    source: str = "seen by this sync"


def rows(periods: Iterable[Period]) -> Table:
    """Each period once, as JSON."""
    found = []
    for one in dict.fromkeys(periods):
        start, end = (at if at is None else timestamps.format_shortest(at) for at in (one.period_start, one.period_end))
        found.append(encode({**one._asdict(), "period_start": start, "period_end": end}))
    return Table(len(found), (found,))


def throttled_at_binance(vendor: str) -> tuple[Period, ...]:
    """For a vendor that does not say how it gets Binance's liquidations: what holds of the exchange's own feed."""
    note = "at most one liquidation per symbol and second"
    source = "Coin Metrics, Market Level Liquidations, of Binance's API"
    return documented(vendor, source, [("binance", "throttled", "2021-04-27", None, note)])


def documented(vendor: str, source: str, table: Sequence[tuple[str, Kind, str, str | None, str]]) -> tuple[Period, ...]:
    """A vendor's own dated list: rows of exchange, kind, start, end, note."""
    parse = timestamps.parse
    return tuple(
        Period(vendor, exchange, ALL, kind, parse(start), parse(end) if end else None, note, source)
        for exchange, kind, start, end, note in table
    )
