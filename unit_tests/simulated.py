"""A vendor in memory, and a sync whose workers and writer take turns in a test's order: no threads, no network.

`Simulation` runs the real loop, scheduler, windows, pages and state. During a request, other steps may run, so windows
are cut, fail and finish in any order.
"""

from __future__ import annotations

import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from airbyte_cdk.models import AirbyteMessage

from source_liquidations import planning
from source_liquidations.errors import OutOfReach, RequestRefused, Stopped, WindowTooLarge
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading import loop
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Sizing, Span
from source_liquidations.reading.pages import Block, Output
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading
from source_liquidations.reading.rows import Rows
from source_liquidations.reading.scheduler import Ended
from source_liquidations.reading.slices import Slices
from source_liquidations.reading.workers import Handover, Workers

STREAM = "simulated"
Row = tuple[str, int, int]  # market, instant, number among the rows of the same instant


class Unlimited:
    """A budget without a limit."""

    def reserve(self, weight: float = 1.0) -> float:
        del weight
        return 0.0


@dataclass
class FakeClient:
    """Passes each request to the vendor and calls `meanwhile` during it."""

    vendor: FakeVendor
    meanwhile: Callable[[], None] = lambda: None
    budget: Unlimited = field(default_factory=Unlimited)
    sent: list[Request] = field(default_factory=list)

    def fetch(self, request: Request, traffic: Traffic | None = None, **_: object) -> Any:
        self.sent.append(request)
        if traffic is not None:
            traffic.count(requests=1)
        self.meanwhile()
        self.vendor.refuse(request)
        return request


