"""The benchmark server's answers: the vendors' documented bodies with slices of the data set."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from urllib.parse import urlencode

from benchmarks.dataset import (
    EVENT_SPACING_NS,
    KIYOTAKA_INTERVAL,
    KIYOTAKA_INTERVAL_NS,
    KIYOTAKA_SIDES,
    ORIGIN_NS,
    SECOND_NS,
    Dataset,
    Table,
    bounds,
    coin_metrics_market,
    iso,
    kwery_symbol,
    nanoseconds,
)

KAIKO_MAX_PAGE = 1_000
COIN_METRICS_MAX_PAGE = 10_000
KIYOTAKA_MAX_POINTS = 100_000
KWERY_MAX_PAGE = 1_000

Query = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Piece:
    """A part of a body. Pieces with the same `key` have the same bytes."""

    data: bytes | memoryview
    key: tuple[str, int, int] | None = None


@dataclass(frozen=True)
class Answer:
    pieces: Iterable[Piece]
    length: int
    status: int = 200
    streamed: bool = False


@dataclass(frozen=True)
class Request:
    path: str
    query: Query
    origin: str

    def one(self, name: str, default: str = "") -> str:
        return self.query.get(name, (default,))[0]

    def instant(self, name: str) -> int | None:
        text = self.one(name)
        return nanoseconds(text) if text else None


class Refused(Exception):
    def __init__(self, status: int, body: object) -> None:
        super().__init__(f"{status}: {body}")
        self.status = status
        self.body = body


def whole(pieces: Sequence[Piece], status: int = 200) -> Answer:
    return Answer(pieces, sum(len(piece.data) for piece in pieces), status)


def as_json(body: object, status: int = 200) -> Answer:
    return whole([Piece(json.dumps(body, separators=(",", ":")).encode())], status)


def seal(*numbers: object) -> str:
    """An opaque continuation token."""
    return base64.urlsafe_b64encode(".".join(map(str, numbers)).encode()).decode().rstrip("=")


def unseal(token: str) -> list[str]:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode().split(".")


def rows_of(table: Table, name: str, first: int, last: int, *, descending: bool = False) -> Piece:
    if descending:
        rows = [bytes(table.cut(i, i + 1)) for i in range(first, last)]
        return Piece(b",".join(reversed(rows)), (f"{name} desc", first, last))
    return Piece(table.cut(first, last) if last > first else b"", (name, first, last))


def number_of(name: str, pattern: re.Pattern[str], partitions: int) -> int | None:
    match = pattern.fullmatch(name)
    number = int(match[1]) if match else partitions
    return number if number < partitions else None


class Kaiko:
    """`/kaiko/v2/data/liquidation.v1/trades/{exchange}/{class}/{instrument}`."""

    PATH = re.compile(r"/kaiko/v2/data/liquidation\.v1/trades/([^/]+)/([^/]+)/([^/]+)")
    INSTRUMENT = re.compile(r"m(\d{5})-usdt")

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def trades(self, request: Request, path: re.Match[str]) -> Answer:
        exchange, instrument_class, instrument = path.groups()
        if number_of(instrument, self.INSTRUMENT, self._dataset.partitions) is None:
            raise Refused(404, {"result": "error", "message": f"instrument {instrument} not found"})
        table = self._dataset.kaiko()
        first, last, size, sort = self._page(request, table.rows)
        begin, end = (first, min(first + size, last)) if sort == "asc" else (max(last - size, first), last)
        rest = (end, last) if sort == "asc" else (first, begin)
        head = {
            "query": {
                "exchange": exchange,
                "instrument": instrument,
                "instrument_class": instrument_class,
                "commodity": "liquidationEvents",
                **self._window(first, last),
                "page_size": size,
                "sort": sort,
                "data_version": "v1",
            },
            **ANSWERED,
        }
        tail = b"]}"
        if rest[0] < rest[1]:
            token = seal(*rest, size, sort)
            next_url = f"{request.origin}{request.path}?continuation_token={token}"
            tail = f'],"continuation_token":"{token}","next_url":"{next_url}"}}'.encode()
        opening = json.dumps(head, separators=(",", ":"))[:-1] + ',"data":['
        rows = rows_of(table, "kaiko", begin, end, descending=sort == "desc")
        return whole([Piece(opening.encode()), rows, Piece(tail)])

    @staticmethod
    def _page(request: Request, rows: int) -> tuple[int, int, int, str]:
        if token := request.one("continuation_token"):
            first, last, size, sort = unseal(token)
            return int(first), int(last), int(size), sort
        page_size = int(request.one("page_size", "100"))
        if not 1 <= page_size <= KAIKO_MAX_PAGE:
            raise Refused(400, {"result": "error", "message": "page_size must be between 1 and 1000"})
        window = request.instant("start_time"), request.instant("end_time")
        return *bounds(*window, spacing=EVENT_SPACING_NS, rows=rows), page_size, request.one("sort", "desc")

    @staticmethod
    def _window(first: int, last: int) -> dict[str, object]:
        start, end = (ORIGIN_NS + row * EVENT_SPACING_NS for row in (first, last))
        return {
            "start_time": iso(start, 3),
            "start_timestamp": start // 1_000_000,
            "end_time": iso(end, 3),
            "end_timestamp": end // 1_000_000,
        }


ANSWERED = {
    "answer_time": "2025-04-04T11:58:32.554Z",
    "answer_timestamp": 1743767912554,
    "access": {
        "access_range": {"start_timestamp": 1514764800000, "end_timestamp": 2177539199000},
        "data_range": {"start_timestamp": None, "end_timestamp": None},
    },
}


class CoinMetrics:
    """`/coin_metrics/v4/timeseries/market-liquidations` and the catalog; rows are ordered by (market, time)."""

    MARKET = re.compile(r"binance-M(\d{5})USDT-future")

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._all = [coin_metrics_market(partition) for partition in range(dataset.partitions)]

    def liquidations(self, request: Request, _: re.Match[str]) -> Answer:
        markets = self._markets(request)
        first, last = self._rows(request)
        if request.one("format", "json") == "json_stream":
            return self._stream(markets, first, last)
        page_size = int(request.one("page_size", "100"))
        if not 1 <= page_size <= COIN_METRICS_MAX_PAGE:
            raise self._bad("page_size", "Value must be between 1 and 10000.")
        total = len(markets) * (last - first)
        done = int(unseal(request.one("next_page_token"))[0]) if request.one("next_page_token") else 0
        ascending = request.one("paging_from", "end") == "start"
        left = min(done + page_size, total)
        page = (done, left) if ascending else (total - left, total - done)
        pieces = [Piece(b'{"data":['), *self._slices(markets, first, last, *page)]
        return whole([*pieces, Piece(self._tail(request, seal(left) if left < total else ""))])

    def catalog(self, request: Request, _: re.Match[str]) -> Answer:
        first, last = (iso(ORIGIN_NS + row * EVENT_SPACING_NS, 9) for row in (0, max(self._dataset.rows - 1, 0)))
        markets = self._markets(request) if request.one("markets") else list(range(len(self._all)))
        done = int(unseal(request.one("next_page_token"))[0]) if request.one("next_page_token") else 0
        left = min(done + int(request.one("page_size", "100")), len(markets))
        rows = [{"market": self._all[n], "min_time": first, "max_time": last} for n in markets[done:left]]
        body: dict[str, object] = {"data": rows}
        if left < len(markets):
            body |= json.loads("{" + self._tail(request, seal(left)).decode()[2:])
        return as_json(body)

    def contracts(self, request: Request, _: re.Match[str]) -> Answer:
        """The contract size of each market: one unit of the base asset, as for Binance's linear contracts."""
        names = {self._all[n]: f"m{n:05d}" for n in self._markets(request)}
        return as_json(
            {
                "data": [
                    {"market": market, "base": base, "quote": "usdt", "size_asset": base, "contract_size": "1"}
                    for market, base in names.items()
                ]
            }
        )

    def _markets(self, request: Request) -> list[int]:
        """The partition numbers, sorted by market name."""
        numbers: set[int] = set()
        for name in ",".join(request.query.get("markets", ())).split(","):
            number = number_of(name, self.MARKET, len(self._all))
            matches = [n for n, market in enumerate(self._all) if fnmatchcase(market, name)] if "*" in name else []
            if number is None and not matches:
                raise self._bad("markets", f"Market '{name}' is not supported.")
            numbers.update(matches if number is None else [number])
        return sorted(numbers)

    def _rows(self, request: Request) -> tuple[int, int]:
        start, end = request.instant("start_time"), request.instant("end_time")
        if start is not None and request.one("start_inclusive") == "false":
            start += 1
        if end is not None and request.one("end_inclusive") != "false":
            end += 1
        first, last = bounds(start, end, spacing=EVENT_SPACING_NS, rows=self._dataset.rows)
        if limit := int(request.one("limit_per_market", "0")):
            from_start = request.one("paging_from", "end") == "start"
            return (first, min(last, first + limit)) if from_start else (max(first, last - limit), last)
        return first, last

    def _slices(self, markets: Sequence[int], first: int, last: int, begin: int, end: int) -> Iterator[Piece]:
        """Rows `begin` to `end` of the concatenated windows of all markets."""
        each = last - first
        while begin < end:
            position, skipped = divmod(begin, each)
            count = min(each - skipped, end - begin)
            market, row = markets[position], first + skipped
            yield rows_of(self._dataset.coin_metrics(market), self._all[market], row, row + count)
            begin += count
            if begin < end:
                yield Piece(b",")

    def _stream(self, markets: Sequence[int], first: int, last: int) -> Answer:
        """All rows, one a line; Coin Metrics' client requests this format by default."""
        offsets = self._dataset.coin_metrics(0).offsets

        def lines() -> Iterator[Piece]:
            for market in markets:
                table = self._dataset.coin_metrics(market)
                for row in range(first, last, COIN_METRICS_MAX_PAGE):
                    part = table.cut_lines(row, min(row + COIN_METRICS_MAX_PAGE, last))
                    yield Piece(bytes(part).replace(b"},", b"}\n"))

        return Answer(lines(), len(markets) * (offsets[last] - offsets[first]), streamed=True)

    @staticmethod
    def _tail(request: Request, token: str) -> bytes:
        if not token:
            return b"]}"
        parameters = {name: values for name, values in request.query.items() if name != "next_page_token"}
        next_url = f"{request.origin}{request.path}?" + urlencode(
            {**parameters, "next_page_token": token}, doseq=True, safe=":,*"
        )
        return f'],"next_page_token":"{token}","next_page_url":"{next_url}"}}'.encode()

    @staticmethod
    def _bad(parameter: str, why: str) -> Refused:
        message = f"Bad parameter '{parameter}'. {why}"
        return Refused(400, {"error": {"type": "bad_parameter", "message": message}})


