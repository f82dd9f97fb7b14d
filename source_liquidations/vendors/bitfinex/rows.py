"""Bitfinex, the body of GET /v2/liquidations/hist: rows are arrays, which become JSON objects.

Page: https://docs.bitfinex.com/reference/rest-public-liquidations. Pages and clients show three nestings of rows; all
of them are accepted.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import UnexpectedAnswer, shown
from source_liquidations.http.answers import Response
from source_liquidations.numbers import NULL, Number
from source_liquidations.reading.endpoint import Span
from source_liquidations.reading.pages import encode
from source_liquidations.reading.rows import Rows
from source_liquidations.timestamps import MILLISECOND
from source_liquidations.vendors import repeats
from source_liquidations.vendors.decoding import RowDecoder, added_rows
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.patterns import matches

MTS = 2  # the index of this element
KEY = ("pos_id", "mts", "is_match", "is_market_sold", "amount", "price_acquired")
ELEMENTS = 12
FEWEST_ELEMENTS = 10  # older rows may have no more

_list = msgspec.json.Decoder(list[msgspec.Raw])
_list_or_null = msgspec.json.Decoder(list[msgspec.Raw] | None)


class LiquidationRow(msgspec.Struct):
    pos_id: Number
    mts: Number
    symbol: Any
    amount: Number
    base_price: Number
    is_match: Number
    is_market_sold: Number
    price_acquired: Number


FIELDS = dict(zip((1, MTS, 4, 5, 6, 8, 9, 11), LiquidationRow.__struct_fields__, strict=True))  # by index


@dataclass(slots=True)
class Row:
    """One row as sent, and its time."""

    elements: list[msgspec.Raw]
    instant: int
    time: bytes  # RFC 3339

    @property
    def millisecond(self) -> int:
        return self.instant // MILLISECOND

    def as_object(self) -> bytes:
        """Missing fields are null. Placeholders that are not null and undocumented elements become `_3`, `_12` etc."""
        members = {
            FIELDS.get(index, f"_{index}"): value
            for index, value in enumerate(self.elements)
            if index in FIELDS or index >= ELEMENTS or (index and value != NULL)
        }
        return encode({**dict.fromkeys(FIELDS.values(), NULL), **members})


def page_of(response: Response) -> list[Row]:
    """The rows of a body in the vendor's order. Raises UnexpectedAnswer for another shape."""
    rows = list(_flat(response.decoded(_list_or_null) or ()))
    for index, elements in enumerate(rows):
        if len(elements) < FEWEST_ELEMENTS:
            raise UnexpectedAnswer(f"row {index} has {len(elements)} elements, but {ELEMENTS} are documented.")
    return list(map(Row, rows, *unix_instants("mts", [elements[MTS] for elements in rows], "milliseconds")))


def _flat(items: Iterable[msgspec.Raw], levels: int = 1) -> Iterator[list[msgspec.Raw]]:
    """The rows of an array of rows, or of an array of such arrays."""
    for item in items:
        try:
            elements = _list.decode(item)
        except msgspec.ValidationError:
            elements = None
        if elements and bytes(elements[0]) == b'"pos"':
            yield elements
        elif elements is not None and levels:
            yield from _flat(elements, levels - 1)
        else:
            raise UnexpectedAnswer(f'the answer holds {shown(bytes(item))}, which is not a row that begins with "pos".')


def rows_of(sent: Sequence[Row], span: Span, decoder: RowDecoder[LiquidationRow]) -> Rows:
    """A page's rows as JSON objects with `time` and `ordinal`.

    A row that no partition matches only shows how far the page reaches. A row with an invalid symbol or number is a
    fault, unless no partition matches it.
    """
    page = decoder.decode(Response(200, {}, b"[%b]" % b",".join(row.as_object() for row in sent)))
    patterns = [partition["symbol"] for partition in span.partitions]
    owners: list[Sequence[int] | None] = []
    for index, row in enumerate(page.rows):
        is_named = isinstance(row.symbol, str) and row.symbol
        owners.append([at for at, pattern in enumerate(patterns) if matches(pattern, row.symbol)] if is_named else None)
        if not is_named:
            page.bad[index] = UnexpectedAnswer(f"`symbol` of row {index} is {shown(encode(row.symbol))}, not text.")
        elif row.pos_id == NULL:
            page.bad.setdefault(index, UnexpectedAnswer(f"`pos_id` of row {index} is null, not a number."))
    keys = [[canonical(bytes(getattr(row, name))) for name in KEY] for row in page.rows]
    # Rows with the same key have the same time, and `sent` holds every millisecond whole: ordinals can start at 0.
    ordinals = repeats.ordinals(
        [(str(row.symbol), *key) for row, key in zip(page.rows, keys, strict=True)],
        lambda index: [bytes(element) for element in sent[index].elements],
        {},
    )
    ids = [":".join([*key, str(ordinal)]) for key, ordinal in zip(keys, ordinals, strict=True)]
    times = [row.time for row in sent]
    return added_rows(
        page,
        [row.instant for row in sent],
        constant={},
        each=(b'"time":"', times, b'","ordinal":', numbers.texts(ordinals), b","),
        times=times,
        ids=ids,
        matched_by=owners,
    )


def canonical(literal: bytes) -> str:
    """The one spelling of a number or null that keys use: `-8.0` and `-8` are equal."""
    return numbers.plain(literal) or "null"
