"""Plausible, deterministic prices of assets, and USD rates of stablecoins, by the hour."""

from __future__ import annotations

import math
from functools import lru_cache
from hashlib import blake2b

from sandbox.times import DAY, HOUR, parse

_ORIGIN = parse("2019-01-01")
_YEAR = 365.25 * DAY
# Approximate prices at the start of each year since 2019; in between, a smooth line plus waves.
_ANCHORS = {
    "btc": (3800, 7200, 29000, 46000, 16500, 42000, 93000, 88000, 95000),
    "eth": (130, 130, 740, 3700, 1200, 2300, 3350, 3000, 3200),
    "sol": (1, 1, 1.5, 170, 10, 100, 190, 130, 140),
    "xrp": (0.35, 0.2, 0.22, 0.83, 0.34, 0.62, 2.1, 1.9, 2.0),
    "avax": (3, 3, 3.2, 109, 11, 39, 36, 13, 14),
    "doge": (0.0022, 0.002, 0.0047, 0.17, 0.07, 0.09, 0.32, 0.12, 0.13),
    "eos": (2.6, 2.6, 2.6, 3.1, 0.86, 0.85, 0.78, 0.5, 0.5),
    "testbtc": (3800, 7200, 29000, 46000, 16500, 42000, 93000, 88000, 95000),
}
# Period in hours and amplitude of the waves on the logarithm of the price.
_WAVES = ((521.0, 0.055), (83.0, 0.022), (14.3, 0.009), (3.7, 0.0045), (1.31, 0.0022))


def digest(*parts: object) -> int:
    """A 64-bit hash of the parts."""
    return int.from_bytes(blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest(), "big")


@lru_cache(maxsize=4096)
def _phases(seed: int, base: str) -> tuple[float, ...]:
    return tuple(digest(seed, base, n) / 2**64 * math.tau for n in range(len(_WAVES)))


@lru_cache(maxsize=4096)
def _levels(base: str) -> tuple[float, ...]:
    if base in _ANCHORS:
        return _ANCHORS[base]
    factor = 10 ** (digest(base) % 300 / 100 - 1)
    return tuple(level / 10000 * factor for level in _ANCHORS["btc"])


@lru_cache(maxsize=200_000)
def price_at(seed: int, base: str, hour: int) -> float:
    """The price of an asset at the start of an hour (counted from the epoch), in USD."""
    levels = _levels(base)
    position = min(max((hour * HOUR - _ORIGIN) / _YEAR, 0.0), len(levels) - 1.000001)
    year = int(position)
    part = position - year
    log = math.log(levels[year]) * (1 - part) + math.log(levels[year + 1]) * part
    for (period, amplitude), phase in zip(_WAVES, _phases(seed, base), strict=True):
        log += amplitude * math.sin(hour / period * math.tau + phase)
    return math.exp(log)


@lru_cache(maxsize=200_000)
def usd_rate(seed: int, quote: str, hour: int) -> float:
    """The value of one unit of a quote asset in USD during an hour."""
    if quote == "usd":
        return 1.0
    return 1.0 + (digest(seed, quote, hour // 24) / 2**64 - 0.5) * 0.001
