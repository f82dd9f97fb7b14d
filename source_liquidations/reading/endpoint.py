"""What a vendor implements, and the few things that flow between it and the reading loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, LiquidationsError, UnexpectedAnswer
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic


@dataclass(frozen=True)
class Partition:
    """What has a position of its own: a market, an asset. Pairs in the order in which people read them.

    The order is no part of the identity (a platform may store a state with its keys sorted), and neither is
    `entry`, the field of the configuration that asked for it.
    """

    values: tuple[tuple[str, str], ...] = field(compare=False)
    entry: str = field(default="", compare=False)
    key: frozenset[tuple[str, str]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", frozenset(self.values))

    @classmethod
    def of(cls, *, entry: str = "", **values: str) -> Partition:
        return cls(tuple(values.items()), entry)

    def __getitem__(self, name: str) -> str:
        return dict(self.values)[name]

    def __str__(self) -> str:
        return "/".join(value for _, value in self.values)


@dataclass
class Rows:
    """One page's rows as the vendor wrote them, and what is added to each.

    raw         JSON objects, byte for byte as received
    instants    each row's time on the stream's cursor, nanoseconds since the epoch
    constant    members for every row, as JSON text without braces and with a trailing comma: `"asset":"btc",`
    added       members for each row, likewise, or None
    owners      where a page holds rows of several partitions: each row's index among them
    typed       the same rows decoded, for the unified streams
    times       each row's time as RFC 3339 text, likewise
    """

    raw: Sequence[bytes | Any]
    instants: list[int]
    constant: bytes = b""
    added: list[bytes] | None = None
    owners: list[int] | None = None
    typed: Sequence[Any] = ()
    times: Sequence[bytes] = ()

    def __len__(self) -> int:
        return len(self.raw)

    def only(self, keep: Sequence[int]) -> Rows:
        """The rows with these indices."""
        return Rows(
            raw=[self.raw[i] for i in keep],
            instants=[self.instants[i] for i in keep],
            constant=self.constant,
            added=None if self.added is None else [self.added[i] for i in keep],
            owners=None if self.owners is None else [self.owners[i] for i in keep],
            typed=[self.typed[i] for i in keep] if self.typed else (),
            times=[self.times[i] for i in keep] if self.times else (),
        )

    def parts(self, most: int) -> Iterator[Rows]:
        """The same rows in turn, at most so many at once."""
        if 0 < len(self) <= most:
            yield self
            return
        for first in range(0, len(self), most):
            yield self.only(range(first, min(first + most, len(self))))


@dataclass(frozen=True)
class Answer:
    """One decoded page: its rows, and the request for the next one (None on the last).

    `problem` is what keeps the next page from being asked for; the rows of this one are good all the same.
    """

    rows: Rows
    following: Request | None = None
    problem: LiquidationsError | None = None

    @classmethod
    def before(cls, rows: Rows, following: Callable[[], Request | None]) -> Answer:
        """The rows, with the next request, or with what is wrong with it."""
        try:
            return cls(rows, following())
        except UnexpectedAnswer as error:
            return cls(rows, problem=error)


@dataclass(frozen=True)
class Span:
    """The half-open window [start, end) of one or several partitions that a request asks for; nanoseconds."""

    partitions: tuple[Partition, ...]
    start: int
    end: int


class Endpoint(ABC):
    """One vendor endpoint that returns rows in time windows.

    ascending       rows come in ascending time (per partition), so that every page can be checkpointed;
                    else only a window's end can
    splittable      a window may be cut in two for another worker to help
    step            windows begin and end at multiples of this many nanoseconds: an aggregate's interval, else the
                    precision of the vendor's time parameters
    longest         the longest window the vendor takes, in nanoseconds; None = any
    longest_lookback   the most that may be read again behind a saved position, in nanoseconds; None = any
    page_size       rows a page at the most
    most_at_once    requests under way at once, at the most; for answers so large that memory sets the limit
    rows_per_step   for aggregates: rows that a partition has in each interval; None = not known beforehand
    """

    vendor: str
    client: Client
    ascending: bool = True
    splittable: bool = True
    step: int = 1
    longest: int | None = None
    longest_lookback: int | None = None
    page_size: int = 1000
    most_at_once: int | None = None
    rows_per_step: int | None = None

    @cached_property
    def observations(self) -> list[Any]:
        """What this sync saw of gaps in the data: rows of the stream of coverage."""
        return []

    @cached_property
    def unresolved(self) -> list[LiquidationsError]:
        """Why entries of the configuration brought no partitions, while others did."""
        return []

    def resolved(
        self,
        setting: str,
        entries: Sequence[str],
        is_pattern: Callable[[str], bool],
        matching: Callable[[str, str], Iterable[str]],
    ) -> Iterator[tuple[str, str]]:
        """Each name that the entries of a setting mean, and the entry. What fails is noted, and the others go on."""
        for index, entry in enumerate(entries):
            where = f"{setting}[{index}]"
            try:
                names = list(matching(entry, where)) if is_pattern(entry) else [entry]
            except AccessRefused:
                raise
            except LiquidationsError as error:
                self.unresolved.append(error)
                continue
            yield from ((name, where) for name in names)

    def all_partitions(self, traffic: Traffic) -> list[Partition]:
        """The partitions, where every entry of the configuration has some; else raises why one has none."""
        found = list(self.partitions(traffic))
        if self.unresolved:
            raise self.unresolved[0]
        return found

    def known_rows(self, spans: Sequence[Span]) -> int | None:
        """How many rows the spans have, where that is known beforehand: a row for every interval and series."""
        if self.rows_per_step is None:
            return None
        steps = sum((span.end - span.start) // self.step * len(span.partitions) for span in spans)
        return steps * self.rows_per_step

    @property
    def settling(self) -> int:
        """How far behind the end of a sync rows may still change: the open bucket, in nanoseconds.

        Intervals that do not divide a day (5h, a week) begin where the vendor says, at most one step away from ours.
        """
        return 0 if timestamps.DAY % self.step == 0 else self.step

    @abstractmethod
    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        """What the configuration asks for, wildcards expanded."""

    @abstractmethod
    def first(self, span: Span) -> Request:
        """The first request of a window."""

    @abstractmethod
    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        """The rows of the answer to a request, and the next request.

        `memory` is the window's own, for what has to be known from page to page. Raises NotWhole for a body that is
        no JSON, UnexpectedAnswer for one of another shape.
        """

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        """Partitions that one request may ask for together, all from the same start."""
        del start, end
        return ((partition,) for partition in partitions)

    def next_length(self, length: int, pages: int, rows: int) -> int:
        """The length of the window after one of `length` nanoseconds that took so many pages and rows."""
        del pages, rows
        return length

    def window_end(self, start: int, end: int) -> int:
        """Where a window that begins at `start` shall end, at `end` at the latest."""
        del start
        return end

    def worth_halving(self, span: Span) -> bool:
        """Whether a window whose query timed out at the vendor (504) should be asked for in halves."""
        del span
        return False

    def observe(self, span: Span, error: LiquidationsError) -> None:
        """Note what a refused window says about the data, for the stream of coverage."""
        del span, error

    @contextmanager
    def admitted(self, request: Request) -> Iterator[Request]:
        """Around each request of a window: may hold it back, change it, or raise SpendingLimit."""
        yield request

    def price(self, requests: int, rows: int) -> dict[str, int]:
        """What so many requests and rows cost in the vendor's own currency, by name."""
        del requests, rows
        return {}

    def spent(self) -> dict[str, int]:
        """What the reading has cost so far in the vendor's own currency, and what is left of it, by name."""
        return {}
