"""A tap on the Singer SDK: one context for each partition, sorted by time so that its state can advance.

It uses the SDK's options for speed: the msgspec writer, no type conformance, pages decoded as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import requests
from job import POINTS_SECONDS, STREAM, batches, flat_points, milliseconds_to_iso, unix_seconds
from singer_sdk import Stream, Tap
from singer_sdk import typing as th
from singer_sdk.contrib.msgspec import MsgSpecWriter
from singer_sdk.helpers.conform import TypeConformanceLevel
from singer_sdk.pagination import BaseAPIPaginator, JSONPathPaginator, SinglePagePaginator
from singer_sdk.streams import RESTStream


def strings(*names: str) -> list[th.Property]:
    return [th.Property(name, th.StringType) for name in names]


def numbers(*names: str) -> list[th.Property]:
    return [th.Property(name, th.NumberType) for name in names]


class LiquidationStream(RESTStream):
    replication_key = "time"
    is_sorted = True
    TYPE_CONFORMANCE_LEVEL = TypeConformanceLevel.NONE
    token_path = ""

    @property
    def url_base(self) -> str:
        return self.config["base_url"]

    @property
    def partitions(self) -> list[dict]:
        return [{"partition": name} for name in self.config["partitions"]]

    def since(self, context: dict) -> str:
        return self.get_starting_replication_key_value(context) or self.config["start"]

    def get_new_paginator(self) -> BaseAPIPaginator:
        return JSONPathPaginator(self.token_path)

    def parse_response(self, response: requests.Response) -> Iterable[dict]:
        yield from response.json()["data"]


class KaikoEvents(LiquidationStream):
    name = STREAM["kaiko"]
    path = "/kaiko/v2/data/liquidation.v1/trades/{exchange}/{instrument_class}/{instrument}"
    primary_keys = ("exchange", "instrument_class", "instrument", "trade_id")
    token_path = "$.continuation_token"
    schema = th.PropertiesList(
        *numbers("amount", "amount_quote", "amount_usd", "price", "rate"),
        *strings("position_side", "trade_id", "exchange", "instrument_class", "instrument"),
        th.Property("timestamp", th.IntegerType),
        th.Property("time", th.DateTimeType),
    ).to_dict()

    @property
    def partitions(self) -> list[dict]:
        """The SDK also adds these to every row."""
        names = ("exchange", "instrument_class", "instrument")
        return [dict(zip(names, name.split("/"), strict=True)) for name in self.config["partitions"]]

    def get_url_params(self, context: dict | None, next_page_token: str | None) -> dict[str, Any]:
        if next_page_token:
            return {"continuation_token": next_page_token}
        window = {"start_time": self.since(context or {}), "end_time": self.config["end"]}
        return {**window, "page_size": 1000, "sort": "asc"}

    def post_process(self, row: dict, context: dict | None = None) -> dict:
        row["time"] = milliseconds_to_iso(row["timestamp"])
        return row


class CoinMetricsLiquidations(LiquidationStream):
    name = STREAM["coin_metrics"]
    path = "/coin_metrics/v4/timeseries/market-liquidations"
    primary_keys = ("market", "coin_metrics_id", "type")
    token_path = "$.next_page_token"
    schema = th.PropertiesList(
        *strings("market", "coin_metrics_id", "amount", "price", "type", "side"),
        th.Property("time", th.DateTimeType),
        th.Property("database_time", th.DateTimeType),
    ).to_dict()

    @property
    def is_sorted(self) -> bool:
        """A call for several markets returns them one after the other."""
        return len(self.config["partitions"]) <= 40

    @property
    def partitions(self) -> list[dict]:
        markets = self.config["partitions"]
        groups = [[market] for market in markets] if self.is_sorted else batches(markets)
        return [{"partition": ",".join(group)} for group in groups]

    def get_url_params(self, context: dict | None, next_page_token: str | None) -> dict[str, Any]:
        context = context or {}
        window = {"start_time": self.since(context), "end_time": self.config["end"], "end_inclusive": "false"}
        page = {"page_size": 10_000, "paging_from": "start"}
        token = {"next_page_token": next_page_token} if next_page_token else {}
        return {"markets": context["partition"], **window, **page, **token}


class KiyotakaPoints(LiquidationStream):
    name = STREAM["kiyotaka"]
    path = "/kiyotaka/v1/points"
    is_sorted = False  # one side follows the other
    state_partitioning_keys = ("exchange", "raw_symbol")
    primary_keys = ("exchange", "raw_symbol", "coin", "category", "interval", "side", "denomination", "time")
    schema = th.PropertiesList(
        *strings("type", "exchange", "raw_symbol", "normalized_symbol", "category", "interval", "side", "coin"),
        *strings("denomination"),
        *numbers("liquidations"),
        th.Property("timestamp", th.IntegerType),
        th.Property("time", th.DateTimeType),
    ).to_dict()

    def get_new_paginator(self) -> BaseAPIPaginator:
        return SinglePagePaginator()

    @property
    def partitions(self) -> list[dict]:
        begins = range(unix_seconds(self.config["start"]), unix_seconds(self.config["end"]), POINTS_SECONDS)
        symbols = [name.split("/") for name in self.config["partitions"]]
        return [
            {"exchange": exchange, "raw_symbol": symbol, "begin": begin}
            for exchange, symbol in symbols
            for begin in begins
        ]

    def get_url_params(self, context: dict | None, next_page_token: Any) -> dict[str, Any]:
        context = context or {}
        period = min(POINTS_SECONDS, unix_seconds(self.config["end"]) - context["begin"])
        return {
            "type": "LIQUIDATION_AGG",
            "exchange": context["exchange"],
            "rawSymbol": context["raw_symbol"],
            "interval": "MINUTE",
            "from": context["begin"],
            "period": period,
        }

    def parse_response(self, response: requests.Response) -> Iterable[dict]:
        for series in response.json()["series"]:
            yield from flat_points(series)


STREAMS = {"kaiko": KaikoEvents, "coin_metrics": CoinMetricsLiquidations, "kiyotaka": KiyotakaPoints}


class TapLiquidations(Tap):
    name = "tap-liquidations"
    message_writer_class = MsgSpecWriter
    config_jsonschema = th.PropertiesList(
        *strings("vendor", "base_url", "start", "end", "output", "api_key"),
        th.Property("workers", th.IntegerType),
        th.Property("partitions", th.ArrayType(th.StringType)),
    ).to_dict()

    def discover_streams(self) -> list[Stream]:
        return [STREAMS[self.config["vendor"]](self)]


if __name__ == "__main__":
    TapLiquidations.cli()
