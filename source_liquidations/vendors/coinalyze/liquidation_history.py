"""Coinalyze, "Liquidation history": GET /liquidation-history. Sums of longs and shorts per market and interval."""

import time
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, first_few, shown
from source_liquidations.http.answers import MEMBERS, Response, decode_value
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.numbers import NULL, Number
from source_liquidations.reading.coverage import Period
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.pages import Table, encode, members, members_of
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset
from source_liquidations.unified import POSITIONS, interval_of, volume_names, volumes
from source_liquidations.vendors.coinalyze.markets import Market, exchanges, markets, matching_markets
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder, added_rows, without
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.repeats import each_once

PATH = "/v1/liquidation-history"
STREAM = Stream(
    "coinalyze_liquidation_history", ("symbol", "interval", "denomination", "time"), "time", declared_in=__name__
)

# The vendor keeps at least this many of a market's newest points at an interval shorter than a day.
POINTS_KEPT = 1_500
REVISED_FOR = 5 * timestamps.MINUTE
SYMBOLS_PER_REQUEST = 20
MANY_MARKETS = 2_000  # a sync of this many takes an hour

_DOLLAR = "usd"
IN_BASE, IN_QUOTE = "BASE_ASSET", "QUOTE_ASSET"


class Point(msgspec.Struct, gc=False):
    """One interval: its start in Unix seconds, the liquidated longs and the liquidated shorts."""

    t: msgspec.Raw
    l: Number = NULL  # noqa: E741 - the vendor's name
    s: Number = NULL


class Series(msgspec.Struct):
    symbol: str
    history: list[msgspec.Raw] | None


_body = msgspec.json.Decoder(list[msgspec.Raw] | None)
_series = msgspec.json.Decoder(Series)


