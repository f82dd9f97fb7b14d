"""Gate, GET /futures/{settle}/liq_orders: liquidation orders, of one contract or of a settle currency's whole market.

An answer has no pages: one of 1,000 rows is cut, and nobody knows where. Its window is read in halves; where one second
has that many, contract by contract.

`size` is the whole position, and comes again with every step of a staged liquidation. What is counted is the order:
`order_size`, less what is `left` of it.
"""

import time
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.errors import LiquidationsError, RequestRefused, UnexpectedAnswer, WindowTooLarge
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.coverage import ALL
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Sizing, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.unified import event_names, liquidations
from source_liquidations.vendors import repeats
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder, added_rows
from source_liquidations.vendors.gate.calls import LIMIT, assets, market, path, renamed
from source_liquidations.vendors.gate.contracts import SETTING, Contracts
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.patterns import is_pattern, matches

STREAM = Stream("gate_liquidation_orders", ("liquidation_id",), "time", declared_in=__name__)
CALL = "liq_orders"

LONGEST_WINDOW = timestamps.HOUR  # `to` is inclusive, and 3,600 s after `from` at the most
# Orders of 90 days ago were answered, of 95 days ago they were not. Without an error: an old window is just empty.
HISTORY = 90 * timestamps.DAY
LONGEST_HISTORY = 100 * timestamps.DAY
# An old window may be refused nevertheless. A newer one must not be.
_SURELY_READABLE = 89 * timestamps.DAY
_RANGE_REFUSED = "range from/to"
_LEFT = "contracts of a crowded second that are still to be asked for"


class OrderRow(msgspec.Struct):
    """Sizes count contracts: numbers, or text that is one. `size` is the position, `order_size` the order."""

    time: msgspec.Raw
    contract: str
    size: msgspec.Raw
    order_price: msgspec.Raw
    fill_price: msgspec.Raw
    left: msgspec.Raw
    order_size: msgspec.Raw = numbers.NULL


class OrderClient(Client):
    """An old window may be refused instead of answered with an empty list. Both say that there are no rows."""

    def fetch(self, request: Request, traffic: Traffic | None = None, **how: Any) -> Answered:
        try:
            return super().fetch(request, traffic, **how)
        except RequestRefused as error:
            newest = (time.time_ns() - _SURELY_READABLE) // timestamps.SECOND
            if _RANGE_REFUSED not in error.cause or int(dict(request.params)["from"]) >= newest:
                raise
            return Answered(200, {}, b"[]")


