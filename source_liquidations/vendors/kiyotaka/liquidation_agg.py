"""Kiyotaka, "LIQUIDATION_AGG": GET /v1/points. Volumes per side and interval, of a symbol or of a coin's sum."""

import contextlib
import math
from collections.abc import Iterable, Mapping
from functools import cache, partial
from itertools import repeat
from typing import Annotated, Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown
from source_liquidations.http.answers import MEMBERS, Response, decode_value
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.numbers import NULL
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Sizing, Span
from source_liquidations.reading.pages import Table, encode, members_of
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, assets_of, exchange
from source_liquidations.unified import interval_of, volume_names, volumes
from source_liquidations.vendors.decoding import Fields, snake, without
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.kiyotaka.markets import market_names, matching_markets
from source_liquidations.vendors.patterns import is_pattern
from source_liquidations.vendors.repeats import each_once

PATH = "/v1/points"
TYPE = "LIQUIDATION_AGG"
KEY = ("exchange", "raw_symbol", "coin", "category", "interval", "side", "denomination", "time")
ID_FIELDS = ("type", "exchange", "rawSymbol", "normalizedSymbol", "category", "interval", "side", "coin")
# The page says: BUY = longs getting liquidated, SELL = shorts. That is the opposite of Coin Metrics.
POSITION_OF = {"BUY": "long", "SELL": "short"}

_ID_COLUMNS = {**dict.fromkeys(map(snake, ID_FIELDS), ""), "normalized_symbol": None}
_OF_A_SYMBOL = ("exchange", "raw_symbol", "normalized_symbol", "category")
_NOT_GIVEN = (NULL, msgspec.Raw(b'""'))

STREAM = Stream("kiyotaka_liquidation_agg", KEY, "time", declared_in=__name__)

POINTS_PER_REQUEST = 100_000  # over all series
SERIES = 2  # one for each side
POINTS_PER_WEIGHT = 1_000
WEIGHT_PER_EXCHANGE = 0.2  # a sum over n exchanges weighs 1 + 0.2 n times as much
DEFAULTS = {"interval": "HOUR", "denomination": "coin"}

Members = dict[str, msgspec.Raw]


class Instant(msgspec.Struct, gc=False):
    """Unix seconds and nanoseconds. Protocol-buffer JSON usually writes a 64-bit number as text."""

    s: int
    ns: Annotated[int, msgspec.Meta(ge=0, lt=timestamps.SECOND)] = 0


