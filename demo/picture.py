"""The demo's picture: liquidated longs and shorts per vendor, and all vendors for one market and day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter, HourLocator
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

# US dollars per vendor, exchange, hour and side. Bitfinex' sums are those of its orders (triggers), at the average
# price of the position's trades (matches).
QUERY = """
WITH positions AS (
    SELECT market, split_part(liquidation_id, ':', 1) AS position, avg(price) AS price
    FROM liquidations WHERE vendor = 'bitfinex' AND event_type = 'trade' GROUP BY ALL
), valued AS (
    SELECT * FROM liquidations WHERE vendor <> 'bitfinex' AND event_type = 'trade'
    UNION ALL
    SELECT events.* REPLACE (events.amount_base * positions.price AS notional_usd)
    FROM liquidations AS events, positions
    WHERE vendor = 'bitfinex' AND event_type = 'order' AND events.market = positions.market
          AND split_part(liquidation_id, ':', 1) = position
)
SELECT vendor, exchange, date_trunc('hour', liquidated_at) AS hour, position_side, sum(notional_usd)::double AS usd
FROM valued
WHERE base_asset = 'btc' AND coalesce(quote_asset, 'usdt') = 'usdt' AND position_side IS NOT NULL
      AND (exchange IN ('binance', 'bybit') OR vendor IN ('bitfinex', 'gate'))
GROUP BY ALL
"""
VOLUMES_QUERY = """
SELECT vendor, exchange, interval_start, position_side, sum(amount)::double
FROM liquidation_volumes
WHERE vendor IN ('kiyotaka', 'coinalyze') AND unit = 'usd' AND interval = 'PT1H'
      AND market IN ('BINANCE_FUTURES/BTCUSDT', 'BYBIT/BTCUSDT', 'BTCUSDT_PERP.A', 'BTCUSDT.6')
GROUP BY ALL
"""

# Each vendor's name and colour in the comparison.
VENDORS = {
    "kaiko": ("Kaiko", "#1f4e79"),
    "coin_metrics": ("Coin Metrics", "#e08e45"),
    "kiyotaka": ("Kiyotaka", "#4fa36c"),
    "coinalyze": ("Coinalyze", "#b0413e"),
    "kwery": ("Kwery", "#7b5aa6"),
    "gate": ("Gate", "#2f6690"),
    "bitfinex": ("Bitfinex", "#7a8b3f"),
}
EXCHANGES = {"binance": "Binance", "bybit": "Bybit"}  # the other exchanges are vendors
COLUMNS = 2
LONGS, SHORTS = "#d1495b", "#2e7f8c"
INK, FAINT = "#22303c", "#8a97a3"
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)

Hours = dict[datetime, float]
# vendor → exchange → side → hour → US dollars
Sums = dict[str, dict[str, dict[str, Hours]]]


def draw(database: Path, picture: Path, *, note: str) -> list[str]:
    """Write the picture as PNG; `note` names the data's source. Returns the names of the vendors in the picture."""
    sums = _sums(database)
    vendors = [vendor for vendor in VENDORS if vendor in sums]
    rows = len(vendors) // COLUMNS + 1  # with a place for the legend
    tall, gap = 1.32 * rows, 1.05
    height = tall + 4.2
    figure = Figure(figsize=(11.5, height), facecolor="white")
    below, above = 0.45 / height, 1 - 1.15 / height
    apart = 2 * gap / (tall + 2.6 - gap)  # of an average panel
    grid = figure.add_gridspec(
        2, 1, height_ratios=[tall, 2.2], hspace=apart, bottom=below, top=above, left=0.075, right=0.98
    )
    places = grid[0].subgridspec(rows, COLUMNS, hspace=0.42, wspace=0.06)
    panels: list[Axes] = []
    for place, vendor in enumerate(vendors):
        shared = panels[0] if panels else None
        panels.append(figure.add_subplot(places[place], sharex=shared, sharey=shared))
        _longs_and_shorts(panels[-1], vendor, sums[vendor])
        panels[-1].tick_params(labelbottom=place + COLUMNS >= len(vendors), labelleft=place % COLUMNS == 0)
        if place % COLUMNS == 0:
            panels[-1].set_ylabel("USD an hour", fontsize=9, color=INK)
    if panels:
        _legend(figure.add_subplot(places[rows * COLUMNS - 1]), panels[0])
        _comparison(figure.add_subplot(grid[1]), vendors, sums)
    figure.text(0.012, 1 - 0.16 / height, "Liquidated longs and shorts, Bitcoin perpetuals (BTC/USDT)",
                va="top", fontsize=16, weight="bold", color=INK)  # fmt: skip
    figure.text(0.012, 1 - 0.54 / height, note, va="top", fontsize=11, weight="bold", color=LONGS)
    figure.savefig(picture, dpi=120)
    return [VENDORS[vendor][0] for vendor in vendors]


def _sums(database: Path) -> Sums:
    """The sums of all hours but the last, which is still open."""
    sums: Sums = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    rows: list[tuple[str, str, datetime, str, float]] = []
    with duckdb.connect(str(database)) as connection:
        tables = {name for (name,) in connection.sql("SELECT table_name FROM information_schema.tables").fetchall()}
        for table, query in (("liquidations", QUERY), ("liquidation_volumes", VOLUMES_QUERY)):
            rows += connection.sql(query).fetchall() if table in tables else []
    still_open = max((hour for _, _, hour, _, _ in rows), default=None)
    for vendor, exchange, hour, side, usd in rows:
        if hour != still_open:
            sums[vendor][exchange][side][hour] = usd
    return sums


