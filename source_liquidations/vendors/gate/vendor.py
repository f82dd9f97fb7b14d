"""Gate: hosts, budgets, streams, check. There is no key."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from source_liquidations import timestamps
from source_liquidations.errors import RequestRefused
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.coverage import COVERAGE
from source_liquidations.reading.endpoint import Partition
from source_liquidations.unified import LIQUIDATION_VOLUMES, LIQUIDATIONS
from source_liquidations.vendors.gate import contracts, orders, stats
from source_liquidations.vendors.gate.calls import HEADERS, explain, translated
from source_liquidations.vendors.gate.contracts import SETTING, ContractList, Contracts
from source_liquidations.vendors.gate.orders import LiquidationOrders, OrderClient
from source_liquidations.vendors.gate.stats import ContractStats
from source_liquidations.vendors.patterns import is_pattern
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, probe_at, reach_notes

HOST = "https://api.gateio.ws"
BUDGET = (200, 10.0)  # (requests, seconds) of each call and address
# Orders take thousands of requests. Half the limit leaves room for requests that arrive late, all at once.
ORDERS_BUDGET = (100, 10.0)


class Gate(Vendor):
    name = "gate"
    required = ("contracts",)

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        super().__init__(config, shared)
        self._entries: Sequence[str] = config["contracts"]
        # Each call has its own limit, so each has its own client.
        client = partial(self.client, HOST, headers=HEADERS, translate=translated, explain=explain)
        list_client = client(self.budget(*BUDGET))
        self._contracts = Contracts(list_client)
        orders_client = client(self.budget(*ORDERS_BUDGET), kind=OrderClient)
        self._orders = LiquidationOrders(orders_client, self._entries, self._contracts)
        interval = config.get("interval", stats.DEFAULT_INTERVAL)
        self._stats = ContractStats(client(self.budget(*BUDGET)), self._entries, interval, self._contracts)
        to_events = partial(orders.to_liquidations, self._contracts)
        listing = ContractList(list_client, contracts.settles_of(self._entries))
        self.feeds = (
            Feed(self._orders, orders.STREAM, {LIQUIDATIONS: to_events}, self._contracts.prepare),
            Feed(self._stats, stats.STREAM, {LIQUIDATION_VOLUMES: stats.to_volumes}),
            Feed(listing, contracts.STREAM, {COVERAGE: contracts.to_coverage()}),
        )

    def check(self, traffic: Traffic) -> list[str]:
        """Request the lists of contracts, the last second of the first orders, and the newest of the first sums.

        A delisted contract is in no list, so the orders of each entry that is not listed are requested.
        """
        partitions = self._orders.all_partitions(traffic)
        now = time.time_ns() - 2 * timestamps.SECOND  # the last whole second
        for index, entry in enumerate(self._entries):
            if is_pattern(entry):
                continue
            settle, contract = entry.split("/", 1)
            named = Partition.of(settle=settle, contract=contract, entry=f"{SETTING}[{index}]")
            try:
                listed = self._contracts.of(settle, traffic)
            except RequestRefused as error:
                raise self._orders.located(error, (named,)) from None
            if contract not in listed:
                probe_at(self._orders, named, now, traffic)
        probe_at(self._orders, partitions[0], now, traffic)
        probe_at(self._stats, next(iter(self._stats.partitions(traffic))), now, traffic)
        notes = partial(reach_notes, "gate", start=self._shared.start)
        return [
            *notes(self._orders.retained_since, what="liquidation orders", older="older ones may be deleted"),
            *notes(self._stats.reach, what="the sums of contract_stats"),
        ]
