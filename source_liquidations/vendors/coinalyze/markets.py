"""Coinalyze, GET /future-markets: for its own stream, for patterns, and for what a row does not say of its market."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from source_liquidations.errors import ConfigurationError
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.streams import Stream
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder, as_data
from source_liquidations.vendors.listing import Listing
from source_liquidations.vendors.patterns import is_pattern, matches

STREAM = Stream("coinalyze_markets", ("symbol",), declared_in=__name__)
PATH = "/v1/future-markets"

_SUGGESTED = 3


class MarketRow(msgspec.Struct):
    """As far as its key goes; what else is in a row arrives as it is."""

    symbol: str


class Market(msgspec.Struct):
    """What a market's rows do not say.

    `unit` is what its liquidations are counted in: BASE_ASSET or QUOTE_ASSET.
    """

    symbol: str
    symbol_on_exchange: str | None = None
    exchange: str | None = None
    base_asset: str | None = None
    quote_asset: str | None = None
    unit: str | None = msgspec.field(name="oi_lq_vol_denominated_in", default=None)


class MarketList(Listing):
    """All markets in one array. Delisted ones are not in it."""

    def __init__(self, client: Client) -> None:
        super().__init__("coinalyze", client)
        self._decoder = RowDecoder(ListBody, MarketRow, Fields.of(STREAM))

    def first_page(self) -> Request:
        return Request(PATH)

    def page(self, answered: Answered, request: Request, memory: dict[Any, Any]) -> tuple[list[msgspec.Raw], None]:
        del request, memory
        return self._decoder.decode(as_data(answered)).raw, None


_decoder = msgspec.json.Decoder(ListBody[Market])


def markets(client: Client, traffic: Traffic) -> dict[str, Market]:
    """All markets by symbol."""
    rows = as_data(client.fetch(Request(PATH), traffic)).decoded(_decoder).data or []
    return {row.symbol: row for row in rows}


def matching_markets(known: Mapping[str, Market], entry: str, where: str) -> list[str]:
    """The symbols that an entry of the configuration means. Raises ConfigurationError where there are none."""
    if entry in known:
        return [entry]
    if is_pattern(entry):
        if found := sorted(symbol for symbol in known if matches(entry, symbol)):
            return found
        problem, advice = f"no market of Coinalyze's list matches {entry!r}.", ""
    else:
        problem = f"{entry!r} is not in Coinalyze's list of markets; a delisted market leaves it."
        advice = _suggestion(known, entry)
    raise ConfigurationError(where, problem, advice=f"{advice}Compare it with the stream {STREAM.name}.")


def _suggestion(known: Mapping[str, Market], entry: str) -> str:
    """Symbols that may be meant: the exchange's name of a market is none, and a code is easily mistaken."""
    same = sorted(symbol for symbol, market in known.items() if market.symbol_on_exchange == entry)
    found = same[:_SUGGESTED] or get_close_matches(entry, known, _SUGGESTED)
    return f"Did you mean {' or '.join(found)}? " if found else ""
