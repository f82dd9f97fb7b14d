"""A source on the CDK's `HttpStream`: one slice and one state for each partition, records made in `parse_response`.

It decodes a body once, not once for the records and once for the next page as the CDK would.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import orjson
import requests
from airbyte_cdk.entrypoint import launch
from airbyte_cdk.models import ConnectorSpecification
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.streams import Stream
from airbyte_cdk.sources.streams.http import HttpStream
from job import POINTS_SECONDS, STREAM, batches, flat_points, milliseconds_to_iso, unix_seconds


class LiquidationStream(HttpStream):
    cursor_field = "time"
    types: dict[str, list[str]] = {}

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self._config = config
        self._cursors: dict[str, str] = {}
        self._body: Mapping[str, Any] = {}

    @property
    def state(self) -> MutableMapping[str, Any]:
        return dict(self._cursors)

    @state.setter
    def state(self, value: MutableMapping[str, Any]) -> None:
        self._cursors = dict(value)

    def get_json_schema(self) -> Mapping[str, Any]:
        properties = {name: {"type": ["null", kind]} for kind, names in self.types.items() for name in names}
        properties["time"] = {"type": "string", "format": "date-time"}
        return {"type": "object", "additionalProperties": True, "properties": properties}

    def stream_slices(self, **_: Any) -> Iterable[Mapping[str, Any]]:
        for partition in self._config["partitions"]:
            yield {"partition_name": partition, "start": self._cursors.get(partition, self._config["start"])}

    def parse_response(
        self, response: requests.Response, *, stream_slice: Mapping[str, Any], **_: Any
    ) -> Iterable[MutableMapping[str, Any]]:
        self._body = orjson.loads(response.content)
        record = None
        for record in self.records(self._body, stream_slice):
            yield record
        if record:
            self._cursors[stream_slice["partition_name"]] = record["time"]

    @abstractmethod
    def records(self, body: Mapping[str, Any], stream_slice: Mapping[str, Any]) -> Iterable[MutableMapping[str, Any]]:
        """The rows of a body, with the added fields."""


class KaikoEvents(LiquidationStream):
    name = STREAM["kaiko"]
    primary_key = ["exchange", "instrument_class", "instrument", "trade_id"]
    types = {
        "number": ["amount", "amount_quote", "amount_usd", "price", "rate"],
        "string": ["position_side", "trade_id", "exchange", "instrument_class", "instrument"],
        "integer": ["timestamp"],
    }

    @property
    def url_base(self) -> str:
        return f"{self._config['base_url']}/kaiko/v2/data/liquidation.v1/trades/"

    def path(self, *, stream_slice: Mapping[str, Any], **_: Any) -> str:
        return stream_slice["partition_name"]

    def request_params(
        self, *, stream_slice: Mapping[str, Any], next_page_token: Mapping[str, Any] | None = None, **_: Any
    ) -> MutableMapping[str, Any]:
        if next_page_token:
            return dict(next_page_token)
        window = {"start_time": stream_slice["start"], "end_time": self._config["end"]}
        return {**window, "page_size": 1000, "sort": "asc"}

    def next_page_token(self, response: requests.Response) -> Mapping[str, Any] | None:
        token = self._body.get("continuation_token")
        return {"continuation_token": token} if token else None

    def records(self, body: Mapping[str, Any], stream_slice: Mapping[str, Any]) -> Iterable[MutableMapping[str, Any]]:
        exchange, instrument_class, instrument = stream_slice["partition_name"].split("/")
        for row in body["data"]:
            row["exchange"] = exchange
            row["instrument_class"] = instrument_class
            row["instrument"] = instrument
            row["time"] = milliseconds_to_iso(row["timestamp"])
            yield row


class CoinMetricsLiquidations(LiquidationStream):
    name = STREAM["coin_metrics"]
    primary_key = ["market", "coin_metrics_id", "type"]
    types = {"string": ["market", "coin_metrics_id", "amount", "price", "type", "database_time", "side"]}

    @property
    def url_base(self) -> str:
        return f"{self._config['base_url']}/coin_metrics/v4/"

    def path(self, **_: Any) -> str:
        return "timeseries/market-liquidations"

    def stream_slices(self, **_: Any) -> Iterable[Mapping[str, Any]]:
        """One slice for each of few markets, or one for as many markets as fit into a URL."""
        markets = self._config["partitions"]
        groups = batches(markets) if len(markets) > 40 else ([market] for market in markets)
        for group in groups:
            name = ",".join(group)
            yield {"partition_name": name, "start": self._cursors.get(name, self._config["start"])}

    def request_params(
        self, *, stream_slice: Mapping[str, Any], next_page_token: Mapping[str, Any] | None = None, **_: Any
    ) -> MutableMapping[str, Any]:
        window = {"start_time": stream_slice["start"], "end_time": self._config["end"], "end_inclusive": "false"}
        page = {"page_size": 10_000, "paging_from": "start", **(next_page_token or {})}
        return {"markets": stream_slice["partition_name"], **window, **page}

    def next_page_token(self, response: requests.Response) -> Mapping[str, Any] | None:
        token = self._body.get("next_page_token")
        return {"next_page_token": token} if token else None

    def records(self, body: Mapping[str, Any], stream_slice: Mapping[str, Any]) -> Iterable[MutableMapping[str, Any]]:
        yield from body["data"]


class KiyotakaPoints(LiquidationStream):
    name = STREAM["kiyotaka"]
    primary_key = ["exchange", "raw_symbol", "coin", "category", "interval", "side", "denomination", "time"]
    types = {
        "string": [
            *("type", "exchange", "raw_symbol", "normalized_symbol", "category"),
            *("interval", "side", "coin", "denomination"),
        ],
        "number": ["liquidations"],
        "integer": ["timestamp"],
    }

    @property
    def url_base(self) -> str:
        return f"{self._config['base_url']}/kiyotaka/v1/"

    def path(self, **_: Any) -> str:
        return "points"

    def stream_slices(self, **_: Any) -> Iterable[Mapping[str, Any]]:
        end = unix_seconds(self._config["end"])
        for symbol in self._config["partitions"]:
            start = unix_seconds(self._cursors.get(symbol, self._config["start"]))
            for begin in range(start, end, POINTS_SECONDS):
                yield {"partition_name": symbol, "from": begin, "period": min(POINTS_SECONDS, end - begin)}

    def request_params(self, *, stream_slice: Mapping[str, Any], **_: Any) -> MutableMapping[str, Any]:
        exchange, symbol = stream_slice["partition_name"].split("/")
        names = {"type": "LIQUIDATION_AGG", "exchange": exchange, "rawSymbol": symbol, "interval": "MINUTE"}
        return {**names, "from": stream_slice["from"], "period": stream_slice["period"]}

    def next_page_token(self, response: requests.Response) -> None:
        return None

    def records(self, body: Mapping[str, Any], stream_slice: Mapping[str, Any]) -> Iterable[MutableMapping[str, Any]]:
        for series in body["series"]:
            yield from flat_points(series)


STREAMS = {"kaiko": KaikoEvents, "coin_metrics": CoinMetricsLiquidations, "kiyotaka": KiyotakaPoints}


class SourceHttpStream(AbstractSource):
    def spec(self, logger: Any) -> ConnectorSpecification:
        return ConnectorSpecification(connectionSpecification={"type": "object", "additionalProperties": True})

    def check_connection(self, logger: Any, config: Mapping[str, Any]) -> tuple[bool, None]:
        return True, None

    def streams(self, config: Mapping[str, Any]) -> list[Stream]:
        return [STREAMS[config["vendor"]](config)]


def main() -> None:
    launch(SourceHttpStream(), sys.argv[1:])


if __name__ == "__main__":
    main()
