"""Coin Metrics: https://docs.coinmetrics.io."""
