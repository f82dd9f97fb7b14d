"""Kiyotaka, "LIQUIDATION_AGG": GET /v1/points. Volumes per side and interval, of a symbol or summed over exchanges."""

import math
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import lru_cache, partial
from typing import Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown
from source_liquidations.http.answers import MEMBERS, Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Sizing, Span
from source_liquidations.reading.pages import Table, encode
from source_liquidations.reading.rows import Fault, Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, assets_of, exchange
from source_liquidations.unified import interval_of, volume_names, volumes
from source_liquidations.vendors.decoding import Fields, one_line, snake, without
from source_liquidations.vendors.kiyotaka.markets import matching_markets
from source_liquidations.vendors.patterns import is_pattern
from source_liquidations.vendors.repeats import each_once

PATH = "/v1/points"
TYPE = "LIQUIDATION_AGG"
KEY = ("exchange", "raw_symbol", "coin", "category", "interval", "side", "denomination", "time")
ID_FIELDS = ("type", "exchange", "rawSymbol", "normalizedSymbol", "category", "interval", "side", "coin")
# Documented as: BUY = longs getting liquidated, SELL = shorts. The opposite of Coin Metrics.
POSITION_OF = {"BUY": "long", "SELL": "short"}

_OF_A_SYMBOL = ("exchange", "raw_symbol", "normalized_symbol", "category")
_LATEST = 4_102_444_800  # seconds; a larger figure is of another unit

STREAM = Stream("kiyotaka_liquidation_agg", KEY, "time", declared_in=__name__)

MOST_POINTS = 100_000  # a request, over all series
SERIES = 2  # one for each side
POINTS_PER_WEIGHT = 1_000
WEIGHT_PER_EXCHANGE = 0.2  # of a sum, more


Members = dict[str, msgspec.Raw]


class Instant(msgspec.Struct, gc=False):
    s: int | str
    ns: int | str = 0