def symbols_per_request(calls_per_minute: int) -> int:
    """At most half of a minute's calls, so that two requests use all of them."""
    return max(1, min(SYMBOLS_PER_REQUEST, calls_per_minute // 2))


class LiquidationHistory(Endpoint):
    """One answer holds the whole window of up to 20 symbols. Each symbol is a call, however long the window is."""

    ascending = False  # symbols come in any order
    splittable = False  # every part would cost all calls again
    page_size = 2**31
    rows_per_step = 1  # at most: an interval without liquidations has no row
    revised_for = REVISED_FOR

    def __init__(self, client: Client, config: Mapping[str, Any], *, per_minute: int, start: int) -> None:
        self.client = client
        self._symbols = tuple(config["symbols"])
        self._interval = config.get("interval", "daily")
        self._denomination = config.get("denomination", "usd")
        self._start = start
        self._batch_size = symbols_per_request(per_minute)
        fields = Fields(STREAM)
        added = tuple(fields.documented.difference(Point.__struct_fields__))
        self._decoder = RowDecoder(ListBody, Point, fields, added=added)
        self._markets: Mapping[str, Market] = {}
        self._exchanges: Mapping[str, str] = {}
        self._no_exchanges: LiquidationsError | None = None
        self.step, self._iso_interval = interval_of(self._interval)

    # Partitions.

    def partitions(self, traffic: Traffic) -> Sequence[Partition]:
        partitions = self.listed_partitions(traffic)
        for warning in self.duration_warnings(partitions):
            logger.warning("%s", warning)
        try:
            self._exchanges = exchanges(self.client, traffic)
        except LiquidationsError as error:
            if error.scope == "reading":  # the key itself is refused
                raise
            self._no_exchanges = error  # only liquidation_volumes needs them
        return partitions

    def listed_partitions(self, traffic: Traffic) -> list[Partition]:
        """The partitions of all configured markets in the vendor's list, which costs one call."""
        self._markets = markets(self.client, traffic)
        shared = {"interval": self._interval, "denomination": self._denomination}
        matching = partial(matching_markets, self._markets)
        symbols = self.resolve_entries("coinalyze.symbols", self._symbols, lambda entry: True, matching)
        return list(dict.fromkeys(Partition.of(symbol=symbol, **shared, entry=where) for symbol, where in symbols))

    def duration_warnings(self, partitions: Sequence[Partition]) -> list[str]:
        count = len(partitions)
        if count <= MANY_MARKETS:
            return []
        minutes = count * self.client.budget.seconds / self.client.budget.requests / 60
        matched = f"coinalyze: `coinalyze.symbols` matches {count:,} markets."
        return [f"{matched} Each costs a call, so every sync takes {minutes:,.0f} minutes."]

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        code = _text(self._markets[partition["symbol"]].exchange)
        return self._exchanges.get(code, code), partition["symbol"]

    # Requests.

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        for first in range(0, len(partitions), self._batch_size):
            yield tuple(partitions[first : first + self._batch_size])

    def first_request(self, span: Span) -> Request:
        """`from` and `to` are inclusive, in seconds. With milliseconds, the vendor returns no rows and no error."""
        params = (
            ("symbols", ",".join(partition["symbol"] for partition in span.partitions)),
            ("interval", self._interval),
            ("from", str(span.start // timestamps.SECOND)),
            ("to", str(span.end // timestamps.SECOND - 1)),
            ("convert_to_usd", "true" if self._denomination == "usd" else "false"),
        )
        return Request(PATH, params, weight=float(len(span.partitions)), is_large=self.is_large(span))

    def estimated_cost(self, requests: int, rows: int, weight: float) -> dict[str, int]:
        return {"calls": round(weight)}

    # Answers.

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        rows = each_once(self._rows(response, span), memory)
        self._note_coverage(span, rows)
        return Answer(rows)

    def _rows(self, response: Response, span: Span) -> Rows:
        """A row for each point of each series. The vendor returns symbols in any order, and leaves out some."""
        owner_of = {partition["symbol"]: index for index, partition in enumerate(span.partitions)}
        points: list[msgspec.Raw | bytes] = []
        owners: list[int] = []
        for literal in response.decoded(_body) or ():
            series = decode_value(literal, _series, "the answer")
            if series.symbol not in owner_of:
                raise UnexpectedAnswer(f"`symbol`: rows of {shown(series.symbol)}, which was not requested.")
            history: list[Any] = series.history or []
            undocumented = without(members_of(literal), (*Series.__struct_fields__, *Point.__struct_fields__))
            if undocumented:  # each point gets the members of its series; its own members replace them
                history = [encode(undocumented | decode_value(point, MEMBERS, "the answer")) for point in history]
            points += history
            owners += [owner_of[series.symbol]] * len(history)
        page = self._decoder.decode(Response(200, {}, b"[%b]" % b",".join(points)))
        instants, times = unix_instants("t", page.column("t"), "seconds")
        added = [members(self._added_members(partition)) for partition in span.partitions]
        each = (b'"time":"', times, b'",', [added[owner] for owner in owners])
        return added_rows(page, instants, constant={}, each=each, owners=owners)

    def _added_members(self, partition: Partition) -> dict[str, Any]:
        """What a point lacks: the request's parameters, and the market's description in the list of markets."""
        market = self._markets[partition["symbol"]]
        return {
            **dict(partition.values),
            "exchange": market.exchange,
            "base_asset": market.base_asset,
            "quote_asset": market.quote_asset,
            "oi_lq_vol_denominated_in": market.unit,
        }

    def _note_coverage(self, span: Span, rows: Rows) -> None:
        """Observe where each market's data begin, for liquidation_coverage, and log which markets have no rows."""
        instants: list[list[int]] = [[] for _ in span.partitions]
        for owner, instant in zip(rows.owners or (), rows.instants, strict=True):
            instants[owner].append(instant)
        empty = [partition["symbol"] for index, partition in enumerate(span.partitions) if not instants[index]]
        if empty:
            start, end = timestamps.format_shortest(span.start), timestamps.format_shortest(span.end)
            logger.info("coinalyze: no liquidations from %s to %s of %s", start, end, first_few(empty))
        for partition, own_instants in zip(span.partitions, instants, strict=True):
            first = min(own_instants, default=span.end)
            if first < span.start + self.step:
                continue
            if self.step < timestamps.DAY:
                if len(own_instants) + max(0, time.time_ns() - span.end) // self.step >= POINTS_KEPT:
                    self._note_deleted(partition, span.start, first)
            elif own_instants and span.start <= timestamps.floor_to(self._start, self.step):
                note = f"the first day with a liquidation; requested from {timestamps.format_shortest(span.start)} on"
                market = self.exchange_and_market(partition)
                self.observations.append(Period(self.vendor, *market, "starts", first, None, note))

    def _note_deleted(self, partition: Partition, start: int, first: int) -> None:
        note = (
            f"nothing older is kept, or nothing happened: of {self._interval}, {POINTS_KEPT:,} to 2,000 points are kept"
        )
        if not self.observations:
            logger.warning(
                "coinalyze: %s: requested data from %s, but the first row is from %s: %s. For other markets see the"
                " stream liquidation_coverage.",
                partition["symbol"],
                timestamps.format_shortest(start),
                timestamps.format_shortest(first),
                note,
            )
        market = self.exchange_and_market(partition)
        self.observations.append(Period(self.vendor, *market, "missing", start, first, note))

    # The unified stream.

    def to_volumes(self, rows: Rows, span: Span) -> Table:
        """Two rows for each point: `l` are longs, `s` are shorts. A market without a unit has no rows and one fault."""
        if self._no_exchanges is not None:
            raise copy(self._no_exchanges)
        names, errors = self.names_of(span.partitions)
        rows = rows.without({index: errors[owner] for index, owner in enumerate(rows.owners or ()) if owner in errors})
        return volumes(
            names=[name for owner in rows.owners or () for name in names[owner]],
            instants=[instant for instant in rows.instants for _ in POSITIONS],
            amount=[amount for point in rows.typed for amount in (point.l, point.s)],
            faults=rows.faults,
        )

    def names_of(self, partitions: Sequence[Partition]) -> tuple[dict[int, list[bytes]], dict[int, LiquidationsError]]:
        """By index, the members that a market's longs and shorts have in liquidation_volumes, or why it has none."""
        names: dict[int, list[bytes]] = {}
        errors: dict[int, LiquidationsError] = {}
        for index, partition in enumerate(partitions):
            market = self._markets[partition["symbol"]]
            exchange, symbol = self.exchange_and_market(partition)
            shared = (self.vendor, symbol, exchange, asset(_text(market.base_asset)), self._iso_interval)
            try:
                unit = self._unit(market)
                names[index] = [volume_names(*shared, side, unit) for side in POSITIONS]
            except LiquidationsError as error:
                errors[index] = error
        return names, errors

    def _unit(self, market: Market) -> str:
        if self._denomination == "usd":
            return "usd"
        if market.unit not in (IN_BASE, IN_QUOTE):
            raise UnexpectedAnswer(
                f"`oi_lq_vol_denominated_in` of {market.symbol} is {shown(str(market.unit or 'null'))}, neither"
                f" {IN_BASE} nor {IN_QUOTE}."
            )
        if market.unit == IN_BASE:
            return "coin"
        if asset(_text(market.quote_asset)) != _DOLLAR:
            raise NotUnified(
                f"the liquidations of {market.symbol} are counted in {market.quote_asset}, but liquidation_volumes has"
                " only units of the base asset and US dollars.",
                advice="Set `coinalyze.denomination` to usd, or take the market out of `coinalyze.symbols`. The stream"
                f" {STREAM.name} has its rows.",
            )
        return "usd"


def _text(value: Any) -> str:
    """A value of the list of markets; "" if it is not text."""
    return value if isinstance(value, str) else ""


class NotUnified(LiquidationsError):
    """liquidation_volumes does not have the unit of a market's rows."""

    failure_type = "config_error"
