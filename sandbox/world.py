"""What the simulated vendors share: the market, the limits, the switches."""

from __future__ import annotations

from dataclasses import dataclass, field

from sandbox.cache import RowCache
from sandbox.limits import Limits
from sandbox.market import Market
from sandbox.series import Rendered
from sandbox.times import HOUR, parse


@dataclass(frozen=True)
class Disagreement:
    """A stretch of one market's events that one vendor, and only it, does not have."""

    vendor: str = "coin_metrics"
    instrument: str = "binance/BTCUSDT"
    start: int = parse("2025-10-10T21:00:00Z")
    end: int = parse("2025-10-10T21:00:00Z") + HOUR


@dataclass(frozen=True)
class Options:
    """Switches between the forms that a vendor's documents and recordings disagree on, and some limits."""

    kaiko_timestamp_unit: str = "ms"  # ms, us, ns
    kaiko_last_page: str = "absent"  # absent, null, empty: how a last page lacks its token
    kaiko_token_seconds: float | None = None  # continuation tokens older than this are refused
    kwery_flavour: str = "documented"  # documented, recorded
    kwery_order: str = "ascending"  # ascending, descending
    kwery_errors: str = "flat"  # flat, detail
    kwery_history: str = "refuse"  # refuse, clamp
    kwery_credits: int | None = None  # credits of each key; None = by plan
    kwery_row_cap: int | None = None  # rows a request that every plan is cut at; None = by plan
    kiyotaka_max_points: int = 100_000
    disagreement: Disagreement | None = field(default_factory=Disagreement)


@dataclass(frozen=True)
class World:
    """One sandbox's shared state."""

    market: Market
    limits: Limits
    options: Options
    rendered: RowCache[Rendered]

    def now(self) -> int:
        """The sandbox's now in nanoseconds."""
        return self.market.clock.now()
