"""Kiyotaka (also sold as OpenMarket): liquidation volumes per side and interval.

Page: https://docs.kiyotaka.ai, "LIQUIDATION_AGG". Beside this file: the list of markets.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.coverage import ALL, COVERAGE, Period, observed, throttled_at_binance
from source_liquidations.coverage import rows as coverage_rows
from source_liquidations.errors import (
    AccessRefused,
    ConfigurationError,
    LiquidationsError,
    RequestRefused,
    UnexpectedAnswer,
    WindowTooLarge,
)
from source_liquidations.harmonized import LIQUIDATION_VOLUMES, Volume, iso_interval, number, volume_rows
from source_liquidations.http.answers import Answered, vendor_words
from source_liquidations.http.budgets import Budget
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Rows, Span
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, assets_of, exchange
from source_liquidations.vendors.decoding import Fields, one_line, snake, without
from source_liquidations.vendors.kiyotaka_markets import MarketList, markets
from source_liquidations.vendors.listing import ListedDate, Unread, is_pattern
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, base_url

logger = logging.getLogger("airbyte")

POINTS = "/v1/points"
TYPE = "LIQUIDATION_AGG"

# platform: (host, header that carries the key)
PLATFORMS = {
    "kiyotaka": ("https://api.kiyotaka.ai", "X-Kiyotaka-Key"),
    "openmarket": ("https://api.openmarket.xyz", "X-OpenMarket-Key"),
}
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
FEW_POINTS = 1_000
ENTRIES_CHECKED = 25
SERIES = 2  # one for each side
REQUESTS_PER_MINUTE = 10  # the smallest plan's; answers do not tell the plan
# Documented as: BUY = longs getting liquidated, SELL = shorts. The opposite of Coin Metrics.
POSITION_OF = {"BUY": "long", "SELL": "short"}
KEY = ("exchange", "raw_symbol", "coin", "category", "interval", "side", "denomination", "time")
POINT_FIELDS = ("liquidations", "timestamp", "time")
# The row's own columns: an undocumented field of the same name, wherever it stands, does not get in their place.
OWN_FIELDS = frozenset((*KEY, *POINT_FIELDS, "type", "normalized_symbol"))
ID_FIELDS = ("type", "exchange", "rawSymbol", "normalizedSymbol", "category", "interval", "side", "coin")


class Instant(msgspec.Struct, gc=False):
    s: int | str
    ns: int | str = 0


class Point(msgspec.Struct, gc=False):
    timestamp: Instant
    liquidations: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class Wrapped(msgspec.Struct, gc=False):
    Point: Point


class StrictPoint(Point, forbid_unknown_fields=True, gc=False):
    """What is documented and nothing else."""


class StrictWrapped(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    Point: StrictPoint


class Series(msgspec.Struct, forbid_unknown_fields=True):
    id: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    points: list[StrictWrapped] = msgspec.field(default_factory=list)


class LenientSeries(msgspec.Struct):
    id: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    points: list[Wrapped] = msgspec.field(default_factory=list)


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
_entries = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


class LiquidationAgg(Endpoint):
    vendor = "kiyotaka"
    ascending = False  # one page a window, series by series
    page_size = MOST_POINTS
    most_at_once = 2
    rows_per_step = SERIES

    def __init__(self, client: Client, config: Mapping[str, Any]) -> None:
        self.client = client
        self._symbols = tuple(config.get("symbols", ()))
        self._coins = tuple(config.get("coins", ()))
        self._exchanges = tuple(sorted(set(config.get("coin_exchanges", ()))))  # the same sum in whatever order
        self._interval = config.get("interval", "HOUR")
        self._denomination = config.get("denomination", "coin")
        self._fields = Fields("kiyotaka_liquidation_agg", OWN_FIELDS)
        self.step = INTERVALS[self._interval]
        self.longest = MOST_POINTS // SERIES * self.step

    def partitions(self, traffic: Traffic) -> Sequence[Partition]:
        found: dict[Partition, None] = {}
        rest = {"interval": self._interval, "denomination": self._denomination}
        matching = partial(self._matching, traffic=traffic)
        for name, where in self.resolved("kiyotaka.symbols", self._symbols, is_pattern, matching):
            exchange_id, raw_symbol = name.split("/", 1)
            found.setdefault(Partition.of(exchange=exchange_id, raw_symbol=raw_symbol, **rest, entry=where))
        for index, coin in enumerate(self._coins):
            exchanges = "+".join(self._exchanges)
            where = f"kiyotaka.coins[{index}]"
            found.setdefault(Partition.of(coin=coin, exchanges=exchanges, **rest, entry=where))
        return list(found)

    def _matching(self, pattern: str, where: str, traffic: Traffic) -> list[str]:
        wanted = pattern.split("/", 1)[0]
        exact = () if is_pattern(wanted) else (("exchange", wanted),)
        found = [name for name in markets(self.client, exact, traffic) if fnmatchcase(name, pattern)]
        if not found:
            raise ConfigurationError(
                where, f"no market of Kiyotaka's list matches {pattern!r}.", advice="Compare it with /v1/markets."
            )
        return sorted(set(found))

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
        return Request(POINTS, tuple(params))

    def worth_halving(self, span: Span) -> bool:
        # A query has 30 seconds; one of so few points that times out all the same is an outage.
        return (span.end - span.start) // self.step > FEW_POINTS

    def observe(self, span: Span, error: LiquidationsError) -> None:
        if "histor" in error.cause.lower() or "range" in error.cause.lower():
            values = dict(span.partitions[0].values)
            place, market = ALL, values.get("coin", "")
            if not market:
                place, market = exchange(values["exchange"]), f"{values['exchange']}/{values['raw_symbol']}"
            self.observations.append(observed("kiyotaka", place, market, "missing", span.start, span.end, error.cause))

    def price(self, requests: int, rows: int) -> dict[str, int]:
        # Documented as one for each request; elsewhere as one for each thousand points, more where summed.
        del rows
        return {"weight": requests}

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        del request, memory
        try:
            body: Body | LenientBody = _strict.decode(answered.body)
            whole: list[dict[str, msgspec.Raw]] | None = None
        except (msgspec.DecodeError, UnicodeDecodeError):
            body = answered.decoded(_lenient)
            whole = _raw.decode(answered.body).series
        if body.series is msgspec.UNSET:
            must_be_empty(answered, "series")
        raw: list[bytes] = []
        instants: list[int] = []
        times: dict[tuple[int | str, int | str], tuple[int, bytes]] = {}  # all series have the same
        held: dict[bytes, set[int]] = {}
        every: list[Any] = list(body.series or ())
        for index, series in enumerate(every):
            identity = self._identity(series.id, span.partitions[0])
            head = b"{" + _encode(identity)[1:-1] + b',"liquidations":'
            rests = self._rests(whole[index], identity) if whole else None
            first = len(instants)
            for at, wrapped in enumerate(series.points):
                point = wrapped.Point
                key = (point.timestamp.s, point.timestamp.ns)
                found = times.get(key)
                if found is None:
                    found = times[key] = point_time(point.timestamp)
                instants.append(found[0])
                raw.append(head + point_amount(point.liquidations) + found[1] + (rests[at] if rests else b"}"))
            check_apart(held, identity, instants[first:])
        if b"\n" in answered.body or b"\r" in answered.body:
            raw = [bytes(one_line(row)) for row in raw]
        return Answer(Rows(raw, instants))

    def _identity(self, sent: Mapping[str, msgspec.Raw], partition: Partition) -> dict[str, Any]:
        """A series' id in the stream's spelling. Key columns that it lacks are what was asked for, or ""."""
        asked = dict(partition.values)
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
        others = self._undocumented(
            {snake(name): value for name, value in without(sent, ID_FIELDS).items()}, OWN_FIELDS
        )
        return {**known, **documented, **others, "denomination": self._denomination}

    def _rests(self, series: Mapping[str, msgspec.Raw], identity: Mapping[str, Any]) -> list[bytes]:
        """For each point of a series, the end of its row: what is undocumented in it, beside it and in the series.

        Of the same name in several of these places, the one nearest to the number arrives.
        """
        own = OWN_FIELDS | identity.keys()
        around = without(series, ("id", "points"))
        found = []
        for entry in _entries.decode(series.get("points", b"[]")):
            inside = without(_members.decode(entry["Point"]), ("timestamp", "liquidations"))
            rest = self._undocumented({**around, **without(entry, ("Point",)), **inside}, own)
            found.append((b"," + _encode(rest)[1:-1] if rest else b"") + b"}")
        return found

    def _undocumented(self, members: dict[str, msgspec.Raw], own: AbstractSet[str]) -> dict[str, msgspec.Raw]:
        """The members that arrive beside the row's own."""
        return without(members, self._fields.left_out(members, members.keys() & own))


