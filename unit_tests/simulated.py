"""A vendor in memory, and a sync whose workers and writer take turns as a test decides: no threads, no network.

`Simulation` drives the real loop, scheduler, windows, pages and state. Requests that are under way are interrupted by
whatever else may happen meanwhile, so that windows are cut, failed and finished in any order.
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
    """A budget that never says no."""

    def reserve(self, weight: float = 1.0) -> float:
        del weight
        return 0.0


@dataclass
class FakeClient:
    """Passes each request on to the vendor; `meanwhile` is called while it is under way."""

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
    """Rows at given instants of given markets, in pages; with the habits that vendors have."""

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
        found: list[Row] = []
        for market in self.rows if markets is None else markets:
            counts: Counter[int] = Counter()
            for instant in self.rows[market]:
                if start <= instant < end:
                    found.append((market, instant, counts[instant]))
                counts[instant] += 1
        return found

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
        if self.most_rows is not None and len(self._asked(request)) > self.most_rows:
            raise WindowTooLarge("too many rows")

    def _asked(self, request: Request) -> list[Row]:
        params = dict(request.params)
        found = self.all_rows(int(params["start"]), int(params["end"]), params["markets"].split(","))
        if self.shuffled:
            random.Random(1).shuffle(found)
        if self.newest_first:
            found.sort(key=lambda row: -row[1])
        return found

    def decode(self, answered: Any, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        rows = self._asked(request)
        offset = int(dict(request.params).get("offset", 0))
        page = rows[offset : offset + self.page_size]
        following = None
        if offset + len(page) < len(rows):
            kept = tuple(param for param in request.params if param[0] != "offset")
            following = Request(request.path, (*kept, ("offset", str(offset + len(page)))))
        owners = None
        if len(span.partitions) > 1:
            index = {partition["market"]: n for n, partition in enumerate(span.partitions)}
            owners = [index[market] for market, _, _ in page]
        raw = [b'{"market":"%b","time":%d,"n":%d}' % (m.encode(), t, n) for m, t, n in page]
        return Answer(Rows(raw, [instant for _, instant, _ in page], owners=owners), following)


def status_of(item: Any) -> str | None:
    """The status that an item of a sync tells, if it is one."""
    trace = item.trace if isinstance(item, AirbyteMessage) else None
    return trace.stream_status.status.value if trace is not None and trace.stream_status is not None else None


def state_of(item: Any) -> Any:
    """What a platform would store of an item of a sync, if it is a checkpoint."""
    state = item.state if isinstance(item, AirbyteMessage) else None
    return vars(state.stream.stream_state) if state is not None and state.stream is not None else None


class Simulation:
    """One sync of one endpoint, from saved progress on."""

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
        # While a page is decoded, nobody else decodes; here one thread does everything, and may come by again.
        self.workers._decoding = threading.RLock()  # type: ignore[assignment]
        for stream in self.sync._streams:
            self.sync._set_status(stream, "STARTED")

    # What happens.

    def run(self, stop_after: int | None = None) -> None:
        """Let workers and writer take turns until the sync has ended, or for so many turns."""
        turns = 0
        while not self.ended and (stop_after is None or turns < stop_after):
            turns += 1
            if self.chance.random() < 0.5:
                self.write()
            elif not self.work() and self.handover.empty():
                assert self.ended, "no work to do and nothing to write: a deadlock"

    def work(self) -> bool:
        """One worker takes a piece of work and does it. Whether there was one."""
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
        """What `Scheduler.next` would return, without waiting."""
        with self.scheduler._lock:
            return self.scheduler._pick()[0]

    def write(self) -> bool:
        """The writer takes the oldest item. Whether there was one."""
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

    # What must hold at any time.

    def read_slices(self) -> dict[str, Slices]:
        """By market: what a later sync has no reason to read."""
        return {
            partition["market"]: self.state.of(partition).recorded for partition in self.endpoint.partitions(Traffic())
        }

    def positions(self) -> dict[str, int]:
        return {market: slices.end for market, slices in self.read_slices().items() if slices.end is not None}

    def _check_progress(self, before: dict[str, Slices]) -> None:
        for market, slices in self.read_slices().items():
            lost = [part for part in before[market] if slices.missing(*part).ranges]
            assert not lost, "slices have shrunk"
            new = (part for part in slices if self.saved.get(market, Slices()).missing(*part).ranges)
            for start, end in new:
                for first, last in self.saved.get(market, Slices()).missing(start, end):
                    unread = set(self.endpoint.all_rows(first, last, [market])) - set(self.written)
                    assert not unread, "a slice holds what was not written"

    def paid_twice(self) -> set[Row]:
        """Rows read again although earlier syncs had read them, but for late rows, and those at a bound."""
        found = set()
        for row in self.written:
            market, instant, _ = row
            saved, progress = self.saved.get(market, Slices()), self.state.of(Partition.of(market=market))
            lookback = min(progress.recheck[0], progress.recheck[1] - self.lookback)
            edge = self.endpoint.step
            around = (instant - edge, instant + 1 + edge)
            was_read = saved.within(*around) == Slices.of([around])
            if was_read and (instant < lookback - edge or progress.recheck[0] >= 2**62):
                found.add(row)
        return found

    def _check_windows(self) -> None:
        """Nothing is read twice at once, and nothing is left out."""
        for queue in self.scheduler._queues:
            for gap in queue.begun:
                parts = [(window.start, window.end) for window in gap.under_way] + gap.ranges
                assert sum(end - start for start, end in parts) == sum(e - s for s, e in Slices.of(parts)), "an overlap"
                assert all(window.start < window.end for window in gap.under_way)


def resumed(simulation: Simulation, **changes: Any) -> Simulation:
    """Another sync from the state of one that was stopped, as a platform would store it."""
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
