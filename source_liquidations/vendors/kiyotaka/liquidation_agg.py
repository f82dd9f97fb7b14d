"""Kiyotaka, "LIQUIDATION_AGG": GET /v1/points. Volumes per side and interval, of a symbol or summed over exchanges."""

import contextlib
import math
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from functools import partial
from itertools import repeat
from typing import Annotated, Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown
from source_liquidations.http.answers import MEMBERS, Answered, shaped
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.numbers import NULL
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Sizing, Span
from source_liquidations.reading.pages import Table, encode, members_of
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, assets_of, exchange
from source_liquidations.unified import interval_of, volume_names, volumes
from source_liquidations.vendors.decoding import Fields, one_line, snake, without
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.kiyotaka.markets import matching_markets
from source_liquidations.vendors.patterns import is_pattern
from source_liquidations.vendors.repeats import each_once

PATH = "/v1/points"
TYPE = "LIQUIDATION_AGG"
KEY = ("exchange", "raw_symbol", "coin", "category", "interval", "side", "denomination", "time")
ID_FIELDS = ("type", "exchange", "rawSymbol", "normalizedSymbol", "category", "interval", "side", "coin")
# Documented as: BUY = longs getting liquidated, SELL = shorts. The opposite of Coin Metrics.
POSITION_OF = {"BUY": "long", "SELL": "short"}

_ID_COLUMNS = {**dict.fromkeys(map(snake, ID_FIELDS), ""), "normalized_symbol": None}
_OF_A_SYMBOL = ("exchange", "raw_symbol", "normalized_symbol", "category")
_NOT_GIVEN = (NULL, msgspec.Raw(b'""'))

STREAM = Stream("kiyotaka_liquidation_agg", KEY, "time", declared_in=__name__)

MOST_POINTS = 100_000  # a request, over all series
SERIES = 2  # one for each side
POINTS_PER_WEIGHT = 1_000
WEIGHT_PER_EXCHANGE = 0.2  # of a sum, more
DEFAULTS = {"interval": "HOUR", "denomination": "coin"}


Members = dict[str, msgspec.Raw]


class Instant(msgspec.Struct, gc=False):
    """Unix seconds and nanoseconds; a 64-bit number is text, as a rule."""

    s: int
    ns: Annotated[int, msgspec.Meta(ge=0, lt=timestamps.SECOND)] = 0


