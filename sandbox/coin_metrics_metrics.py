"""Coin Metrics: the twelve liquidation metrics of markets, exchange-assets, pairs and exchanges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from sandbox.coin_metrics_calls import (
    PAGE_PARAMETERS,
    TIME_PARAMETERS,
    answer_page,
    bad_parameter,
    read_page,
    read_window,
    refusal,
    select,
)
from sandbox.http import Params, Refusal, Reply, Request
from sandbox.instruments import EXCHANGE_STARTS, Instrument
from sandbox.market import Market
from sandbox.series import Page, Position
from sandbox.times import DAY, HOUR, MINUTE, floor, iso, parse
from sandbox.world import World

STEPS = {"5m": 5 * MINUTE, "1h": HOUR, "1d": DAY}
METRICS = tuple(
    f"liquidations_reported_future_{side}_{unit}_{step}"
    for side in ("buy", "sell")
    for unit in ("units", "usd")
    for step in STEPS
)


@dataclass(frozen=True)
class Kind:
    """One of the four endpoints."""

    parameter: str
    field: str
    title: str
    frequencies: tuple[str, ...]
    names: Callable[[Instrument], str]


def _exchange_asset(instrument: Instrument) -> str:
    return f"{instrument.coin_metrics_exchange}-{instrument.base}"


KINDS = {
    "market-metrics": Kind("markets", "market", "Market", ("1m", *STEPS), lambda i: i.coin_metrics),
    "exchange-asset-metrics": Kind(
        "exchange_assets", "exchange_asset", "Exchange-asset pair", tuple(STEPS), _exchange_asset
    ),
    "pair-metrics": Kind("pairs", "pair", "Pair", ("1h", "1d"), lambda i: f"{i.base}-{i.quote}"),
    "exchange-metrics": Kind("exchanges", "exchange", "Exchange", ("1h", "1d"), lambda i: i.coin_metrics_exchange),
}
Missing = Callable[[Instrument, int], bool]


@dataclass(frozen=True)
class MetricRows:
    """The rows of one entity; a bucket without a value has no row."""

    market: Market
    missing: Missing
    field: str
    entity: str
    instruments: tuple[Instrument, ...]
    metrics: tuple[str, ...]
    step: int

    @property
    def first(self) -> int:
        """The first bucket."""
        starts = min(max(i.starts, parse(EXCHANGE_STARTS[i.exchange])) for i in self.instruments)
        return floor(starts, self.step)

    @property
    def last(self) -> int:
        """The last instant that can be in a bucket."""
        now = self.market.clock.now()
        return min(now, max(i.ends if i.ends is not None else now for i in self.instruments))

    def ascending(self, start: int, end: int, limit: int, after: Position | None = None) -> Page:
        """Up to `limit` rows of [start, end), oldest first."""
        start = max(after[0] if after else start, self.first)
        first = start + (-start) % self.step
        return self._page(range(first, max(first, min(end, self.last + 1)), self.step), limit)

    def descending(self, start: int, end: int, limit: int, after: Position | None = None) -> Page:
        """Up to `limit` rows of [start, end), newest first."""
        start = max(start, self.first)
        first = start + (-start) % self.step
        end = min(after[0] + 1 if after else end, self.last + 1)
        return self._page(range(first, max(first, end), self.step)[::-1], limit)

    def _page(self, buckets: range, limit: int) -> Page:
        rows: list[bytes] = []
        times: list[int] = []
        for bucket, row in self._rows(buckets):
            if len(rows) == limit:
                return Page(rows, times, (bucket, 0))
            rows.append(row)
            times.append(bucket)
        return Page(rows, times)

    def _rows(self, buckets: range) -> Iterator[tuple[int, bytes]]:
        for bucket in buckets:
            values = self._values(bucket)
            selected = {name: values[name] for name in self.metrics}
            if any(value is not None for value in selected.values()):
                yield bucket, msgspec.json.encode({self.field: self.entity, "time": iso(bucket, 9), **selected})

    def _values(self, bucket: int) -> dict[str, str | None]:
        """Every metric of a bucket. A `buy` closes a short, a `sell` closes a long."""
        units, usd, counts = [0.0, 0.0], [0.0, 0.0], [0, 0]
        for instrument in self.instruments:
            lots, ticks = 10**instrument.lot, 10**instrument.tick
            for start in range(bucket, bucket + self.step, min(self.step, HOUR)):
                if self.missing(instrument, start):
                    continue
                sums = self.market.sums(instrument, start // HOUR)
                if self.step < HOUR and any(sums.counts):
                    sums = self.market.sums_between(instrument, start, start + self.step)
                for side in (0, 1):
                    counts[side] += sums.counts[side]
                    units[side] += sums.lots[side] / lots
                    usd[side] += sums.quote[side] / lots / ticks * self.market.rate(instrument, start)
        name = next(text for text, step in STEPS.items() if step == self.step)
        return {
            f"liquidations_reported_future_{side}_{unit}_{name}": _number(amounts[n]) if counts[n] else None
            for n, side in enumerate(("buy", "sell"))
            for unit, amounts in (("units", units), ("usd", usd))
        }


def _number(value: float) -> str:
    """At most fifteen significant digits, never in exponent form."""
    text = f"{value:.{max(0, 15 - len(str(int(value))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


class Metrics:
    """The four metrics endpoints."""

    def __init__(self, world: World, missing: Missing) -> None:
        self._world = world
        self._missing = missing
        self.entities: dict[str, dict[str, tuple[Instrument, ...]]] = {}
        for path, kind in KINDS.items():
            table: dict[str, tuple[Instrument, ...]] = {}
            for instrument in world.market.instruments.values():
                name = kind.names(instrument)
                table[name] = (*table.get(name, ()), instrument)
            self.entities[path] = table

    def rows(self, path: str, entity: str, metrics: tuple[str, ...], frequency: str) -> MetricRows:
        """The rows of one entity."""
        instruments = self.entities[path][entity]
        return MetricRows(
            self._world.market, self._missing, KINDS[path].field, entity, instruments, metrics, STEPS[frequency]
        )

    def answer(self, request: Request, community: bool, allowed: tuple[str, ...]) -> Reply:
        """One page of metrics."""
        path = request.path.rpartition("/")[2]
        if path not in KINDS:
            raise refusal(404, message="Resource is not found.")
        kind = KINDS[path]
        limit = f"limit_per_{kind.field}"
        names = (kind.parameter, "metrics", "frequency", "sort", limit, *TIME_PARAMETERS, *PAGE_PARAMETERS)
        params = Params(request.query, names, bad_parameter)
        params.choice("sort", (kind.field,), kind.field)
        for name in (kind.parameter, "metrics"):
            if not params.text(name):
                raise bad_parameter(name, "The parameter is required.")

        def unknown(entity: str) -> Refusal:
            return bad_parameter(kind.parameter, f"{kind.title} '{entity}' is not supported.")

        entities = select(params.text(kind.parameter), list(self.entities[path]), unknown)
        frequency = params.choice("frequency", kind.frequencies, "1d")
        metrics = tuple(params.text("metrics").split(","))
        for metric in metrics:
            if metric not in METRICS or not metric.endswith(f"_{frequency}"):
                raise bad_parameter("metrics", f"Metric '{metric}' with frequency '{frequency}' is not supported.")
        if community or allowed != ("*",):
            raise refusal(403, message=_forbidden(metrics[0], frequency, kind, entities[0]))
        window = read_window(params, self._world, community, limit)
        rows, token = read_page([self.rows(path, entity, metrics, frequency) for entity in entities], window)
        return answer_page(request, params, rows, token)

    def expected(
        self, market: str, start: int, end: int, frequency: str = "1h", metrics: list[str] | None = None
    ) -> list[Any]:
        """All rows of, for example, `market-metrics/<market>` whose bucket starts in [start, end)."""
        path, _, entity = market.partition("/")
        selected = tuple(metrics or [name for name in METRICS if name.endswith(f"_{frequency}")])
        page = self.rows(path, entity, selected, frequency).ascending(start, end, 10**9)
        return [msgspec.json.decode(row) for row in page.rows]


def _forbidden(metric: str, frequency: str, kind: Kind, entity: str) -> str:
    title = kind.title.lower()
    return (
        f"Requested metric '{metric}' with frequency '{frequency}' for {title} '{entity}' "
        "is not available with supplied credentials."
    )
