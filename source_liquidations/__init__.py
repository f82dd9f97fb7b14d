"""Airbyte source for crypto-derivatives liquidation data: Kaiko, Kwery, Coin Metrics, Kiyotaka."""

from source_liquidations.source import SourceLiquidations

__all__ = ["SourceLiquidations"]