def check_apart(held: dict[bytes, set[int]], identity: Mapping[str, Any], instants: Sequence[int]) -> None:
    """Raise UnexpectedAnswer where two series that cannot be told apart have points of the same time."""
    others = held.setdefault(_encode([identity[name] for name in KEY if name != "time"]), set())
    if not others.isdisjoint(instants):
        raise UnexpectedAnswer(
            "two series of one answer have the same id, so that one would overwrite the other.",
            advice="No row was guessed from them. Please report this with the connector's version.",
        )
    others.update(instants)


def point_time(instant: Instant) -> tuple[int, bytes]:
    """A point's timestamp as nanoseconds, and as the members `,"timestamp":…,"time":"…"`.

    Raises UnexpectedAnswer where it is no Unix time in seconds.
    """
    try:
        seconds, rest = int(instant.s), int(instant.ns)
    except ValueError:
        seconds = rest = -1
    if not 0 < seconds < 4_102_444_800 or not 0 <= rest < timestamps.SECOND:
        raise UnexpectedAnswer(
            f"`timestamp.s` is {instant.s!r}, no Unix time in seconds.", advice="No row was guessed from it."
        )
    nanoseconds = seconds * timestamps.SECOND + rest
    time = timestamps.format_instant(nanoseconds, 9 if rest else 3).encode()
    return nanoseconds, b',"timestamp":%d,"time":"%b"' % (seconds, time)


