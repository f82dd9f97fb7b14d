"""What a vendor implements, and the few things that flow between it and the reading loop."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, ConfigurationError, LiquidationsError, UnexpectedAnswer
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.rows import Rows
from source_liquidations.symbols import exchange


@dataclass(frozen=True)
class Partition:
    """What has progress of its own: a market, an asset. Pairs in the order in which people read them.

    The order is no part of the identity (a platform may store a state with its keys sorted), nor is the way a number
    is written, nor `entry`, the field of the configuration that asked for it.
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


_WHOLE = re.compile(r"^(\d+)\.0+$", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """One decoded page: its rows, and the request for the next one (None on the last).

    problem     what keeps the next page from being requested; the rows of this one are good
    readable    where the answer tells it: since when and until when the key may read, in nanoseconds; None = any time
    pages_are_known   the remaining requests are known, so empty pages are no sign of an endless chain
    """

    rows: Rows
    next_request: Request | None = None
    problem: LiquidationsError | None = None
    readable: tuple[int | None, int | None] = (None, None)
    pages_are_known: bool = False

    @classmethod
    def with_next(
        cls,
        rows: Rows,
        next_request: Callable[[], Request | None],
        readable: tuple[int | None, int | None] = (None, None),
    ) -> Answer:
        """The rows, with the next request, or with what is wrong with it."""
        try:
            return cls(rows, next_request(), readable=readable)
        except UnexpectedAnswer as error:
            return cls(rows, problem=error, readable=readable)


@dataclass(frozen=True)
class Span:
    """The half-open window [start, end) of one or several partitions that a request asks for; nanoseconds.

    Both are multiples of the endpoint's step.
    """

    partitions: tuple[Partition, ...]
    start: int
    end: int

    @property
    def total_time(self) -> int:
        """That of its partitions, added up."""
        return (self.end - self.start) * len(self.partitions)


class Sizing:
    """How long windows are, in nanoseconds, where a vendor or an account limits them.

    worth   rows that a window should have: the next one is longer after few rows, shorter after many. None = any
    """

    def __init__(self, longest: int | None = None, *, target_rows: int | None = None, step: int = 1) -> None:
        self._longest = longest
        self._step = step
        self.target_rows = target_rows

    def longest(self) -> int | None:
        """The longest window; None = any."""
        return self._longest

    def longest_lookback(self) -> int | None:
        """The most that may be read again behind what was read; None = any."""
        return None

    def next_length(self, length: int, rows: int) -> int:
        """The length of the window after one of `length` nanoseconds that had so many rows."""
        if self.target_rows is None:
            return length
        factor = 8.0 if rows == 0 else min(4.0, max(0.25, self.target_rows / rows))
        longer = timestamps.floor_to(int(length * factor), self._step)
        return max(self._step, min(longer, self._longest or longer))

    def window_end(self, start: int, end: int) -> int:
        """Where a window that begins at `start` shall end, at `end` at the latest."""
        return end


class Endpoint(ABC):
    """One vendor endpoint that returns rows in time windows.

    ascending       rows come in ascending time (per partition; of all of them where rows have no owners), so that
                    every page can be checkpointed; else only a window's end can
    splittable      a window may be cut in two for another worker to help
    paged           a window's rows may come in several pages; else in one answer, whose query may take too long
    refuses_old     windows that begin before the key's history are refused (OutOfReach): the reach has to be found
    reach           the first instant that is available, where it is known beforehand; None = any
    retained_since      what is older may be gone, and an empty answer does not tell; None = it does
    step            windows begin and end at multiples of this many nanoseconds: an aggregate's interval, else the
                    precision of the vendor's time parameters
    page_size       rows a page at the most
    max_concurrent_requests    requests under way at once, at the most
    rows_per_step   for aggregates: rows that a partition has in each interval; None = not known beforehand
    rows_per_day    for events: rows that a request's partitions together had a day when somebody measured it
    revised_for     for aggregates: how long after its end an interval may still change, in nanoseconds
    title           the vendor's name, for messages
    codes           of exchanges, as the vendor writes them, with spaces between
    """

    title: str = ""
    codes: str = ""
    client: Client
    ascending: bool = True
    splittable: bool = True
    paged: bool = True
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
        """What this sync saw of gaps in the data: rows of the stream of coverage."""
        return []

    @cached_property
    def entry_errors(self) -> list[LiquidationsError]:
        """Why entries of the configuration brought no partitions, while others did."""
        return []

    def resolve_entries(
        self,
        setting: str,
        entries: Sequence[str],
        is_pattern: Callable[[str], bool],
        matching: Callable[[str, str], Iterable[str]],
    ) -> Iterator[tuple[str, str]]:
        """Each name that the entries of a setting mean, and the entry. One that fails is noted; the others continue."""
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

    def span_at(self, partitions: tuple[Partition, ...], instant: int) -> Span:
        """The shortest window that holds an instant."""
        start = timestamps.floor_to(instant, self.step)
        return Span(partitions, start, start + self.step)

    def all_partitions(self, traffic: Traffic) -> list[Partition]:
        """The partitions, where every entry of the configuration has some; else raises why one has none."""
        found = list(dict.fromkeys(self.partitions(traffic)))
        self.raise_entry_errors()
        return found

    def raise_entry_errors(self) -> None:
        """Raises why entries of the configuration brought no partitions: all that are wrong, else the first failure."""
        wrong = [error for error in self.entry_errors if error.failure_type == "config_error"]
        if self.entry_errors:
            raise ConfigurationError.of_all(wrong) if wrong else self.entry_errors[0]

    def with_code_hint(self, error: LiquidationsError, market: str) -> LiquidationsError:
        """The error with the vendor's codes of an exchange that a market, pattern or sum spells otherwise."""
        for code in re.split(r"[/+-]", market):
            codes = [known for known in self.codes.split() if exchange(known) == exchange(code)]
            hint = f"{self.title} writes {' or '.join(codes)}, not {code}."
            if codes and code not in codes and hint not in error.advice:
                error.advice = f"{error.advice} {hint}".strip()
        return error

    @property
    def misalignment(self) -> int:
        """How far behind the end of a sync rows may still change: the open bucket, in nanoseconds.

        Intervals that do not divide a day (5h, a week) begin where the vendor says, at most one step away from ours.
        """
        return 0 if timestamps.DAY % self.step == 0 else self.step

    @abstractmethod
    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        """What the configuration asks for, wildcards expanded. One that comes again counts once."""

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        """Exchange and market of a partition, as the streams of all vendors have them."""
        return "all", "all"

    @abstractmethod
    def first_request(self, span: Span) -> Request:
        """The first request of a window."""

    @abstractmethod
    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        """The rows of the answer to a request, and the next request.

        `memory` is the window's own, for what has to be known from page to page. Raises UnexpectedAnswer for a body of
        another shape, WindowTooLarge for one that lacks rows.
        """

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """Partitions that one request may ask for together, all from the same start."""
        return ((partition,) for partition in partitions)

    def estimated_cost(self, requests: int, rows: int, weight: float) -> dict[str, int]:
        """What so many requests, as the vendor counts them, of so many rows and so much weight cost, by currency."""
        return {}

    def spent(self) -> dict[str, int]:
        """What the reading has cost so far in the vendor's own currency, and what is left of it, by name."""
        return {}
