"""`liquidation_coverage`: which periods the data cover, so that "no liquidations" and "not known" can be distinguished.

Rows have three sources: what vendors document (dated lists in their files), their catalogs (mappers beside the lists),
and what this sync found (refused history, results cut off by a plan).
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
    """One row: a period in a vendor's data of an exchange and a market, and what kind of period it is.

    `period_start` is inclusive; `period_end` is exclusive, and None if open. `starts` and `ends` are instants.
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
    encoded = []
    for period in dict.fromkeys(periods):
        instants = {"period_start": period.period_start, "period_end": period.period_end}
        texts = {name: at if at is None else timestamps.format_shortest(at) for name, at in instants.items()}
        encoded.append(encode({**period._asdict(), **texts}))
    return Table(len(encoded), (encoded,))


def throttled_at_binance(vendor: str) -> tuple[Period, ...]:
    """The limit of Binance's own feed, for a vendor that does not say how it gets Binance's liquidations."""
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
