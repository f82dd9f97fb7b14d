"""Draws the results: `picture.py results.json picture.png`; needs only matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt

OURS = "source-liquidations"
COLOURS = {OURS: "#1f6feb", "floor": "#c9d1d9"}
OTHERS = "#8b949e"
READERS_OF_ALL_SHAPES = (OURS, "http-stream", "lowcode")


def colour(name: str) -> str:
    return COLOURS.get("floor" if name.startswith("floor") else name, OTHERS)


def rate(shape: dict[str, Any], reader: dict[str, Any]) -> float:
    return shape["shape"]["rows"] / reader["wall_of_all"]


def draw_readers(axes: Any, shape: dict[str, Any]) -> None:
    readers = sorted(shape["readers"], key=lambda reader: rate(shape, reader))
    rates = [rate(shape, reader) for reader in readers]
    bars = axes.barh([r["label"] for r in readers], rates, color=[colour(r["name"]) for r in readers])
    axes.bar_label(bars, [f"{value:,.0f}" for value in rates], padding=3, fontsize=8)
    axes.set_title(shape["shape"]["title"], fontsize=10, loc="left")
    axes.set_xlabel("rows a second, whole process with start-up")
    axes.set_xlim(0, max(rates) * 1.15)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def draw_shapes(axes: Any, shapes: list[dict[str, Any]]) -> None:
    places = range(len(shapes))
    for offset, name in enumerate(READERS_OF_ALL_SHAPES):
        readers = [{r["name"]: r for r in shape["readers"]}.get(name) for shape in shapes]
        label = next((reader["label"] for reader in readers if reader), None)
        if label is None:
            continue
        rates = [rate(shape, reader) if reader else 0 for shape, reader in zip(shapes, readers, strict=True)]
        shade = colour(name) if name == OURS else (OTHERS, "#d29922")[offset - 1]
        axes.barh([place + 0.27 * offset for place in places], rates, height=0.25, label=label, color=shade)
    axes.set_yticks([place + 0.27 for place in places], [shape["shape"]["name"] for shape in shapes])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("rows a second, logarithmic")
    axes.legend(fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 1))
    axes.set_title(f"other shapes, {shapes[0]['shape']['rows']:,} rows", fontsize=10, loc="left")


def main() -> None:
    results = json.loads(Path(sys.argv[1]).read_text())
    shapes = [shape for shape in results["shapes"] if shape["readers"]]
    if not shapes:
        return
    heights = [0.35 * len(shapes[0]["readers"]) + 1, *([0.4 * len(shapes[1:]) + 1] if shapes[1:] else [])]
    figure, axes = plt.subplots(
        len(heights), 1, figsize=(9, sum(heights) + 0.5), height_ratios=heights, squeeze=False, layout="constrained"
    )
    draw_readers(axes[0][0], shapes[0])
    if shapes[1:]:
        draw_shapes(axes[1][0], shapes[1:])
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
    figure.savefig(sys.argv[2], dpi=150)


if __name__ == "__main__":
    main()
