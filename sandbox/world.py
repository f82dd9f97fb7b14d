"""Shared by the simulated vendors: the market, the rate limits, the options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sandbox.cache import RowCache
from sandbox.instruments import Instrument
from sandbox.limits import Limits
from sandbox.market import Market
from sandbox.series import Rendered
from sandbox.times import HOUR, parse


@dataclass(frozen=True)
class Disagreement:
    """A period of one market's events that only one vendor lacks."""

    vendor: str = "coin_metrics"
    instrument: str = "binance/BTCUSDT"
    start: int = parse("2025-10-10T21:00:00Z")
    end: int = parse("2025-10-10T21:00:00Z") + HOUR

    def covers(self, instant: int) -> bool:
        """Whether an instant is in the period."""
        return self.start <= instant < self.end


@dataclass(frozen=True)
class BitfinexOptions:
    """Bitfinex' behaviour that its page does not define, or on which documents and measurements disagree."""

    bitfinex_nesting: str = "each"  # each (row in an array of its own), one (array for all rows), flat
    bitfinex_fractional_ms: bool = False  # MTS with a fraction, as on the websocket
    bitfinex_elements: int = 12  # 10, 11, 12: elements of a row
    bitfinex_match_amount: str = "left"  # left, executed: meaning of AMOUNT in a match
    bitfinex_market_sold: str = "documented"  # documented, reversed
    bitfinex_default_limit: int = 100
    bitfinex_max_limit: int = 500  # 10000 in an older client's document
    bitfinex_default_sort: int = -1  # -1, 1
    bitfinex_start_days: float | None = None  # days in the window of `start` without `end`
    bitfinex_history_days: float | None = None  # older rows are absent; None = since 2019
    bitfinex_burst: int = 1  # simultaneous requests; 3 = as documented
    bitfinex_block_seconds: float = 240.0  # documented: 10 to 60; measured: minutes
    bitfinex_rate_body: str = "object"  # object, array
    bitfinex_rate_status: int = 429
    bitfinex_maintenance: bool = False


@dataclass(frozen=True)
class GateOptions:
    """Gate's behaviour that its page does not define, or on which documents and measurements disagree."""

    gate_order: str = "descending"  # descending, ascending, shuffled: rows of liq_orders
    gate_kept: str = "newest"  # newest, oldest: the rows that a page cut at `limit` keeps
    gate_event_days: float = 90.0
    gate_old_windows: str = "empty"  # empty, refuse: a window before these days
    gate_order_size: bool = True  # whether rows have `order_size`
    gate_working_seconds: float = 0.0  # half of a younger order is `left`
    gate_time: str = "integer"  # integer, string, decimal, decimal_string
    gate_stats_max_limit: int = 2000
    gate_stats_to: bool = False  # whether contract_stats honours `to`
    gate_stats_gaps: int = 200  # one in this many buckets without liquidations is absent; 0 = none
    gate_stats_sizes: str = "header"  # header, integer, string: contract counts of contract_stats
    gate_stats_day_hour: int = 0  # the hour (UTC) at which a 1d bucket starts
    gate_mark_price: str = "number"  # number, string
    gate_contracts_default: int | None = 100  # `limit` of contracts; None = all
    gate_delisted: str = "missing"  # missing, listed
    gate_error_field: str = "message"  # message, detail
    gate_rate_label: str = "TOO_MANY_REQUESTS"  # TOO_MANY_REQUESTS, TOO_FAST
    gate_reset_unit: str = "s"  # s, ms


@dataclass(frozen=True)
class CoinalyzeOptions:
    """Coinalyze's behaviour that its page does not define, or on which documents and measurements disagree."""

    coinalyze_max_symbols: int = 20  # 40 were accepted once
    coinalyze_points: int = 2000  # intraday points that are kept: 1500 to 2000
    coinalyze_bounds: str = "inclusive"  # inclusive, half_open
    coinalyze_empty_series: str = "left_out"  # left_out, empty: a known market without points
    coinalyze_order: str = "shuffled"  # shuffled, requested: the order of the markets in an answer
    coinalyze_zero_rows: bool = False  # points of zeros for buckets without a liquidation
    coinalyze_delay_seconds: float = 60.0  # delay before a liquidation is in its bucket
    coinalyze_retry_after: str = "decimal"  # decimal, integer, absent
    coinalyze_expire_unit: str = "s"  # s, ms
    coinalyze_quote_denominated: Sequence[str] = ()  # linear markets (their symbols) counted in the quote asset


@dataclass(frozen=True)
class Options(BitfinexOptions, GateOptions, CoinalyzeOptions):
    """Options for behaviour on which a vendor's documents and recordings disagree, and some limits."""

    kaiko_timestamp_unit: str = "ms"  # ms, us, ns
    kaiko_last_page: str = "absent"  # absent, null, empty: the token field of the last page
    kaiko_token_seconds: float | None = None  # lifetime of a continuation token; None = forever
    kwery_flavour: str = "documented"  # documented, recorded
    kwery_order: str = "ascending"  # ascending, descending
    kwery_errors: str = "flat"  # flat, detail
    kwery_history: str = "refuse"  # refuse, clamp
    kwery_credits: int | None = None  # credits of each key; None = by plan
    kwery_row_cap: int | None = None  # rows a request of every plan; None = by plan
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
        """The sandbox's current time in nanoseconds."""
        return self.market.clock.now()

    def gap(self, vendor: str, instrument: Instrument) -> Disagreement | None:
        """The period of an instrument's events that this vendor lacks, if the disagreement is its own."""
        gap = self.options.disagreement
        return gap if gap and (gap.vendor, gap.instrument) == (vendor, instrument.key) else None
