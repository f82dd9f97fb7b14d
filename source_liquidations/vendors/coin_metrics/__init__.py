"""Coin Metrics: https://docs.coinmetrics.io."""

from source_liquidations.vendors.coin_metrics.vendor import CoinMetrics

__all__ = ["CoinMetrics"]
