"""Kiyotaka, also sold as OpenMarket: https://docs.kiyotaka.ai."""

from source_liquidations.vendors.kiyotaka.vendor import Kiyotaka

__all__ = ["Kiyotaka"]
