"""Coinalyze: https://api.coinalyze.net/v1/doc. Sums of liquidations per market and interval."""

from source_liquidations.vendors.coinalyze.vendor import Coinalyze

__all__ = ["Coinalyze"]
