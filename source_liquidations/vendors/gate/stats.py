"""Gate, GET /futures/{settle}/contract_stats: sums of a contract's liquidations, and other figures, by interval."""

import time
from collections.abc import Iterable, Sequence
from functools import lru_cache, partial
from typing import Any

import msgspec

from source_liquidations import numbers, timestamps
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.pages import Table
from source_liquidations.reading.rows import Rows
from source_liquidations.streams import Stream
from source_liquidations.symbols import DOLLARS
from source_liquidations.unified import interval_of, volume_names, volumes
from source_liquidations.vendors.decoding import Fields, ListBody, RowDecoder, added_rows
from source_liquidations.vendors.gate.calls import LIMIT, assets, market, path, renamed
from source_liquidations.vendors.gate.contracts import SETTING, Contracts
from source_liquidations.vendors.instants import unix_instants
from source_liquidations.vendors.patterns import is_pattern
from source_liquidations.vendors.repeats import each_once

STREAM = Stream("gate_contract_stats", ("settle", "contract", "interval", "time"), "time", declared_in=__name__)
CALL = "contract_stats"

DEFAULT_INTERVAL = "1h"
# 180 days are kept. The edge moves on while a sync runs.
HISTORY = 179 * timestamps.DAY

SIDES = ("long", "short")
UNITS = {"amount": "coin", "usd": "usd"}  # the end of the vendor's field, and the word of liquidation_volumes


class StatsRow(msgspec.Struct):
    """All but the time may be missing: later rows have more fields than earlier ones."""

    time: msgspec.Raw
    long_liq_size: msgspec.Raw = numbers.NULL
    short_liq_size: msgspec.Raw = numbers.NULL
    long_liq_amount: msgspec.Raw = numbers.NULL
    short_liq_amount: msgspec.Raw = numbers.NULL
    long_liq_usd: msgspec.Raw = numbers.NULL
    short_liq_usd: msgspec.Raw = numbers.NULL


class ContractStats(Endpoint):
    """Ascending from `from` on. Where a page ends, only its last time tells: intervals may be absent."""

    page_size = LIMIT
    refuses_old = True
    rows_per_step = 1  # at the most

    def __init__(self, client: Client, entries: Sequence[str], interval: str, contracts: Contracts) -> None:
        self.client = client
        self._entries = entries
        self._interval = interval
        self._contracts = contracts
        self.step, _ = interval_of(interval)
        self.reach: int = timestamps.ceil_to(time.time_ns() - HISTORY, self.step)
        self._decoder = RowDecoder(
            ListBody,
            StatsRow,
            Fields(STREAM),
            numbers=StatsRow.__struct_fields__[1:],
            added=("timestamp", "settle", "contract", "interval"),
        )

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        matching = partial(self._contracts.matching, traffic=traffic)
        for name, where in self.resolve_entries(SETTING, self._entries, is_pattern, matching):
            settle, contract = name.split("/", 1)
            yield Partition.of(settle=settle, contract=contract, interval=self._interval, entry=where)

    def exchange_and_market(self, partition: Partition) -> tuple[str, str]:
        """Not the contract alone: its orders have another history."""
        return "gate", f"{CALL}/{market(partition['settle'], partition['contract'])}"

    def first_request(self, span: Span) -> Request:
        return _request(span.partitions[0], span.start)

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = self._decoder.decode(answered)
        instants, times = unix_instants("time", page.column("time"), "seconds")
        renamed(page)
        each = (b'"time":"', times, b'",')
        rows = each_once(added_rows(page, instants, constant=dict(span.partitions[0].values), each=each), memory)
        # `to` is not documented, so a page may go on behind the window.
        after = max(instants, default=span.end) + self.step
        following = _request(span.partitions[0], after) if after < span.end else None
        return Answer(rows.between(0, span.end), following)


def _request(partition: Partition, start: int) -> Request:
    return Request(
        path(partition["settle"], CALL),
        (
            ("contract", partition["contract"]),
            ("interval", partition["interval"]),
            ("from", str(timestamps.ceil_to(start, timestamps.SECOND) // timestamps.SECOND)),
            ("limit", str(LIMIT)),
        ),
    )


@lru_cache(maxsize=16384)
def _names(settle: str, contract: str, interval: str) -> list[tuple[str, bytes]]:
    """The fields of a row that have rows of liquidation_volumes, and what those have in common."""
    base, quote = assets(contract)
    return [
        (
            f"{side}_liq_{ending}",
            volume_names("gate", market(settle, contract), "gate", base, interval_of(interval)[1], side, unit),
        )
        for ending, unit in UNITS.items()
        if unit != "usd" or quote in DOLLARS  # `usd` is the quote asset, whatever the name says
        for side in SIDES
    ]


def to_volumes(rows: Rows, span: Span) -> Table:
    """For each interval and side, the base asset; and the dollars where the quote is one. What is absent has no row."""
    partition = span.partitions[0]
    names: list[bytes] = []
    instants: list[int] = []
    amounts: list[msgspec.Raw] = []
    for field, shared in _names(partition["settle"], partition["contract"], partition["interval"]):
        values = [getattr(row, field) for row in rows.typed]
        there = [index for index, value in enumerate(values) if value != numbers.NULL]
        names += [shared] * len(there)
        instants += [rows.instants[index] for index in there]
        amounts += [values[index] for index in there]
    return volumes(names=names, instants=instants, amount=amounts)
