"""Kwery: liquidations of Binance Futures.

Page: https://kwery-api.com, "GET /v1/liquidations". What it documents and what it was seen to answer differ in the
form of times, meta and cursor; both are taken. Beside this file: credits, and the list of symbols.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

import msgspec

from source_liquidations import timestamps
from source_liquidations.coverage import COVERAGE, Kind, documented, observed
from source_liquidations.errors import (
    AccessRefused,
    ConfigurationError,
    LiquidationsError,
    RequestRefused,
    UnexpectedAnswer,
    VendorUnavailable,
    WindowTooLarge,
)
from source_liquidations.harmonized import LIQUIDATIONS, EventMaker, number
from source_liquidations.http.answers import Answered, vendor_words
from source_liquidations.http.budgets import Budget
from source_liquidations.http.client import Client, Request
from source_liquidations.http.redaction import redact
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Rows, Span
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset
from source_liquidations.vendors.decoding import Number, RowDecoder, added_rows, iso_instants
from source_liquidations.vendors.kwery_credits import (
    CREDITS_PER_REQUEST,
    CREDITS_PER_ROW,
    Credits,
    cost,
    spending_limit,
)
from source_liquidations.vendors.kwery_symbols import SymbolList, symbols, to_coverage
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, base_url

logger = logging.getLogger("airbyte")

HOST = "https://kwery-api.com"
PATH = "/v1/liquidations"
LIMITS = "/v1/limits"

LARGEST_LIMIT = 1000
REQUESTS_PER_MINUTE = 15  # the Free plan's, until /v1/limits says more
# Rows come in no documented order, so only a whole window can be checkpointed: what a crash repeats costs credits.
FIRST_WINDOW = timestamps.DAY
ROWS_WORTH_A_WINDOW = 4000
ROWS_ARE_SETTLED_AFTER = timestamps.MINUTE
MOST_ROWS_A_SECOND = 2  # the feed has one for each symbol, and now and then its twin
FEWEST_ROWS_A_SYNC = 10
# How far behind what the plan reaches back the connector's clock may find a window before it says so.
REACH_TOLERANCE = timestamps.HOUR
LONG_SILENCE = timestamps.DAY

_NOT_FOUND = 404
_OLDEST = "oldest"
_CAPPED = "capped"

T = TypeVar("T")


class LiquidationRow(msgspec.Struct):
    timestamp: str
    symbol: str
    source: str | None = None
    side: str | None = None
    quantity: Number = None
    price: Number = None
    avg_price: Number = None
    usd_value: Number = None


class Meta(msgspec.Struct):
    next_cursor: str | int | None = None
    has_more: bool | None = None


class Body(msgspec.Struct, Generic[T]):
    data: list[T] | msgspec.UnsetType = msgspec.UNSET
    meta: Meta | None = None


class RateLimits(msgspec.Struct):
    requests_per_second: float | None = None
    requests_per_minute: float | None = None


class CreditsLeft(msgspec.Struct):
    remaining: int | None = None


class Limits(msgspec.Struct):
    """What /v1/limits says of the key's plan."""

    plan: str | None = None
    credits: CreditsLeft | None = None
    max_rows_per_request: int | None = None
    max_history_days: int | None = None
    rate_limits: RateLimits | None = None


