"""Kiyotaka, "LIQUIDATION_AGG": GET /v1/points. Volumes per side and interval, of a symbol or summed over exchanges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.numbers import NULL, are_numbers, literal_of
from source_liquidations.reading.endpoint import Answer, Endpoint, Fault, Partition, Rows, Sizing, Span
from source_liquidations.reading.pages import Mapped
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, assets_of, exchange
from source_liquidations.unified import interval_start, iso_interval, volume_names, volumes
from source_liquidations.vendors.decoding import NO_GUESS, Fields, one_line, snake, without
from source_liquidations.vendors.kiyotaka.markets import matching_markets
from source_liquidations.vendors.patterns import is_pattern

PATH = "/v1/points"
TYPE = "LIQUIDATION_AGG"
KEY = ("exchange", "raw_symbol", "coin", "category", "interval", "side", "denomination", "time")
STREAM = Stream("kiyotaka_liquidation_agg", KEY, "time")

INTERVALS = {
    "MINUTE": timestamps.MINUTE,
    "FIVE_MINUTES": 5 * timestamps.MINUTE,
    "FIFTEEN_MINUTES": 15 * timestamps.MINUTE,
    "HOUR": timestamps.HOUR,
    "FOUR_HOURS": 4 * timestamps.HOUR,
    "DAY": timestamps.DAY,
    "WEEK": 7 * timestamps.DAY,
}
MOST_POINTS = 100_000  # a request, over all series
SERIES = 2  # one for each side
POINTS_PER_WEIGHT = 1_000
WEIGHT_PER_EXCHANGE = 0.2  # of a sum, more
# Documented as: BUY = longs getting liquidated, SELL = shorts. The opposite of Coin Metrics.
POSITION_OF = {"BUY": "long", "SELL": "short"}
# The vendor's ids of exchanges, by the names that rows have.
CODES = {
    "binance": ("BINANCE_FUTURES", "BINANCE_DELIVERY"),
    "bybit": ("BYBIT",),
    "okx": ("OKEX_SWAP", "OKEX_FUTURES"),
    "deribit": ("DERIBIT",),
    "bitmex": ("BITMEX",),
    "bitget": ("BITGET",),
    "bitfinex": ("BITFINEX_DERIVATIVES",),
    "gate": ("GATE_IO_FUTURES",),
    "hyperliquid": ("HYPERLIQUID_FUTURES",),
    "huobi": ("HUOBI_DM", "HUOBI_DM_SWAP", "HUOBI_DM_LINEAR_SWAP"),
}
ID_FIELDS = ("type", "exchange", "rawSymbol", "normalizedSymbol", "category", "interval", "side", "coin")
# The row's own columns: an undocumented field of the same name, wherever it stands, does not take their place.
OWN_FIELDS = frozenset((*KEY, "type", "normalized_symbol", "liquidations", "timestamp"))


class Instant(msgspec.Struct, gc=False):
    s: int | str
    ns: int | str = 0


class Point(msgspec.Struct, gc=False):
    """A zero `liquidations` may be left out."""

    timestamp: Instant
    liquidations: msgspec.Raw = NULL


class Wrapped(msgspec.Struct, gc=False):
    Point: Point


class StrictPoint(Point, forbid_unknown_fields=True, gc=False):
    """What is documented and nothing else."""


class StrictWrapped(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    Point: StrictPoint


class Series(msgspec.Struct, forbid_unknown_fields=True):
    id: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    points: list[StrictWrapped] | None = None


class LenientSeries(msgspec.Struct):
    id: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    points: list[Wrapped] | None = None


class Body(msgspec.Struct):
    """An empty list may be left out, and then the body is empty."""

    series: list[Series] | msgspec.UnsetType | None = msgspec.UNSET


class LenientBody(msgspec.Struct):
    series: list[LenientSeries] | msgspec.UnsetType | None = msgspec.UNSET


class RawBody(msgspec.Struct):
    series: list[dict[str, msgspec.Raw]] | None = None


_strict = msgspec.json.Decoder(Body)
_lenient = msgspec.json.Decoder(LenientBody)
_raw = msgspec.json.Decoder(RawBody)
_entries = msgspec.json.Decoder(list[dict[str, msgspec.Raw]] | None)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)
_encode = msgspec.json.Encoder().encode


class LiquidationAgg(Endpoint):
    vendor = "kiyotaka"
    title = "Kiyotaka"
    spelling = CODES
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
        self.step = INTERVALS[self._interval]
        factor = 1 + WEIGHT_PER_EXCHANGE * len(self._exchanges) if self._coins else 1.0
        points = max(1, math.floor(most_weight / factor)) * POINTS_PER_WEIGHT
        self.sizing = Sizing(min(MOST_POINTS, points) // SERIES * self.step)

    def partitions(self, traffic: Traffic) -> Sequence[Partition]:
        found: dict[Partition, None] = {}
        rest = {"interval": self._interval, "denomination": self._denomination}
        matching = partial(matching_markets, self.client, traffic)
        for name, where in self.resolved("kiyotaka.symbols", self._symbols, is_pattern, matching):
            exchange_id, raw_symbol = name.split("/", 1)
            found.setdefault(Partition.of(exchange=exchange_id, raw_symbol=raw_symbol, **rest, entry=where))
        for index, coin in enumerate(self._coins):
            exchanges = "+".join(self._exchanges)
            where = f"kiyotaka.coins[{index}]"
            found.setdefault(Partition.of(coin=coin, exchanges=exchanges, **rest, entry=where))
        return list(found)

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

    def price(self, requests: int, rows: int) -> dict[str, int]:
        return {"weight": max(requests, math.ceil(rows / POINTS_PER_WEIGHT))}

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        del request, memory
        try:
            body: Body | LenientBody = _strict.decode(answered.body)
            whole: list[dict[str, msgspec.Raw]] | None = None
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = answered.decoded(_lenient)
            whole = _raw.decode(answered.body).series
        if body.series is msgspec.UNSET:
            _must_be_empty(answered)
        page = _Points(span.partitions[0], self._fields)
        every: list[Any] = list(body.series or ())
        for index, series in enumerate(every):
            page.add(series, whole[index] if whole else None)
        raw = page.raw
        if b"\n" in answered.body or b"\r" in answered.body:
            raw = [bytes(one_line(row)) for row in raw]
        return Answer(Rows(raw, page.instants, typed=page.typed, faults=page.faults))


class _Points:
    """The rows of one answer: a row for each series and point.

    typed    of each row, for liquidation_volumes: the members of its names, and the amount's literal
    """

    def __init__(self, partition: Partition, fields: Fields) -> None:
        self.raw: list[bytes] = []
        self.instants: list[int] = []
        self.typed: list[tuple[bytes, bytes]] = []
        self.faults: list[Fault] = []
        self._asked = dict(partition.values)
        self._fields = fields
        self._times: dict[tuple[int | str, int | str], tuple[int, bytes]] = {}  # all series have the same
        self._values: dict[bytes, dict[int, bytes]] = {}

    def add(self, series: Any, whole: Mapping[str, msgspec.Raw] | None) -> None:
        """Take a series; `whole` is the same as it is written, where something in it is undocumented."""
        points = series.points or ()
        identity = self._identity(series.id)
        names = self._volume_names(identity)
        head = b"{" + _encode(identity)[1:-1] + b',"liquidations":'
        rests = self._rests(whole, identity) if whole is not None else None
        seen = self._values.setdefault(_encode([identity[name] for name in KEY if name != "time"]), {})
        amounts = self._amounts([wrapped.Point.liquidations for wrapped in points])
        for at, (wrapped, amount) in enumerate(zip(points, amounts, strict=True)):
            instant, time_members = self._time(wrapped.Point.timestamp)
            if isinstance(amount, LiquidationsError):
                self.faults.append(Fault(instant, amount))
                continue
            if seen.setdefault(instant, amount) is not amount:
                if seen[instant] != amount:
                    raise UnexpectedAnswer(
                        f"one interval comes twice with different values: {timestamps.format_shortest(instant)}.",
                        advice=NO_GUESS,
                    )
                continue
            self.instants.append(instant)
            self.raw.append(head + amount + time_members + (rests[at] if rests else b"}"))
            self.typed.append((names, amount))

    def _amounts(self, literals: Sequence[msgspec.Raw]) -> list[bytes | LiquidationsError]:
        """Each point's amount, a copy of its own; or what is wrong with it."""
        if are_numbers(literals):
            return [b"0" if literal == NULL else bytes(literal) for literal in literals]
        found: list[bytes | LiquidationsError] = []
        for literal in literals:
            try:
                amount = literal_of(literal)
                found.append(b"0" if amount == b"null" else amount)
            except ValueError as error:
                found.append(UnexpectedAnswer(f"`liquidations` is {error}.", advice=NO_GUESS))
        return found

    def _time(self, instant: Instant) -> tuple[int, bytes]:
        key = (instant.s, instant.ns)
        if key not in self._times:
            self._times[key] = point_time(instant)
        return self._times[key]

    def _identity(self, sent: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
        """A series' id in the stream's spelling. Key columns that it lacks are what was asked for, or "".

        A sum has no symbol and no exchange, whatever stands in the answer: else its key would be that of one of its
        symbols. Raises UnexpectedAnswer for a series of something else than asked for.
        """
        asked = self._asked
        is_sum = "exchanges" in asked
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
        of_a_symbol = ("exchange", "raw_symbol", "normalized_symbol", "category")
        for name in ("interval", "coin") if is_sum else ("interval", "exchange", "raw_symbol"):
            if name in documented and documented[name] != msgspec.Raw(_encode(asked[name])):
                raise UnexpectedAnswer(
                    f"`{name}` is {bytes(documented[name]).decode()}, but {asked[name]!r} was requested.",
                    advice=NO_GUESS,
                )
        if is_sum:
            documented = without(documented, of_a_symbol)
        others = self._undocumented({snake(n): v for n, v in without(sent, ID_FIELDS).items()}, OWN_FIELDS)
        return {**known, **documented, **others, "denomination": asked["denomination"]}

    def _rests(self, series: Mapping[str, msgspec.Raw], identity: Mapping[str, Any]) -> list[bytes]:
        """For each point of a series, the end of its row: what is undocumented in it, beside it and in the series.

        Of the same name in several of these places, the one nearest to the number arrives.
        """
        own = OWN_FIELDS | identity.keys()
        around = without(series, ("id", "points"))
        found = []
        for entry in _entries.decode(series.get("points", b"[]")) or ():
            inside = without(_members.decode(entry["Point"]), ("timestamp", "liquidations"))
            rest = self._undocumented({**around, **without(entry, ("Point",)), **inside}, own)
            found.append((b"," + _encode(rest)[1:-1] if rest else b"") + b"}")
        return found

    def _undocumented(self, members: dict[str, msgspec.Raw], own: AbstractSet[str]) -> dict[str, msgspec.Raw]:
        """The members that arrive beside the row's own."""
        return without(members, self._fields.left_out(members, members.keys() & own))

    def _volume_names(self, identity: Mapping[str, Any]) -> bytes:
        asked = self._asked
        side, coin, normalized = (
            _text.decode(value) if isinstance(value, msgspec.Raw) else value or ""
            for value in (identity["side"], identity["coin"], identity["normalized_symbol"])
        )
        if side not in POSITION_OF:
            raise UnexpectedAnswer(f"`side` is {side!r}, neither BUY nor SELL.", advice=NO_GUESS)
        symbol, code = asked.get("raw_symbol", ""), asked.get("exchange", "")
        name = asset_of(coin, normalized, symbol, code)
        places = asked.get("exchanges", code)
        return volume_names(
            "kiyotaka",
            f"{places}/{symbol or name}",
            "+".join(dict.fromkeys(map(exchange, places.split("+")))),
            name,
            iso_interval(asked["interval"]),
            POSITION_OF[side],
            asked["denomination"],
        )


def _must_be_empty(answered: Answered) -> None:
    """Nothing but an empty body means an empty list; another one has something to say."""
    if answered.decoded(_members):
        raise UnexpectedAnswer("the answer has no `series`.", advice=NO_GUESS)


def point_time(instant: Instant) -> tuple[int, bytes]:
    """A point's timestamp as nanoseconds, and as the members `,"timestamp":…,"time":"…"`.

    Raises UnexpectedAnswer where it is no Unix time in seconds.
    """
    try:
        seconds, rest = int(instant.s), int(instant.ns)
    except ValueError:
        seconds = rest = -1
    if not 0 < seconds < 4_102_444_800 or not 0 <= rest < timestamps.SECOND:
        raise UnexpectedAnswer(f"`timestamp.s` is {instant.s!r}, not a Unix time in seconds.", advice=NO_GUESS)
    nanoseconds = seconds * timestamps.SECOND + rest
    time = timestamps.format_instant(nanoseconds, 9 if rest else 3).encode()
    return nanoseconds, b',"timestamp":%d,"time":"%b"' % (seconds, time)


def asset_of(coin: str, normalized_symbol: str, symbol: str, code: str) -> str:
    """The vendor's coin; where that is a symbol or missing, the base of the symbol; empty where no base is known."""
    is_symbol = symbol and (coin.lower() == symbol.lower() or assets_of(coin, code)[1])
    if coin.isalnum() and not is_symbol:
        return asset(coin)
    return assets_of(normalized_symbol, "")[0] or assets_of(symbol, code)[0] or ""


def to_volumes(rows: Rows, span: Span) -> Mapped:
    del span
    return Mapped(
        volumes(
            names=[names for names, _ in rows.typed],
            starts=[interval_start(instant) for instant in rows.instants],
            amount=[amount for _, amount in rows.typed],
        )
    )
