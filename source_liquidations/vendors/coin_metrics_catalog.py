"""Coin Metrics: which markets have liquidations, from when to when, and what their contracts are.

Pages: https://docs.coinmetrics.io/api/v4, "catalog-v2/market-liquidations" and "reference-data/markets".
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.coverage import Kind, Period
from source_liquidations.coverage import rows as coverage_rows
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition, Rows, Span
from source_liquidations.symbols import exchange
from source_liquidations.vendors.coin_metrics_calls import PAGE_SIZE, Body, catalog, following
from source_liquidations.vendors.decoding import Fields, RowDecoder
from source_liquidations.vendors.listing import ListedDate, Listing, Unread

logger = logging.getLogger("airbyte")

# A market without a liquidation for so long counts as ended.
_LATELY = 30 * timestamps.DAY

REFERENCE = "/v4/reference-data/markets"


class CatalogRow(msgspec.Struct):
    market: str
    min_time: Unread = msgspec.UNSET
    max_time: Unread = msgspec.UNSET


class ReferenceRow(msgspec.Struct):
    market: str
    exchange: Unread = msgspec.UNSET
    type: Unread = msgspec.UNSET
    base: Unread = msgspec.UNSET
    quote: Unread = msgspec.UNSET
    pair: Unread = msgspec.UNSET
    symbol: Unread = msgspec.UNSET
    size_asset: Unread = msgspec.UNSET
    margin_asset: Unread = msgspec.UNSET
    contract_size: Unread = msgspec.UNSET
    tick_size: Unread = msgspec.UNSET
    status: Unread = msgspec.UNSET
    listing: Unread = msgspec.UNSET
    expiration: Unread = msgspec.UNSET
    settlement_price: Unread = msgspec.UNSET
    order_amount_increment: Unread = msgspec.UNSET
    order_amount_min: Unread = msgspec.UNSET
    order_amount_max: Unread = msgspec.UNSET
    order_price_increment: Unread = msgspec.UNSET
    order_price_min: Unread = msgspec.UNSET
    order_price_max: Unread = msgspec.UNSET
    order_size_min: Unread = msgspec.UNSET
    order_taker_fee: Unread = msgspec.UNSET
    order_maker_fee: Unread = msgspec.UNSET


_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class LiquidationMarkets(Listing):
    """The catalog's rows, each with the members of its market's reference data behind its own.

    The catalog, the smaller of the two lists, is held; the reference data pass by page after page. A market of the
    catalog that they do not have comes last, as the catalog has it.
    """

    page_size = int(PAGE_SIZE)

    def __init__(self, client: Client) -> None:
        super().__init__("coin_metrics", client)
        name = "coin_metrics_liquidation_markets"
        own = {field.encode_name for row in (CatalogRow, ReferenceRow) for field in msgspec.structs.fields(row)}
        fields = Fields(name, own)
        self._catalog_decoder = RowDecoder(name, Body, CatalogRow, fields=fields)
        self._reference_decoder = RowDecoder(name, Body, ReferenceRow, fields=fields)
        self._catalog: dict[str, msgspec.Raw] = {}

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        for page in catalog(self.client, "market-liquidations", (), self._decode_catalog, traffic):
            self._catalog.update(page)
        if not self._catalog:
            logger.info("coin_metrics: the catalog has no market with liquidations for this key")
            return []
        return super().partitions(traffic)

    def _decode_catalog(self, answered: Answered) -> tuple[Body[CatalogRow], dict[str, msgspec.Raw]]:
        body, raw, _ = self._catalog_decoder.decode(answered)
        return body, {row.market: literal for row, literal in zip(body.data, raw, strict=True)}

    def first_page(self) -> Request:
        return Request(REFERENCE, (("type", "future"), ("page_size", PAGE_SIZE)))

    def page(
        self, answered: Answered, request: Request, memory: dict[Any, Any]
    ) -> tuple[list[msgspec.Raw | bytes], Request | None]:
        body, raw, _ = self._reference_decoder.decode(answered)
        after = following(self.client, request, body)
        joined: set[str] = memory.setdefault("joined", set())
        rows: list[msgspec.Raw | bytes] = []
        for row, literal in zip(body.data, raw, strict=True):
            if row.market in self._catalog and row.market not in joined:
                joined.add(row.market)
                rows.append(beside(self._catalog[row.market], literal))
        if after is None:
            rows += [literal for market, literal in self._catalog.items() if market not in joined]
        return rows, after


def beside(row: msgspec.Raw, other: msgspec.Raw) -> bytes:
    """A row with the members of another that it does not have itself; literals stay as written."""
    own = _members(row)
    return _encode({**own, **{name: value for name, value in _members(other).items() if name not in own}})


_catalog_row = msgspec.json.Decoder(CatalogRow)
_min_time, _max_time = (ListedDate("coin_metrics_liquidation_markets", name) for name in ("min_time", "max_time"))


def to_coverage(rows: Rows, span: Span) -> list[bytes]:
    """From when to when the catalog says that each market has liquidations; one that had some lately has not ended."""
    return coverage_rows(
        Period(
            vendor="coin_metrics",
            exchange=exchange(row.market.partition("-")[0]),
            market=row.market,
            kind=kind,
            period_start=at,
            note=note,
            source="catalog-v2/market-liquidations",
        )
        for row in map(_catalog_row.decode, rows.raw)
        for kind, at, note in _bounds(row, span.end)
    )


def _bounds(row: CatalogRow, now: int) -> Iterable[tuple[Kind, str, str]]:
    first, last = _min_time.read(row.min_time, row.market), _max_time.read(row.max_time, row.market)
    if first is not None:
        yield "starts", timestamps.format_shortest(first), "first liquidation"
    if last is not None and last < now - _LATELY:
        yield "ends", timestamps.format_shortest(last), "last liquidation so far"
