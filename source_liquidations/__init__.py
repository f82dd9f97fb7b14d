"""Airbyte source for crypto-derivatives liquidation data: Kaiko, Kwery, Coin Metrics, Kiyotaka."""

import gc

# Importing the CDK makes many objects and hardly any garbage: looking for it would be a twelfth of each start-up.
_collecting = gc.isenabled()
gc.disable()

from source_liquidations.source import SourceLiquidations  # noqa: E402

if _collecting:
    gc.enable()

__all__ = ["SourceLiquidations"]
