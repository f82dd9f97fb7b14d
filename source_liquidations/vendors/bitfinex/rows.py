"""Bitfinex, the body of GET /v2/liquidations/hist: rows that are arrays, and what they are as objects.

Page: https://docs.bitfinex.com/reference/rest-public-liquidations. Three nestings are about; all of them are taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown
from source_liquidations.http.answers import Answered
from source_liquidations.numbers import NULL
from source_liquidations.reading.rows import Fault, Rows
from source_liquidations.timestamps import MILLISECOND
from source_liquidations.vendors import identity
from source_liquidations.vendors.decoding import Fields, one_line
from source_liquidations.vendors.instants import unix_instants

MTS, SYMBOL = 2, 4
# Where a row has numbers, by the name of the field.
NUMBERS = {"pos_id": 1, "amount": 5, "base_price": 6, "is_match": 8, "is_market_sold": 9, "price_acquired": 11}
FIELDS = {"pos_id": 1, "mts": MTS, "symbol": SYMBOL, **{name: at for name, at in NUMBERS.items() if at > SYMBOL}}
PLACEHOLDERS = (3, 7, 10)
ELEMENTS = 12
FEWEST_ELEMENTS = 10  # older rows may end there

_POSITION = b'"pos"'

_list = msgspec.json.Decoder(list[msgspec.Raw])
_list_or_null = msgspec.json.Decoder(list[msgspec.Raw] | None)


class Event(NamedTuple):
    """What the unified stream needs of a row; amount and price are literals."""

    symbol: str
    is_match: str
    amount: bytes
    price: bytes
    liquidation_id: str


@dataclass(slots=True)
class Row:
    """One row as it was sent, and its time."""

    elements: list[msgspec.Raw]
    instant: int
    time: bytes  # RFC 3339

    @property
    def millisecond(self) -> int:
        return self.instant // MILLISECOND

    def at(self, index: int) -> msgspec.Raw:
        """An element; one that is missing is null."""
        return self.elements[index] if index < len(self.elements) else NULL

    @property
    def mts(self) -> str:
        return canonical(numbers.literal_of(self.at(MTS)))

    @property
    def further(self) -> dict[str, msgspec.Raw]:
        """What stands in a placeholder or beyond the documented elements."""
        found = {f"_{index}": self.at(index) for index in PLACEHOLDERS if self.at(index) != NULL}
        return found | {f"_{index}": self.at(index) for index in range(ELEMENTS, len(self.elements))}


def page_of(answered: Answered) -> list[Row]:
    """The rows of a body in the vendor's order. Raises UnexpectedAnswer for another shape."""
    body = answered.body
    if b"\n" in body or b"\r" in body:
        body = bytes(one_line(body))
    try:
        items = _list_or_null.decode(body) or []
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnexpectedAnswer(f"the answer is not an array: {error}.") from None
    rows = list(_flat(items))
    for index, elements in enumerate(rows):
        if len(elements) < FEWEST_ELEMENTS:
            problem = f"row {index} has {len(elements)} elements, where {ELEMENTS} are documented."
            raise UnexpectedAnswer(problem)
    return list(map(Row, rows, *unix_instants("mts", [elements[MTS] for elements in rows], "milliseconds")))


def _flat(items: Iterable[msgspec.Raw]) -> Iterable[list[msgspec.Raw]]:
    """The rows: of an array of rows, or of arrays of rows."""
    for item in items:
        elements = _elements(item)
        if _is_row(elements):
            yield elements
            continue
        for inner in elements:
            inner_elements = _elements(inner)
            if not _is_row(inner_elements):
                raise _no_row(inner)
            yield inner_elements


def _elements(item: msgspec.Raw) -> list[msgspec.Raw]:
    try:
        return _list.decode(item)
    except msgspec.ValidationError:
        raise _no_row(item) from None


def _is_row(elements: Sequence[msgspec.Raw]) -> bool:
    return bool(elements) and bytes(elements[0]) == _POSITION


def _no_row(item: msgspec.Raw) -> UnexpectedAnswer:
    return UnexpectedAnswer(f'the answer holds {shown(bytes(item))}, which is no row that begins with "pos".')


def rows_of(page: Sequence[Row], owners_of: Callable[[str], Sequence[int]], fields: Fields) -> Rows:
    """A page's rows as JSON objects, with `time` and `ordinal`; those of unwanted symbols only tell the time.

    `owners_of` are the partitions that want a symbol. `typed` has an Event for each row. A wanted row whose symbol or a
    number cannot be taken is a fault.
    """
    bad: dict[int, LiquidationsError] = {}
    symbols = [_symbol(index, row, bad) for index, row in enumerate(page)]
    owners = [None if symbol is None else owners_of(symbol) for symbol in symbols]
    wanted = [whose is None or len(whose) > 0 for whose in owners]
    literals = _numbers(page, bad)
    keys = [
        tuple(
            canonical(bytes(literals[name][index]))
            for name in ("pos_id", "is_match", "is_market_sold", "amount", "price_acquired")
        )
        for index in range(len(page))
    ]
    stamps = [row.mts for row in page]
    # Rows of one key have one time, and a page never ends inside a millisecond.
    ordinals = identity.ordinals(
        list(zip(stamps, symbols, keys, strict=True)),
        lambda index: [bytes(element) for element in page[index].elements],
        {},
    )
    if surplus := {name for row in page for name in row.further}:
        fields.left_out(surplus)
    times = [row.time for row in page]
    raw, typed = [], []
    for index, row in enumerate(page):
        members = {name: row.at(at) for name, at in FIELDS.items()}
        members |= {name: NULL for name in NUMBERS if bytes(literals[name][index]) == b"null"}
        ours = b'"time":"%b","ordinal":%d,' % (times[index], ordinals[index])
        raw.append(b"{" + ours + msgspec.json.encode({**members, **row.further})[1:])
        pos_id, *rest = keys[index]
        typed.append(
            Event(
                symbol=symbols[index] or "",
                is_match=rest[0],
                amount=bytes(literals["amount"][index]),
                price=bytes(literals["price_acquired"][index]),
                liquidation_id=":".join([pos_id, stamps[index], *rest, str(ordinals[index])]),
            )
        )
    found = Rows(raw, [row.instant for row in page], typed=typed, times=times, wanted=wanted)
    if not bad:
        return found
    good = found.only([index for index in range(len(page)) if index not in bad])
    good.faults = [Fault(page[index].instant, bad[index], owners[index]) for index in bad if wanted[index]]
    return good


def _symbol(index: int, row: Row, bad: dict[int, LiquidationsError]) -> str | None:
    value = msgspec.json.decode(row.at(SYMBOL))
    if isinstance(value, str) and value:
        return value
    literal = shown(bytes(row.at(SYMBOL)))
    bad[index] = UnexpectedAnswer(f"`symbol` of row {index} is {literal}, not text.")
    return None


def _numbers(page: Sequence[Row], bad: dict[int, LiquidationsError]) -> dict[str, Sequence[msgspec.Raw]]:
    """The literals of the numbers, by field."""
    found = {name: numbers.column(name, [row.at(at) for row in page], bad) for name, at in NUMBERS.items()}
    for index, literal in enumerate(found["pos_id"]):
        if bytes(literal) == b"null":
            error = UnexpectedAnswer(f"`pos_id` of row {index} is null, not a number.")
            bad.setdefault(index, error)
    return found


def canonical(literal: bytes) -> str:
    """One spelling of a number, and of null, for keys."""
    return numbers.plain(literal) or "null"
