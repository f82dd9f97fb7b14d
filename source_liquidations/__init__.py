"""Airbyte source for crypto-derivatives liquidation data."""

from source_liquidations.start_up import importing_the_cdk

with importing_the_cdk():
    from source_liquidations.source import SourceLiquidations

__all__ = ["SourceLiquidations"]