class Point(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A zero `liquidations` may be left out."""

    timestamp: Instant
    liquidations: msgspec.Raw = NULL


class Wrapped(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    Point: Point


class Body(msgspec.Struct):
    """An empty list may be left out, and then the body is empty."""

    series: list[Members] | msgspec.UnsetType | None = msgspec.UNSET


_decoder = msgspec.json.Decoder(Body)
_documented = msgspec.json.Decoder(list[Wrapped] | None, strict=False)
_entries = msgspec.json.Decoder(list[Members] | None)
_points = msgspec.json.Decoder(list[Point], strict=False)


def _points_of(series: Members) -> tuple[list[Point], list[Members]]:
    """The points of a series without its id; and of each, what is undocumented: in it, around it, beside the points.

    Of the same name in several of these places, the one nearest to the number counts. Raises UnexpectedAnswer.
    """
    literal = series.pop("points", NULL)
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        if not series:
            return [entry.Point for entry in _documented.decode(literal) or ()], []
    entries = shaped(literal, _entries, "`points` of a series") or ()
    inside = [shaped(entry.pop("Point", b"{}"), MEMBERS, "`Point` of a series") for entry in entries]
    known = [{name: point.pop(name) for name in Point.__struct_fields__ if name in point} for point in inside]
    beside = [{**series, **entry, **point} for entry, point in zip(entries, inside, strict=True)]
    return shaped(encode(known), _points, "`points` of a series"), beside


def _undocumented(members: Members, own: AbstractSet[str], fields: Fields) -> Members:
    """The members that arrive beside the row's own columns: one of the same name does not take their place."""
    return without(members, fields.to_drop(members, members.keys() & own))


def identity_of(sent: Members, asked: Mapping[str, str], fields: Fields) -> dict[str, Any]:
    """A series' id in the stream's spelling. Key columns that it lacks are what was asked for, or "".

    A sum has no symbol and no exchange, whatever stands in the answer: else its key would be that of one of its
    symbols. Raises UnexpectedAnswer for a series of something else than asked for.
    """
    expected = {"type": TYPE, **asked}
    known = {name: expected.get(name, default) for name, default in _ID_COLUMNS.items()}
    documented = {snake(name): sent[name] for name in ID_FIELDS if sent.get(name, NULL) not in _NOT_GIVEN}
    for name in expected.keys() & documented.keys():
        found = msgspec.json.decode(documented[name])
        fold = str.lower if name == "coin" else str  # what was asked for as btc may be answered as BTC
        if not isinstance(found, str) or fold(found) != fold(expected[name]):
            told = shown(bytes(documented[name]))
            raise UnexpectedAnswer(f"`{name}` is {told}, but {expected[name]!r} was requested.")
    if "exchanges" in asked:
        documented = without(documented, _OF_A_SYMBOL)
    others = _undocumented(
        {snake(name): value for name, value in without(sent, ID_FIELDS).items()}, fields.documented, fields
    )
    return {**known, **documented, **others, "denomination": asked["denomination"]}


def _names_of(identity: bytes, asked: Mapping[str, str]) -> bytes | LiquidationsError:
    """The members of a series' rows in liquidation_volumes, or why it has none there."""
    sent = members_of(identity)
    texts = {name: msgspec.json.decode(sent[name]) for name in ("side", "coin", "normalized_symbol")}
    for name, text in texts.items():
        if not isinstance(text, str | None):
            return UnexpectedAnswer(f"`{name}` is {shown(bytes(sent[name]))}, not text.")
    side, coin, normalized = (text or "" for text in texts.values())
    if side not in POSITION_OF:
        return UnexpectedAnswer(f"`side` is {shown(side)}, neither BUY nor SELL.")
    symbol, code = asked.get("raw_symbol", ""), asked.get("exchange", "")
    name = asset_of(coin, normalized, symbol, code)
    places = asked.get("exchanges", code)
    return volume_names(
        "kiyotaka",
        f"{places}/{symbol or name}",
        exchanges_of(places),
        name,
        interval_of(asked["interval"])[1],
        POSITION_OF[side],
        asked["denomination"],
    )


def exchanges_of(codes: str) -> str:
    """The exchanges of one or several of the vendor's codes, joined by `+`."""
    return "+".join(dict.fromkeys(map(exchange, codes.split("+"))))


def asset_of(coin: str, normalized_symbol: str, symbol: str, code: str) -> str:
    """The vendor's coin; where that is a symbol or missing, the base of the symbol; empty where no base is known."""
    is_symbol = symbol and (coin.lower() == symbol.lower() or assets_of(coin, code)[1])
    if coin.isalnum() and not is_symbol:
        return asset(coin)
    return assets_of(normalized_symbol, "")[0] or assets_of(symbol, code)[0] or ""


class LiquidationAgg(Endpoint):
    title = "Kiyotaka"
    codes = (
        "BINANCE_FUTURES BINANCE_DELIVERY BYBIT OKEX_SWAP OKEX_FUTURES DERIBIT BITMEX BITGET BITFINEX_DERIVATIVES"
        " GATE_IO_FUTURES HYPERLIQUID_FUTURES HUOBI_DM HUOBI_DM_SWAP HUOBI_DM_LINEAR_SWAP"
    )
    ascending = False  # one answer a window, series by series
    paged = False
    refuses_old = True
    page_size = MOST_POINTS
    max_concurrent_requests = 2
    rows_per_step = SERIES

    def __init__(self, client: Client, config: Mapping[str, Any], *, most_weight: float) -> None:
        self.client = client
        self._symbols = config.get("symbols", ())
        self._coins = config.get("coins", ())
        self._exchanges = "+".join(sorted(set(config.get("coin_exchanges", ()))))  # the same sum in whatever order
        self._rest = {name: config.get(name, default) for name, default in DEFAULTS.items()}
        self._fields = Fields(STREAM)
        self._lists: dict[Request, list[str]] = {}
        self.step, _ = interval_of(self._rest["interval"])
        self._sum_factor = 1 + WEIGHT_PER_EXCHANGE * len(self._exchanges.split("+"))
        factor = self._sum_factor if self._coins else 1.0
        points = max(1, math.floor(most_weight / factor)) * POINTS_PER_WEIGHT
        self.sizing = Sizing(min(MOST_POINTS, points) // SERIES * self.step)

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        matching = partial(matching_markets, self.client, traffic, self._lists)
        for name, where in self.resolve_entries("kiyotaka.symbols", self._symbols, is_pattern, matching):
            exchange_id, raw_symbol = name.split("/", 1)
            yield Partition.of(exchange=exchange_id, raw_symbol=raw_symbol, **self._rest, entry=where)
        for index, coin in enumerate(self._coins):
            yield Partition.of(coin=coin, exchanges=self._exchanges, **self._rest, entry=f"kiyotaka.coins[{index}]")

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        asked = dict(partition.values)
        codes = asked.get("exchanges") or asked["exchange"]
        return exchanges_of(codes), f"{codes}/{asked.get('raw_symbol') or asset(asked['coin'])}"

    def first_request(self, span: Span) -> Request:
        asked = dict(span.partitions[0].values)
        is_sum = "exchanges" in asked
        codes = asked["exchanges"].split("+") if is_sum else [asked["exchange"]]
        params = [
            ("type", TYPE),
            *(("exchange", code) for code in codes),
            ("coin", asked["coin"]) if is_sum else ("rawSymbol", asked["raw_symbol"]),
            ("interval", asked["interval"]),
            ("from", str(span.start // timestamps.SECOND)),
            ("period", str((span.end - span.start) // timestamps.SECOND)),
            ("sortDirection", "SORT_DIRECTION_ASC"),
        ]
        if is_sum:
            params.append(("transform.groupBy.type", "GROUP_BY_TYPE_SUM"))
        if asked["denomination"] == "usd":
            params.append(("transform.normalize.quote", "USD"))
        points = (span.end - span.start) // self.step * SERIES
        weight = math.ceil(points / POINTS_PER_WEIGHT) * (self._sum_factor if is_sum else 1.0)
        return Request(PATH, tuple(params), weight)

    def estimated_cost(self, requests: int, rows: int, weight: float) -> dict[str, int]:
        return {"weight": math.ceil(round(weight, 3))}

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        body = answered.decoded(_decoder)
        if body.series is msgspec.UNSET and answered.decoded(MEMBERS):
            # Nothing but an empty body means an empty list; another one has something to say.
            raise UnexpectedAnswer("the answer has no `series`.")
        raw: list[bytes] = []
        instants: list[int] = []
        typed: list[tuple[bytes, bytes]] = []  # the series' id as JSON, and the amount
        bad: dict[int, LiquidationsError] = {}
        ids: dict[bytes, Members] = {}
        for series in body.series or ():
            sent = shaped(series.pop("id", b"{}"), MEMBERS, "`id` of a series")
            identity = identity_of(sent, dict(span.partitions[0].values), self._fields)
            key = encode([identity[name] for name in KEY if name != "time"])
            if ids.setdefault(key, sent) != sent:
                raise UnexpectedAnswer(
                    "two series of one answer have the same id, so that one would overwrite the other."
                )
            points, beside = _points_of(series)
            wrong: dict[int, LiquidationsError] = {}
            literals = numbers.column("liquidations", [point.liquidations for point in points], wrong)
            bad |= {len(raw) + index: error for index, error in wrong.items()}
            amounts = [b"0" if literal == NULL else bytes(literal) for literal in literals]
            seconds = [b"%d.%09d" % (at.s, at.ns) if at.ns else b"%d" % at.s for at in (p.timestamp for p in points)]
            starts, texts = unix_instants("timestamp.s", seconds, "seconds")
            times = [
                b',"timestamp":%d,"time":"%b"' % (point.timestamp.s, text)
                for point, text in zip(points, texts, strict=True)
            ]
            own = self._fields.documented | identity.keys()
            rests = (_undocumented(members, own, self._fields) for members in beside)
            ends = [b"," + encode(rest)[1:] if rest else b"}" for rest in rests] or [b"}"] * len(points)
            series_id = encode(identity)
            head = series_id[:-1] + b',"liquidations":'
            raw += map(b"".join, zip(repeat(head), amounts, times, ends))
            instants += starts
            typed += zip(repeat(series_id), amounts)
        rows = Rows(raw, instants, typed=typed).without(bad)
        rows = each_once(rows, memory, [series_id for series_id, _ in rows.typed])
        if b"\n" in answered.body or b"\r" in answered.body:
            rows.raw = [bytes(one_line(row)) for row in rows.raw]
        return Answer(rows)


def to_volumes(rows: Rows, span: Span) -> Table:
    """`typed` of a row has the id of its series, as JSON, and its amount."""
    names: dict[bytes, bytes | LiquidationsError] = {}
    for identity in dict.fromkeys(identity for identity, _ in rows.typed):
        found = _names_of(identity, dict(span.partitions[0].values))
        if found in names.values():
            found = UnexpectedAnswer(
                "two series of one answer have the same symbol and side: they differ in a field that"
                " liquidation_volumes does not have, such as `category`."
            )
        names[identity] = found
    of_rows = [names[identity] for identity, _ in rows.typed]
    rows = rows.without({at: name for at, name in enumerate(of_rows) if isinstance(name, LiquidationsError)})
    return volumes(
        names=[names[identity] for identity, _ in rows.typed],
        instants=rows.instants,
        amount=[amount for _, amount in rows.typed],
        faults=rows.faults,
    )
