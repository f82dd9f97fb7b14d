"""Coinalyze, GET /future-markets: for its own stream, for patterns, and for columns that rows lack.

And GET /exchanges: the exchanges' names by the vendor's own codes. The list may grow, so no code is written here.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from source_liquidations.errors import ConfigurationError
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.streams import Stream
from source_liquidations.symbols import exchange
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder
from source_liquidations.vendors.listing import Listing, rows_of
from source_liquidations.vendors.patterns import is_pattern, matching_names

STREAM = Stream("coinalyze_markets", ("symbol",), declared_in=__name__)
PATH = "/v1/future-markets"
EXCHANGES = "/v1/exchanges"

_SUGGESTED = 3


class Market(msgspec.Struct):
    """One market. Only the symbol is certain to be text.

    `unit` is the asset that its liquidations count: BASE_ASSET or QUOTE_ASSET.
    """

    symbol: str
    symbol_on_exchange: Any = None
    exchange: Any = None
    base_asset: Any = None
    quote_asset: Any = None
    unit: Any = msgspec.field(name="oi_lq_vol_denominated_in", default=None)


class ExchangeRow(msgspec.Struct):
    name: str
    code: str


def market_list(client: Client, fields: Fields | None = None) -> Listing:
    """All markets, in one array. Delisted markets are not in it."""
    return Listing(client, Request(PATH), RowDecoder(ListBody, Market, fields))


def markets(client: Client, traffic: Traffic) -> dict[str, Market]:
    return {row.symbol: row for row, _ in rows_of(market_list(client), traffic)}


def exchanges(client: Client, traffic: Traffic) -> dict[str, str]:
    """The exchanges by code, as the unified streams spell them: `A` is `binance`."""
    listing = Listing(client, Request(EXCHANGES), RowDecoder(ListBody, ExchangeRow))
    return {row.code: exchange(row.name.lower()) for row, _ in rows_of(listing, traffic)}


def matching_markets(listed: Mapping[str, Market], entry: str, where: str) -> list[str]:
    """The symbols that match an entry of the configuration. Raises ConfigurationError if none does."""
    if entry in listed:
        return [entry]
    advice = f"Compare it with the stream {STREAM.name}."
    if is_pattern(entry):
        return sorted(matching_names(entry, listed, where, "market of Coinalyze's list", advice))
    raise ConfigurationError(
        where,
        f"{entry!r} is not in Coinalyze's list of markets. The list has no delisted markets.",
        advice=_suggestion(listed, entry) + advice,
    )


def _suggestion(listed: Mapping[str, Market], entry: str) -> str:
    """Similar symbols: users often enter the exchange's own symbol, or a wrong code of the exchange."""
    same = sorted(symbol for symbol, market in listed.items() if market.symbol_on_exchange == entry)
    similar = same[:_SUGGESTED] or get_close_matches(entry, listed, _SUGGESTED)
    return f"Did you mean {' or '.join(similar)}? " if similar else ""
