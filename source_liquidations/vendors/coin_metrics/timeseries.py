"""What Coin Metrics' timeseries share: rows of entities, of which one request may ask for several."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Any

from source_liquidations import timestamps
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Client, Params, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span
from source_liquidations.reading.rows import Rows
from source_liquidations.vendors.coin_metrics.calls import PAGE_SIZE, batched, following, owners
from source_liquidations.vendors.decoding import Page, RowDecoder
from source_liquidations.vendors.probing import probe

COMMUNITY_HISTORY = timestamps.DAY


class Timeseries(Endpoint):
    """A timeseries by the end of its path; `field` is the entity in its rows and partitions.

    Without a key (`community`), the vendor leaves out what is older than a day, silently.

    one_row     parameters of a request for one row of each entity
    """

    vendor = "coin_metrics"
    title = "Coin Metrics"
    codes = "binance bybit okex deribit bitmex bitfinex huobi kraken ftx"
    page_size = int(PAGE_SIZE)
    one_row: Params = (("page_size", "1"),)

    def __init__(
        self, client: Client, table: str, field: str, decoder: RowDecoder[Any], *, community: bool, step: int = 1
    ) -> None:
        self.client = client
        self._path = f"/v4/timeseries/{table}"
        self._field = field
        self._decoder = decoder
        self.step = step
        begins = timestamps.ceil_to(time.time_ns(), timestamps.SECOND) - COMMUNITY_HISTORY
        self.reach = timestamps.ceil_to(begins, step) if community else None

    def asked(self, partitions: Sequence[Partition]) -> Params:
        """The parameters that say what a request asks for, but for its time."""
        return ((f"{self._field}s", ",".join(partition[self._field] for partition in partitions)),)

    def first(self, span: Span) -> Request:
        # Both bounds are inclusive by default, and pages begin at the end of the time asked for.
        params = (
            ("start_time", timestamps.format_instant(span.start)),
            ("end_time", timestamps.format_instant(span.end)),
            ("end_inclusive", "false"),
            ("paging_from", "start"),
            ("page_size", PAGE_SIZE),
        )
        return Request(self._path, (*self.asked(span.partitions), *params))

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        page = self._decoder.decode(answered)
        rows = self.rows(page, owners(self._field, page.column(self._field), span), memory)
        return Answer.before(rows, partial(following, self.client, request, page.body))

    @abstractmethod
    def rows(self, page: Page[Any], owners: list[int] | None, memory: dict[Any, Any]) -> Rows:
        """The rows of a page, which belong to these partitions."""

    def check(self, traffic: Traffic) -> None:
        """One row of as many entities as one request takes. Raises what the vendor refuses, with its entries."""
        for batch in batched(self.all_partitions(traffic), self._field, self.page_size)[:1]:
            probe(self, Request(self._path, (*self.asked(batch), *self.one_row)), Span(batch, 0, 1), traffic)
