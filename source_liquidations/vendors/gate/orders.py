"""Gate, GET /futures/{settle}/liq_orders: liquidation orders of one contract, or of all contracts of a settle currency.

There are no pages. An answer of 1,000 rows is cut off at an unknown point, so its window is read again in halves.
A second with that many rows is read contract by contract.

`size` is the whole position, and comes again with every step of a staged liquidation. The connector counts the order:
`order_size` less `left`.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.errors import LiquidationsError, RequestRefused, UnexpectedAnswer, WindowTooLarge
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.numbers import NULL, Number
from source_liquidations.reading.coverage import ALL
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Sizing, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.unified import event_names, liquidations
from source_liquidations.vendors import repeats
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder, added_rows
from source_liquidations.vendors.gate.calls import LIMIT, assets, market, path, rename_time
from source_liquidations.vendors.gate.contracts import SETTING, Contracts
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.patterns import is_pattern, matches

STREAM = Stream("gate_liquidation_orders", ("liquidation_id",), "time", declared_in=__name__)
CALL = "liq_orders"

LONGEST_WINDOW = timestamps.HOUR  # `to` is inclusive, and at most 3,600 s after `from`
# Orders of 90 days ago were returned, orders of 95 days ago were not: without an error, the answer was empty.
HISTORY = 90 * timestamps.DAY
LONGEST_HISTORY = 100 * timestamps.DAY
# An old window may be refused as well. A newer one must not be.
_SURELY_READABLE = 89 * timestamps.DAY
_RANGE_REFUSED = "range from/to"
_CONTRACTS_LEFT = "contracts of a crowded second that were not requested yet"


class OrderRow(msgspec.Struct):
    """Sizes count contracts, in numbers or text. `size` is the position, `order_size` the order that closes it."""

    time: msgspec.Raw
    contract: str
    size: Number
    order_price: Number
    fill_price: Number
    left: Number
    order_size: Number = NULL


class OrderClient(Client):
    """Gate answers an old window with an empty list, or refuses it. Both mean that there are no rows."""

    def fetch(self, request: Request, traffic: Traffic | None = None, **options: Any) -> Response:
        try:
            return super().fetch(request, traffic, **options)
        except RequestRefused as error:
            surely_readable_from = (time.time_ns() - _SURELY_READABLE) // timestamps.SECOND
            if _RANGE_REFUSED not in error.cause or int(dict(request.params)["from"]) >= surely_readable_from:
                raise
            return Response(200, {}, b"[]")


class LiquidationOrders(Endpoint):
    """Partitions are named contracts, and patterns: one request reads all patterns of a settle currency.

    The partition of `usdt/*` is the settle currency alone. Rows that no pattern matches are dropped.
    """

    ascending = False
    splittable = False  # windows are read one after the other, so progress has no gaps
    step = timestamps.SECOND
    page_size = LIMIT

    def __init__(self, client: Client, entries: Sequence[str], contracts: Contracts) -> None:
        self.client = client
        self._entries = entries
        self._contracts = contracts
        self._with_orders: defaultdict[str, set[str]] = defaultdict(set)  # contracts, by settle currency
        self._decoder = RowDecoder(ListBody, OrderRow, Fields(STREAM), added=("timestamp", "settle", "liquidation_id"))
        # Windows get shorter while orders are so frequent that answers would be cut off.
        self.sizing = Sizing(LONGEST_WINDOW, target_rows=LIMIT // 2, step=self.step)
        now = timestamps.ceil_to(time.time_ns(), timestamps.SECOND)
        self.reach = now - LONGEST_HISTORY
        self.retained_since: int = now - HISTORY

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        named: list[Partition] = []
        patterns: list[Partition] = []
        by_settle = partial(self._patterns_by_settle, traffic=traffic)
        for name, where in self.resolve_entries(SETTING, self._entries, is_pattern, by_settle):
            settle, contract = name.split("/", 1)
            values = {"settle": settle} if contract == "*" else {"settle": settle, "contract": contract}
            (patterns if is_pattern(contract) else named).append(Partition.of(**values, entry=where))
        for partition in (*patterns, *named):
            if not any(_covers(pattern, partition) for pattern in patterns):
                yield partition

    def _patterns_by_settle(self, pattern: str, where: str, traffic: Traffic) -> list[str]:
        """A pattern for each settle currency that has contracts which match it."""
        contract_pattern = pattern.rpartition("/")[2]
        names = self._contracts.matching(pattern, where, traffic)
        return list(dict.fromkeys(f"{name.partition('/')[0]}/{contract_pattern}" for name in names))

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        values = dict(partition.values)
        return "gate", market(values["settle"], values["contract"]) if "contract" in values else ALL

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """The patterns of a settle currency together, since one request returns all its contracts."""
        patterns: defaultdict[str, list[Partition]] = defaultdict(list)
        for partition in partitions:
            if not is_pattern(_contract_of(partition)):
                yield (partition,)
            else:
                patterns[partition["settle"]].append(partition)
        yield from map(tuple, patterns.values())

    def first_request(self, span: Span) -> Request:
        """Both bounds are inclusive. The current second is not over: a window of it alone requests the one before."""
        partition = span.partitions[0]
        start, last = span.start // timestamps.SECOND, span.end // timestamps.SECOND - 1
        last = min(last, time.time_ns() // timestamps.SECOND - 1)
        return _request(partition["settle"], _contract_of(partition), min(start, last), last)

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = self._decoder.decode(response)
        settle = span.partitions[0]["settle"]
        params = dict(request.params)
        contract, start, last = params.get("contract"), int(params["from"]), int(params["to"])
        on_page = {row.contract for row in page.rows}
        self._with_orders[settle] |= on_page
        if len(page.raw) >= int(params["limit"]):
            _ensure_readable_by_contract(start, last, contract)
            names = sorted({*self._contracts.lists.get(settle, ()), *self._with_orders[settle]})
            memory[_CONTRACTS_LEFT] = [name for name in names if matching_indices(span, name)]
            return _part_of_second(Rows([], []), settle, start, memory)
        if contract is not None and (others := on_page - {contract}):
            raise UnexpectedAnswer(f"`contract`: rows of {others.pop()!r}, but {contract!r} was requested.")
        instants, times = unix_instants("time", page.column("time"), "seconds")
        ids = liquidation_ids(settle, page.rows, instants)
        rename_time(page)
        each = (b'"time":"', times, b'","liquidation_id":"', [id_.encode() for id_ in ids], b'",')
        owners_of = {name: matching_indices(span, name) for name in on_page}
        matched_by = [owners_of[row.contract] for row in page.rows]
        constant = {"settle": settle}
        rows = added_rows(page, instants, constant=constant, each=each, times=times, ids=ids, matched_by=matched_by)
        rows = rows.only(sorted(range(len(rows)), key=lambda index: (rows.instants[index], rows.ids[index])))
        if memory.get(_CONTRACTS_LEFT):
            return _part_of_second(rows, settle, start, memory)
        end = (last + 1) * timestamps.SECOND
        if end <= span.start:  # the second before the window
            rows = rows.between(span.start, span.end)
        return Answer(rows, readable_range=(None, end if end < span.end else None))


def _part_of_second(rows: Rows, settle: str, second: int, memory: dict[Any, Any]) -> Answer:
    """One contract's rows of a second that is read contract by contract, and the request for the next contract."""
    names = memory[_CONTRACTS_LEFT]
    next_request = _request(settle, names.pop(0), second, second) if names else None
    return Answer(rows, next_request, pages_are_known=True)


