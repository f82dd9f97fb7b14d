"""Coinalyze, GET /exchanges: the exchanges' names by code. The codes are the vendor's own, and the list may grow."""

from __future__ import annotations

import msgspec

from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.symbols import exchange
from source_liquidations.vendors.decoding import ListBody, as_data

PATH = "/v1/exchanges"


class Row(msgspec.Struct):
    name: str
    code: str


_decoder = msgspec.json.Decoder(ListBody[Row])


def exchanges(client: Client, traffic: Traffic) -> dict[str, str]:
    """The exchanges by code, in the spelling that all vendors' rows have: `A` is `binance`."""
    rows = as_data(client.fetch(Request(PATH), traffic)).decoded(_decoder).data or []
    return {row.code: exchange(row.name.lower()) for row in rows}
