"""Bitfinex: https://docs.bitfinex.com/reference/rest-public-liquidations. The whole exchange, no key."""
