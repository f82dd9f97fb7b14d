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

from source_liquidations import planning
from source_liquidations.config import Config
from source_liquidations.errors import LiquidationsError, RequestRefused, Stopped, WindowTooLarge
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading import loop
from source_liquidations.reading.checkpoints import StreamState
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Rows, Span
from source_liquidations.reading.handover import Handover
from source_liquidations.reading.pages import Block, Output
from source_liquidations.reading.scheduler import Page, Reading

STREAM = "simulated"
Row = tuple[str, int, int]  # market, instant, number among the rows of the same instant


class Unlimited:
    """A budget that never says no."""

    def reserve(self) -> float:
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
            traffic.sent()
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
    ) -> None:
        self.rows = {market: sorted(instants) for market, instants in rows.items()}
        self.page_size = page_size
        self.ascending = ascending
        self.splittable = splittable
        self.step = step
        self.longest = longest
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

    def first(self, span: Span) -> Request:
        markets = ",".join(partition["market"] for partition in span.partitions)
        return Request("/rows", (("markets", markets), ("start", str(span.start)), ("end", str(span.end))))

    def refuse(self, request: Request) -> None:
        params = dict(request.params)
        for market in params["markets"].split(","):
            if market in self.unknown:
                raise RequestRefused(f"HTTP 400: no market {market}", status=400)
        if "offset" in params and self.tokens_die():
            raise RequestRefused("HTTP 400: the token has expired", status=400)
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


class Simulation:
    """One sync of one endpoint, from saved positions on."""

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
        check_positions: bool = True,
    ) -> None:
        self.endpoint = endpoint
        self.config = Config(start=start, end=end, lookback=lookback, workers=workers, vendors={})
        self.state = StreamState(STREAM, "time", saved)
        known = {market: position - lookback for market, position in self.positions().items()}
        self.starts = {market: max(start, known.get(market, start)) for market in endpoint.rows}
        self.chance = chance or random.Random(0)
        states = {STREAM: self.state}
        outputs = (Output(STREAM),)
        self.reading = Reading(endpoint, outputs, partial(planning._plan, self.config, endpoint, outputs, states))
        self.sync = loop.Sync([self.reading], states, workers=workers, stop=threading.Event())
        self.sync._handover = Handover(2**60, threading.Event())
        self.scheduler = self.sync._scheduler
        self.workers = workers
        self.check_positions = check_positions
        self.busy = 0
        self.ended = False
        self.written: Counter[Row] = Counter()
        self.items: list[loop.Item] = []
        endpoint.client.meanwhile = self._meanwhile
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
            elif not self.work() and not self.sync._handover._items:
                assert self.ended, "no step to take and nothing to write: a deadlock"

    def work(self) -> bool:
        """One worker takes a step and goes through with it. Whether there was one."""
        if self.busy >= self.workers:
            return False
        with self.scheduler.lock:
            step, _ = self.scheduler._pick()
            if step is None:
                return False
            step.reading.busy += 1
        self.busy += 1
        try:
            self.sync._do(step)
        except Stopped:
            pass
        except LiquidationsError as error:
            self.sync._fail(step, error)
        finally:
            self.busy -= 1
        if self.scheduler.done(step):
            self.sync._handover.put(step.reading, 0)
        self._check_windows()
        return True

    def write(self) -> bool:
        """The writer takes the oldest page. Whether there was one."""
        if not self.sync._handover._items:
            return False
        item = self.sync._handover.get()
        if isinstance(item, Page):
            before = self.positions()
            for passed in self.sync._pass_on(item):
                self.items.append(passed)
                if isinstance(passed, Block):
                    self.written.update(rows_of(passed.data))
            if self.check_positions:
                self._check_positions(before)
        else:
            assert not self.ended, "the reading ended twice"
            self.ended = True
            self.items.extend(self.sync._end(STREAM))
        return True

    def _meanwhile(self) -> None:
        while self.chance.random() < 0.4 and (self.work() or self.write()):
            pass

    # What must hold at any time.

    def positions(self) -> dict[str, int]:
        return {
            partition["market"]: position
            for partition, position in ((p, self.state.position(p)) for p in self.endpoint.partitions(Traffic()))
            if position is not None
        }

    def _check_positions(self, before: dict[str, int]) -> None:
        for market, position in self.positions().items():
            assert position >= before.get(market, position), "a position went back"
            if position == before.get(market):
                continue
            unread = set(self.endpoint.all_rows(self.starts[market], position, [market])) - set(self.written)
            assert not unread, "a position ran ahead of the rows"

    def _check_windows(self) -> None:
        runs = {id(window.run): window.run for window in self.reading.active}
        for run in runs.values():
            for earlier, later in zip(run.windows, run.windows[1:], strict=False):
                assert earlier.end == later.start, "windows have a gap or overlap"
            assert run.windows[-1].end == run.frontier
            assert all(window.start < window.end for window in run.windows)
            assert all(window.start <= window.reached <= window.asked_end for window in run.windows)


def resumed(simulation: Simulation, **changes: Any) -> Simulation:
    """Another sync from the state of one that was stopped, as a platform would store it."""
    blob = json.loads(json.dumps(simulation.state.blob()))
    return Simulation(
        simulation.endpoint,
        changes.get("start", simulation.config.start),
        changes.get("end", simulation.config.end),
        chance=simulation.chance,
        workers=simulation.workers,
        lookback=changes.get("lookback", simulation.config.lookback),
        saved=blob,
    )


def rows_of(lines: bytes) -> Iterator[Row]:
    for line in lines.splitlines():
        data = json.loads(line)["record"]["data"]
        yield data["market"], data["time"], data["n"]