class Liquidations(Endpoint):
    vendor = "kwery"
    ascending = False
    splittable = False
    step = 1_000_000  # times are sent in milliseconds

    def __init__(self, client: Client, config: Mapping[str, Any], credits: Credits) -> None:
        self.client = client
        self._symbols = tuple(config.get("symbols", ("BTC",)))
        self._filters = {"side": config.get("side", "all"), "min_usd": config.get("min_usd")}
        self._own_budget = not config.get("requests_per_minute")
        self._credits = credits
        self._limit = LARGEST_LIMIT
        self._worth = ROWS_WORTH_A_WINDOW
        self._history = History(self)
        self._limits = msgspec.json.Decoder(Limits, strict=False)  # numbers as text, too
        self._decoder = RowDecoder("kwery_liquidations", Body, LiquidationRow, added=("time", "liquidation_id"))
        # Windows side by side would each spend what another one needs to be read to its end.
        self.most_at_once = None if credits.most is None else 1
        self.longest = self._first_length()

    def _first_length(self) -> int:
        """A window that what is left of the credits pays for, whatever it holds."""
        rows = self._credits.rows_left(self._limit)
        if rows is None:
            return FIRST_WINDOW
        return min(FIRST_WINDOW, max(1, rows // MOST_ROWS_A_SECOND) * timestamps.SECOND)

    def plan_limits(self, traffic: Traffic) -> Limits:
        """What the key's plan allows (a free call); sets the request budget."""
        limits = self.client.fetch(Request(LIMITS), traffic).decoded(self._limits)
        rates = limits.rate_limits
        if self._own_budget and rates is not None:
            per_minute, per_second = rates.requests_per_minute or 0.0, rates.requests_per_second or 0.0
            rate = min(filter(None, (per_minute / 60, per_second)), default=0.0)
            # Spread evenly: there is a limit for each second, too, told or not.
            at_once = max(1, int(rate if rate >= 1 else per_second or per_minute))
            if rate:
                self.client.budget.change(at_once, at_once / rate)
        if limits.max_rows_per_request:
            self._limit = min(LARGEST_LIMIT, limits.max_rows_per_request)
        if limits.max_history_days:
            self._history.reach = time.time_ns() - limits.max_history_days * timestamps.DAY
        self.longest = self._first_length()
        return limits

    def check(self, traffic: Traffic) -> None:
        """The last minute of the first symbol, one row at most. Raises what `read` would."""
        end = time.time_ns()
        span = Span((next(iter(self._partitions())),), end - timestamps.MINUTE, end)
        request = with_param(self.first(span), "limit", "1")
        self.decode(self.client.fetch(request, traffic), span, request, {})

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        try:
            self.plan_limits(traffic)
        except (RequestRefused, VendorUnavailable, UnexpectedAnswer) as error:
            logger.info(
                "kwery: going on with the documented limits of the Free plan; /v1/limits did not tell the key's: %s",
                redact(error.cause),
            )
        if self._credits.most is not None:
            # Else a small limit would be spent on what is read again, and the position never move.
            self.longest_lookback = self._first_length() // 2
        return self._partitions()

    def _partitions(self) -> Iterable[Partition]:
        # A narrower filter is another set of rows, with a position of its own.
        filters = {name: str(value) for name, value in self._filters.items() if value not in (None, "all")}
        return dict.fromkeys(
            Partition.of(symbol=symbol, entry=f"kwery.symbols[{index}]", **filters)
            for index, symbol in enumerate(self._symbols)
        )

    def first(self, span: Span) -> Request:
        self._history.window_begins(span)
        params = [
            ("symbol", span.partitions[0]["symbol"]),
            ("start", timestamps.format_instant(span.start, 3)),
            ("end", timestamps.format_instant(span.end, 3)),
            ("side", str(self._filters["side"])),
        ]
        if self._filters["min_usd"] is not None:
            params.append(("min_usd", str(self._filters["min_usd"])))
        return Request(PATH, (*params, ("limit", str(self._limit))))

    @contextmanager
    def admitted(self, request: Request) -> Iterator[Request]:
        """Holds the request to what this sync may spend. Raises SpendingLimit where that pays for no row."""
        params = dict(request.params)
        wanted = int(params["limit"])
        if self._credits.most is not None:
            seconds = (timestamps.parse(params["end"]) - timestamps.parse(params["start"])) // timestamps.SECOND
            wanted = min(wanted, MOST_ROWS_A_SECOND * (seconds + 1))  # what is not reserved is left for others
        granted = self._credits.reserve(wanted, self.client.stop)
        if not granted:
            raise spending_limit(self._credits)
        try:
            yield with_param(request, "limit", str(granted))
        finally:
            self._credits.release(granted)

    def next_length(self, length: int, pages: int, rows: int) -> int:
        """Windows of a few pages: longer after few rows, shorter after many."""
        del pages
        factor = 8.0 if rows == 0 else min(4.0, max(0.25, self._worth / rows))
        longer = int(length * factor)
        payable = self._credits.rows_left(self._limit)
        if payable is not None:
            # A window that cannot be paid to its end is paid in vain: leave room for twice the rows expected.
            longer = max(min(longer, length * payable // (2 * max(1, rows))), self._first_length())
        return max(self.step, longer - longer % self.step)

    def window_end(self, start: int, end: int) -> int:
        """Apart from what may have a second page: the last minute, whose rows may still be on their way.

        A cursor that is an offset moves on where a row arrives before it: the next page would repeat a row, and that
        would look like a twin.
        """
        edge = time.time_ns() - ROWS_ARE_SETTLED_AFTER
        edge -= edge % self.step
        return edge if start < edge < end and end - start > self._limit * timestamps.SECOND else end

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        body, raw, collides = self._decoder.decode(answered)
        rows: list[LiquidationRow] = body.data
        self._note_credits(answered, len(rows))
        following = next_request(request, body.meta or Meta(), len(rows))
        capped, was_capped = answered.headers.get("X-Rows-Capped", "").lower() == "true", memory.get(_CAPPED, 0)
        memory[_CAPPED] = len(rows) if capped else 0
        # Cut off with a cursor, the rest is on the next page: unless that is empty.
        if (capped and rows and following is None) or (was_capped and not rows):
            self._worth = max(1, max(len(rows), was_capped) // 2)
            raise WindowTooLarge(
                "the plan cut the result off (X-Rows-Capped), so rows are missing.",
                advice="Even the shortest window has more rows than the plan returns: a larger plan is needed.",
            )
        instants = iso_instants("timestamp", [row.timestamp for row in rows])
        times = [timestamps.format_instant(t, digits(row.timestamp)) for t, row in zip(instants, rows, strict=True)]
        oldest = memory[_OLDEST] = min([memory.get(_OLDEST, sys.maxsize), *instants])
        if following is None:
            self._credits.windows += 1
            self._history.window_read(span, oldest)
        ids = identified(rows, instants, raw, memory)
        each = [{"time": time, "liquidation_id": name} for time, name in zip(times, ids, strict=True)]
        typed = list(zip(raw, rows, instants, times, ids, strict=True))
        return Answer(added_rows(raw, instants, constant={}, each=each, typed=typed, collides=collides), following)

    def _note_credits(self, answered: Answered, rows: int) -> None:
        told = answered.headers.get("X-Credits-Used", "")
        self._credits.spend(int(told) if told.isdecimal() else cost(rows))
        left = answered.headers.get("X-Credits-Remaining", "")
        if left.isdecimal():
            self._credits.left_in_cycle = int(left)
        self.longest = self._first_length()

    def observe(self, span: Span, error: LiquidationsError) -> None:
        if "invalid_time_range" in error.cause:
            self.saw(span, "missing", error.cause)

    def saw(self, span: Span, kind: Kind, note: str) -> None:
        market = f"binance_futures/{span.partitions[0]['symbol']}"
        self.observations.append(observed("kwery", "binance", market, kind, span.start, span.end, note))

    def price(self, requests: int, rows: int) -> dict[str, int]:
        return {"credits": CREDITS_PER_REQUEST * requests + CREDITS_PER_ROW * rows}

    def spent(self) -> dict[str, int]:
        left = self._credits.left_in_cycle
        return {"credits used": self._credits.spent} | ({} if left is None else {"credits left": left})


class History:
    """Notices that a plan leaves out what is older than it reaches back, without a word; says so once.

    `reach` is what /v1/limits says; where it says nothing, a first row long after the time asked for is told.
    """

    def __init__(self, endpoint: Liquidations) -> None:
        self.reach: int | None = None
        self._endpoint = endpoint
        self._asked: dict[str, int] = {}  # by symbol: since when rows are asked for
        self._quiet: dict[str, int] = {}  # until when there are none, from then on
        self._read: dict[str, dict[int, tuple[Span, int]]] = {}  # windows read to their end, by their start
        self._settled: set[str] = set()  # symbols of which nothing more needs to be said

    def window_begins(self, span: Span) -> None:
        symbol = span.partitions[0]["symbol"]
        self._asked[symbol] = min(self._asked.get(symbol, span.start), span.start)

    def window_read(self, span: Span, oldest: int) -> None:
        """A window was read to its end; `oldest` is its first row's instant, or far in the future."""
        symbol = span.partitions[0]["symbol"]
        if symbol in self._settled:
            return
        asked = self._asked.setdefault(symbol, span.start)
        windows = self._read.setdefault(symbol, {})
        windows[span.start] = (span, oldest)
        reach = asked if self.reach is None else self.reach - REACH_TOLERANCE
        while (found := windows.pop(self._quiet.get(symbol, asked), None)) is not None:
            self._quiet[symbol] = found[0].end
            if found[1] < found[0].end or asked < reach <= found[0].end:
                self._settle(symbol, asked, *found)
                return

    def _settle(self, symbol: str, asked: int, span: Span, oldest: int) -> None:
        """There was no row before this window, which has some, or comes up to where the plan does."""
        self._settled.add(symbol)
        beyond = self.reach is not None and asked < self.reach - REACH_TOLERANCE <= oldest
        if beyond:
            first = not self._endpoint.observations
            clamped = Span(span.partitions, asked, self.reach or asked)
            self._endpoint.saw(clamped, "missing", "older than the plan's history: left out without a word")
            if first:
                logger.warning(
                    "kwery: the plan reaches back to %s, and no row came from before, though %s was asked for: older"
                    " rows are left out without a word. A larger plan has them; reset the stream once you have it.",
                    timestamps.format_instant(self.reach or asked, 0),
                    timestamps.format_shortest(asked),
                )
        since = asked if self.reach is None else max(asked, self.reach)
        if since + LONG_SILENCE < oldest < span.end:
            logger.warning(
                "kwery: the first row of %s is of %s, though rows from %s on were asked for: there were none, or the"
                " key reaches less far back than the vendor says, which leaves older rows out without a word.",
                symbol,
                timestamps.format_instant(oldest, 0),
                timestamps.format_shortest(since),
            )


def with_param(request: Request, name: str, value: str) -> Request:
    """The request with one parameter replaced, or added at the end."""
    params = dict(request.params) | {name: value}
    return Request(request.path, tuple(params.items()))


def next_request(request: Request, meta: Meta, rows: int) -> Request | None:
    """The same request from the cursor on; None where there is no cursor, no row, or `has_more` says so."""
    if rows == 0 or not meta.next_cursor or meta.has_more is False:
        return None
    return with_param(request, "after", str(meta.next_cursor))


def digits(timestamp: str) -> int:
    """Fraction digits that the vendor gave, at least three."""
    found = re.search(r"\.(\d+)", timestamp)
    return max(3, len(found[1])) if found else 3


def identified(
    rows: Sequence[LiquidationRow], instants: Sequence[int], raw: Sequence[Any], seen: dict[Any, Any]
) -> list[str]:
    """An id for each row: a digest of its content, and an ordinal among identical rows of the same instant.

    The same on every re-read: times are compared as instants and numbers as values, however they are written, and
    `usd_value`, a product of the others, is left out, and so is what no page documents. Rows that differ in these
    alone are numbered by how they are written (`raw`), since the order of rows is not documented. `seen` counts the
    window's rows so far, over all its pages; identical rows share an instant, so they share a window.
    """
    digests = []
    for row, instant in zip(rows, instants, strict=True):
        numbers = [
            value_of("quantity", row.quantity),
            value_of("price", row.price),
            value_of("avg_price", row.avg_price),
        ]
        content = msgspec.json.encode([instant, row.symbol, row.source, row.side, *numbers])
        digests.append(hashlib.blake2b(content, digest_size=16).hexdigest())
    order: Iterable[int] = range(len(rows))
    if len(set(digests)) < len(digests):
        order = sorted(order, key=lambda index: bytes(raw[index]))
    ordinals = [0] * len(rows)
    for index in order:
        ordinals[index] = seen[digests[index]] = seen.get(digests[index], -1) + 1
    return [f"{digest}-{ordinal}" for digest, ordinal in zip(digests, ordinals, strict=True)]


def value_of(field: str, number: Number) -> str | None:
    """A number however it is written, in one way of writing it."""
    try:
        return None if number is None else repr(float(number))
    except ValueError:
        raise UnexpectedAnswer(f"`{field}` is {number!r}, no number.", advice="No row was guessed from it.") from None


# liquidations: quantity in the base asset, avg_price is what it was filled at, side is the position.
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_event = EventMaker("kwery", amount_unit="base")


def to_liquidations(rows: Rows, span: Span) -> list[bytes]:
    del span
    found = []
    for raw, row, instant, at, name in rows.typed:
        literals = _members.decode(raw)
        source = row.source or "binance_futures"
        found.append(
            _event.row(
                _event.names(f"{source}/{row.symbol}", source, asset(row.symbol), None, "trade"),
                name,
                at.encode(),
                instant,
                row.side and row.side.lower(),
                number("avg_price", literals.get("avg_price")),
                number("quantity", literals.get("quantity")),
                number("usd_value", literals.get("usd_value")),
            )
        )
    return found


def explain(answered: Answered) -> LiquidationsError | None:
    """What a refusal means, told by its code."""
    if answered.status == 200 or answered.status >= 429:
        return None
    words = f"HTTP {answered.status}: {vendor_words(answered.body)}"
    if "tier_restricted" in words:
        return AccessRefused(
            words, status=403, advice="`kwery.min_usd` needs the Business plan: upgrade, or leave it empty."
        )
    if "invalid_time_range" in words:
        return RequestRefused(
            words, status=400, advice="Set `start_date` to a date within your plan's history, or upgrade the plan."
        )
    if "credits_exhausted" in words:
        return AccessRefused(
            words,
            status=402,
            advice="The credits of this billing cycle are spent: wait for the next one, or buy more. Everything read so"
            " far is kept; the next sync goes on from there.",
        )
    return None


class Kwery(Vendor):
    name = "kwery"
    required = ("api_key",)
    streams = (
        Stream("kwery_liquidations", ("liquidation_id",), "time"),
        Stream("kwery_symbols", ("symbol",)),
    )
    unified = (LIQUIDATIONS,)
    coverage = documented(
        "kwery",
        "Kwery, GET /v1/liquidations; Binance, forced order feed",
        [("binance", "throttled", "2024-01-15", None, "at most one liquidation per symbol and second: a floor")],
    )

    @classmethod
    def problems(cls, config: Mapping[str, Any]) -> Iterable[ConfigurationError]:
        most = config.get("max_credits_per_sync")
        least = cost(FEWEST_ROWS_A_SYNC)
        if most is not None and most < least:
            yield ConfigurationError(
                "kwery.max_credits_per_sync",
                f"{most} credits do not pay for {FEWEST_ROWS_A_SYNC} rows, so a sync could never make progress.",
                advice=f"Allowed: {least} or more ({CREDITS_PER_REQUEST} a request and {CREDITS_PER_ROW} a row).",
            )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        self._credits = Credits(config.get("max_credits_per_sync"))
        self._client = Client(
            vendor="kwery",
            hosts={"data": base_url(config, HOST)},
            headers={"X-API-Key": config["api_key"]},
            budget=Budget(config.get("requests_per_minute") or REQUESTS_PER_MINUTE, 60.0),
            explain=explain,
            lost=self._lost,
            connections=shared.workers,
            stop=shared.stop,
        )
        self._config = config

    def _lost(self, request: Request) -> None:
        if request.path == PATH and not self._credits.lose(int(dict(request.params)["limit"])):
            raise spending_limit(self._credits)

    def feeds(self) -> Sequence[Feed]:
        endpoint = Liquidations(self._client, self._config, self._credits)
        return (
            Feed(endpoint, "kwery_liquidations", {LIQUIDATIONS.name: to_liquidations}),
            Feed(SymbolList(self._client), "kwery_symbols", {COVERAGE.name: to_coverage}),
        )

    def check(self, traffic: Traffic) -> None:
        """Two free calls: the key's plan, and the symbols there are. Where the plan cannot be asked for: one row."""
        endpoint = Liquidations(self._client, self._config, self._credits)
        try:
            limits = endpoint.plan_limits(traffic)
        except RequestRefused as error:
            if error.status != _NOT_FOUND:
                raise
            limits = Limits()
            endpoint.check(traffic)
        if limits.credits is not None and limits.credits.remaining == 0:
            raise ConfigurationError(
                "kwery.api_key",
                "the credits of this billing cycle are spent.",
                advice="Wait for the next cycle, or buy more.",
            )
        if self._config.get("min_usd") is not None and (limits.plan or "").lower() in {"free", "pro"}:
            raise ConfigurationError(
                "kwery.min_usd", f"the {limits.plan} plan does not have it.", advice="Leave it empty, or upgrade."
            )
        try:
            names = symbols(self._client, traffic)
        except RequestRefused as error:
            logger.info("kwery: the symbols were not compared with the vendor's list: %s", redact(error.cause))
            return
        for index, symbol in enumerate(self._config.get("symbols", ())):
            if symbol not in names:
                raise ConfigurationError(
                    f"kwery.symbols[{index}]",
                    f"{symbol!r} is no symbol of Kwery.",
                    advice=f"Allowed: {', '.join(names)}.",
                )
