"""Coin Metrics: the markets with liquidations, with their first and last liquidation, and their contract sizes.

Pages: https://docs.coinmetrics.io/api/v4, "catalog-v2/market-liquidations" and "reference-data/markets". The latter's
`contract_size` counts units of `size_asset`: the base asset of a linear contract, the quote asset of an inverse one.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.errors import LiquidationsError, RequestRefused, first_few
from source_liquidations.http.client import Client, Request
from source_liquidations.http.redaction import redact
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Partition
from source_liquidations.reading.pages import members_of, merged
from source_liquidations.streams import Stream
from source_liquidations.symbols import DOLLARS, asset, assets_of, exchange
from source_liquidations.vendors.coin_metrics.calls import PAGE_SIZE, Body, Catalog, batched, next_request
from source_liquidations.vendors.contract_sizes import Contract
from source_liquidations.vendors.decoding import Fields, Page, RowDecoder
from source_liquidations.vendors.listing import DateReader, Entry, ListedPeriod, Listing, coverage_of, rows_of

STREAM = Stream("coin_metrics_liquidation_markets", ("market",), declared_in=__name__)
# A market without a liquidation for this long counts as ended.
_ENDED_AFTER = 30 * timestamps.DAY


def _reference(name: str, value: str) -> Request:
    return Request("/v4/reference-data/markets", ((name, value), ("page_size", PAGE_SIZE)))


FUTURES = _reference("type", "future")


class ReferenceRow(msgspec.Struct):
    """The fields that are used here. Only the market is certain to be text."""

    market: str
    base: Any = None
    quote: Any = None
    size_asset: Any = None
    contract_size: msgspec.Raw = numbers.NULL


def contract_of(row: ReferenceRow) -> Contract | None:
    """None if the reference data do not have it."""
    try:
        size = float(numbers.literal_of(row.contract_size))
    except ValueError:
        return None
    if size <= 0 or not isinstance(row.size_asset, str) or row.size_asset not in (row.base, row.quote):
        return None
    is_inverse = row.size_asset != row.base
    code, _, symbol = row.market.partition("-")
    if not is_inverse:
        size /= _multiple(assets_of(symbol.removesuffix("-future"), code)[0], row.base, size)
    return Contract(size, is_inverse, isinstance(row.quote, str) and asset(row.quote) in DOLLARS)


def _multiple(counted: str | None, base: str, size: float) -> int:
    """How many units of the base asset the market's symbol prices as one: 1000SHIBUSDT has the price of 1,000 SHIB."""
    match = re.fullmatch(rf"(10+|1m)?{re.escape(asset(base))}(10+)?", counted or "")  # 1MBABYDOGE counts millions
    multiple = int((match[1] or match[2] or "1").replace("m", "0" * 6)) if match else 1
    return multiple if size % multiple == 0 else 1


class Contracts:
    """The contracts of a sync's markets, requested once."""

    def __init__(self, client: Client) -> None:
        self._list = Listing(client, FUTURES, RowDecoder(Body, ReferenceRow), partial(next_request, client))
        self.by_market: dict[str, Contract] = {}

    def prepare(self, partitions: Sequence[Partition], traffic: Traffic) -> None:
        """Request the contracts of these markets. Missing ones are logged, and do not stop the sync.

        The vendor may refuse the whole call for one unknown market. All futures are then listed instead.
        """
        markets = {partition["market"] for partition in partitions}
        batches = batched(partitions, "market", int(PAGE_SIZE))
        requests = [_reference("markets", ",".join(partition["market"] for partition in batch)) for batch in batches]
        reason = ""
        while requests:
            request = requests.pop()
            try:
                for row, _ in rows_of(self._list, traffic, request):
                    if row.market in markets and (contract := contract_of(row)):
                        self.by_market[row.market] = contract
            except LiquidationsError as error:
                reason = f" ({redact(error.cause)})"
                is_unknown_market = isinstance(error, RequestRefused) and error.status in {400, 404}
                requests = [FUTURES] if is_unknown_market and request != FUTURES else []
        if missing := sorted(markets - self.by_market.keys()):
            logger.warning(
                "coin_metrics: the reference data have no contract size of %s%s: amount_base and notional_usd are"
                " null there",
                first_few(missing),
                reason,
            )


class CatalogRow(msgspec.Struct):
    market: str
    min_time: msgspec.Raw = numbers.NULL
    max_time: msgspec.Raw = numbers.NULL


class LiquidationMarkets(Listing):
    """The catalog's rows, each with those members of its market's reference data that it lacks.

    The catalog is the smaller list, so it is held in memory while the reference data are read page by page. Markets
    without reference data come last, as the catalog has them.
    """

    def __init__(self, client: Client) -> None:
        fields = Fields(STREAM)  # the two lists make one row
        super().__init__(client, FUTURES, RowDecoder(Body, ReferenceRow, fields), partial(next_request, client))
        self._catalog_list = Catalog(client, "market-liquidations", RowDecoder(Body, CatalogRow, fields))
        self._catalog: dict[str, Entry] = {}

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        self._catalog = {row.market: (row, literal) for row, literal in self._catalog_list.rows(traffic)}
        if not self._catalog:
            logger.info("coin_metrics: the catalog shows no market with liquidations")
            return []
        return super().partitions(traffic)

    def entries(self, page: Page[Any], request: Request, memory: dict[Any, Any]) -> tuple[list[Entry], Request | None]:
        reference, next_request = super().entries(page, request, memory)
        unmatched: dict[str, Entry] = memory.setdefault("unmatched", dict(self._catalog))
        entries: list[Entry] = []
        for reference_row, reference_literal in reference:
            if reference_row.market in unmatched:
                row, literal = unmatched.pop(reference_row.market)
                entries.append((row, merged(literal, members_of(reference_literal))))
        return (entries if next_request else [*entries, *unmatched.values()]), next_request


def _periods_of(row: CatalogRow, date: DateReader, end: int) -> Iterator[ListedPeriod]:
    """A market's first liquidation, and its last one if the market has ended."""
    code = exchange(row.market.partition("-")[0])
    first, last = date(row, "min_time", row.market), date(row, "max_time", row.market)
    yield code, row.market, "starts", first, "first liquidation"
    if last is not None and last < end - _ENDED_AFTER:
        yield code, row.market, "ends", last, "last liquidation so far"


to_coverage = partial(coverage_of, "coin_metrics", STREAM, "catalog-v2/market-liquidations", _periods_of)
