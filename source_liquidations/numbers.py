"""Numbers in a vendor's answer: JSON numbers, numbers in text, or null. Literals stay as the vendor wrote them."""

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown

NULL = msgspec.Raw(b"null")
Number = Annotated[msgspec.Raw, "a number"]  # of a row's struct: its literal survives, and is checked

_NUMBER = re.compile(rb"[+-]?\d+(\.\d+)?([eE][-+]?\d+)?")
_HUGE_EXPONENT = re.compile(rb"[eE][-+]?0*[1-9]\d{3}")
_numbers = msgspec.json.Decoder(list[float | None])
_integers = msgspec.json.Decoder(list[int])


def literal_of(value: bytes | msgspec.Raw) -> bytes:
    """The literal of a number or of text that is one, without quotes; `null` for null and "".

    Raises ValueError for anything else, and for a number that no float can hold.
    """
    text = bytes(value)
    unquoted = text[1:-1] if text[:1] == b'"' else text
    if unquoted in (b"null", b""):
        return b"null"
    if _NUMBER.fullmatch(unquoted) is None or not math.isfinite(float(unquoted)):
        raise ValueError(f"{shown(text)}, not a number")
    return _canonical(unquoted)


def _canonical(literal: bytes) -> bytes:
    """A decimal as JSON writes it: without a plus sign and leading zeros, which text may have."""
    sign, digits = (b"-", literal[1:]) if literal[:1] == b"-" else (b"", literal.removeprefix(b"+"))
    stripped = digits.lstrip(b"0")
    return sign + (stripped if stripped[:1].isdigit() else b"0" + stripped)


@lru_cache(maxsize=65536)
def plain(literal: bytes) -> str | None:
    """The same text for equal numbers, such as `77` and `77.0`; None for null."""
    if literal == b"null":
        return None
    if literal.isdigit() or _HUGE_EXPONENT.search(literal) is not None:
        return literal.decode()
    text = f"{Decimal(literal.decode()):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def are_numbers(literals: Sequence[Any]) -> bool:
    """Whether each is a JSON number or null, without line breaks around it, which a record may not have."""
    text = b"[" + b",".join(literals) + b"]"
    try:
        return len(_numbers.decode(text)) == len(literals) and b"\n" not in text and b"\r" not in text
    except msgspec.DecodeError:
        return False


def column(field: str, values: Sequence[Any], bad: dict[int, LiquidationsError]) -> Sequence[Any]:
    """The literals of a column. A value that is no number becomes null, with an error in `bad` if its row has none."""
    if are_numbers(values):
        return values
    literals = []
    for index, value in enumerate(values):
        try:
            literals.append(msgspec.Raw(literal_of(value)))
        except ValueError as error:
            literals.append(NULL)
            bad.setdefault(index, UnexpectedAnswer(f"`{field}` of row {index} is {error}."))
    return literals


def column_of_texts(
    field: str, values: Sequence[str | float | None], bad: dict[int, LiquidationsError]
) -> Sequence[bytes | msgspec.Raw]:
    """`column`, for numbers that the vendor writes as text, as a rule, or leaves out."""
    return column(field, [b"null" if value is None else str(value).encode() for value in values], bad)


def floats(literals: Sequence[Any]) -> list[float | None]:
    """The values of literals, each a number or null."""
    return _numbers.decode(b"[" + b",".join(literals) + b"]")


def integers(literals: Sequence[Any]) -> list[int]:
    """The values of literals, each a whole number. Raises msgspec.DecodeError if one is not."""
    return _integers.decode(b"[" + b",".join(literals) + b"]")


def texts(values: Sequence[float | int | None]) -> list[bytes]:
    """The JSON literal of each number."""
    return msgspec.json.encode(values)[1:-1].split(b",") if values else []
