"""The shapes that are read (vendor, rows, partitions, latency), and the readers' input files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.dataset import (
    EVENT_SPACING_NS,
    KIYOTAKA_INTERVAL,
    KIYOTAKA_INTERVAL_NS,
    ORIGIN_NS,
    coin_metrics_market,
    iso,
    kaiko_instrument,
    kiyotaka_symbol,
    kwery_symbol,
)

HEADLINE = "kaiko"
WORKERS = 8
NO_BUDGET = 1_000_000  # requests a minute: no rate limit slows the reader
STREAMS = {
    "kaiko": "kaiko_liquidation_events",
    "coin_metrics": "coin_metrics_market_liquidations",
    "kiyotaka": "kiyotaka_liquidation_agg",
    "kwery": "kwery_liquidations",
}
UNIFIED = {
    "kaiko": "liquidations",
    "coin_metrics": "liquidations",
    "kiyotaka": "liquidation_volumes",
    "kwery": "liquidations",
}
EVERYWHERE = ("kaiko", "coin_metrics", "kiyotaka")  # the vendors that all readers can read
CURSORS = {"liquidations": "liquidated_at", "liquidation_volumes": "interval_start"}
NAMES: dict[str, Callable[[int], str]] = {
    "kaiko": kaiko_instrument,
    "coin_metrics": coin_metrics_market,
    "kiyotaka": kiyotaka_symbol,
    "kwery": kwery_symbol,
}


@dataclass(frozen=True)
class Shape:
    name: str
    vendor: str
    rows: int
    partitions: int = 8
    latency: float = 0.0
    gzip: bool = False

    @property
    def rows_each(self) -> int:
        return self.rows // self.partitions

    @property
    def server_arguments(self) -> list[str]:
        arguments = ["--vendor", self.vendor, "--rows", str(self.rows_each), "--partitions", str(self.partitions)]
        return [*arguments, "--latency", str(self.latency), *(["--gzip"] if self.gzip else [])]

    @property
    def title(self) -> str:
        extras = [f"{self.latency * 1000:.0f} ms latency"] if self.latency else []
        extras += ["gzip"] if self.gzip else []
        number = "1 partition" if self.partitions == 1 else f"{self.partitions:,} partitions"
        return ", ".join([f"{self.vendor}, {self.rows:,} rows, {number}", *extras])


@dataclass(frozen=True)
class Task:
    """The part of a shape that one reader reads."""

    shape: Shape
    partitions: int
    rows_each: int

    @property
    def rows(self) -> int:
        return self.partitions * self.rows_each

    @property
    def end_ns(self) -> int:
        if self.shape.vendor == "kiyotaka":
            return ORIGIN_NS + self.rows_each // 2 * KIYOTAKA_INTERVAL_NS
        return ORIGIN_NS + self.rows_each * EVENT_SPACING_NS

    def write(self, folder: Path, base_url: str) -> Inputs:
        """Write the connector's configuration, the rivals' configurations and the catalog."""
        inputs = Inputs(folder, self.rows)
        folder.mkdir(parents=True, exist_ok=True)
        vendor = self.shape.vendor
        names = [NAMES[vendor](partition) for partition in range(self.partitions)]
        start, end = iso(ORIGIN_NS, 0), iso(self.end_ns, 0)
        job = {"vendor": vendor, "base_url": base_url, "partitions": names, "start": start, "end": end}
        # Without latency, more threads would only compete for the interpreter lock.
        job |= {"workers": WORKERS if self.shape.latency else 1, "output": str(folder / "output")}
        inputs.job.write_text(json.dumps(job))
        last_minute = iso(self.end_ns - KIYOTAKA_INTERVAL_NS, 0)
        inputs.rival_config.write_text(json.dumps({**job, "api_key": "benchmark", "last_minute": last_minute}))
        section = connector_section(vendor, names, f"{base_url}/{vendor}")
        config = {"start_date": start, "end_date": end, "num_workers": WORKERS, vendor: section}
        inputs.config.write_text(json.dumps(config))
        inputs.catalog.write_text(json.dumps(catalog(STREAMS[vendor])))
        return inputs


@dataclass(frozen=True)
class Inputs:
    folder: Path
    rows: int

    @property
    def job(self) -> Path:
        return self.folder / "job.json"

    @property
    def rival_config(self) -> Path:
        return self.folder / "rival_config.json"

    @property
    def config(self) -> Path:
        return self.folder / "config.json"

    @property
    def catalog(self) -> Path:
        return self.folder / "catalog.json"


def connector_section(vendor: str, names: list[str], base_url: str) -> dict[str, Any]:
    section: dict[str, Any] = {"api_key": "benchmark", "base_url": base_url, "requests_per_minute": NO_BUDGET}
    if vendor == "kiyotaka":
        return {**section, "symbols": names, "interval": KIYOTAKA_INTERVAL}
    if vendor == "kwery":
        return {**section, "symbols": names}
    return {**section, {"kaiko": "instruments", "coin_metrics": "markets"}[vendor]: names}


def catalog(*streams: str) -> dict[str, Any]:
    return {"streams": [configured_stream(name, CURSORS.get(name, "time")) for name in streams]}


def configured_stream(name: str, cursor: str) -> dict[str, Any]:
    described = {
        "name": name,
        "json_schema": {"type": "object"},
        "supported_sync_modes": ["full_refresh", "incremental"],
        "source_defined_cursor": True,
        "default_cursor_field": [cursor],
    }
    configured = {"stream": described, "sync_mode": "incremental", "destination_sync_mode": "append"}
    return {**configured, "cursor_field": [cursor]}


def whole(shape: Shape) -> Task:
    return Task(shape, shape.partitions, shape.rows_each)


def part(shape: Shape, rows: int | None) -> Task:
    """About `rows` rows: some of many partitions, or the first rows of each."""
    if rows is None or rows >= shape.rows:
        return whole(shape)
    if shape.partitions > WORKERS:
        return Task(shape, max(rows // shape.rows_each, 1), shape.rows_each)
    return Task(shape, shape.partitions, max(rows // shape.partitions // 2 * 2, 2))


def least(shape: Shape) -> Task:
    """One request, to measure the start-up."""
    return Task(shape, 1, min(2, shape.rows_each))


def all_shapes(rows: int) -> dict[str, Shape]:
    shapes = []
    for vendor in EVERYWHERE:
        base = Shape(vendor, vendor, rows)
        shapes += [
            base,
            replace(base, name=f"{vendor}-1", partitions=1),
            replace(base, name=f"{vendor}-1000", partitions=1_000),
            replace(base, name=f"{vendor}-50ms", latency=0.05),
            replace(base, name=f"{vendor}-gzip", gzip=True),
        ]
    return {shape.name: shape for shape in shapes}
