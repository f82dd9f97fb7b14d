"""Kiyotaka, "LIQUIDATION_AGG": GET /v1/points. Volumes per side and interval, of a symbol or summed over exchanges."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from source_liquidations import timestamps
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Sizing, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset
from source_liquidations.unified import interval_of, volumes
from source_liquidations.vendors.decoding import Fields
from source_liquidations.vendors.kiyotaka.markets import matching_markets
from source_liquidations.vendors.kiyotaka.points import KEY, OWN_FIELDS, TYPE, exchanges_of, rows_of
from source_liquidations.vendors.patterns import is_pattern

PATH = "/v1/points"
STREAM = Stream("kiyotaka_liquidation_agg", KEY, "time", declared_in=__name__)

MOST_POINTS = 100_000  # a request, over all series
SERIES = 2  # one for each side
POINTS_PER_WEIGHT = 1_000
WEIGHT_PER_EXCHANGE = 0.2  # of a sum, more


class LiquidationAgg(Endpoint):
    vendor = "kiyotaka"
    title = "Kiyotaka"
    codes = (
        "BINANCE_FUTURES BINANCE_DELIVERY BYBIT OKEX_SWAP OKEX_FUTURES DERIBIT BITMEX BITGET BITFINEX_DERIVATIVES"
        " GATE_IO_FUTURES HYPERLIQUID_FUTURES HUOBI_DM HUOBI_DM_SWAP HUOBI_DM_LINEAR_SWAP"
    )
    ascending = False  # one answer a window, series by series
    paged = False
    refuses_old = True
    page_size = MOST_POINTS
    most_at_once = 2
    rows_per_step = SERIES

    def __init__(self, client: Client, config: Mapping[str, Any], *, most_weight: float) -> None:
        self.client = client
        self._symbols = tuple(config.get("symbols", ()))
        self._coins = tuple(config.get("coins", ()))
        self._exchanges = tuple(sorted(set(config.get("coin_exchanges", ()))))  # the same sum in whatever order
        self._interval = config.get("interval", "HOUR")
        self._denomination = config.get("denomination", "coin")
        self._fields = Fields(STREAM.name, OWN_FIELDS)
        self._lists: dict[Request, list[str]] = {}
        self.step, _ = interval_of(self._interval)
        factor = 1 + WEIGHT_PER_EXCHANGE * len(self._exchanges) if self._coins else 1.0
        points = max(1, math.floor(most_weight / factor)) * POINTS_PER_WEIGHT
        self.sizing = Sizing(min(MOST_POINTS, points) // SERIES * self.step)

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        rest = {"interval": self._interval, "denomination": self._denomination}
        matching = partial(matching_markets, self.client, traffic, self._lists)
        for name, where in self.resolved("kiyotaka.symbols", self._symbols, is_pattern, matching):
            exchange_id, raw_symbol = name.split("/", 1)
            yield Partition.of(exchange=exchange_id, raw_symbol=raw_symbol, **rest, entry=where)
        for index, coin in enumerate(self._coins):
            exchanges = "+".join(self._exchanges)
            where = f"kiyotaka.coins[{index}]"
            yield Partition.of(coin=coin, exchanges=exchanges, **rest, entry=where)

    def place(self, partition: Partition) -> tuple[str, str]:
        asked = dict(partition.values)
        codes = asked.get("exchanges") or asked["exchange"]
        return exchanges_of(codes), f"{codes}/{asked.get('raw_symbol') or asset(asked['coin'])}"

    def first(self, span: Span) -> Request:
        partition = dict(span.partitions[0].values)
        params = [("type", TYPE)]
        if "coin" in partition:
            params += [("exchange", name) for name in partition["exchanges"].split("+")]
            params += [("coin", partition["coin"])]
        else:
            params += [("exchange", partition["exchange"]), ("rawSymbol", partition["raw_symbol"])]
        params += [
            ("interval", partition["interval"]),
            ("from", str(span.start // timestamps.SECOND)),
            ("period", str((span.end - span.start) // timestamps.SECOND)),
            ("sortDirection", "SORT_DIRECTION_ASC"),
        ]
        if "coin" in partition:
            params.append(("transform.groupBy.type", "GROUP_BY_TYPE_SUM"))
        if partition["denomination"] == "usd":
            params.append(("transform.normalize.quote", "USD"))
        return Request(PATH, tuple(params))

    def weight(self, span: Span) -> float:
        points = (span.end - span.start) // self.step * SERIES
        summed = dict(span.partitions[0].values).get("exchanges")
        factor = 1 + WEIGHT_PER_EXCHANGE * len(summed.split("+")) if summed else 1.0
        return math.ceil(points / POINTS_PER_WEIGHT) * factor

    def price(self, requests: int, rows: int, weight: float) -> dict[str, int]:
        return {"weight": math.ceil(round(weight, 3))}

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        return Answer(rows_of(answered, span.partitions[0], self._fields, memory))


def to_volumes(rows: Rows, span: Span) -> Table:
    return volumes(
        names=[names for names, _ in rows.typed], instants=rows.instants, amount=[amount for _, amount in rows.typed]
    )
