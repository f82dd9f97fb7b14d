"""Coin Metrics: which markets have liquidations, from when to when, and what their contracts are.

Pages: https://docs.coinmetrics.io/api/v4, "catalog-v2/market-liquidations" and "reference-data/markets".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Partition
from source_liquidations.reading.pages import encode, members_of
from source_liquidations.streams import Stream
from source_liquidations.symbols import exchange
from source_liquidations.vendors.coin_metrics.calls import PAGE_SIZE, Body, Catalog, following
from source_liquidations.vendors.decoding import Fields, Page, RowDecoder, without
from source_liquidations.vendors.listing import DateReader, Entry, ListedPeriod, Listing, coverage_of

STREAM = Stream("coin_metrics_liquidation_markets", ("market",), declared_in=__name__)
REFERENCE = "/v4/reference-data/markets"

# A market without a liquidation for so long counts as ended.
_LATELY = 30 * timestamps.DAY


class CatalogRow(msgspec.Struct):
    market: str
    min_time: msgspec.Raw = numbers.NULL
    max_time: msgspec.Raw = numbers.NULL


class ReferenceRow(msgspec.Struct):
    market: str


class LiquidationMarkets(Listing):
    """The catalog's rows, each with the members of its market's reference data behind its own.

    The catalog, the smaller of the two lists, is held; the reference data pass by page after page. A market of the
    catalog that they do not have comes last, as the catalog has it.
    """

    def __init__(self, client: Client) -> None:
        fields = Fields.of(STREAM)  # both make one row
        request = Request(REFERENCE, (("type", "future"), ("page_size", PAGE_SIZE)))
        decoder = RowDecoder(Body, ReferenceRow, fields)
        super().__init__("coin_metrics", client, request, decoder, partial(following, client))
        self._catalog_list = Catalog(client, "market-liquidations", RowDecoder(Body, CatalogRow, fields))
        self._catalog: dict[str, Entry] = {}

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        self._catalog = {row.market: (row, literal) for row, literal in self._catalog_list.rows(traffic)}
        if not self._catalog:
            logger.info("coin_metrics: the catalog shows no market with liquidations")
            return []
        return super().partitions(traffic)

    def entries(self, page: Page[Any], request: Request, memory: dict[Any, Any]) -> tuple[list[Entry], Request | None]:
        reference, after = super().entries(page, request, memory)
        joined: set[str] = memory.setdefault("joined", set())
        found: list[Entry] = []
        for other, literal in reference:
            if other.market in self._catalog and other.market not in joined:
                joined.add(other.market)
                row, own = self._catalog[other.market]
                found.append((row, beside(own, literal)))
        if after is None:
            found += [entry for market, entry in self._catalog.items() if market not in joined]
        return found, after


def beside(row: msgspec.Raw | bytes, other: msgspec.Raw | bytes) -> bytes:
    """A row with the members of another that it does not have itself; literals stay as written."""
    own = members_of(row)
    return encode({**own, **without(members_of(other), own)})


def _periods_of(row: CatalogRow, date: DateReader, end: int) -> Iterator[ListedPeriod]:
    """From when to when the catalog says that each market has liquidations; one that had some lately has not ended."""
    code = exchange(row.market.partition("-")[0])
    first, last = date(row, "min_time", row.market), date(row, "max_time", row.market)
    yield code, row.market, "starts", first, "first liquidation"
    if last is not None and last < end - _LATELY:
        yield code, row.market, "ends", last, "last liquidation so far"


to_coverage = partial(coverage_of, "coin_metrics", STREAM, "catalog-v2/market-liquidations", _periods_of)
