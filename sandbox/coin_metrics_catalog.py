"""Coin Metrics: catalogs (what exists and for which period) and the markets' reference data."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from sandbox.coin_metrics_calls import bad_parameter, refusal
from sandbox.coin_metrics_metrics import KINDS, METRICS, STEPS, Metrics
from sandbox.http import Params, Reply, Request
from sandbox.instruments import Instrument
from sandbox.series import Series
from sandbox.times import DAY, iso
from sandbox.world import World

PAGING = ("page_size", "paging_from", "next_page_token", "pretty", "format", "api_key")
FILTERS = ("markets", "exchange", "type", "base", "quote", "asset", "symbol")


class Catalog:
    """`/catalog-v2/…` (what the key may read), `/catalog-all-v2/…` (everything), `/reference-data/markets`."""

    def __init__(self, world: World, series: Callable[[str], Series], metrics: Metrics) -> None:
        self._world = world
        self._series = series
        self._metrics = metrics
        self._instruments = {i.coin_metrics: i for i in world.market.instruments.values()}

    def answer(self, request: Request, community: bool, allowed: tuple[str, ...]) -> Reply:
        """One page of a catalog or of the reference data."""
        if request.path == "/v4/reference-data/markets":
            params = Params(request.query, (*FILTERS, *PAGING), bad_parameter)
            return self._page(request, params, self._reference(params), lambda name: _reference_row(name, self))
        _, _, catalog, table = (*request.path.split("/"), "", "", "", "")[:4]
        if catalog not in ("catalog-v2", "catalog-all-v2"):
            raise refusal(404, message="Resource is not found.")
        visible = ("*",) if catalog == "catalog-all-v2" else allowed
        if table == "market-liquidations":
            params = Params(request.query, (*FILTERS, *PAGING), bad_parameter)
            names = [n for n in self._matching(params) if any(fnmatchcase(n, pattern) for pattern in visible)]
            oldest = self._world.now() - DAY if community and catalog == "catalog-v2" else 0
            return self._page(request, params, names, lambda name: self._span(name, oldest))
        if table in KINDS:
            kind = KINDS[table]
            params = Params(request.query, (kind.parameter, "metrics", *PAGING), bad_parameter)
            hidden = visible != ("*",) or (community and catalog == "catalog-v2")
            entities = [] if hidden else list(self._metrics.entities[table])
            patterns = params.text(kind.parameter).split(",") if kind.parameter in params else None
            names = sorted(name for name in entities if patterns is None or _named(name, patterns))
            metrics = [m for m in METRICS if "metrics" not in params or m in params.text("metrics").split(",")]
            return self._page(request, params, names, lambda name: self._metric_row(table, name, metrics))
        raise refusal(404, message="Resource is not found.")

    def instrument(self, market: str) -> Instrument | None:
        """The instrument of a market id; None for a spot market."""
        return self._instruments.get(market)

    def _matching(self, params: Params, extra: Iterable[str] = ()) -> list[str]:
        names = [*self._instruments, *extra]
        patterns = params.text("markets").split(",") if "markets" in params else None
        for item in patterns or ():
            if "*" not in item and item not in names:
                raise bad_parameter("markets", f"Market '{item}' is not supported.")
        rows = {name: _reference_row(name, self) for name in names if patterns is None or _named(name, patterns)}
        return sorted(name for name, row in rows.items() if _matches(row, params))

    def _reference(self, params: Params) -> list[str]:
        return self._matching(params, [f"binance-{base}-usdt-spot" for base in ("btc", "eth", "sol", "xrp")])

    def _span(self, market: str, oldest: int) -> dict[str, Any] | None:
        series, end = self._series(market), self._world.now() + 1
        first = series.ascending(oldest, end, 1).times
        last = series.descending(oldest, end, 1).times
        return {"market": market, "min_time": iso(first[0], 9), "max_time": iso(last[0], 9)} if first else None

    def _metric_row(self, table: str, entity: str, metrics: list[str]) -> dict[str, Any]:
        kind = KINDS[table]
        periods = []
        for metric in metrics:
            frequency = metric.rpartition("_")[2]
            if frequency in kind.frequencies and frequency in STEPS:
                rows = self._metrics.rows(table, entity, (metric,), frequency)
                span = {"frequency": frequency, "min_time": iso(rows.first, 9)}
                span["max_time"] = iso(rows.last - rows.last % rows.step, 9)
                periods.append({"metric": metric, "frequencies": [span]})
        return {kind.field: entity, "metrics": periods}

    def _page(
        self, request: Request, params: Params, names: list[str], row: Callable[[str], dict[str, Any] | None]
    ) -> Reply:
        """A page of the names' rows; the token is the first name of the next page."""
        params.choice("format", ("json",), "json")
        if params.choice("paging_from", ("start", "end"), "start") == "end":
            names = names[::-1]
        size = params.integer("page_size", 100, 1, 10_000)
        start = _read_token(params.text("next_page_token"), names)
        rows = [made for name in names[start : start + size] if (made := row(name))]
        body: dict[str, Any] = {"data": rows}
        if start + size < len(names):
            token = base64.urlsafe_b64encode(names[start + size].encode()).decode().rstrip("=")
            kept = [pair for pair in request.query if pair[0] != "next_page_token"]
            query = urlencode([*kept, ("next_page_token", token)], quote_via=quote)
            body.update(next_page_token=token, next_page_url=f"{request.url()}?{query}")
        encoded = msgspec.json.encode(body)
        return Reply(body=msgspec.json.format(encoded) if params.flag("pretty", False) else encoded, rows=len(rows))


def _read_token(token: str, names: list[str]) -> int:
    if not token:
        return 0
    try:
        return names.index(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode())
    except ValueError as error:
        raise bad_parameter("next_page_token", f"Value '{token}' is not supported.") from error


def _named(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) if "*" in pattern else name == pattern for pattern in patterns)


def _matches(row: Mapping[str, Any], params: Params) -> bool:
    if "asset" in params and params.text("asset") not in (row["base"], row["quote"]):
        return False
    return all(row[n] == params.text(n) for n in ("exchange", "type", "base", "quote", "symbol") if n in params)


def _reference_row(market: str, catalog: Catalog) -> dict[str, Any]:
    instrument = catalog.instrument(market)
    if instrument is None:
        exchange, base, quoted, _ = market.split("-")
        row = {"market": market, "exchange": exchange, "type": "spot", "base": base, "quote": quoted}
        return {**row, "pair": f"{base}-{quoted}", "symbol": f"{base}{quoted}".upper()}
    i = instrument
    size = str(i.face) if i.face else f"{10.0**-i.contract:.10f}".rstrip("0").rstrip(".")
    row = {
        "market": market,
        "exchange": i.coin_metrics_exchange,
        "type": "future",
        "base": i.base,
        "quote": i.quote,
        "pair": f"{i.base}-{i.quote}",
        "symbol": i.symbol,
        "size_asset": i.quote if i.face else i.base,
        "margin_asset": i.base if i.face else i.quote,
        "contract_size": size,
        "tick_size": f"{10.0**-i.tick:.{i.tick}f}",
        "listing": iso(i.starts, 9),
    }
    if i.ends is not None:
        row["expiration"] = iso(i.ends, 9)
    return row