def _longs_and_shorts(panel: Axes, vendor: str, exchanges: Mapping[str, Mapping[str, Hours]]) -> None:
    """One bar per hour: longs point up, shorts point down."""
    for side, colour, sign in (("long", LONGS, 1), ("short", SHORTS, -1)):
        hours: Hours = defaultdict(float)
        for sides in exchanges.values():
            for hour, usd in sides.get(side, {}).items():
                hours[hour] += sign * usd
        _bars(panel, hours, start=0.06, width=0.88, color=colour, label=f"{side}s liquidated (a forced {_order(side)})")
    where = " and ".join(EXCHANGES[exchange] for exchange in EXCHANGES if exchange in exchanges)
    title = ": ".join(filter(None, (VENDORS[vendor][0], where)))
    panel.set_title(title, loc="left", fontsize=10.5, weight="bold", color=INK, pad=4)
    _style(panel, every=6)


def _legend(place: Axes, panel: Axes) -> None:
    """The legend, in the place of a panel."""
    place.set_axis_off()
    place.legend(*panel.get_legend_handles_labels(), loc="center left", frameon=False, fontsize=10.5)


def _order(side: str) -> str:
    return "sell" if side == "long" else "buy"


def _comparison(panel: Axes, vendors: list[str], sums: Sums) -> None:
    """All vendors side by side: Binance, by hour, on the latest complete day (or in the last 24 hours)."""
    hours = {hour for vendor in vendors for sides in sums[vendor].get("binance", {}).values() for hour in sides}
    latest = max(hours, default=datetime(1970, 1, 1)).replace(hour=0)
    day = latest - DAY if latest - DAY >= min(hours, default=latest) else min(hours, default=latest)
    vendors = [vendor for vendor in vendors if "binance" in sums[vendor]]
    width = 0.86 / max(len(vendors), 1)
    for place, vendor in enumerate(vendors):
        name, colour = VENDORS[vendor]
        for side, sign in (("long", 1), ("short", -1)):
            hourly = sums[vendor].get("binance", {}).get(side, {})
            shown = {hour: sign * usd for hour, usd in hourly.items() if day <= hour < day + DAY}
            label = name if sign > 0 else None
            _bars(panel, shown, start=0.07 + place * width, width=width, color=colour, label=label)
    _mark_gaps(panel, vendors, sums, day)
    _style(panel, every=2)
    panel.set_xlim(day, day + DAY)
    panel.set_ylabel("USD an hour\nshorts ↓        longs ↑", fontsize=9, color=INK)
    title = f"Vendor against vendor: Binance, {day:%d %B %Y}"
    panel.set_title(title, loc="left", fontsize=12, weight="bold", color=INK, pad=8)
    panel.legend(
        ncols=len(vendors), frameon=False, fontsize=10, loc="lower right", bbox_to_anchor=(1.005, 0.985),
        handlelength=1.0, handletextpad=0.5, columnspacing=1.3,
    )  # fmt: skip


def _mark_gaps(panel: Axes, vendors: list[str], sums: Sums, day: datetime) -> None:
    """Mark the hours that one vendor lacks and all the others have."""
    have = {v: {hour for sides in sums[v].get("binance", {}).values() for hour in sides} for v in vendors}
    for vendor in vendors:
        others = [have[other] for other in vendors if other != vendor and have[other]]
        missing = set.intersection(*others) - have[vendor] if len(others) > 1 and have[vendor] else set()
        for hour in sorted(hour for hour in missing if day <= hour < day + DAY):
            middle: Any = hour + HOUR / 2
            panel.annotate(
                f"{VENDORS[vendor][0]}:\nnothing",
                (middle, 0.93), xycoords=("data", "axes fraction"), ha="center", va="top",
                fontsize=9, weight="bold", color=VENDORS[vendor][1],
            )  # fmt: skip


def _bars(panel: Axes, hours: Hours, *, start: float, width: float, **style: Any) -> None:
    """One bar in each hour; `start` and `width` are fractions of an hour."""
    lefts: list[Any] = [hour + start * HOUR for hour in hours]
    panel.bar(lefts, list(hours.values()), width=width / 24, align="edge", linewidth=0, **style)


def _style(panel: Axes, *, every: int) -> None:
    panel.axhline(0, color=INK, linewidth=0.8)
    panel.yaxis.set_major_formatter(FuncFormatter(_dollars))
    panel.xaxis.set_major_locator(HourLocator(byhour=range(0, 24, every)))
    panel.xaxis.set_major_formatter(DateFormatter("%H:%M\n%d %b" if every > 2 else "%H:%M"))
    panel.tick_params(labelsize=9, colors=INK, length=3)
    panel.grid(color=FAINT, alpha=0.22, linewidth=0.7)
    panel.set_axisbelow(True)
    panel.margins(x=0.005, y=0.12)
    for edge in panel.spines.values():
        edge.set_visible(False)


def _dollars(value: float, _position: int | None = None) -> str:
    value = abs(value)
    for unit, size in ((" bn", 1e9), (" m", 1e6), (" k", 1e3)):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.0f}"
