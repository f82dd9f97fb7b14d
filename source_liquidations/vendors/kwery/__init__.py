"""Kwery: https://kwery-api.com. Liquidations of Binance Futures."""

from source_liquidations.vendors.kwery.vendor import Kwery

__all__ = ["Kwery"]