class Point(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A zero `liquidations` may be left out."""

    timestamp: Instant
    liquidations: msgspec.Raw = numbers.NULL


class Wrapped(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    Point: Point


class Series(msgspec.Struct, forbid_unknown_fields=True):
    id: Members = msgspec.field(default_factory=dict)
    points: list[Wrapped] | None = None


class Body(msgspec.Struct):
    """An empty list may be left out, and then the body is empty."""

    series: list[Series] | msgspec.UnsetType | None = msgspec.UNSET


class _RawSeries(msgspec.Struct):
    """A series with all that is in it, documented or not."""

    series: list[Members] | None = None


_decoder = msgspec.json.Decoder(Body)
_raw = msgspec.json.Decoder(_RawSeries)
_points = msgspec.json.Decoder(list[Members] | None)


def rows_of(answered: Answered, partition: Partition, fields: Fields, memory: dict[Any, Any]) -> Rows:
    """The rows of an answer to what was asked of a partition.

    `typed` has, for each row, the members of its names in liquidation_volumes (or why there are none) and its amount.
    Raises UnexpectedAnswer.
    """
    beside: list[list[Members]] | None = None
    try:
        body = _decoder.decode(answered.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        documented, beside = _taken_apart(answered)
        body = documented.decoded(_decoder)
    if body.series is msgspec.UNSET and answered.decoded(MEMBERS):
        # Nothing but an empty body means an empty list; another one has something to say.
        raise UnexpectedAnswer("the answer has no `series`.")
    page = _Page(partition, fields)
    for index, series in enumerate(body.series or ()):
        page.add(series, beside[index] if beside else ())
    rows = each_once(page.rows, memory, page.keys)
    if b"\n" in answered.body or b"\r" in answered.body:
        rows.raw = [bytes(one_line(row)) for row in rows.raw]
    return rows


def _taken_apart(answered: Answered) -> tuple[Answered, list[list[Members]]]:
    """The documented part of a body; and for each series and point, what is undocumented: in it, beside it and around.

    Of the same name in several of these places, the one nearest to the number counts.
    """
    plain, beside = [], []
    for series in answered.decoded(_raw).series or ():
        entries = Answered(200, {}, bytes(series.pop("points", b"null"))).decoded(_points) or ()
        inside = [Answered(200, {}, bytes(entry.pop("Point", b"{}"))).decoded(MEMBERS) for entry in entries]
        points = [{name: point.pop(name) for name in Point.__struct_fields__ if name in point} for point in inside]
        documented: dict[str, Any] = {name: series.pop(name) for name in ("id",) if name in series}
        plain.append({**documented, "points": [{"Point": point} for point in points]})
        beside.append([{**series, **entry, **point} for entry, point in zip(entries, inside, strict=True)])
    body = answered.decoded(MEMBERS) if not plain else {"series": plain}
    return Answered(200, {}, encode(body)), beside


class _Page:
    def __init__(self, partition: Partition, fields: Fields) -> None:
        self._raw: list[bytes] = []
        self._instants: list[int] = []
        self._typed: list[tuple[bytes | LiquidationsError, bytes]] = []
        self._faults: list[Fault] = []
        self.keys: list[bytes] = []  # each row's series
        self.rows = Rows(self._raw, self._instants, typed=self._typed, faults=self._faults)
        self._asked = dict(partition.values)
        self._fields = fields
        self._ids: dict[bytes, Mapping[str, msgspec.Raw]] = {}
        self._named: dict[bytes | LiquidationsError, bytes] = {}  # the series that has a name in liquidation_volumes

    def add(self, series: Series, beside: Sequence[Members]) -> None:
        """Take a series; `beside` has what is undocumented of each of its points, if anything is."""
        points = [wrapped.Point for wrapped in series.points or ()]
        bad: dict[int, LiquidationsError] = {}
        amounts = numbers.column("liquidations", [point.liquidations for point in points], bad)
        identity = self._identity(series.id)
        key = encode([identity[name] for name in KEY if name != "time"])
        if self._ids.setdefault(key, series.id) != series.id:
            raise UnexpectedAnswer("two series of one answer have the same id, so that one would overwrite the other.")
        names = self._volume_names(identity)
        if self._named.setdefault(names, key) != key:
            names = UnexpectedAnswer(
                "two series of one answer have the same symbol and side: they differ in a field that"
                " liquidation_volumes does not have, such as `category`."
            )
        head = b"{" + encode(identity)[1:-1] + b',"liquidations":'
        own = self._fields.own | identity.keys()
        for at, (point, literal) in enumerate(zip(points, amounts, strict=True)):
            instant, members = point_time(point.timestamp.s, point.timestamp.ns)
            if at in bad:
                self._faults.append(Fault(instant, bad[at]))
                continue
            amount = b"0" if literal == numbers.NULL else bytes(literal)
            rest = self._undocumented(beside[at], own) if beside else {}
            self._instants.append(instant)
            self._raw.append(head + amount + members + (b"," + encode(rest)[1:-1] if rest else b"") + b"}")
            self._typed.append((names, amount))
            self.keys.append(key)

    def _identity(self, sent: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
        """A series' id in the stream's spelling. Key columns that it lacks are what was asked for, or "".

        A sum has no symbol and no exchange, whatever stands in the answer: else its key would be that of one of its
        symbols. Raises UnexpectedAnswer for a series of something else than asked for.
        """
        asked = self._asked
        known = {
            "type": TYPE,
            "exchange": asked.get("exchange", ""),
            "raw_symbol": asked.get("raw_symbol", ""),
            "normalized_symbol": None,
            "category": "",
            "interval": asked["interval"],
            "side": "",
            "coin": asked.get("coin", ""),
        }
        given = {name: value for name, value in sent.items() if bytes(value) not in (b"null", b'""')}
        documented = {snake(name): given[name] for name in ID_FIELDS if name in given}
        of_a_symbol = _OF_A_SYMBOL if "exchanges" in asked else ("coin",)
        for name in {"type", "interval", "exchange", "raw_symbol", "coin"}.difference(of_a_symbol) & documented.keys():
            literal = bytes(documented[name])
            fold = str.lower if name == "coin" else str  # what was asked for as btc may be answered as BTC
            if not literal.startswith(b'"') or fold(msgspec.json.decode(literal)) != fold(str(known[name])):
                found = shown(literal)
                raise UnexpectedAnswer(f"`{name}` is {found}, but {known[name]!r} was requested.")
        if "exchanges" in asked:
            documented = without(documented, of_a_symbol)
        others = self._undocumented({snake(n): v for n, v in without(sent, ID_FIELDS).items()}, self._fields.own)
        return {**known, **documented, **others, "denomination": asked["denomination"]}

    def _undocumented(self, members: Mapping[str, msgspec.Raw], own: AbstractSet[str]) -> Members:
        """The members that arrive beside the row's own columns: one of the same name does not take their place."""
        return without(members, self._fields.left_out(members, members.keys() & own))

    def _volume_names(self, identity: Mapping[str, Any]) -> bytes | LiquidationsError:
        asked = self._asked
        try:
            side, coin, normalized = (_text_of(name, identity[name]) for name in ("side", "coin", "normalized_symbol"))
        except UnexpectedAnswer as error:
            return error
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


def _text_of(name: str, value: Any) -> str:
    """A member of a series' id, which is a literal where the vendor sent it. Raises UnexpectedAnswer for no text."""
    if not isinstance(value, msgspec.Raw):
        return value or ""
    if not bytes(value).startswith(b'"'):
        raise UnexpectedAnswer(f"`{name}` is {shown(bytes(value))}, not text.")
    return str(msgspec.json.decode(value))


@lru_cache(maxsize=65536)  # all series have the same
def point_time(s: int | str, ns: int | str) -> tuple[int, bytes]:
    """A point's timestamp as nanoseconds, and as the members `,"timestamp":…,"time":"…"`.

    Raises UnexpectedAnswer where it is no Unix time in seconds.
    """
    try:
        seconds, rest = int(s), int(ns)
    except ValueError:
        seconds = rest = -1
    if not 0 < seconds < _LATEST or not 0 <= rest < timestamps.SECOND:
        raise UnexpectedAnswer(f"`timestamp.s` is {s!r}, not a Unix time in seconds.")
    nanoseconds = seconds * timestamps.SECOND + rest
    time = timestamps.format_instant(nanoseconds, 9 if rest else 3).encode()
    return nanoseconds, b',"timestamp":%d,"time":"%b"' % (seconds, time)


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
        self._fields = Fields.of(STREAM)
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
