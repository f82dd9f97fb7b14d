"""The simulated vendors in their own process, which ends with this one."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any

from sandbox import Sandbox
from sandbox.times import instant_of
from sandbox.world import Disagreement
from source_liquidations.vendors import VENDORS

ROWS_PER_DAY = 12_000  # of the busiest market
LIVE_ROWS_PER_DAY = 40_000  # in the current hour, so that the second sync finds new rows

# An hour of yesterday in which Coin Metrics lacks Binance's BTCUSDT; the picture shows this gap.
GAP = timedelta(hours=15), timedelta(hours=16)


class SimulatedVendors:
    """A running sandbox: its configuration, and its count of requests."""

    def __init__(self, url: str) -> None:
        self.url = url

    def config(self) -> dict[str, Any]:
        """All vendors since yesterday, with hourly volumes in US dollars, so that vendors can be compared.

        Real Bitfinex allows one request in 25 seconds; the simulated one gets more, so that the demo does not wait.
        """
        config: dict[str, Any] = self._control("config", vendors=[vendor.name for vendor in VENDORS])
        config["kiyotaka"]["denomination"] = "usd"
        config["coinalyze"]["interval"] = "1hour"
        config["bitfinex"]["requests_per_minute"] = 600
        return config

    def requests(self) -> int:
        """The number of requests so far."""
        return int(self._control("requests?count=1")["count"])

    def _control(self, action: str, **arguments: Any) -> Any:
        body = json.dumps(arguments).encode() if arguments else None
        with urllib.request.urlopen(f"{self.url}/_control/{action}", body, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def simulated_vendors() -> Iterator[SimulatedVendors]:
    """Start the sandbox, and stop it at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "demo.vendors"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        if not url:
            raise RuntimeError("the sandbox did not start; its error is above")
        yield SimulatedVendors(url)
    finally:
        process.stdin.close()
        process.wait(timeout=30)


def serve() -> None:
    """Serve on any free port until standard input is closed."""
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = (instant_of(today - timedelta(days=1) + after) for after in GAP)
    sandbox = Sandbox(
        ticking=True,
        rows_per_day=ROWS_PER_DAY,
        live_rows_per_day=LIVE_ROWS_PER_DAY,
        disagreement=Disagreement(start=start, end=end),
        limits=False,
    )
    with sandbox:
        print(sandbox.url, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    serve()