class Kiyotaka:
    """`/kiyotaka/v1/points`: one series for each side of each symbol, [from, from + period)."""

    SYMBOL = re.compile(r"M(\d{5})USDT")

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def points(self, request: Request, _: re.Match[str]) -> Answer:
        if request.one("interval") != KIYOTAKA_INTERVAL:
            raise Refused(400, {"error": "INVALID_TIMEFRAME", "message": f"only {KIYOTAKA_INTERVAL} is served"})
        start = int(request.one("from")) * SECOND_NS
        end = start + int(request.one("period")) * SECOND_NS
        buckets = self._dataset.kiyotaka(KIYOTAKA_SIDES[0]).rows
        first, last = bounds(start, end, spacing=KIYOTAKA_INTERVAL_NS, rows=buckets)
        series = [(exchange, symbol) for exchange in request.query["exchange"] for symbol in request.query["rawSymbol"]]
        if len(series) * len(KIYOTAKA_SIDES) * (last - first) > KIYOTAKA_MAX_POINTS:
            raise Refused(403, {"error": "FORBIDDEN", "message": "Point count exceeded"})
        descending = request.one("sortDirection") == "SORT_DIRECTION_DESC"
        pieces = [Piece(b'{"series":[')]
        for exchange, symbol in series:
            for side in KIYOTAKA_SIDES:
                opening = '{"id":' + self._identity(exchange, symbol, side) + ',"points":['
                points = rows_of(self._dataset.kiyotaka(side), side, first, last, descending=descending)
                pieces += [Piece(opening.encode()), points, Piece(b"]},")]
        return whole([*pieces[:-1], Piece(b"]}]}")])

    def _identity(self, exchange: str, symbol: str, side: str) -> str:
        if number_of(symbol, self.SYMBOL, self._dataset.partitions) is None:
            raise Refused(400, {"error": "INVALID_SYMBOL", "message": f"Unknown symbol {symbol}"})
        coin = symbol.removesuffix("USDT")
        identity = {
            "type": "LIQUIDATION_AGG",
            "exchange": exchange,
            "rawSymbol": symbol,
            "normalizedSymbol": f"{coin}-USDT",
            "category": "PERPETUAL",
            "interval": KIYOTAKA_INTERVAL,
            "side": side,
            "coin": coin,
        }
        return json.dumps(identity, separators=(",", ":"))


