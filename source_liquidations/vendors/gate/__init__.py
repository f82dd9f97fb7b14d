"""Gate: https://www.gate.com/docs/developers/apiv4. Liquidations of its own perpetuals, without a key."""
