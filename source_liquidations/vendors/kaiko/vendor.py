"""Kaiko: key, hosts, budget, streams, check."""

from collections.abc import Mapping
from typing import Any

from source_liquidations.errors import AccessRefused
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.http.transport import origin
from source_liquidations.reading.coverage import documented, throttled_at_binance
from source_liquidations.reading.endpoint import Span
from source_liquidations.unified import LIQUIDATION_VOLUMES, LIQUIDATIONS
from source_liquidations.vendors.kaiko import liquidation_events, reference_data, token_volumes
from source_liquidations.vendors.kaiko.liquidation_events import LiquidationEvents
from source_liquidations.vendors.kaiko.token_volumes import TokenVolumes
from source_liquidations.vendors.patterns import matches
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, probe, reach_notes

MARKET_DATA = {region: f"https://{region}.market-api.kaiko.io" for region in ("us", "eu")}
REFERENCE_DATA = "https://reference-data-api.kaiko.io"
REQUESTS_PER_MINUTE = 6000
ENTRIES_CHECKED = 100


class Kaiko(Vendor):
    name = "kaiko"
    required = ("api_key",)
    one_of = ("instruments", "assets")
    coverage = documented(
        "kaiko",
        "Kaiko, token-level liquidation volumes",
        [("all", "starts", "2025-01-08", None, "token-level volumes; liquidation events may begin earlier")],
    ) + throttled_at_binance("kaiko")

    @classmethod
    def entry_problem(cls, field: str, entry: str) -> tuple[str, str] | None:
        if field != "instruments" or any(matches(entry.split("/", 2)[1], name) for name in reference_data.CLASSES):
            return None
        return (
            f"{entry.split('/', 2)[1]!r} is not an instrument class with liquidations.",
            f"Allowed: {' or '.join(reference_data.CLASSES)}, or a pattern that matches one of them.",
        )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        super().__init__(config, shared)
        budget = self.budget(REQUESTS_PER_MINUTE, 60.0)
        own = frozenset(origin(url) for url in (*MARKET_DATA.values(), REFERENCE_DATA))
        self._reference = self.client(REFERENCE_DATA, budget, field="reference_base_url", own_origins=own)  # no key
        host, headers = MARKET_DATA[config.get("region", "us")], {"X-Api-Key": config["api_key"]}
        data = self.client(host, budget, headers=headers, own_origins=own)
        self._events = LiquidationEvents(data, self._reference, config.get("instruments", ()))
        self._volumes = TokenVolumes(data, config.get("assets", ()), config.get("interval", "1h"))
        self.feeds = (
            Feed(self._events, liquidation_events.STREAM, {LIQUIDATIONS: liquidation_events.to_liquidations}),
            Feed(self._volumes, token_volumes.STREAM, {LIQUIDATION_VOLUMES: token_volumes.to_volumes}),
            Feed(reference_data.InstrumentList(self._reference), reference_data.INSTRUMENTS_STREAM),
            Feed(reference_data.exchange_list(self._reference), reference_data.EXCHANGES_STREAM),
        )

    def check(self, traffic: Traffic) -> list[str]:
        """Request one row for each of the first entries. Every pattern must match something."""
        notes: list[str] = []
        for endpoint in (self._events, self._volumes):
            for partition in endpoint.all_partitions(traffic)[:ENTRIES_CHECKED]:
                request = Request(endpoint.path(partition), (("page_size", "1"),))
                span = Span((partition,), 0, 0)
                try:
                    readable_from, _ = probe(endpoint, request, span, traffic).readable_range
                except AccessRefused as error:  # the key's plan may not cover the entry
                    raise error.named("`kaiko.api_key`") from None
                notes += reach_notes("kaiko", readable_from, self._shared.start)
        return list(dict.fromkeys(notes))