def _request(settle: str, contract: str, start: int, last: int) -> Request:
    """Patterns are read without `contract`: the answer has all contracts of the settle currency."""
    named = () if is_pattern(contract) else (("contract", contract),)
    bounds = (("from", str(start)), ("to", str(last)), ("limit", str(LIMIT)))
    return Request(path(settle, CALL), (*named, *bounds))


def _contract_of(partition: Partition) -> str:
    """The contract of a partition, or its pattern: `*` if it is a whole settle currency."""
    return dict(partition.values).get("contract", "*")


def _covers(pattern: Partition, other: Partition) -> bool:
    """Whether a pattern reads all rows of another partition."""
    names, contract = _contract_of(pattern), _contract_of(other)
    is_covered = matches(names, contract) and (names == "*" or not is_pattern(contract))
    return is_covered and names != contract and pattern["settle"] == other["settle"]


def matching_indices(span: Span, contract: str) -> list[int]:
    return [index for index, own in enumerate(span.partitions) if matches(_contract_of(own), contract)]


def _ensure_readable_by_contract(start: int, last: int, contract: str | None) -> None:
    """An answer was cut off. Raises WindowTooLarge if it can be halved, UnexpectedAnswer for a contract's second."""
    if start < last:
        raise WindowTooLarge(f"an answer of {LIMIT:,} rows is cut off.", advice="It is read in shorter windows.")
    if contract is not None:
        raise UnexpectedAnswer(
            f"{contract} has {LIMIT:,} orders or more in the second"
            f" {timestamps.format_instant(start * timestamps.SECOND, 0)}, and Gate does not return more.",
            advice="None of them was written. Report this with the connector's version.",
        )