class Kwery:
    """`/kwery/v1/liquidations`, in ascending time, and the plan's limits."""

    SYMBOL = re.compile(r"M(\d{5})")

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

    def liquidations(self, request: Request, _: re.Match[str]) -> Answer:
        symbol = request.one("symbol")
        number = number_of(symbol, self.SYMBOL, self._dataset.partitions)
        if number is None:
            raise Refused(400, {"error": "invalid_symbol", "message": f"unknown symbol {symbol}"})
        table = self._dataset.kwery(number)
        window = request.instant("start"), request.instant("end")
        start, last = bounds(*window, spacing=EVENT_SPACING_NS, rows=table.rows)
        first = start + (int(unseal(request.one("after"))[0]) if request.one("after") else 0)
        end = min(first + min(int(request.one("limit", "100")), KWERY_MAX_PAGE), last)
        cursor = seal(end - start) if end < last else None
        meta = {"returned": end - first, "next_cursor": cursor, "has_more": end < last}
        tail = b'],"meta":' + json.dumps(meta, separators=(",", ":")).encode() + b"}"
        return whole([Piece(b'{"data":['), rows_of(table, kwery_symbol(number), first, end), Piece(tail)])

    def limits(self, _: Request, __: re.Match[str]) -> Answer:
        return as_json({"plan": "business", "max_rows_per_request": KWERY_MAX_PAGE})


