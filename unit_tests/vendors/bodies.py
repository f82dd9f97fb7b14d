"""Vendors' sample bodies, and the connector's records of a body, without a network."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from source_liquidations import planning
from source_liquidations.config import Config, parse, spec
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Partition, Span
from source_liquidations.reading.pages import Output, render
from source_liquidations.reading.rows import Fault
from source_liquidations.streams import Stream
from source_liquidations.vendors import VENDORS
from source_liquidations.vendors.vendor import Feed, Shared

Row = dict[str, Any]

SAMPLES = Path(__file__).parents[1] / "samples"
# Valid for any row of the samples.
ALL_TIME = (1_400_000_000 * 10**9, 2_000_000_000 * 10**9)


def sample(name: str) -> Any:
    """A new copy of a vendor's body, such as `kwery/liquidations`."""
    return json.loads((SAMPLES / f"{name}.json").read_text())


def feed_of(stream: str, section: Mapping[str, Any]) -> Feed:
    """The configured endpoint of a vendor stream."""
    for vendor in VENDORS:
        if stream.startswith(vendor.name):
            return next(each for each in vendor(section, Shared()).feeds if each.stream.name == stream)
    raise KeyError(stream)


def all_streams() -> dict[str, Stream]:
    """The streams of all vendors, configured with the specification's examples, by name."""
    sections = spec()["connectionSpecification"]["properties"]
    configured = []
    for vendor in VENDORS:
        fields = sections[vendor.name]["properties"]
        examples = {name: field["examples"][0] for name, field in fields.items() if "examples" in field}
        configured.append(vendor({"api_key": "k", **examples}, Shared()))
    return {stream.name: stream for stream in planning.streams(configured)}


def span_of(partition: Partition, start: int = ALL_TIME[0], end: int = ALL_TIME[1]) -> Span:
    return Span((partition,), start, end)