def point_amount(literal: msgspec.Raw | msgspec.UnsetType) -> bytes:
    """The literal of `liquidations`; a zero may be left out."""
    found = number("liquidations", literal)
    return b"0" if found == b"null" else found


class _AggRow(msgspec.Struct):
    """A row of kiyotaka_liquidation_agg, as far as liquidation_volumes needs it."""

    coin: str
    side: str
    time: str
    liquidations: msgspec.Raw
    normalized_symbol: str | None = None
    exchange: str = ""
    raw_symbol: str = ""


_agg_row = msgspec.json.Decoder(_AggRow)


def to_volumes(rows: Rows, span: Span) -> list[bytes]:
    asked = dict(span.partitions[0].values)
    grouped = asked.get("exchanges")
    volumes = []
    found = [_agg_row.decode(raw) for raw in rows.raw]
    apart = len({row.exchange for row in found}) > 1  # asked for as a sum, answered exchange by exchange
    for row in found:
        name = asset_of(row)
        place = row.exchange if grouped and apart else grouped
        codes = (place or asked["exchange"]).split("+")
        volumes.append(
            Volume(
                vendor="kiyotaka",
                market=f"{place}/{name}" if place else f"{asked['exchange']}/{asked['raw_symbol']}",
                exchange="+".join(dict.fromkeys(map(exchange, codes))),
                asset=name,
                interval=iso_interval(asked["interval"]),
                interval_start=row.time,
                position_side=position_of(row.side),
                amount=row.liquidations,
                unit=asked["denomination"],
            )
        )
    return volume_rows(volumes)


def must_be_empty(answered: Answered, field: str) -> None:
    """Nothing but an empty body means an empty list; another one has something to say."""
    members = answered.decoded(_members)
    if members:
        raise UnexpectedAnswer(f"the answer has no `{field}`.", advice="No row was guessed from it.")


def asset_of(row: _AggRow) -> str:
    """The vendor's coin; where that is a symbol or missing, the base of the symbol; empty where no base is known."""
    symbol = row.raw_symbol
    coin_is_symbol = symbol and (row.coin.lower() == symbol.lower() or assets_of(row.coin, row.exchange)[1])
    if row.coin.isalnum() and not coin_is_symbol:
        return asset(row.coin)
    return assets_of(row.normalized_symbol or "", "")[0] or assets_of(symbol, row.exchange)[0] or ""


def position_of(side: str) -> str:
    if side not in POSITION_OF:
        raise UnexpectedAnswer(f"`side` is {side!r}, neither BUY nor SELL.", advice="No row was guessed from it.")
    return POSITION_OF[side]


