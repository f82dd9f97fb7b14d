"""What counts as a number in a vendor's answer: a JSON number, text that is one, or null. Literals stay as written."""

import math
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

import msgspec

from source_liquidations.errors import LiquidationsError, UnexpectedAnswer, shown

NULL = msgspec.Raw(b"null")

_NUMBER = re.compile(rb"[+-]?\d+(\.\d+)?([eE][-+]?\d+)?")
_SILLY_EXPONENT = re.compile(rb"[eE][-+]?0*[1-9]\d{3}")
_numbers = msgspec.json.Decoder(list[float | None])
_integers = msgspec.json.Decoder(list[int])


def literal_of(value: bytes | msgspec.Raw) -> bytes:
    """The literal of a number: of a JSON number as written, of text without its quotes; `null` for null and "".

    Raises ValueError for anything else, and for what no float can hold.
    """
    text = bytes(value)
    bare = text[1:-1] if text[:1] == b'"' else text
    if bare in (b"null", b""):
        return b"null"
    if _NUMBER.fullmatch(bare) is None or not math.isfinite(float(bare)):
        raise ValueError(f"{shown(text)}, not a number")
    return _canonical(bare)


def _canonical(literal: bytes) -> bytes:
    """A decimal as JSON writes it: without a plus and superfluous zeros in front, which text may have."""
    sign, digits = (b"-", literal[1:]) if literal[:1] == b"-" else (b"", literal.removeprefix(b"+"))
    stripped = digits.lstrip(b"0")
    return sign + (stripped if stripped[:1].isdigit() else b"0" + stripped)


@lru_cache(maxsize=65536)
def plain(literal: bytes) -> str | None:
    """One spelling of a number's literal: `77` and `77.0` are the same; None for null."""
    if literal == b"null":
        return None
    if literal.isdigit() or _SILLY_EXPONENT.search(literal) is not None:
        return literal.decode()
    text = f"{Decimal(literal.decode()):f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def are_numbers(literals: Sequence[Any]) -> bool:
    """Whether each is a JSON number or null; checked in C. JSON may have line breaks around one, a record may not."""
    text = b"[" + b",".join(literals) + b"]"
    try:
        return len(_numbers.decode(text)) == len(literals) and b"\n" not in text and b"\r" not in text
    except msgspec.DecodeError:
        return False


def column(field: str, values: Sequence[Any], bad: dict[int, LiquidationsError]) -> Sequence[Any]:
    """The literals of a column. Anything else becomes null, and its index goes to `bad`, unless it is there already."""
    if are_numbers(values):
        return values
    found = []
    for index, value in enumerate(values):
        try:
            found.append(msgspec.Raw(literal_of(value)))
        except ValueError as error:
            found.append(NULL)
            problem = UnexpectedAnswer(f"`{field}` of row {index} is {error}.")
            bad.setdefault(index, problem)
    return found


def column_of_texts(
    field: str, values: Sequence[str | float | None], bad: dict[int, LiquidationsError]
) -> Sequence[bytes | msgspec.Raw]:
    """`column` of numbers that the vendor writes as texts, as a rule, or leaves out."""
    return column(field, [b"null" if value is None else str(value).encode() for value in values], bad)


def floats(literals: Sequence[Any]) -> list[float | None]:
    """The values of literals that are numbers or null."""
    return _numbers.decode(b"[" + b",".join(literals) + b"]")


def integers(literals: Sequence[Any]) -> list[int]:
    """The values of literals that are whole numbers. Raises msgspec.DecodeError where one is none."""
    return _integers.decode(b"[" + b",".join(literals) + b"]")


def texts(values: Sequence[float | int | None]) -> list[bytes]:
    """JSON of numbers, one by one."""
    return msgspec.json.encode(values)[1:-1].split(b",") if values else []
