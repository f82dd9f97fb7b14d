"""Bitfinex: https://docs.bitfinex.com/reference/rest-public-liquidations. The whole exchange, no key."""

from source_liquidations.vendors.bitfinex.vendor import Bitfinex

__all__ = ["Bitfinex"]