class LiquidationOrders(Endpoint):
    """Partitions are contracts that are named, and patterns: all of a settle currency's are read by one request.

    Of `usdt/*` the partition is the settle currency. What a pattern does not mean is left out.
    """

    ascending = False
    splittable = False  # windows one after the other, so that the position has no gap behind it
    step = timestamps.SECOND
    page_size = LIMIT

    def __init__(self, client: Client, entries: Sequence[str], contracts: Contracts) -> None:
        self.client = client
        self._entries = entries
        self._contracts = contracts
        self._seen: dict[str, set[str]] = {}  # contracts with orders, by settle currency
        self._decoder = RowDecoder(
            ListBody,
            OrderRow,
            Fields(STREAM),
            numbers=("size", "order_size", "order_price", "fill_price", "left"),
            added=("timestamp", "settle", "liquidation_id"),
        )
        # Shorter while orders are so many that an answer would be cut.
        self.sizing = Sizing(LONGEST_WINDOW, target_rows=LIMIT // 2, step=self.step)
        now = timestamps.ceil_to(time.time_ns(), timestamps.SECOND)
        self.reach = now - LONGEST_HISTORY
        self.retained_since: int = now - HISTORY

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        named: list[Partition] = []
        patterns: list[Partition] = []
        for name, where in self.resolve_entries(
            SETTING, self._entries, is_pattern, partial(self._whole, traffic=traffic)
        ):
            settle, contract = name.split("/", 1)
            asked = {"settle": settle} if contract == "*" else {"settle": settle, "contract": contract}
            (patterns if is_pattern(contract) else named).append(Partition.of(**asked, entry=where))
        whole = {one["settle"] for one in patterns if len(one.values) == 1}
        patterns = [one for one in patterns if len(one.values) == 1 or one["settle"] not in whole]
        yield from patterns
        for one in named:
            if not any(other["settle"] == one["settle"] and _means(other, one["contract"]) for other in patterns):
                yield one

    def _whole(self, pattern: str, where: str, traffic: Traffic) -> list[str]:
        """A pattern for each settle currency that has contracts for it."""
        names = pattern.rpartition("/")[2]
        found = self._contracts.matching(pattern, where, traffic)
        return list(dict.fromkeys(f"{name.partition('/')[0]}/{names}" for name in found))

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        asked = dict(partition.values)
        return "gate", market(asked["settle"], asked["contract"]) if "contract" in asked else ALL

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """The patterns of a settle currency together: one request brings all of it."""
        together: dict[str, list[Partition]] = {}
        for partition in partitions:
            if _is_named(partition):
                yield (partition,)
            else:
                together.setdefault(partition["settle"], []).append(partition)
        yield from map(tuple, together.values())

    def first_request(self, span: Span) -> Request:
        """Both bounds are inclusive. The second that is not over is left for later: of that alone, the one before."""
        partition = span.partitions[0]
        contract = partition["contract"] if _is_named(partition) else None
        start, last = span.start // timestamps.SECOND, span.end // timestamps.SECOND - 1
        last = min(last, time.time_ns() // timestamps.SECOND - 1)
        return _request(partition["settle"], contract, min(start, last), last)

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = self._decoder.decode(answered)
        settle = span.partitions[0]["settle"]
        params = dict(request.params)
        contract, start, last = params.get("contract"), int(params["from"]), int(params["to"])
        here = {row.contract for row in page.rows}
        seen = self._seen.setdefault(settle, set())
        seen |= here
        if len(page.raw) >= int(params["limit"]):
            _must_be_a_second(start, last, contract)
            rest = sorted({*self._contracts.names(settle), *seen})
            memory[_LEFT] = [name for name in rest if owners(span, name)]
            return self._next_of_second(Rows([], []), settle, start, memory)
        if contract is not None and (others := here - {contract}):
            raise UnexpectedAnswer(f"`contract`: rows of {others.pop()!r}, but {contract!r} was requested.")
        instants, times = unix_instants("time", page.column("time"), "seconds")
        ids = identified(settle, page.rows, instants)
        renamed(page)
        each = (b'"time":"', times, b'","liquidation_id":"', [name.encode() for name in ids], b'",')
        whose = [owners(span, row.contract) for row in page.rows]
        constant = {"settle": settle}
        found = added_rows(page, instants, constant=constant, each=each, times=times, ids=ids, wanted=whose)
        found = found.only(sorted(range(len(found)), key=lambda index: (found.instants[index], found.ids[index])))
        if memory.get(_LEFT):
            return self._next_of_second(found, settle, start, memory)
        whole_until = (last + 1) * timestamps.SECOND
        if whole_until <= span.start:  # a second of another window
            found = found.between(span.start, span.end)
        return Answer(found, readable_range=(None, whole_until if whole_until < span.end else None))

    def _next_of_second(self, rows: Rows, settle: str, second: int, memory: dict[Any, Any]) -> Answer:
        """The rows so far of a second with too many for one answer, and the request for its next contract."""
        names = memory[_LEFT]
        following = _request(settle, names.pop(0), second, second) if names else None
        return Answer(rows, following, pages_are_known=True)


def _request(settle: str, contract: str | None, start: int, last: int) -> Request:
    named = (("contract", contract),) if contract is not None else ()
    bounds = (("from", str(start)), ("to", str(last)), ("limit", str(LIMIT)))
    return Request(path(settle, CALL), (*named, *bounds))


def _is_named(partition: Partition) -> bool:
    return any(name == "contract" and not is_pattern(value) for name, value in partition.values)


def _means(partition: Partition, contract: str) -> bool:
    pattern = dict(partition.values).get("contract", "*")
    return pattern in ("*", contract) or (is_pattern(pattern) and matches(pattern, contract))


def owners(span: Span, contract: str) -> list[int]:
    return [index for index, one in enumerate(span.partitions) if _means(one, contract)]


def _must_be_a_second(start: int, last: int, contract: str | None) -> None:
    """What can be done about an answer that was cut. Raises WindowTooLarge, or UnexpectedAnswer where nothing can."""
    if start < last:
        raise WindowTooLarge(f"an answer of {LIMIT:,} rows is cut.", advice="It is read in shorter windows.")
    if contract is not None:
        raise UnexpectedAnswer(
            f"{contract} has {LIMIT:,} orders or more in the second"
            f" {timestamps.format_instant(start * timestamps.SECOND, 0)}, and Gate gives no more than that.",
            advice="None of them was written. Report this with the connector's version.",
        )


def identified(settle: str, rows: Sequence[OrderRow], instants: Sequence[int]) -> list[str]:
    """An id for each row: a digest of its content, and an ordinal among rows of one content.

    The same on every re-read: numbers count by value. `fill_price` and `left` of an order at work may change, so they
    are no part of it, and decide only the ordinals. All rows of a second come in one answer.
    """
    contents = []
    for row, instant in zip(rows, instants, strict=True):
        content = [numbers.plain(bytes(literal)) for literal in (row.size, row.order_size, row.order_price)]
        contents.append(msgspec.json.encode([settle, row.contract, instant, *content]))
    return repeats.content_ids(contents, lambda index: _changeable(rows[index]), {})


def _changeable(row: OrderRow) -> list[str]:
    return [numbers.plain(bytes(literal)) or "" for literal in (row.fill_price, row.left)]


def to_liquidations(contracts: Contracts, rows: Rows, span: Span) -> Table:
    """One row for each order, in contracts. An order that nobody filled is an `order`, at the size that was ordered."""
    settle = span.partitions[0]["settle"]
    events: list[tuple[str | None, str, bytes]] = []
    bad: dict[int, LiquidationsError] = {}
    sizes = (numbers.floats([getattr(row, name) for row in rows.typed]) for name in ("size", "order_size", "left"))
    for index, (row, *values) in enumerate(zip(rows.typed, *sizes, strict=True)):
        try:
            events.append(_event(row, *values))
        except LiquidationsError as error:
            bad[index] = error
    rows = rows.without(bad)
    orders: Sequence[OrderRow] = rows.typed
    filled_at = numbers.floats([row.fill_price for row in orders])
    prices = [row.fill_price if (at or 0.0) > 0 else row.order_price for row, at in zip(orders, filled_at, strict=True)]
    amounts = [amount for _, _, amount in events]
    markets = [market(settle, row.contract) for row in orders]
    names = [
        event_names("gate", name, "gate", *assets(row.contract), event_type, "contracts")
        for row, name, (_, event_type, _) in zip(orders, markets, events, strict=True)
    ]
    worth = contracts.worth(markets, amounts, prices)
    return liquidations(
        rows,
        names=names,
        positions=[position for position, _, _ in events],
        price=prices,
        amount=amounts,
        amount_base=worth.amount_base,
        computed_usd=worth.notional_usd,
    )


def _event(row: OrderRow, size: float | None, order: float | None, left: float | None) -> tuple[str | None, str, bytes]:
    """The position that an order closed, its event_type, and how many contracts were filled, or ordered (`order`).

    Raises UnexpectedAnswer where the fields of a row contradict each other.
    """
    if size is None and order is None:
        raise _contradicts(row, "has neither a `size` nor an `order_size`")
    if size and order and (size > 0) == (order > 0):
        raise _contradicts(row, "has a `size` and an `order_size` of the same sign: one is the other's opposite")
    closed = -order if order else size  # a position that is long is closed by selling
    position = None if not closed else "long" if closed > 0 else "short"
    counted, literal = (size, row.size) if order is None else (order, row.order_size)
    ordered = bytes(literal).removeprefix(b"-")
    if not left:  # as nearly always
        return position, "trade" if counted else "order", ordered
    rest = Decimal(ordered.decode()) - abs(Decimal(bytes(row.left).decode())) if counted else -1
    if rest < 0:
        raise _contradicts(row, "has more `left` than was ordered")
    return (position, "trade", f"{rest:f}".encode()) if rest else (position, "order", ordered)


def _contradicts(row: OrderRow, what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"an order of {row.contract} {what}.")