Handler = Callable[[Request, re.Match[str]], Answer]


class Router:
    """Routes a path to the vendor's endpoint."""

    def __init__(self, dataset: Dataset) -> None:
        coin_metrics, kwery = CoinMetrics(dataset), Kwery(dataset)
        self._routes: list[tuple[re.Pattern[str], Handler]] = [
            (Kaiko.PATH, Kaiko(dataset).trades),
            (re.compile("/coin_metrics/v4/timeseries/market-liquidations"), coin_metrics.liquidations),
            (re.compile("/coin_metrics/v4/catalog(-all)?-v2/market-liquidations"), coin_metrics.catalog),
            (re.compile("/coin_metrics/v4/reference-data/markets"), coin_metrics.contracts),
            (re.compile("/kiyotaka/v1/points"), Kiyotaka(dataset).points),
            (re.compile("/kwery/v1/liquidations"), kwery.liquidations),
            (re.compile("/kwery/v1/limits"), kwery.limits),
        ]

    def answer(self, request: Request) -> Answer:
        for pattern, handler in self._routes:
            if match := pattern.fullmatch(request.path):
                try:
                    return handler(request, match)
                except Refused as refusal:
                    return as_json(refusal.body, refusal.status)
                except (KeyError, ValueError) as error:
                    return as_json({"error": {"type": "bad_parameter", "message": repr(error)}}, 400)
        return as_json({"error": {"type": "not_found", "message": request.path}}, 404)
