"""The shape of each vendor's body at each path."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.bitfinex_rows import FIELDS
from sandbox.list_shapes import ListShape, PositionalShape, SeriesShape
from sandbox.shapes import Shape

KAIKO = Shape("continuation_token", "price", ("timestamp",), "next_url")
KAIKO_TOKEN = Shape("continuation_token", "total_amount", ("interval_time", "interval_timestamp"), "next_url")
KAIKO_REFERENCE = Shape("continuation_token", "code", (), "next_url")
COIN_METRICS = Shape("next_page_token", "price", ("time",), "next_page_url")
KWERY = Shape("after", "quantity", ("timestamp",))
KIYOTAKA = Shape("pageOffset", "liquidations", ("timestamp",), nested=True)
KIYOTAKA_MARKETS = Shape("pageOffset", "rawSymbol", ())
BITFINEX = PositionalShape("", "amount", ("mts",), per_second=1000, fields=FIELDS, first="pos")
GATE_ORDERS = ListShape("", "fill_price", ("time",))
GATE_STATS = ListShape("", "long_liq_usd", ("time",))
GATE_CONTRACTS = ListShape("", "quanto_multiplier", ())
COINALYZE = SeriesShape("", "l", ("t",))
COINALYZE_LISTS = ListShape("", "symbol", ())

SHAPES: dict[str, list[tuple[Callable[[str], bool], Shape]]] = {
    "kaiko": [
        (lambda path: "/token/" in path, KAIKO_TOKEN),
        (lambda path: path.startswith("/v1/"), KAIKO_REFERENCE),
        (lambda path: True, KAIKO),
    ],
    "coin_metrics": [(lambda path: True, COIN_METRICS)],
    "kwery": [(lambda path: path.endswith("/liquidations"), KWERY)],
    "kiyotaka": [
        (lambda path: path.endswith("/markets"), KIYOTAKA_MARKETS),
        (lambda path: True, KIYOTAKA),
    ],
    "bitfinex": [(lambda path: path.endswith("/liquidations/hist"), BITFINEX)],
    "gate": [
        (lambda path: path.endswith("/liq_orders"), GATE_ORDERS),
        (lambda path: path.endswith("/contract_stats"), GATE_STATS),
        (lambda path: path.endswith("/contracts"), GATE_CONTRACTS),
    ],
    "coinalyze": [
        (lambda path: path.endswith("/liquidation-history"), COINALYZE),
        (lambda path: path.endswith(("/future-markets", "/exchanges")), COINALYZE_LISTS),
    ],
}


def shape_of(vendor: str, path: str) -> Shape | None:
    """The shape of a vendor's body at a path."""
    return next((shape for fits, shape in SHAPES.get(vendor, []) if fits(path)), None)
