"""Coin Metrics: what one contract of a market is, and so what its liquidations are worth.

Page: https://docs.coinmetrics.io/api/v4, "reference-data/markets": `contract_size` counts units of `size_asset`, which
is the base asset of a linear contract, and the quote asset of an inverse one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import LiquidationsError, RequestRefused, some_of
from source_liquidations.http.client import Client, Request
from source_liquidations.http.redaction import redact
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Partition
from source_liquidations.symbols import DOLLARS, asset, assets_of
from source_liquidations.vendors.coin_metrics.calls import PAGE_SIZE, Body, batched, following
from source_liquidations.vendors.contract_sizes import Columns, Contract, columns
from source_liquidations.vendors.decoding import RowDecoder
from source_liquidations.vendors.listing import Listing, rows_of

PATH = "/v4/reference-data/markets"
_MOST_REFUSALS_IN_A_ROW = 30  # more are of no single market


class Row(msgspec.Struct):
    """As far as it is needed here. Only the market is certain to be text."""

    market: str
    base: Any = None
    quote: Any = None
    size_asset: Any = None
    contract_size: msgspec.Raw = numbers.NULL


def contract_of(row: Row) -> Contract | None:
    """None where the reference data do not say."""
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
    """How many units of the base the market's own name counts as one: 1000SHIBUSDT has the price of 1,000 SHIB."""
    found = re.fullmatch(rf"(10+|1m)?{re.escape(asset(base))}(10+)?", counted or "")  # 1MBABYDOGE counts millions
    multiple = int((found[1] or found[2] or "1").replace("m", "0" * 6)) if found else 1
    return multiple if size % multiple == 0 else 1


class Contracts:
    """The contracts of a sync's markets, asked for once."""

    def __init__(self, client: Client) -> None:
        self._list = Listing("coin_metrics", client, Request(PATH), RowDecoder(Body, Row), partial(following, client))
        self._known: dict[str, Contract] = {}

    def prepare(self, partitions: Sequence[Partition], traffic: Traffic) -> None:
        """Ask for the contracts of these markets. A missing one is logged once, and stops nothing."""
        batches = batched(partitions, "market", int(PAGE_SIZE))
        refusal = self._ask([[partition["market"] for partition in batch] for batch in batches], traffic)
        why = f" ({redact(refusal.cause)})" if refusal else ""
        missing = [partition["market"] for partition in partitions if partition["market"] not in self._known]
        if missing:
            logger.warning(
                "coin_metrics: the reference data have no contract size of %s%s: amount_base and notional_usd are"
                " null there",
                some_of(missing),
                why,
            )

    def _ask(self, batches: list[list[str]], traffic: Traffic) -> LiquidationsError | None:
        """Take what the vendor has of these markets. Returns why it does not have all of them.

        One unknown market may have the whole call refused. So halves are asked for, until it is alone.
        """
        refusal: LiquidationsError | None = None
        refusals_in_a_row = 0
        while batches:
            markets = batches.pop()
            request = Request(PATH, (("markets", ",".join(markets)), ("page_size", PAGE_SIZE)))
            try:
                for row, _ in rows_of(self._list, traffic, request):
                    if found := contract_of(row):
                        self._known[row.market] = found
                refusals_in_a_row = 0
            except LiquidationsError as error:
                refusal = error
                refusals_in_a_row += 1
                is_of_a_market = isinstance(error, RequestRefused) and error.status in {400, 404}
                if not is_of_a_market or refusals_in_a_row == _MOST_REFUSALS_IN_A_ROW:
                    break
                if half := len(markets) // 2:
                    batches += [markets[half:], markets[:half]]
        return refusal

    def columns(self, markets: Sequence[str], amounts: Sequence[Any], prices: Sequence[Any]) -> Columns:
        """What the amounts, in contracts, come to; all three are a page's rows, in its order."""
        return columns(self._known, markets, amounts, prices)
