"""The interface that a vendor's endpoint implements, and the types that pass through it."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import (
    AccessRefused,
    ConfigurationError,
    LiquidationsError,
    RequestRefused,
    UnexpectedAnswer,
)
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.rows import Rows
from source_liquidations.symbols import exchange


@dataclass(frozen=True)
class Partition:
    """The unit that has its own progress: a market, an asset. `values` are name-value pairs in display order.

    Equality ignores the order (a platform may sort the keys of a saved state), trailing zeros of a whole number, and
    `entry`, the configuration field that the partition comes from.
    """

    values: tuple[tuple[str, str], ...] = field(compare=False)
    entry: str = field(default="", compare=False)
    key: frozenset[tuple[str, str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", frozenset((name, _WHOLE.sub(r"\1", value)) for name, value in self.values))

    @classmethod
    def of(cls, *, entry: str = "", **values: str) -> Partition:
        return cls(tuple(values.items()), entry)

    def __getitem__(self, name: str) -> str:
        return dict(self.values)[name]

    def __str__(self) -> str:
        return "/".join(value for _, value in self.values)


_LARGE_QUERY = 500  # steps
_WHOLE = re.compile(r"^(\d+)\.0+$", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """One decoded page: its rows, and the request for the next page (None after the last).

    problem             why the next page cannot be requested; this page's rows are valid
    readable_range      the range [start, end) that the key may read, if the answer states it, in nanoseconds.
                        None = no limit
    pages_are_known     the number of pages is known, so many empty pages do not mean an endless chain of tokens
    """

    rows: Rows
    next_request: Request | None = None
    problem: LiquidationsError | None = None
    readable_range: tuple[int | None, int | None] = (None, None)
    pages_are_known: bool = False

    @classmethod
    def with_next(
        cls,
        rows: Rows,
        next_request: Callable[[], Request | None],
        readable_range: tuple[int | None, int | None] = (None, None),
    ) -> Answer:
        """An answer with the next request, or with the problem that making it raises."""
        try:
            return cls(rows, next_request(), readable_range=readable_range)
        except UnexpectedAnswer as error:
            return cls(rows, problem=error, readable_range=readable_range)


@dataclass(frozen=True)
class Span:
    """The partitions and the half-open range [start, end) that are requested together, in nanoseconds.

    `start` and `end` are multiples of the endpoint's step.
    """

    partitions: tuple[Partition, ...]
    start: int
    end: int

    @property
    def total_time(self) -> int:
        """The sum over its partitions, in nanoseconds."""
        return (self.end - self.start) * len(self.partitions)


class Sizing:
    """The length of windows, in nanoseconds, for a vendor or an account that limits it.

    target_rows     the rows that a window should return: the next one is longer after fewer rows, shorter after more.
                    None = all windows have the same length
    """

    def __init__(self, longest: int | None = None, *, target_rows: int | None = None, step: int = 1) -> None:
        self._longest = longest
        self._step = step
        self.target_rows = target_rows

    def longest(self) -> int | None:
        """The longest window; None = no limit."""
        return self._longest

    def longest_lookback(self) -> int | None:
        """The longest lookback; None = no limit."""
        return None

    def next_length(self, length: int, rows: int) -> int:
        """The length of the window that follows one of `length` nanoseconds with `rows` rows."""
        if self.target_rows is None:
            return length
        factor = 8.0 if rows == 0 else min(4.0, max(0.25, self.target_rows / rows))
        longer = timestamps.floor_to(int(length * factor), self._step)
        return max(self._step, min(longer, self._longest or longer))

    def window_end(self, start: int, end: int) -> int:
        """The end of a window that begins at `start`, at most `end`."""
        return end


class Endpoint(ABC):
    """One vendor endpoint that returns rows by time range. Times are in nanoseconds.

    ascending       rows come in ascending time (within each partition; overall if rows have no owners), so each page
                    can be checkpointed. Else only the end of a window can
    splittable      a window may be cut in two, for another worker to help
    refuses_old     the vendor refuses windows that begin before the key's history (OutOfReach): reach must be found
    reach           the first instant that the key may read, if known before the first request; None = no limit
    retained_since  older rows may be deleted, and an empty answer does not say so; None = no row is deleted silently
    step            windows begin and end at multiples of it: an aggregate's interval, else the precision of the
                    vendor's time parameters
    page_size       the most rows of a page
    max_concurrent_requests     None = no limit of its own
    rows_per_step   for aggregates: the most rows of a partition in an interval. None = no aggregate
    rows_per_day    for events: rows a day of all partitions of a request together, as measured once
    revised_for     for aggregates: how long after its end an interval may still change
    codes           the vendor's codes of exchanges, separated by spaces
    """

    codes: str = ""
    client: Client
    ascending: bool = True
    splittable: bool = True
    refuses_old: bool = False
    reach: int | None = None
    retained_since: int | None = None
    step: int = 1
    page_size: int = 1000
    max_concurrent_requests: int | None = None
    rows_per_step: int | None = None
    rows_per_day: int | None = None
    revised_for: int = 0
    sizing: Sizing = Sizing()

    @property
    def vendor(self) -> str:
        return self.client.vendor

    @cached_property
    def observations(self) -> list[Any]:
        """Gaps in the data that this sync found: rows of `liquidation_coverage`."""
        return []

    @cached_property
    def entry_errors(self) -> list[LiquidationsError]:
        """Why some entries of the configuration have no partitions. The other entries are read."""
        return []

    def resolve_entries(
        self,
        setting: str,
        entries: Sequence[str],
        is_pattern: Callable[[str], bool],
        matching: Callable[[str, str], Iterable[str]],
    ) -> Iterator[tuple[str, str]]:
        """Yield each name that an entry of a setting stands for, and the entry. An entry that fails stops no other."""
        for index, entry in enumerate(entries):
            where = f"{setting}[{index}]"
            try:
                names = list(matching(entry, where)) if is_pattern(entry) else [entry]
            except LiquidationsError as error:
                if isinstance(error, AccessRefused) and error.scope == "reading":  # the key itself
                    raise
                if not error.who:
                    error.named(f"`{where}`")
                self.entry_errors.append(self.with_code_hint(error, entry))
                continue
            yield from ((name, where) for name in names)

    def is_large(self, span: Span) -> bool:
        """Whether the size of a request may be why it times out. If a smaller one does, the vendor has an outage."""
        return (span.end - span.start) // self.step > _LARGE_QUERY

    def span_at(self, partitions: tuple[Partition, ...], instant: int) -> Span:
        """The shortest window that contains an instant."""
        start = timestamps.floor_to(instant, self.step)
        return Span(partitions, start, start + self.step)

    def all_partitions(self, traffic: Traffic) -> list[Partition]:
        """All partitions, each once. Raises if an entry of the configuration has none."""
        partitions = list(dict.fromkeys(self.partitions(traffic)))
        self.raise_entry_errors()
        return partitions

    def raise_entry_errors(self) -> None:
        """Raise all configuration errors of entries as one, else the first failure, if there is any."""
        mistakes = [error for error in self.entry_errors if error.failure_type == "config_error"]
        if self.entry_errors:
            raise ConfigurationError.of_all(mistakes) if mistakes else self.entry_errors[0]

    def located(self, error: LiquidationsError, partitions: Sequence[Partition]) -> LiquidationsError:
        """The same error of a request for these partitions, naming the one at fault with its configuration entry.

        Of several, it names those that the vendor's words quote. If there are none, it names the setting, but not for
        an outage or a faulty answer: the user cannot correct it there.
        """
        if error.scope == "reading" or not partitions:
            return error
        if isinstance(error, RequestRefused):
            for partition in partitions:
                self.with_code_hint(error, str(partition))
        at_fault = partitions
        if len(partitions) > 1:
            at_fault = [partition for partition in partitions if f"'{partition.values[0][1]}'" in error.cause]
        names = [f"{partition} (`{partition.entry}`)" if partition.entry else str(partition) for partition in at_fault]
        setting = partitions[0].entry.partition("[")[0] if error.failure_type == "config_error" else ""
        return error.named(", ".join(names) or (setting and f"`{setting}`"))

    def with_code_hint(self, error: LiquidationsError, market: str) -> LiquidationsError:
        """The same error. Its advice gains the vendor's code of an exchange that `market` spells another way.

        `market` is a market, a pattern, or several joined by `+`.
        """
        for code in re.split(r"[/+-]", market):
            codes = [own for own in self.codes.split() if exchange(own) == exchange(code)]
            hint = f"{self.vendor.replace('_', ' ').title()} writes {' or '.join(codes)}, not {code}."
            if codes and code not in codes and hint not in error.advice:
                error.advice = f"{error.advice} {hint}".strip()
        return error

    @property
    def misalignment(self) -> int:
        """How far the vendor's intervals may begin from multiples of `step`, in nanoseconds.

        If intervals do not divide a day (5h, a week), the vendor chooses where they begin.
        """
        return 0 if timestamps.DAY % self.step == 0 else self.step

    @abstractmethod
    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        """The partitions that the configuration names, patterns expanded. Duplicates are allowed."""

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        """The exchange and the market of a partition, as in the unified streams."""
        return "all", "all"

    @abstractmethod
    def first_request(self, span: Span) -> Request:
        """The first request of a window."""

    @abstractmethod
    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        """The rows of an answer, and the next request.

        `memory` belongs to the window, and keeps what the next pages need. Raises UnexpectedAnswer if the body has
        another shape, WindowTooLarge if the vendor left out rows.
        """

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """Groups of partitions for one request each. All of them are read from `start` to `end`."""
        return ((partition,) for partition in partitions)

    def estimated_cost(self, requests: int, rows: int, weight: float) -> dict[str, int]:
        """The cost in the vendor's own currencies, by name, for this many requests, rows and units of weight."""
        return {}

    def spent(self) -> dict[str, int]:
        """What the reading has spent so far in the vendor's own currencies, and what remains of each, by name."""
        return {}
