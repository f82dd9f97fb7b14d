"""The times of a page's rows, from a vendor's spelling to nanoseconds and RFC 3339 text; whole columns, in C."""

import contextlib
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import numpy as np

from source_liquidations import numbers, timestamps
from source_liquidations.errors import UnexpectedAnswer, shown
from source_liquidations.reading.rows import LazySequence

_FORM = b"0000-00-00T00:00:00.000000000"
_DIGITS_TO_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_FEWEST_DIGITS = 3
_MOST_DIGITS = 9
# 10 ** power units make one second.
_POWERS = {"seconds": 0, "milliseconds": 3, "microseconds": 6, "nanoseconds": 9}
_NUMPY_UNITS = {3: "ms", 6: "us", 9: "ns"}


def unix_instants(name: str, values: Sequence[bytes | msgspec.Raw], *units: str) -> tuple[list[int], list[bytes]]:
    """Unix times as (nanoseconds, RFC 3339 texts). The size of a number tells in which of the units it is.

    Values are numbers or text, with or without a fraction. Texts keep all digits, and have at least three. Raises
    UnexpectedAnswer for anything else, naming the field.
    """
    powers = [_POWERS[unit] for unit in units]
    with contextlib.suppress(msgspec.DecodeError, ValueError):  # some are not whole numbers, or there are none
        integers = numbers.integers(values)
        power = timestamps.unix_power(min(integers), powers)
        if power is not None and power == timestamps.unix_power(max(integers), powers):
            return _from_integers(integers, power)
    instants, texts = [], []
    for index, value in enumerate(values):
        try:
            number = Decimal(numbers.literal_of(value).decode())
        except (ValueError, InvalidOperation):
            number = Decimal(0)
        power = timestamps.unix_power(number, powers)
        if power is None:
            problem = f"`{name}` of row {index} is {shown(bytes(value))}, not a Unix time in"
            raise UnexpectedAnswer(f"{problem} {' or '.join(units)}.")
        seconds = number.scaleb(-power)
        digits = min(max(_FEWEST_DIGITS, -int(seconds.as_tuple().exponent)), _MOST_DIGITS)
        instants.append(int(seconds * timestamps.SECOND))
        texts.append(timestamps.format_instant(instants[-1], digits).encode())
    return instants, texts


def _from_integers(values: Sequence[int], power: int) -> tuple[list[int], list[bytes]]:
    digits = max(_FEWEST_DIGITS, power)
    ticks = np.array(values, np.int64) * 10 ** (digits - power)
    width = len("2024-01-01T00:00:00.Z") + digits
    texts = ticks.view(f"M8[{_NUMPY_UNITS[digits]}]").astype(f"S{width}")
    texts.view("S1")[width - 1 :: width] = b"Z"
    return (ticks * 10 ** (_MOST_DIGITS - digits)).tolist(), texts.tolist()


def iso_instants(name: str, texts: Sequence[str]) -> tuple[list[int], Sequence[bytes]]:
    """ISO 8601 texts as (nanoseconds, RFC 3339 texts in UTC). Texts keep the vendor's digits, and have at least three.

    Raises UnexpectedAnswer for any other text, naming the field.
    """
    uniform = _uniform(texts)
    if uniform is not None:
        with contextlib.suppress(ValueError):  # an impossible date: the parser below names it
            nanoseconds = uniform.astype(f"S{uniform.itemsize - 1}").astype("M8[ns]").view(np.int64)
            return nanoseconds.tolist(), LazySequence(uniform.tolist)
    try:
        instants = [timestamps.parse(text) for text in texts]
    except ValueError as error:
        raise UnexpectedAnswer(f"`{name}`: {error}.") from None
    digits = [max(_FEWEST_DIGITS, _fraction_digits(text)) for text in texts]
    return instants, [timestamps.format_instant(*pair).encode() for pair in zip(instants, digits, strict=True)]


def _uniform(texts: Sequence[str]) -> np.ndarray[Any, np.dtype[np.bytes_]] | None:
    """The texts as an array if all are like `2024-01-01T00:00:00.123Z`, of one length, in 20xx; else None."""
    width = len(texts[0]) if texts else 0
    if not len("2024-01-01T00:00:00.123Z") <= width <= len(_FORM) + 1 or set(map(len, texts)) != {width}:
        return None
    together = "".join(texts).encode()
    form = _FORM[: width - 1] + b"Z"
    is_uniform = together.translate(_DIGITS_TO_ZEROS) == form * len(texts)
    is_uniform = is_uniform and set(together[::width]) == {ord("2")} and set(together[1::width]) == {ord("0")}
    return np.frombuffer(together, f"S{width}") if is_uniform else None


def _fraction_digits(text: str) -> int:
    fraction = text.partition(".")[2]
    return len(fraction) - len(fraction.lstrip("0123456789"))
