"""Gate, GET /futures/{settle}/contract_stats: a contract's liquidations and other figures, summed by interval."""

import time
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

import msgspec

from source_liquidations import timestamps
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.numbers import NULL, Number
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import DOLLARS
from source_liquidations.unified import interval_of, volume_names, volumes
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder, added_rows
from source_liquidations.vendors.gate.calls import LIMIT, assets, market, path, rename_time
from source_liquidations.vendors.gate.contracts import SETTING, Contracts
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.patterns import is_pattern
from source_liquidations.vendors.repeats import each_once

STREAM = Stream("gate_contract_stats", ("settle", "contract", "interval", "time"), "time", declared_in=__name__)
CALL = "contract_stats"

DEFAULT_INTERVAL = "1h"
# Gate keeps 180 days. The oldest of them expires while a sync runs.
HISTORY = 179 * timestamps.DAY

SIDES = ("long", "short")
UNITS = {"amount": "coin", "usd": "usd"}  # the end of the field's name, and `unit` of liquidation_volumes


class StatsRow(msgspec.Struct):
    """Only the time is always there: newer rows have more fields than older ones."""

    time: msgspec.Raw
    long_liq_size: Number = NULL
    short_liq_size: Number = NULL
    long_liq_amount: Number = NULL
    short_liq_amount: Number = NULL
    long_liq_usd: Number = NULL
    short_liq_usd: Number = NULL


class ContractStats(Endpoint):
    """Rows ascend from `from`. Intervals may be absent, so only the last time of a page shows where it ends."""

    page_size = LIMIT
    refuses_old = True
    rows_per_step = 1  # at most

    def __init__(self, client: Client, entries: Sequence[str], interval: str, contracts: Contracts) -> None:
        self.client = client
        self._entries = entries
        self._interval = interval
        self._contracts = contracts
        self.step, _ = interval_of(interval)
        self.reach: int = timestamps.ceil_to(time.time_ns() - HISTORY, self.step)
        self._decoder = RowDecoder(
            ListBody, StatsRow, Fields(STREAM), added=("timestamp", "settle", "contract", "interval")
        )

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        matching = partial(self._contracts.matching, traffic=traffic)
        for name, where in self.resolve_entries(SETTING, self._entries, is_pattern, matching):
            settle, contract = name.split("/", 1)
            yield Partition.of(settle=settle, contract=contract, interval=self._interval, entry=where)

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        """Not the contract's own market, because its orders have another history."""
        return "gate", f"{CALL}/{market(partition['settle'], partition['contract'])}"

    def first_request(self, span: Span) -> Request:
        return _request(span.partitions[0], span.start)

    def decode(self, response: Response, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = self._decoder.decode(response)
        instants, times = unix_instants("time", page.column("time"), "seconds")
        rename_time(page)
        each = (b'"time":"', times, b'",')
        rows = each_once(added_rows(page, instants, constant=dict(span.partitions[0].values), each=each), memory)
        # `to` is not documented and not sent, so a page may continue past the window.
        after = max(instants, default=span.end) + self.step
        next_request = _request(span.partitions[0], after) if after < span.end else None
        return Answer(rows.between(0, span.end), next_request)


def _request(partition: Partition, start: int) -> Request:
    start_second = timestamps.ceil_to(start, timestamps.SECOND) // timestamps.SECOND
    named = (("contract", partition["contract"]), ("interval", partition["interval"]))
    return Request(path(partition["settle"], CALL), (*named, ("from", str(start_second)), ("limit", str(LIMIT))))


@lru_cache(maxsize=16384)
def _names(settle: str, contract: str, interval: str) -> list[tuple[str, bytes]]:
    """Each field that makes rows of liquidation_volumes, and the members that these rows share."""
    base, quote = assets(contract)
    return [
        (
            f"{side}_liq_{ending}",
            volume_names("gate", market(settle, contract), "gate", base, interval_of(interval)[1], side, unit),
        )
        for ending, unit in UNITS.items()
        if unit != "usd" or quote in DOLLARS  # `usd` means the quote asset, despite its name
        for side in SIDES
    ]


def to_volumes(rows: Rows, span: Span) -> Table:
    """For each interval and side, a row in the base asset, and one in dollars if the quote is. Nulls make no row."""
    partition = span.partitions[0]
    names: list[bytes] = []
    instants: list[int] = []
    amounts: list[msgspec.Raw] = []
    for field, shared in _names(partition["settle"], partition["contract"], partition["interval"]):
        values = [getattr(row, field) for row in rows.typed]
        present = [index for index, value in enumerate(values) if value != NULL]
        names += [shared] * len(present)
        instants += [rows.instants[index] for index in present]
        amounts += [values[index] for index in present]
    return volumes(names=names, instants=instants, amount=amounts)