class FakeVendor(Endpoint):
    """Rows at given instants of given markets, in pages; the parameters are the peculiarities of vendors."""

    vendor = "fake"

    def __init__(
        self,
        rows: dict[str, Sequence[int]],
        *,
        page_size: int = 3,
        ascending: bool = True,
        splittable: bool = True,
        step: int = 1,
        longest: int | None = None,
        batch: int = 1,
        most_rows: int | None = None,
        unknown: Iterable[str] = (),
        tokens_die: Callable[[], bool] = lambda: False,
        shuffled: bool = False,
        newest_first: bool = False,
        refuses_before: int | None = None,
        rows_per_step: int | None = None,
    ) -> None:
        self.rows = {market: sorted(instants) for market, instants in rows.items()}
        self.page_size = page_size
        self.ascending = ascending
        self.splittable = splittable
        self.step = step
        self.sizing = Sizing(longest)
        self.refuses_old = refuses_before is not None
        self.refuses_before = refuses_before
        self.rows_per_step = rows_per_step
        self.batch = batch
        self.most_rows = most_rows
        self.unknown = frozenset(unknown)
        self.tokens_die = tokens_die
        self.shuffled = shuffled
        self.newest_first = newest_first
        self.client: FakeClient = FakeClient(self)  # type: ignore[assignment]

    def all_rows(self, start: int, end: int, markets: Iterable[str] | None = None) -> list[Row]:
        rows: list[Row] = []
        for market in self.rows if markets is None else markets:
            counts: Counter[int] = Counter()
            for instant in self.rows[market]:
                if start <= instant < end:
                    rows.append((market, instant, counts[instant]))
                counts[instant] += 1
        return rows

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        return [Partition.of(market=market, entry=f"fake.markets[{n}]") for n, market in enumerate(self.rows)]

    def batches(self, partitions: Sequence[Partition], start: int, end: int) -> Iterable[tuple[Partition, ...]]:
        return [tuple(partitions[n : n + self.batch]) for n in range(0, len(partitions), self.batch)]

    def first_request(self, span: Span) -> Request:
        markets = ",".join(partition["market"] for partition in span.partitions)
        return Request("/rows", (("markets", markets), ("start", str(span.start)), ("end", str(span.end))))

    def refuse(self, request: Request) -> None:
        params = dict(request.params)
        for market in params["markets"].split(","):
            if market in self.unknown:
                raise RequestRefused(f"HTTP 400: no market {market}", status=400)
        if "offset" in params and self.tokens_die():
            raise RequestRefused("HTTP 400: the token has expired", status=400)
        if self.refuses_before is not None and int(params["start"]) < self.refuses_before:
            raise OutOfReach("HTTP 403: the plan has less history", status=403)
        if self.most_rows is not None and len(self._requested_rows(request)) > self.most_rows:
            raise WindowTooLarge("too many rows")

    def _requested_rows(self, request: Request) -> list[Row]:
        params = dict(request.params)
        rows = self.all_rows(int(params["start"]), int(params["end"]), params["markets"].split(","))
        if self.shuffled:
            random.Random(1).shuffle(rows)
        if self.newest_first:
            rows.sort(key=lambda row: -row[1])
        return rows

    def decode(self, response: Any, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        rows = self._requested_rows(request)
        offset = int(dict(request.params).get("offset", 0))
        page = rows[offset : offset + self.page_size]
        next_request = None
        if offset + len(page) < len(rows):
            kept = tuple(param for param in request.params if param[0] != "offset")
            next_request = Request(request.path, (*kept, ("offset", str(offset + len(page)))))
        owners = None
        if len(span.partitions) > 1:
            index = {partition["market"]: n for n, partition in enumerate(span.partitions)}
            owners = [index[market] for market, _, _ in page]
        raw = [b'{"market":"%b","time":%d,"n":%d}' % (m.encode(), t, n) for m, t, n in page]
        return Answer(Rows(raw, [instant for _, instant, _ in page], owners=owners), next_request)


def status_of(item: Any) -> str | None:
    """The status in an item of a sync; None if it is not a status."""
    trace = item.trace if isinstance(item, AirbyteMessage) else None
    return trace.stream_status.status.value if trace is not None and trace.stream_status is not None else None


def state_of(item: Any) -> Any:
    """The state in an item of a sync, as a platform stores it; None if it is not a checkpoint."""
    state = item.state if isinstance(item, AirbyteMessage) else None
    return vars(state.stream.stream_state) if state is not None and state.stream is not None else None


class Simulation:
    """One sync of one endpoint that resumes from a saved state."""

    def __init__(
        self,
        endpoint: FakeVendor,
        start: int,
        end: int,
        *,
        chance: random.Random | None = None,
        workers: int = 3,
        lookback: int = 0,
        saved: dict[str, Any] | None = None,
        check_progress: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.start, self.end, self.lookback = start, end, lookback
        self.state = StreamState(STREAM, "time", saved, start=start)
        self.saved = self.read_slices()
        self.chance = chance or random.Random(0)
        states = {STREAM: self.state}
        plan = partial(planning.gaps, states=states, lookback=lookback)
        self.reading = Reading(endpoint, (Output(STREAM),), start, end, plan)
        self.sync = loop.Sync([self.reading], states, workers=workers, stop=threading.Event())
        self.scheduler = self.sync._scheduler
        self.handover = Handover()
        self.workers = Workers(self.scheduler, self.handover, threading.Event())
        self.count = workers
        self.check_progress = check_progress
        self.busy = 0
        self.ended = False
        self.written: Counter[Row] = Counter()
        self.items: list[loop.Item] = []
        endpoint.client.meanwhile = self._meanwhile
        # Only one worker decodes at a time; here one thread runs all workers, so the lock must be reentrant.
        self.workers._decoding = threading.RLock()  # type: ignore[assignment]
        for stream in self.sync._outcomes:
            self.sync._set_status(stream, "STARTED")

    # Steps.

    def run(self, stop_after: int | None = None) -> None:
        """Let workers and writer take turns until the sync ends, or for `stop_after` turns."""
        turns = 0
        while not self.ended and (stop_after is None or turns < stop_after):
            turns += 1
            if self.chance.random() < 0.5:
                self.write()
            elif not self.work() and self.handover.empty():
                assert self.ended, "no work to do and nothing to write: a deadlock"

    def work(self) -> bool:
        """Let one worker do one piece of work; returns whether there was one."""
        if self.busy >= self.count:
            return False
        work = self._next()
        if work is None:
            return False
        self.busy += 1
        try:
            self.workers.do(work)
        except Stopped:
            pass
        finally:
            self.busy -= 1
        self._check_windows()
        return True

    def _next(self) -> Any:
        """Like `Scheduler.next`, without waiting."""
        with self.scheduler._lock:
            return self.scheduler._pick()[0]

    def write(self) -> bool:
        """Let the writer take the oldest item; returns whether there was one."""
        if self.handover.empty():
            return False
        item = self.handover.get()
        before = self.read_slices()
        self.ended = isinstance(item, Ended)
        for passed in self.sync.pass_on(item):
            self.items.append(passed)
            if isinstance(passed, Block):
                self.written.update(rows_of(passed.data))
        if self.check_progress:
            self._check_progress(before)
        return True

    def _meanwhile(self) -> None:
        while self.chance.random() < 0.4 and (self.work() or self.write()):
            pass

    # Invariants.

    def read_slices(self) -> dict[str, Slices]:
        """The slices that a later sync does not read again, by market."""
        return {
            partition["market"]: self.state.of(partition).recorded for partition in self.endpoint.partitions(Traffic())
        }

    def positions(self) -> dict[str, int]:
        return {market: slices.end for market, slices in self.read_slices().items() if slices.end is not None}

    def _check_progress(self, before: dict[str, Slices]) -> None:
        for market, slices in self.read_slices().items():
            lost = [span for span in before[market] if slices.missing(*span).ranges]
            assert not lost, "slices have shrunk"
            new = (span for span in slices if self.saved.get(market, Slices()).missing(*span).ranges)
            for start, end in new:
                for first, last in self.saved.get(market, Slices()).missing(start, end):
                    unread = set(self.endpoint.all_rows(first, last, [market])) - set(self.written)
                    assert not unread, "a slice has rows that were not written"

    def paid_twice(self) -> set[Row]:
        """Rows that earlier syncs had read and this one read again, except in the lookback and at a bound."""
        repeated = set()
        for row in self.written:
            market, instant, _ = row
            saved, progress = self.saved.get(market, Slices()), self.state.of(Partition.of(market=market))
            lookback = min(progress.recheck[0], progress.recheck[1] - self.lookback)
            edge = self.endpoint.step
            around = (instant - edge, instant + 1 + edge)
            was_read = saved.within(*around) == Slices.of([around])
            if was_read and (instant < lookback - edge or progress.recheck[0] >= 2**62):
                repeated.add(row)
        return repeated

    def _check_windows(self) -> None:
        """Open windows and unread ranges never overlap, and no window is empty."""
        for queue in self.scheduler._queues:
            for gap in queue.begun:
                spans = [(window.start, window.end) for window in gap.open_windows] + gap.ranges
                assert sum(end - start for start, end in spans) == sum(e - s for s, e in Slices.of(spans)), "an overlap"
                assert all(window.start < window.end for window in gap.open_windows)


def resumed(simulation: Simulation, **changes: Any) -> Simulation:
    """Another sync from the state of a stopped one, as a platform stores it."""
    blob = json.loads(json.dumps(simulation.state.blob()))
    return Simulation(
        simulation.endpoint,
        changes.get("start", simulation.start),
        changes.get("end", simulation.end),
        chance=simulation.chance,
        workers=simulation.count,
        lookback=changes.get("lookback", simulation.lookback),
        saved=blob,
    )


def rows_of(lines: bytes) -> Iterator[Row]:
    for line in lines.splitlines():
        data = json.loads(line)["record"]["data"]
        yield data["market"], data["time"], data["n"]