def response(body: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(200, dict(headers or {}), body if isinstance(body, bytes) else json.dumps(body).encode())


def decoded(
    feed: Feed, body: Any, span: Span, *, headers: Mapping[str, str] | None = None, memory: Any = None
) -> Answer:
    request: Request = feed.endpoint.first_request(span)
    answer = response(body, headers)
    assert answer.problem() is None, "the client would reject the body"
    return feed.endpoint.decode(answer.on_one_line(), span, request, {} if memory is None else memory)


def records(
    feed: Feed, body: Any, span: Span, *, headers: Mapping[str, str] | None = None, memory: Any = None
) -> dict[str, list[Row]]:
    """The records of a page, by stream: the vendor's stream and the unified streams."""
    answer = decoded(feed, body, span, headers=headers, memory=memory)
    return {output.stream: rows_of(output, answer, span) for output in outputs_of(feed)}


def partly(feed: Feed, body: Any, span: Span, *, memory: Any = None) -> dict[str, tuple[list[Row], list[Fault]]]:
    """The records of a page, by stream, and the faulty rows."""
    answer = decoded(feed, body, span, memory=memory)
    return {output.stream: rows_and_faults_of(output, answer, span) for output in outputs_of(feed)}


def outputs_of(feed: Feed) -> list[Output]:
    mapped = (Output(stream.name, mapper, feed.endpoint.vendor) for stream, mapper in feed.mappers.items())
    return [Output(feed.stream.name), *mapped]


def rows_of(output: Output, answer: Answer, span: Span) -> list[Row]:
    """The records of an answer for one stream; asserts that no row is faulty."""
    rows, faults = rows_and_faults_of(output, answer, span)
    assert not faults
    return rows


def rows_and_faults_of(output: Output, answer: Answer, span: Span) -> tuple[list[Row], list[Fault]]:
    faults = list(answer.rows.faults)
    rows: list[Row] = []
    for block in render(output, answer.rows, span, faults):
        lines = [json.loads(line)["record"] for line in block.data.splitlines()]
        assert {line["stream"] for line in lines} == {block.stream}
        assert len(lines) == block.records
        rows += [line["data"] for line in lines]
    return rows, faults


def configured(vendor: str, section: Mapping[str, Any]) -> Config:
    """A configuration with only this section. Raises ConfigurationError."""
    return parse({"start_date": "2024-01-01", vendor: dict(section)})


def changed(body: Any, **values: Any) -> Any:
    """A copy of a body with these values in every row of `data`; the value `...` removes the field."""
    body = copy.deepcopy(body)
    for row in body["data"]:
        for name, value in values.items():
            row.pop(name, None)
            if value is not ...:
                row[name] = value
    return body


# Each vendor's feed and a span of one partition.


def kaiko_events(market: str = "bbit/perpetual-future/eth-usdt") -> tuple[Feed, Span]:
    names = dict(zip(("exchange", "instrument_class", "instrument"), market.split("/"), strict=True))
    feed = feed_of("kaiko_liquidation_events", {"api_key": "k" * 8, "instruments": [market]})
    return feed, span_of(Partition.of(**names, entry="kaiko.instruments[0]"))


def kaiko_volumes(asset: str = "eth", interval: str = "1h") -> tuple[Feed, Span]:
    section = {"api_key": "k" * 8, "assets": [asset], "interval": interval}
    feed = feed_of("kaiko_token_liquidation_volumes", section)
    return feed, span_of(Partition.of(asset=asset, interval=interval, entry="kaiko.assets[0]"))


def coin_metrics(market: str = "binance-BTCUSDT-future") -> tuple[Feed, Span]:
    feed = feed_of("coin_metrics_market_liquidations", {"api_key": "k" * 8, "markets": [market]})
    return feed, span_of(Partition.of(market=market, entry="coin_metrics.markets[0]"))


def kwery(symbol: str = "BTC", **section: Any) -> tuple[Feed, Span]:
    feed = feed_of("kwery_liquidations", {"api_key": "k" * 8, "symbols": [symbol], **section})
    return feed, span_of(Partition.of(symbol=symbol, entry="kwery.symbols[0]"))


def kiyotaka(market: str = "BINANCE_FUTURES/BTCUSDT", **section: Any) -> tuple[Feed, Span]:
    """`EXCHANGE/rawSymbol`, or `EXCHANGE+EXCHANGE/coin` for a sum."""
    section = {"interval": "HOUR", "denomination": "coin", **section}
    names, _, symbol = market.partition("/")
    rest = {"interval": section["interval"], "denomination": section["denomination"]}
    if "+" in names:
        section |= {"coins": [symbol], "coin_exchanges": names.split("+")}
        partition = Partition.of(coin=symbol, exchanges=names, **rest, entry="kiyotaka.coins[0]")
    else:
        section |= {"symbols": [market]}
        partition = Partition.of(exchange=names, raw_symbol=symbol, **rest, entry="kiyotaka.symbols[0]")
    return feed_of("kiyotaka_liquidation_agg", {"api_key": "k" * 8, **section}), span_of(partition)


MARKET = sample("coinalyze/future-markets.200")[0]
EXCHANGES = [{"name": "Binance", "code": "A"}, {"name": "Gate.io", "code": "Y"}, {"name": "WhiteBIT", "code": "Q"}]


def coinalyze(*symbols: str, markets: Any = ..., exchanges: Any = EXCHANGES, **section: Any) -> tuple[Feed, Span]:
    """These symbols in one request; the list of markets is `markets`, or has them with the sample's fields."""
    symbols = symbols or ("BTCUSDT_PERP.A",)
    section = {"interval": "1hour", "denomination": "native", "symbols": list(symbols), **section}
    feed = feed_of("coinalyze_liquidation_history", {"api_key": "k" * 8, **section})
    rows = [{**MARKET, "symbol": symbol} for symbol in symbols] if markets is ... else markets
    lists = {"/v1/future-markets": rows, "/v1/exchanges": exchanges}
    feed.endpoint.client.fetch = lambda request, *_, **__: response(lists[request.path])  # type: ignore[method-assign]
    partitions = tuple(feed.endpoint.partitions(Traffic()))
    return feed, Span(partitions, *ALL_TIME)
