"""Gate: https://www.gate.com/docs/developers/apiv4. Liquidations of its own perpetuals, without a key."""

from source_liquidations.vendors.gate.vendor import Gate

__all__ = ["Gate"]
