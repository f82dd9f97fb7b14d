"""Bitfinex, "Platform Status" and "Configs": whether it is operative, and which pairs there are today.

Pages: https://docs.bitfinex.com/reference/rest-public-platform-status, https://docs.bitfinex.com/reference/rest-public-conf.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from source_liquidations.errors import ConfigurationError, UnexpectedAnswer, VendorUnavailable, shown
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.vendors.decoding import NO_GUESS
from source_liquidations.vendors.patterns import is_pattern, matches

STATUS = "/v2/platform/status"
PAIRS = "/v2/conf/pub:list:pair:futures,pub:list:pair:margin"
EVERYTHING = "*"

_status = msgspec.json.Decoder(list[int])
_pairs = msgspec.json.Decoder(list[list[str]])


class Busy(VendorUnavailable):
    """Too many requests: the vendor can be reached, and says nothing else for now."""


def must_be_operative(client: Client, traffic: Traffic) -> None:
    """Raises VendorUnavailable during maintenance."""
    answered = client.fetch(Request(STATUS), traffic)
    status = answered.decoded(_status)
    if status == [0]:
        raise VendorUnavailable("the platform is in maintenance.", advice="Try again later.")
    if status != [1]:
        raise UnexpectedAnswer(
            f"`status` of the platform is {shown(answered.body)}, neither [1] nor [0].", advice=NO_GUESS
        )


def symbols(client: Client, traffic: Traffic) -> list[str]:
    """The symbols of today's pairs. Delisted pairs are not among them, but their liquidations are still there."""
    found = client.fetch(Request(PAIRS), traffic).decoded(_pairs)
    return [f"t{pair}" for pairs in found for pair in pairs]


def check_entries(entries: Sequence[str], listed: Sequence[str]) -> None:
    """Raises ConfigurationError for the first entry that means no symbol of the list."""
    for index, entry in enumerate(entries):
        if entry == EVERYTHING or any(matches(entry, symbol) for symbol in listed):
            continue
        where = f"bitfinex.symbols[{index}]"
        if is_pattern(entry):
            raise ConfigurationError(
                where,
                f"no pair that Bitfinex lists matches {entry!r}.",
                advice="E.g. t*F0:USTF0 for perpetuals quoted in USDT, or * for the whole exchange.",
            )
        close = next((symbol for symbol in listed if symbol.lower() == entry.lower()), None)
        raise ConfigurationError(
            where,
            f"{entry!r} is not among the pairs that Bitfinex lists.",
            advice=f"Did you mean {close}?"
            if close
            else "E.g. tBTCF0:USTF0. The liquidations of a delisted pair come with * only, the whole exchange.",
        )