class _Since(msgspec.Struct):
    exchange: str
    raw_symbol: str
    available_since: Unread = msgspec.UNSET


_since = msgspec.json.Decoder(_Since)
_available_since = ListedDate("kiyotaka_markets", "availableSince")


def to_coverage(rows: Rows, span: Span) -> list[bytes]:
    """Since when the list of markets says that each has data."""
    del span
    return coverage_rows(
        Period(
            vendor="kiyotaka",
            exchange=exchange(row.exchange),
            market=f"{row.exchange}/{row.raw_symbol}",
            kind="starts",
            period_start=timestamps.format_shortest(since),
            note="available since, of any kind of data",
            source="/v1/markets",
        )
        for row in map(_since.decode, rows.raw)
        if (since := _available_since.read(row.available_since, f"{row.exchange}/{row.raw_symbol}")) is not None
    )


def explain(answered: Answered) -> LiquidationsError | None:
    """What a refusal means, told by its words: 403 is used for three things."""
    if answered.status != 403:
        return None
    words = vendor_words(answered.body)
    lower = words.lower()
    if "point count" in lower:
        return WindowTooLarge(f"HTTP 403: {words}.", advice="Choose a longer interval.")
    if "histor" in lower or "range" in lower:
        return AccessRefused(
            f"HTTP 403: {words}", status=403, advice="Set `start_date` within your plan's history, or upgrade the plan."
        )
    return None


class Kiyotaka(Vendor):
    name = "kiyotaka"
    required = ("api_key",)
    one_of = ("symbols", "coins")
    streams = (
        Stream("kiyotaka_liquidation_agg", KEY, "time"),
        Stream("kiyotaka_markets", ("exchange", "raw_symbol")),
    )
    unified = (LIQUIDATION_VOLUMES,)
    coverage = throttled_at_binance("kiyotaka")

    @classmethod
    def problems(cls, config: Mapping[str, Any]) -> Iterable[ConfigurationError]:
        if config.get("coins") and not config.get("coin_exchanges"):
            yield ConfigurationError(
                "kiyotaka.coin_exchanges",
                "is required with coins and missing.",
                advice='Name the exchanges to sum over, e.g. ["BINANCE_FUTURES", "BYBIT"].',
            )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        host, header = PLATFORMS[config.get("platform", "kiyotaka")]
        self._client = Client(
            vendor="kiyotaka",
            hosts={"data": base_url(config, host)},
            headers={header: config["api_key"]},
            budget=Budget(config.get("requests_per_minute") or REQUESTS_PER_MINUTE, 60.0),
            explain=explain,
            connections=shared.workers,
            stop=shared.stop,
        )
        self._config = config

    def feeds(self) -> Sequence[Feed]:
        endpoint = LiquidationAgg(self._client, self._config)
        return (
            Feed(endpoint, "kiyotaka_liquidation_agg", {LIQUIDATION_VOLUMES.name: to_volumes}),
            Feed(MarketList(self._client), "kiyotaka_markets", {COVERAGE.name: to_coverage}),
        )

    def check(self, traffic: Traffic) -> None:
        """The newest interval of the first symbols and coins: half of what the budget has for a minute."""
        endpoint = LiquidationAgg(self._client, self._config)
        by_entry: dict[str, Partition] = {}
        for partition in endpoint.all_partitions(traffic):
            by_entry.setdefault(partition.entry, partition)
        most = max(1, min(ENTRIES_CHECKED, self._client.budget.requests // 2 - bool(self._config.get("coins"))))
        symbols = [partition for entry, partition in by_entry.items() if "symbols" in entry]
        coins = [partition for entry, partition in by_entry.items() if "symbols" not in entry]
        for partition in (*symbols[:most], *coins[:1]):
            self._check(endpoint, partition, traffic)

    def _check(self, endpoint: LiquidationAgg, partition: Partition, traffic: Traffic) -> None:
        end = timestamps.floor_to(time.time_ns(), endpoint.step)
        span = Span((partition,), end - endpoint.step, end)
        request = endpoint.first(span)
        try:
            endpoint.decode(self._client.fetch(request, traffic), span, request, {})
        except (RequestRefused, AccessRefused) as error:
            if error.scope == "reading":  # the key itself
                raise
            raise error.named(f"`{partition.entry}` ({partition})") from None