def liquidation_ids(settle: str, rows: Sequence[OrderRow], instants: Sequence[int]) -> list[str]:
    """An id for each row: a digest of its content, and an ordinal among rows with the same content.

    It is the same on every re-read: numbers count by value. `fill_price` and `left` of an open order may change, so
    they only decide the ordinals. All rows of a second come in one answer.
    """
    contents = []
    for row, instant in zip(rows, instants, strict=True):
        content = [numbers.plain(bytes(literal)) for literal in (row.size, row.order_size, row.order_price)]
        contents.append(msgspec.json.encode([settle, row.contract, instant, *content]))
    return repeats.content_ids(contents, lambda index: _changeable(rows[index]), {})


def _changeable(row: OrderRow) -> list[str]:
    return [numbers.plain(bytes(literal)) or "" for literal in (row.fill_price, row.left)]


def to_liquidations(contracts: Contracts, rows: Rows, span: Span) -> Table:
    """A row for each order, in contracts. An order that was not filled has the event type `order` and its full size."""
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
    converted = contracts.converted(markets, amounts, prices)
    return liquidations(
        rows,
        names=names,
        positions=[position for position, _, _ in events],
        price=prices,
        amount=amounts,
        amount_base=converted.amount_base,
        computed_usd=converted.notional_usd,
    )


def _event(row: OrderRow, size: float | None, order: float | None, left: float | None) -> tuple[str | None, str, bytes]:
    """The position that an order closed, its event type, and the contracts filled (`trade`) or ordered (`order`).

    Raises UnexpectedAnswer if the fields of a row contradict each other.
    """
    if size is None and order is None:
        raise _contradicts(row, "has neither a `size` nor an `order_size`")
    if size and order and (size > 0) == (order > 0):
        raise _contradicts(row, "has a `size` and an `order_size` of the same sign; they must be opposite")
    closed = -order if order else size  # selling closes a long position
    position = None if not closed else "long" if closed > 0 else "short"
    counted, literal = (size, row.size) if order is None else (order, row.order_size)
    ordered = bytes(literal).removeprefix(b"-")
    if not left:  # nearly always
        return position, "trade" if counted else "order", ordered
    filled = Decimal(ordered.decode()) - abs(Decimal(bytes(row.left).decode())) if counted else -1
    if filled < 0:
        raise _contradicts(row, "has more `left` than was ordered")
    return (position, "trade", f"{filled:f}".encode()) if filled else (position, "order", ordered)


def _contradicts(row: OrderRow, what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"an order of {row.contract} {what}.")
