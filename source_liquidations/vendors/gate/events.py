"""Gate's liquidation orders in the shape of `liquidations`.

`size` is the whole position, and comes again with every step of a staged liquidation. What is counted is the order:
`order_size`, less what is `left` of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from source_liquidations import numbers
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer
from source_liquidations.reading.endpoint import Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.unified import event_names, liquidations
from source_liquidations.vendors.gate.calls import assets, market
from source_liquidations.vendors.gate.contracts import Contracts
from source_liquidations.vendors.gate.orders import OrderRow

_NULL = b"null"


class _Event(NamedTuple):
    """What an order was: the position that it closed, and how many contracts were filled, or ordered (`order`)."""

    position: str | None
    event_type: str
    amount: bytes


def to_liquidations(contracts: Contracts, rows: Rows, span: Span) -> Table:
    """One row for each order, in contracts. An order that nobody filled is an `order`, at the size that was ordered."""
    settle = span.partitions[0]["settle"]
    events: list[_Event] = []
    bad: dict[int, LiquidationsError] = {}
    for index, (row, _) in enumerate(rows.typed):
        try:
            events.append(_event(row))
        except LiquidationsError as error:
            bad[index] = error
    rows = rows.without(bad)
    orders: Sequence[OrderRow] = [row for row, _ in rows.typed]
    filled_at = numbers.floats([row.fill_price for row in orders])
    prices = [row.fill_price if (at or 0.0) > 0 else row.order_price for row, at in zip(orders, filled_at, strict=True)]
    amounts = [event.amount for event in events]
    markets = [market(settle, row.contract) for row in orders]
    names = [
        event_names("gate", name, "gate", *assets(row.contract), event.event_type, "contracts")
        for row, name, event in zip(orders, markets, events, strict=True)
    ]
    worth = contracts.worth(markets, amounts, prices)
    return liquidations(
        rows,
        names=names,
        ids=[name.decode() for _, name in rows.typed],
        positions=[event.position for event in events],
        price=prices,
        amount=amounts,
        amount_base=worth.amount_base,
        computed_usd=worth.notional_usd,
        faults=rows.faults,
    )


def _event(row: OrderRow) -> _Event:
    """Raises UnexpectedAnswer where the fields of a row contradict each other."""
    size, order, left = bytes(row.size), bytes(row.order_size), bytes(row.left)
    counted = size if order == _NULL else order
    if counted == _NULL:
        raise _contradicts(row, "has neither a `size` nor an `order_size`")
    sign, size_sign = _sign(counted), _sign(size)
    if order != _NULL:
        if sign and sign == size_sign:
            raise _contradicts(row, "has a `size` and an `order_size` of the same sign: one is the other's opposite")
        sign = -sign or size_sign  # a position that is long is closed by selling
    position = {1: "long", -1: "short"}.get(sign)
    ordered = counted.removeprefix(b"-")
    if _sign(left) == 0:  # as nearly always
        return _Event(position, "trade" if _sign(ordered) else "order", ordered)
    rest = numbers.decimal(ordered) - abs(numbers.decimal(left))
    if rest < 0:
        raise _contradicts(row, "has more `left` than was ordered")
    return _Event(position, "trade", f"{rest:f}".encode()) if rest else _Event(position, "order", ordered)


def _sign(literal: bytes) -> int:
    """Of a number's literal; 0 for null."""
    if literal.strip(b"-0.") == b"" or literal == _NULL:
        return 0
    value = numbers.decimal(literal)
    return (value > 0) - (value < 0)


def _contradicts(row: OrderRow, what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(f"an order of {row.contract} {what}.")
