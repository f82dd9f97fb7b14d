"""Bitfinex in memory: rows in one list with the documented parameters, and syncs of it in this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest import mock

from airbyte_cdk.models import AirbyteMessage

from source_liquidations import planning
from source_liquidations.errors import LiquidationsError
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.reading import loop, progress
from source_liquidations.reading.pages import Block, Output
from source_liquidations.reading.progress import StreamState
from source_liquidations.reading.reading import Reading
from source_liquidations.vendors.bitfinex import liquidations
from source_liquidations.vendors.bitfinex.liquidations import Liquidations, to_liquidations
from unit_tests.simulated import state_of

MILLISECOND = 1_000_000
EPOCH = 1_772_000_000_000  # ms
OWN, UNIFIED = "bitfinex_liquidations", "liquidations"
Elements = list[Any]


def row(
    ms: float, pos_id: int = 1, symbol: str = "tBTCF0:USTF0", amount: float = 1.5, is_match: int = 1, **further: Any
) -> Elements:
    """A row in the vendor's form; `at_3=…` sets the element at index 3."""
    price = None if is_match == 0 else 42_000.5
    elements = ["pos", pos_id, ms, None, symbol, amount, 41_000, None, is_match, is_match, None, price]
    for index, value in further.items():
        elements[int(index.removeprefix("at_"))] = value
    return elements


class Unlimited:
    seconds, requests = 25.0, 1

    def reserve(self, weight: float = 1.0) -> float:
        del weight
        return 0.0


@dataclass
class FakeBitfinex:
    """A client of a vendor with these rows. `most` is the vendor's page size; `hides` removes rows from lists."""

    rows: list[Elements]
    nesting: str = "each"
    most: int = 500
    hides: Any = None
    budget: Unlimited = field(default_factory=Unlimited)
    sent: list[Request] = field(default_factory=list)
    vendor: str = "bitfinex"

    def fetch(self, request: Request, traffic: Any = None, **_: Any) -> Response:
        self.sent.append(request)
        if traffic is not None:
            traffic.count(requests=1)
        params = dict(request.params)
        first, last = int(params.get("start", 0)), int(params["end"])
        rows = sorted((r for r in self.rows if first <= r[2] <= last), key=lambda r: r[2])
        if self.hides is not None and "start" in params:
            rows = [r for r in rows if not self.hides(r, len(self.sent))]
        if params["sort"] == "-1":
            rows.reverse()
        page = rows[: min(int(params["limit"]), self.most)]
        nested: list[Any] = {"each": [[r] for r in page], "one": [page] if page else [], "flat": page}[self.nesting]
        return Response(200, {}, json.dumps(nested).encode())


@dataclass
class Synced:
    """The records of a sync, the state that a platform stores, and the failures."""

    records: dict[str, list[dict[str, Any]]]
    state: dict[str, Any]
    failures: list[LiquidationsError]


def sync(
    client: FakeBitfinex,
    start: int,
    end: int,
    *,
    state: dict[str, Any] | None = None,
    entries: Sequence[str] = ("*",),
    lookback: int = 0,
    killed_after: int | None = None,
) -> Synced:
    """Read [start, end), in milliseconds, with a checkpoint after every page; killed after `killed_after` items."""
    endpoint = Liquidations(client, entries, start * MILLISECOND)  # type: ignore[arg-type]
    states = {name: StreamState(name, "time", (state or {}).get(name)) for name in (OWN, UNIFIED)}
    outputs = (Output(OWN), Output(UNIFIED, to_liquidations, "bitfinex"))
    plan = partial(planning.gaps, states=states, lookback=lookback * MILLISECOND)
    reading = Reading(endpoint, outputs, start * MILLISECOND, end * MILLISECOND, plan)
    synced = Synced({OWN: [], UNIFIED: []}, dict(state or {}), [])
    run = iter(loop.Sync([reading], states, workers=1, stop=threading.Event()))
    with mock.patch.object(progress, "SECONDS_BETWEEN_CHECKPOINTS", 0.0):
        for number, item in enumerate(run):
            if killed_after is not None and number >= killed_after:
                run.close()  # type: ignore[attr-defined]
                break
            if isinstance(item, Block):
                lines = [json.loads(line)["record"] for line in item.data.splitlines()]
                synced.records[item.stream] += [line["data"] for line in lines]
            elif isinstance(item, AirbyteMessage) and item.state is not None and item.state.stream is not None:
                synced.state[item.state.stream.stream_descriptor.name] = json.loads(json.dumps(state_of(item)))
    synced.failures += [failed.error for failed in reading.failures]
    return synced


@contextmanager
def pages_of(rows: int) -> Iterator[None]:
    """Small pages, so that a few rows fill several."""
    with mock.patch.object(liquidations, "LIMIT", rows):
        yield


def positions(state: dict[str, Any], stream: str = OWN) -> dict[str, str]:
    return {entry["partition"]["symbol"]: entry["cursor"]["time"] for entry in state.get(stream, {}).get("states", [])}


def sent_rows(records: Sequence[dict[str, Any]]) -> list[str]:
    """The vendor's values in records, sorted, to compare with `as_sent`."""
    names = ("pos_id", "mts", "symbol", "amount", "base_price", "is_match", "is_market_sold", "price_acquired")
    return sorted(json.dumps([record[name] for name in names]) for record in records)


def as_sent(rows: Sequence[Elements]) -> list[str]:
    return sorted(json.dumps([r[at] for at in (1, 2, 4, 5, 6, 8, 9, 11)]) for r in rows)


def keys(records: Sequence[dict[str, Any]], stream: str = OWN) -> list[tuple[Any, ...]]:
    names = liquidations.STREAM.primary_key if stream == OWN else ("vendor", "market", "liquidation_id")
    return [tuple(record[name] for name in names) for record in records]
