"""Simulated quantities as exact decimals, in the form that vendors use."""

from __future__ import annotations

from sandbox.instruments import Instrument


def decimal(units: int, places: int) -> str:
    """An integer count of 10**-places as a plain decimal without trailing zeros."""
    if places <= 0:
        return str(units * 10**-places)
    text = str(units).zfill(places + 1)
    return f"{text[:-places]}.{text[-places:]}".rstrip("0").rstrip(".")


def inverse_contracts(instrument: Instrument, lots: int, ticks: int) -> int:
    """A quantity of an inverse instrument in whole contracts, at least one."""
    scale: int = 10 ** (instrument.lot + instrument.tick) * instrument.face
    return max(1, lots * ticks // scale)


def contracts(instrument: Instrument, lots: int, ticks: int) -> str:
    """A quantity in contracts."""
    if instrument.face:
        return str(inverse_contracts(instrument, lots, ticks))
    return decimal(lots, instrument.lot - instrument.contract)
