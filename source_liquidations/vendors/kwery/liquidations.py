"""Kwery, GET /v1/liquidations. Recorded answers differ from the documented ones in times, `meta` and cursor; both are
accepted."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic

import msgspec

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, LiquidationsError, UnexpectedAnswer, WindowTooLarge, shown
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Request
from source_liquidations.http.redaction import redact
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.numbers import NULL, Number
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, assets_of
from source_liquidations.unified import event_names
from source_liquidations.unified import liquidations as unified_rows
from source_liquidations.vendors import repeats
from source_liquidations.vendors.decoding import Fields, Page, Row, RowDecoder, added_rows
from source_liquidations.vendors.instants import iso_instants
from source_liquidations.vendors.kwery import limits
from source_liquidations.vendors.kwery.credits import LARGEST_LIMIT, STEP, AffordableWindows, Credits, cost

STREAM = Stream("kwery_liquidations", ("liquidation_id",), "time", declared_in=__name__)
PATH = "/v1/liquidations"
LONG_SILENCE = timestamps.DAY

_CAPPED = "rows of a page that was cut off"
_OLDEST = "the oldest row so far"
_NEVER = 2**63


class LiquidationRow(msgspec.Struct):
    timestamp: str
    symbol: str
    source: str | None = None
    side: str | None = None
    quantity: Number = NULL
    price: Number = NULL
    avg_price: Number = NULL
    usd_value: Number = NULL


class Meta(msgspec.Struct):
    next_cursor: str | int | None = None
    has_more: bool | None = None
    returned: msgspec.Raw = NULL

    @property
    def cursor(self) -> str | None:
        """The cursor of the next page; None on the last page."""
        return None if self.has_more is False or self.next_cursor in (None, "") else str(self.next_cursor)


class Body(msgspec.Struct, Generic[Row]):
    data: list[Row] | msgspec.UnsetType | None = msgspec.UNSET
    meta: Meta | None = None


class Liquidations(Endpoint):
    ascending = False
    splittable = False
    refuses_old = True
    step = STEP
    sizing: AffordableWindows

    def __init__(self, client: Client, config: Mapping[str, Any], credits: Credits) -> None:
        self.client = client
        self._symbols = tuple(config.get("symbols", ("BTC",)))
        self._filters = {"side": "all"} | {name: str(config[name]) for name in ("side", "min_usd") if name in config}
        self._has_own_rate = bool(config.get("requests_per_minute"))
        self._credits = credits
        self._decoder = RowDecoder(Body, LiquidationRow, Fields(STREAM), added=("time", "liquidation_id"))
        self._requested_from: dict[str, int | None] = {}  # by symbol, until its first row: then None
        self.sizing = AffordableWindows(credits)
        # Parallel windows would each spend the credits that another one needs to finish.
        self.max_concurrent_requests = None if credits.limit is None else 1

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        try:
            self.apply_plan(traffic)
        except LiquidationsError as error:
            if isinstance(error, AccessRefused) and error.scope == "reading":  # the key itself
                raise
            logger.info(
                "kwery: using the documented limits of the Free plan, because /v1/limits did not return the key's: %s",
                redact(error.cause),
            )
        return self.configured_partitions()

    def apply_plan(self, traffic: Traffic) -> limits.Limits:
        """Request what the key's plan allows, and keep to it."""
        plan = self.client.fetch(Request(limits.PATH), traffic).decoded(limits.decoder)
        if plan.rate is not None and not self._has_own_rate:
            self.client.budget.change(*plan.rate)
        if (rows := plan.max_rows_per_request or 0) > 0:
            self.sizing.page_size = min(LARGEST_LIMIT, rows)
        self.reach = plan.reach
        return plan

    def configured_partitions(self) -> list[Partition]:
        # Another filter selects other rows, so it has its own progress.
        filters = {name: value for name, value in self._filters.items() if value != "all"}
        return [
            Partition.of(symbol=symbol, entry=f"kwery.symbols[{index}]", **filters)
            for index, symbol in enumerate(self._symbols)
        ]

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        return "binance", f"binance_futures/{partition['symbol']}"

    def first_request(self, span: Span) -> Request:
        params = {
            "symbol": span.partitions[0]["symbol"],
            "start": timestamps.format_instant(span.start, 3),
            "end": timestamps.format_instant(span.end, 3),
            **self._filters,
            "limit": str(self.sizing.page_size),
        }
        return Request(PATH, tuple(params.items()))

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        limit = self._credits.limit_sent(request)
        # The vendor charges for an answer even if it cannot be decoded.
        self._credits.charge(response, limit if response.rows is None else len(response.rows))
        page = self._decoder.decode(response)
        requested = span.partitions[0]["symbol"]
        for symbol in set(page.column("symbol")):
            if asset(requested) not in (asset(symbol), assets_of(symbol, "binance")[0]):
                raise UnexpectedAnswer(f"`symbol`: rows of {shown(symbol)}, not of {requested}.")
        next_request = self._next_request(request, response, page, limit, memory)
        instants, times = iso_instants("timestamp", page.column("timestamp"))
        memory[_OLDEST] = min([memory.get(_OLDEST, _NEVER), *instants])  # rows are not ordered
        if next_request is None:
            self._credits.complete_windows += 1
            self._warn_of_silence(span, memory[_OLDEST])
        ids = liquidation_ids(page, instants, memory)
        each = (b'"time":"', times, b'","liquidation_id":"', [id_.encode() for id_ in ids], b'",')
        return Answer(added_rows(page, instants, constant={}, each=each, times=times, ids=ids), next_request)

    def _next_request(
        self, request: Request, response: Response, page: Page[LiquidationRow], limit: int, memory: dict[Any, Any]
    ) -> Request | None:
        """The same request with the next cursor; None on the last page.

        Raises WindowTooLarge if the plan cut off the result, UnexpectedAnswer if the answer announces missing rows.
        """
        rows, meta = len(page.raw), page.body.meta or Meta()
        capped_before, is_capped = memory.get(_CAPPED, 0), response.headers.get("X-Rows-Capped", "").lower() == "true"
        memory[_CAPPED] = rows if is_capped else 0
        # With a cursor, the rest of a capped result is on the next page, unless that page is empty.
        if (rows and is_capped and meta.cursor is None) or (capped_before and not rows):
            self.sizing.target_rows = max(1, max(rows, capped_before) // 2)
            raise WindowTooLarge(
                "the plan cut the result off (X-Rows-Capped), so rows are missing.",
                advice="Even the shortest window has more rows than the plan returns: a larger plan is needed.",
            )
        if page.body.meta is None and rows >= limit:
            raise UnexpectedAnswer("a full page without `meta`: whether there are more rows is unknown.")
        if meta.has_more and meta.cursor is None:
            raise UnexpectedAnswer("`has_more` is true, but there is no `next_cursor`.")
        if meta.cursor is not None and (rows or meta.has_more):
            return request.with_param("after", meta.cursor)
        reported_counts = {
            "X-Rows-Returned": response.headers.get("X-Rows-Returned", ""),
            "returned": bytes(meta.returned).decode(),
        }
        for name, text in reported_counts.items():
            if text.isdecimal() and int(text) > rows:
                problem = f"`{name}` is {text}, but the last page has {rows:,} rows."
                if not rows:
                    raise UnexpectedAnswer(problem)
                logger.warning("kwery: %s If rows are missing, report this to the vendor.", problem)
                break
        return None

    def _warn_of_silence(self, span: Span, oldest: int) -> None:
        """Warn once for each symbol whose first row is much later than the requested start.

        Some plans silently leave out what is older than their history. `oldest` is the oldest row of a complete
        window, or _NEVER.
        """
        symbol = span.partitions[0]["symbol"]
        requested_from = self._requested_from.setdefault(symbol, span.start)
        if requested_from is None or oldest == _NEVER:
            return
        self._requested_from[symbol] = None
        if oldest - requested_from > LONG_SILENCE:
            logger.warning(
                "kwery: requested data of %s from %s, but the first row is from %s. Either nothing happened before, or"
                " the key's history is shorter than the vendor reports.",
                symbol,
                timestamps.format_shortest(requested_from),
                timestamps.format_shortest(oldest),
            )

    def estimated_cost(self, requests: int, rows: int, weight: float) -> dict[str, int]:
        return {"credits": cost(rows, requests)}

    def spent(self) -> dict[str, int]:
        left = self._credits.left_in_cycle
        return {"credits used": self._credits.spent} | ({} if left is None else {"credits left": left})


def liquidation_ids(page: Page[LiquidationRow], instants: Sequence[int], last: dict[Any, Any]) -> list[str]:
    """An id for each row: a digest of its content, and an ordinal among identical rows of the same instant.

    It is the same on every re-read: the spelling of times and numbers does not matter. `usd_value`, a product of other
    fields, and undocumented fields are not part of the content. Rows that differ only in these are numbered by their
    text, because the order of rows is not documented. `last` holds the last ordinals of the window, over all its
    pages. Identical rows share an instant, so they share a window.
    """
    texts = [page.column(name) for name in ("symbol", "source", "side")]
    values = [
        [None if value is None else repr(value) for value in page.floats(name)]
        for name in ("quantity", "price", "avg_price")
    ]
    contents = list(map(msgspec.json.encode, zip(instants, *texts, *values, strict=True)))
    return repeats.content_ids(contents, lambda index: bytes(page.raw[index]), last)


def to_liquidations(rows: Rows, span: Span) -> Table:
    """`quantity` is in the base asset, `avg_price` is the fill price, `side` is the liquidated position."""
    base = asset(span.partitions[0]["symbol"])
    typed: Sequence[LiquidationRow] = rows.typed
    quantity = [row.quantity for row in typed]
    return unified_rows(
        rows,
        names=[_names(row.source, row.symbol, base) for row in typed],
        positions=[row.side for row in typed],
        price=[row.avg_price for row in typed],
        amount=quantity,
        amount_usd=[row.usd_value for row in typed],
        amount_base=quantity,
    )


@lru_cache(maxsize=16384)
def _names(source: str | None, symbol: str, base: str) -> bytes:
    source = source or "binance_futures"
    return event_names("kwery", f"{source}/{symbol}", source, base, None, "trade", "base")