class Point(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The vendor may leave out a `liquidations` of zero."""

    timestamp: Instant
    liquidations: msgspec.Raw = NULL


class Wrapped(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    Point: Point


class Body(msgspec.Struct):
    """The vendor may leave out an empty list: the body is then `{}`."""

    series: list[Members] | msgspec.UnsetType | None = msgspec.UNSET


_decoder = msgspec.json.Decoder(Body)
_documented = msgspec.json.Decoder(list[Wrapped] | None, strict=False)
_entries = msgspec.json.Decoder(list[Members] | None)
_text = msgspec.json.Decoder(str)
_points = msgspec.json.Decoder(list[Point], strict=False)


def _points_of(series: Members) -> tuple[list[Point], list[Members]]:
    """The points of a series, which comes without its id, and each point's undocumented members; [] if none has any.

    A point gets those of its series, of its entry in the list and its own. If a name comes twice, the innermost counts.
    Raises UnexpectedAnswer for another shape.
    """
    literal = series.pop("points", NULL)
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
        if not series:
            return [entry.Point for entry in _documented.decode(literal) or ()], []
    entries = decode_value(literal, _entries, "`points` of a series") or ()
    points = [decode_value(entry.pop("Point", b"{}"), MEMBERS, "`Point` of a series") for entry in entries]
    documented = [{name: point.pop(name) for name in Point.__struct_fields__ if name in point} for point in points]
    undocumented = [{**series, **entry, **point} for entry, point in zip(entries, points, strict=True)]
    return decode_value(encode(documented), _points, "`points` of a series"), undocumented


def _text_of(literal: msgspec.Raw) -> str | None:
    """None if it is not text, even if it is a number that no decoder accepts."""
    try:
        return _text.decode(literal)
    except msgspec.ValidationError:
        return None


def identity_of(series_id: Members, requested: Mapping[str, str], fields: Fields) -> dict[str, Any]:
    """A series' id in the stream's spelling. Key columns that it lacks are taken from the request, or are "".

    A sum never has a symbol or an exchange, even if the answer names one: its key would be that of one of its symbols.
    Raises UnexpectedAnswer for a series that was not requested.
    """
    expected = {"type": TYPE, **requested}
    columns = {name: expected.get(name, default) for name, default in _ID_COLUMNS.items()}
    documented = {snake(name): series_id[name] for name in ID_FIELDS if series_id.get(name, NULL) not in _NOT_GIVEN}
    for name in expected.keys() & documented.keys():
        text = _text_of(documented[name])
        fold = str.lower if name == "coin" else str  # the vendor may answer a request for btc with BTC
        if text is None or fold(text) != fold(expected[name]):
            literal = bytes(documented[name])
            raise UnexpectedAnswer(f"`{name}` is {shown(literal)}, but {expected[name]!r} was requested.")
    if "exchanges" in requested:
        documented = without(documented, _OF_A_SYMBOL)
    others = {snake(name): value for name, value in without(series_id, ID_FIELDS).items()}
    return {
        **columns,
        **documented,
        **without(others, fields.to_drop(others.keys(), fields.documented)),
        "denomination": requested["denomination"],
    }


def _names_of(identity: bytes, requested: Mapping[str, str]) -> bytes | LiquidationsError:
    """The members of a series' rows in liquidation_volumes, or why it has no rows there."""
    literals = members_of(identity)
    names = ("side", "coin", "normalized_symbol")
    texts = {name: "" if literals[name] == NULL else _text_of(literals[name]) for name in names}
    for name, text in texts.items():
        if text is None:
            return UnexpectedAnswer(f"`{name}` is {shown(bytes(literals[name]))}, not text.")
    side, coin, normalized_symbol = (text or "" for text in texts.values())
    if side not in POSITION_OF:
        return UnexpectedAnswer(f"`side` is {shown(side)}, neither BUY nor SELL.")
    symbol, code = requested.get("raw_symbol", ""), requested.get("exchange", "")
    asset_name = asset_of(coin, normalized_symbol, symbol, code)
    codes = requested.get("exchanges", code)
    return volume_names(
        "kiyotaka",
        f"{codes}/{symbol or asset_name}",
        exchanges_of(codes),
        asset_name,
        interval_of(requested["interval"])[1],
        POSITION_OF[side],
        requested["denomination"],
    )


def exchanges_of(codes: str) -> str:
    """The names of the exchanges whose codes `codes` joins by `+`, joined in the same way."""
    return "+".join(dict.fromkeys(map(exchange, codes.split("+"))))


def asset_of(coin: str, normalized_symbol: str, symbol: str, code: str) -> str:
    """The vendor's coin. If that is a symbol or missing, the symbol's base asset, or "" if no base is known."""
    is_symbol = symbol and (coin.lower() == symbol.lower() or assets_of(coin, code)[1])
    if coin.isalnum() and not is_symbol:
        return asset(coin)
    return assets_of(normalized_symbol, "")[0] or assets_of(symbol, code)[0] or ""


class LiquidationAgg(Endpoint):
    codes = (
        "BINANCE_FUTURES BINANCE_DELIVERY BYBIT OKEX_SWAP OKEX_FUTURES DERIBIT BITMEX BITGET BITFINEX_DERIVATIVES"
        " GATE_IO_FUTURES HYPERLIQUID_FUTURES HUOBI_DM HUOBI_DM_SWAP HUOBI_DM_LINEAR_SWAP"
    )
    ascending = False  # one answer holds the whole window, series by series
    refuses_old = True
    page_size = POINTS_PER_REQUEST
    max_concurrent_requests = 2
    rows_per_step = SERIES

    def __init__(self, client: Client, config: Mapping[str, Any], *, most_weight: float) -> None:
        self.client = client
        self._symbols = config.get("symbols", ())
        self._coins = config.get("coins", ())
        self._exchanges = "+".join(sorted(set(config.get("coin_exchanges", ()))))  # one sum, in any order
        self._options = {name: config.get(name, default) for name, default in DEFAULTS.items()}
        self._fields = Fields(STREAM)
        self.step, _ = interval_of(self._options["interval"])
        self._sum_factor = 1 + WEIGHT_PER_EXCHANGE * len(self._exchanges.split("+"))
        factor = self._sum_factor if self._coins else 1.0
        points = max(1, math.floor(most_weight / factor)) * POINTS_PER_WEIGHT
        self.sizing = Sizing(min(POINTS_PER_REQUEST, points) // SERIES * self.step)

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        listed = cache(partial(market_names, self.client, traffic))  # patterns may need the same list
        matching = partial(matching_markets, listed)
        for name, where in self.resolve_entries("kiyotaka.symbols", self._symbols, is_pattern, matching):
            exchange_id, raw_symbol = name.split("/", 1)
            yield Partition.of(exchange=exchange_id, raw_symbol=raw_symbol, **self._options, entry=where)
        for index, coin in enumerate(self._coins):
            yield Partition.of(coin=coin, exchanges=self._exchanges, **self._options, entry=f"kiyotaka.coins[{index}]")

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        values = dict(partition.values)
        codes = values.get("exchanges") or values["exchange"]
        return exchanges_of(codes), f"{codes}/{values.get('raw_symbol') or asset(values['coin'])}"

    def first_request(self, span: Span) -> Request:
        values = dict(span.partitions[0].values)
        is_sum = "exchanges" in values
        codes = values["exchanges"].split("+") if is_sum else [values["exchange"]]
        params = [
            ("type", TYPE),
            *(("exchange", code) for code in codes),
            ("coin", values["coin"]) if is_sum else ("rawSymbol", values["raw_symbol"]),
            ("interval", values["interval"]),
            ("from", str(span.start // timestamps.SECOND)),
            ("period", str((span.end - span.start) // timestamps.SECOND)),
            ("sortDirection", "SORT_DIRECTION_ASC"),
        ]
        if is_sum:
            params.append(("transform.groupBy.type", "GROUP_BY_TYPE_SUM"))
        if values["denomination"] == "usd":
            params.append(("transform.normalize.quote", "USD"))
        points = (span.end - span.start) // self.step * SERIES
        weight = math.ceil(points / POINTS_PER_WEIGHT) * (self._sum_factor if is_sum else 1.0)
        return Request(PATH, tuple(params), weight, is_large=self.is_large(span))

    def estimated_cost(self, requests: int, rows: int, weight: float) -> dict[str, int]:
        return {"weight": math.ceil(round(weight, 3))}

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        body = response.decoded(_decoder)
        if body.series is msgspec.UNSET and response.decoded(MEMBERS):
            raise UnexpectedAnswer("the answer has no `series`.")  # only `{}` means an empty list
        requested = dict(span.partitions[0].values)
        raw: list[bytes] = []
        instants: list[int] = []
        typed: list[tuple[bytes, bytes]] = []  # the series' identity as JSON, and the amount
        bad: dict[int, LiquidationsError] = {}
        id_of_key: dict[bytes, Members] = {}
        for series in body.series or ():
            series_id = decode_value(series.pop("id", b"{}"), MEMBERS, "`id` of a series")
            columns = identity_of(series_id, requested, self._fields)
            key = encode([columns[name] for name in KEY if name != "time"])
            if id_of_key.setdefault(key, series_id) != series_id:
                raise UnexpectedAnswer("two series of one answer have the same key: one would overwrite the other.")
            points, undocumented = _points_of(series)
            errors: dict[int, LiquidationsError] = {}
            literals = numbers.column("liquidations", [point.liquidations for point in points], errors)
            bad |= {len(raw) + index: error for index, error in errors.items()}
            amounts = [b"0" if literal == NULL else bytes(literal) for literal in literals]
            stamps = [point.timestamp for point in points]
            seconds = [b"%d.%09d" % (stamp.s, stamp.ns) if stamp.ns else b"%d" % stamp.s for stamp in stamps]
            starts, texts = unix_instants("timestamp.s", seconds, "seconds")
            times = [b',"timestamp":%d,"time":"%b"' % (at.s, text) for at, text in zip(stamps, texts, strict=True)]
            own = self._fields.documented | columns.keys()
            others = (without(members, self._fields.to_drop(members.keys(), own)) for members in undocumented)
            tails = [b"," + encode(members)[1:] if members else b"}" for members in others] or [b"}"] * len(points)
            identity = encode(columns)
            head = identity[:-1] + b',"liquidations":'
            raw += map(b"".join, zip(repeat(head), amounts, times, tails))
            instants += starts
            typed += zip(repeat(identity), amounts)
        rows = Rows(raw, instants, typed=typed).without(bad)
        return Answer(each_once(rows, memory, [identity for identity, _ in rows.typed]))


def to_volumes(rows: Rows, span: Span) -> Table:
    """A row's `typed` is the identity of its series, as JSON, and its amount."""
    names: dict[bytes, bytes | LiquidationsError] = {}
    for identity in dict.fromkeys(identity for identity, _ in rows.typed):
        series_names = _names_of(identity, dict(span.partitions[0].values))
        if series_names in names.values():
            series_names = UnexpectedAnswer(
                "two series of one answer have the same symbol and side: they differ in a field that"
                " liquidation_volumes does not have, such as `category`."
            )
        names[identity] = series_names
    row_names = [names[identity] for identity, _ in rows.typed]
    rows = rows.without({index: name for index, name in enumerate(row_names) if isinstance(name, LiquidationsError)})
    return volumes(
        names=[names[identity] for identity, _ in rows.typed],
        instants=rows.instants,
        amount=[amount for _, amount in rows.typed],
        faults=rows.faults,
    )
