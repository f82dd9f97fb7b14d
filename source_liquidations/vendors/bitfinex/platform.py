"""Bitfinex, "Platform Status", "Configs", "Candles": whether it is operative, which pairs there are, and were.

Pages: https://docs.bitfinex.com/reference/rest-public-platform-status, https://docs.bitfinex.com/reference/rest-public-conf
and https://docs.bitfinex.com/reference/rest-public-candles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import quote

import msgspec

from source_liquidations.errors import (
    ConfigurationError,
    RequestRefused,
    UnexpectedAnswer,
    VendorUnavailable,
    shown,
    some_of,
)
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.vendors.patterns import is_pattern, meant

STATUS = "/v2/platform/status"
PAIRS = "/v2/conf/pub:list:pair:futures,pub:list:pair:margin"
CANDLES = "/v2/candles/trade:1D:{}/hist"
EVERYTHING = "*"

_status = msgspec.json.Decoder(list[int])
_pairs = msgspec.json.Decoder(list[list[str] | None])
_candles = msgspec.json.Decoder(list[msgspec.Raw])


class Busy(VendorUnavailable):
    """Too many requests: the vendor can be reached, and says nothing else for now."""


def must_be_operative(client: Client, traffic: Traffic) -> None:
    """Raises VendorUnavailable during maintenance."""
    answered = client.fetch(Request(STATUS), traffic)
    status = answered.decoded(_status)
    if status == [0]:
        raise VendorUnavailable("the platform is in maintenance.", advice="Try again later.")
    if status != [1]:
        raise UnexpectedAnswer(f"`status` of the platform is {shown(answered.body)}, neither [1] nor [0].")


def symbols(client: Client, traffic: Traffic) -> list[str]:
    """The symbols of today's pairs. Delisted pairs are not among them, but their liquidations are still there."""
    found = client.fetch(Request(PAIRS), traffic).decoded(_pairs)
    return [f"t{pair}" for pairs in found for pair in pairs or ()]


def was_traded(client: Client, symbol: str, traffic: Traffic) -> bool:
    """Whether the exchange has a daily candle of a symbol, as it has of a delisted one; never of an unknown one."""
    request = Request(CANDLES.format(quote(symbol, safe=":")), (("limit", "1"),))
    try:
        return bool(client.fetch(request, traffic).decoded(_candles))
    except RequestRefused:  # unknown
        return False


def check_entries(entries: Sequence[str], listed: Sequence[str], was_traded: Callable[[str], bool]) -> list[str]:
    """Notes on entries that mean no symbol of the list, but an earlier one.

    Raises ConfigurationError for the first that means none at all.
    """
    delisted: list[str] = []
    for index, entry in enumerate(entries):
        where = f"bitfinex.symbols[{index}]"
        if is_pattern(entry) and entry != EVERYTHING:
            advice = "E.g. t*F0:USTF0 for perpetuals quoted in USDT, or * for the whole exchange."
            meant(entry, listed, where, "pair that Bitfinex lists", advice)
        if is_pattern(entry) or entry in listed:
            continue
        close = next((symbol for symbol in listed if symbol.lower() == entry.lower()), None)
        if close is None and was_traded(entry):
            delisted.append(entry)
            continue
        raise ConfigurationError(
            where,
            f"{entry!r} is not among the pairs that Bitfinex lists, and there are no candles of it.",
            advice=f"Did you mean {close}?" if close else "E.g. tBTCF0:USTF0, or * for the whole exchange.",
        )
    if not delisted:
        return []
    return [f"bitfinex: {some_of(delisted)}: not among today's pairs, so only earlier liquidations can be read."]
