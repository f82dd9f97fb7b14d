"""The picture of a comparison: a panel for each vendor, a bar for each hour, and what is missing."""

from __future__ import annotations

import textwrap
from collections import defaultdict

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from cross_checking.comparison import Comparison
from cross_checking.matching import Gap, attested
from cross_checking.report import NAMES, verdict

COLOURS = {"kaiko": "#1f4e79", "coin_metrics": "#e08e45", "kwery": "#7b5aa6", "kiyotaka": "#4fa36c"}
INK, FAINT, ALARM = "#22303c", "#8a97a3", "#d1495b"
PANEL = 1.35  # inches
TOP, BOTTOM = 1.35, 0.4


def draw(comparison: Comparison, *, note: str = "") -> Figure:
    """US dollars per hour. Hollow bars: what the other vendors agree on and this one lacks. `note`: a line on top."""
    names = [*comparison.names, *(["kiyotaka"] if comparison.sums else [])]
    height = PANEL * len(names) + TOP + BOTTOM
    figure = Figure(figsize=(10, height), dpi=120, facecolor="white")
    panels = figure.subplots(len(names), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    figure.subplots_adjust(left=0.075, right=0.972, top=1 - TOP / height, bottom=BOTTOM / height, hspace=0.36)
    for panel, name in zip(panels, names, strict=True):
        _panel(panel, comparison, name)
    for gap in comparison.gaps:
        _mark(panels, names, comparison, gap)
    title = f"Do the vendors agree? {comparison.market}, {comparison.day.day} {comparison.day:%B %Y} (UTC)"
    figure.text(0.012, 1 - 0.13 / height, title, va="top", fontsize=15, weight="bold", color=INK)
    sentence = textwrap.fill(verdict(comparison)[0], 128)
    figure.text(0.012, 1 - 0.5 / height, sentence, va="top", fontsize=9.5, color=INK, linespacing=1.35)
    figure.text(0.985, 1 - 0.16 / height, note, va="top", ha="right", fontsize=10, weight="bold", color=ALARM)
    return figure


def _panel(panel: Axes, comparison: Comparison, name: str) -> None:
    common: dict[int, float] = defaultdict(float)
    alone: dict[int, float] = defaultdict(float)
    lacking: dict[int, float] = defaultdict(float)
    for event in comparison.merged:
        hour = comparison.hour(event.at)
        if name in event.usd:
            (common if len(event.usd) > 1 else alone)[hour] += event.usd[name]
        elif name != "kiyotaka" and attested(event, comparison.names):
            lacking[hour] += event.value
    if name == "kiyotaka":
        common.update(comparison.sums)
    colour = COLOURS[name]
    styles = (
        (common, {"color": colour}),
        (alone, {"color": colour, "alpha": 0.4}),
        (lacking, {"facecolor": "white", "edgecolor": ALARM, "linewidth": 1.1, "hatch": "/////"}),
    )
    floor: dict[int, float] = defaultdict(float)
    for hours, style in styles:
        bottoms = [floor[hour] for hour in hours]
        panel.bar([hour + 0.5 for hour in hours], list(hours.values()), width=0.82, bottom=bottoms, **style)
        for hour, usd in hours.items():
            floor[hour] += usd
    panel.set_ylim(0, max(panel.get_ylim()[1], 1.1 * max(floor.values(), default=1.0)))
    _style(panel, _heading(comparison, name))


def _heading(comparison: Comparison, name: str) -> str:
    if name == "kiyotaka":
        return f"{NAMES[name]}: sums, {_dollars(sum(comparison.sums.values()))} USD"
    hours = comparison.by_hour(name).values()
    return f"{NAMES[name]}: {sum(n for n, _ in hours):,} liquidations, {_dollars(sum(usd for _, usd in hours))} USD"


def _mark(panels: list[Axes], names: list[str], comparison: Comparison, gap: Gap) -> None:
    """A band over all panels, and a label in the panel of the vendor that has the gap."""
    left, right = comparison.hours_of_gap(gap)
    for panel, name in zip(panels, names, strict=True):
        panel.axvspan(left, right, color=ALARM, alpha=0.25 if name == gap.vendor else 0.09, linewidth=0, zorder=0)
    in_afternoon = left > 12
    panels[names.index(gap.vendor)].annotate(
        f"nothing here, {gap.events:,} elsewhere {'↘' if in_afternoon else '↙'}",
        (right if in_afternoon else left, 1.03), xycoords=("data", "axes fraction"),
        ha="right" if in_afternoon else "left", va="bottom", fontsize=10, weight="bold", color=ALARM,
    )  # fmt: skip


def _style(panel: Axes, heading: str) -> None:
    panel.set_title(heading, loc="left", fontsize=10, weight="bold", color=INK, pad=3)
    panel.yaxis.set_major_formatter(FuncFormatter(_dollars))
    panel.set_xlim(0, 24)
    panel.set_xticks(range(0, 25, 3), [f"{hour % 24:02}:00" for hour in range(0, 25, 3)])
    panel.set_ylabel("USD an hour", fontsize=8.5, color=INK)
    panel.tick_params(labelsize=8.5, colors=INK, length=3)
    panel.grid(axis="y", color=FAINT, alpha=0.25, linewidth=0.7)
    panel.set_axisbelow(True)
    for edge in ("top", "right", "left"):
        panel.spines[edge].set_visible(False)


def _dollars(amount: float, _position: int | None = None) -> str:
    for unit, size in ((" bn", 1e9), (" m", 1e6), (" k", 1e3)):
        if amount >= size:
            return f"{amount / size:.3g}{unit}"
    return f"{amount:.0f}"
