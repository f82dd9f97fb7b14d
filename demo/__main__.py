"""`make demo`: two syncs of simulated vendors into a DuckDB file, with their costs, tables, a picture and a query.

`make demo-live`: the same with the real vendors that need no key: the last 24 hours of the Coin Metrics community API,
Bitfinex and Gate, and the cascade of 10 October 2025 from Bitfinex.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import requests

from demo.accounts import Account, bill, money, table
from demo.picture import draw
from demo.syncing import SyncFailed, Syncing
from demo.vendors import SimulatedVendors, simulated_vendors

# The vendors that need no key, and an address that shows whether the vendor is reachable.
LIVE = {
    "coin_metrics": "https://community-api.coinmetrics.io/v4/catalog-v2/market-liquidations?page_size=1",
    "bitfinex": "https://api-pub.bitfinex.com/v2/platform/status",
    "gate": "https://api.gateio.ws/api/v4/futures/usdt/contracts/BTC_USDT",
}
LIVE_MARKETS = ["binance-BTCUSDT-future", "bybit-BTCUSDT-future", "okex-BTC-USDT-SWAP-future"]
CASCADE = "2025-10-10T21:00:00Z", "2025-10-10T21:30:00Z"  # the largest one so far
PAUSE = 5.0  # seconds between the syncs, so that there are new liquidations
UNIFIED = ("liquidations", "liquidation_volumes")
STREAMS = (
    "kaiko_liquidation_events",
    "kaiko_token_liquidation_volumes",
    "kwery_liquidations",
    "coin_metrics_market_liquidations",
    "kiyotaka_liquidation_agg",
    "bitfinex_liquidations",
    "gate_liquidation_orders",
    "gate_contract_stats",
    "coinalyze_liquidation_history",
    *UNIFIED,
)
COVERAGE = "liquidation_coverage"
HEAD = ("stream", "rows read", "new in table", "rows in table", "partitions", "requests", "seconds")
ESTIMATE_HEAD = ("estimate", "partitions", "minimum requests", "minimum cost")
BILL_HEAD = ("vendor", "requests", "retries", "seconds waited", "MB", "cost")
GAPS_HEAD = ("known of", "exchange", "kind", "from", "to")
QUERY = """
SELECT vendor, exchange, position_side, count(*) AS liquidations, round(sum(notional_usd)) AS usd
FROM liquidations
WHERE base_asset = 'btc' AND exchange IN ('binance', 'gate')
GROUP BY ALL ORDER BY ALL
"""
MINUTES_HEAD = ("minute", "liquidated longs", "shorts", "bitcoins")
MINUTES = """
SELECT strftime(date_trunc('minute', liquidated_at), '%H:%M') AS minute,
    count(*) FILTER (position_side = 'long') AS longs, count(*) FILTER (position_side = 'short') AS shorts,
    coalesce(round(sum(amount_base) FILTER (base_asset = 'btc'), 2), 0) AS bitcoins
FROM main.liquidations
WHERE event_type = 'order'
GROUP BY ALL ORDER BY ALL
"""
GAPS = f"""
SELECT vendor, exchange, kind, CAST(period_start AS DATE) AS since,
    CASE kind WHEN 'starts' THEN '' ELSE coalesce(CAST(CAST(period_end AS DATE) AS VARCHAR), 'today') END AS until
FROM main.{COVERAGE}
WHERE (exchange = 'binance' OR vendor IN ('bitfinex', 'gate')) AND market = 'all'
ORDER BY ALL
"""


class Steps:
    """Prints lines with the seconds since the start."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._out = sys.stdout

    def say(self, text: str) -> None:
        self.plain(f"{time.monotonic() - self._start:6.1f} s  {text}")

    def plain(self, text: str) -> None:
        print(text, file=self._out, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__)
    parser.add_argument("--live", action="store_true", help="the real vendors that need no key")
    parser.add_argument("--output", type=Path, default=Path("demo-output"), help="directory (default demo-output)")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    steps = Steps()
    try:
        (_live if args.live else _simulated)(args.output, steps)
    except SyncFailed as error:
        steps.plain(f"\nFailed: {error}")
        return 1
    except KeyboardInterrupt:
        steps.plain("\nStopped.")
        return 130
    return 0


def _simulated(output: Path, steps: Steps) -> None:
    steps.plain("Liquidations: simulated vendors → this connector → PyAirbyte → DuckDB. No figure is real.\n")
    with simulated_vendors() as vendors:
        steps.say(f"sandbox    {vendors.url} simulates the vendors")
        run(vendors.config(), output, steps, vendors, note="Simulated data: no figure is real.")


def _live(output: Path, steps: Steps) -> None:
    steps.plain("Liquidations: the vendors that need no key → this connector → PyAirbyte → DuckDB.\n")
    vendors = [vendor for vendor, address in LIVE.items() if _is_reachable(address, steps)]
    if not vendors:
        raise SyncFailed("none of the vendors that need no key is reachable from here.")
    run(live_config(vendors), output, steps, None, note="Data: Coin Metrics community API, Bitfinex, Gate")
    if "bitfinex" in vendors:
        show_cascade(cascade_config(), output / "cascade", steps)


def _is_reachable(address: str, steps: Steps) -> bool:
    try:
        requests.get(address, timeout=15).raise_for_status()
    except requests.RequestException as error:
        steps.say(f"           {address} cannot be reached from here ({type(error).__name__})")
        return False
    return True


def live_config(vendors: Iterable[str] = tuple(LIVE)) -> dict[str, Any]:
    """The last 24 hours of these vendors."""
    sections: dict[str, dict[str, Any]] = {
        "coin_metrics": {"markets": LIVE_MARKETS},
        "bitfinex": {"symbols": ["*"]},
        "gate": {"contracts": ["usdt/BTC_USDT"]},
    }
    start = datetime.now(timezone.utc) - timedelta(hours=24)
    return {"start_date": f"{start:%Y-%m-%dT%H:%M:%SZ}", **{vendor: sections[vendor] for vendor in vendors}}


def cascade_config() -> dict[str, Any]:
    """Half an hour of all of Bitfinex."""
    start, end = CASCADE
    return {"start_date": start, "end_date": end, "bitfinex": {"symbols": ["*"]}}


def show_cascade(config: Mapping[str, Any], output: Path, steps: Steps) -> None:
    """One sync of half an hour of the past, and a table of its minutes."""
    output.mkdir(parents=True, exist_ok=True)
    start, end = CASCADE
    steps.say(f"cascade    {start} to {end}, all of Bitfinex, with one request every 25 seconds")
    syncing = Syncing(config, output, steps.say)
    syncing.select(["liquidations"])
    syncing.read(lambda: None)
    steps.plain(f"\n{table(MINUTES_HEAD, [tuple(row.values()) for row in syncing.query(MINUTES)])}\n")
    syncing.close()


def run(config: Mapping[str, Any], output: Path, steps: Steps, vendors: SimulatedVendors | None, *, note: str) -> None:
    """Check, discover, two syncs, picture and query; the same for simulated and for real vendors."""
    steps.say("pyairbyte  starting")
    syncing = Syncing(config, output, steps.say)
    steps.say(f"pyairbyte  {syncing.version}; its own output goes to {syncing.log}")
    syncing.check()
    steps.say(f"check      succeeded: {', '.join(name for name in config if isinstance(config[name], Mapping))}")
    discovered = syncing.discover()
    streams = [name for name in STREAMS if name in discovered]
    syncing.select([*streams, COVERAGE])
    steps.say(f"discover   {len(discovered)} streams, {len(streams)} of which are synced here")
    steps.say("estimate   before anything costs money")
    _show_estimate(syncing, streams, steps)
    first = _sync(syncing, streams, dict.fromkeys(streams, 0), steps, vendors, "first sync, from start_date")
    steps.say(f"           waiting {PAUSE:.0f} seconds for new liquidations")
    time.sleep(PAUSE)
    _sync(syncing, streams, first, steps, vendors, "second sync, incremental, with an hour of lookback")
    steps.say("report     cost of the second sync, by vendor")
    steps.plain(f"\n{table(BILL_HEAD, bill(syncing.report))}\n")
    steps.say(f"coverage   known gaps in the data; the table {COVERAGE} has more")
    steps.plain(f"\n{table(GAPS_HEAD, [tuple(row.values()) for row in syncing.query(GAPS)])}\n")
    syncing.close()
    picture = output / "liquidations.png"
    drawn = draw(syncing.database, picture, note=note)
    steps.say(f"picture    {picture}: {', '.join(drawn)}")
    steps.plain(f"\nThe rows are in {syncing.database}. A query to try:\n\n{_command(syncing.database)}\n")


def _show_estimate(syncing: Syncing, streams: list[str], steps: Steps) -> None:
    estimates = [estimate for estimate in syncing.estimate() if estimate["streams"][0] in streams]
    lines = [(each["streams"][0], each["partitions"], each["requests"], money(each["cost"])) for each in estimates]
    steps.plain(f"\n{table(ESTIMATE_HEAD, lines)}\n")


def _sync(
    syncing: Syncing,
    streams: list[str],
    before: Mapping[str, int],
    steps: Steps,
    vendors: SimulatedVendors | None,
    what: str,
) -> dict[str, int]:
    """One sync, and a table of it. Returns the number of rows in each table after the sync."""
    steps.say(f"read       {what}")
    earlier = vendors.requests() if vendors else 0
    started = time.monotonic()
    accounts = syncing.read(lambda: vendors.requests() - earlier if vendors else None)
    after = {name: syncing.rows(name) for name in streams}
    rows = sum(account.rows for account in accounts.values())
    requests_made = f" and {vendors.requests() - earlier} requests" if vendors else ""
    steps.say(f"read       done: {rows:,} rows{requests_made} in {time.monotonic() - started:.1f} seconds")
    lines = [_line(accounts[name], before[name], after[name]) for name in streams if name in accounts]
    steps.plain(f"\n{table(HEAD, lines)}\n")
    return after


def _line(account: Account, before: int, after: int) -> tuple[object, ...]:
    """A unified stream shares the requests of the vendors' streams, so it has none of its own."""
    name = account.stream
    requests_made = "shared" if name in UNIFIED else account.requests
    return name, account.rows, after - before, after, account.partitions, requests_made, account.seconds


def _command(database: Path) -> str:
    """A shell command that runs QUERY."""
    python = Path(sys.executable)
    if python.is_relative_to(Path.cwd()):
        python = python.relative_to(Path.cwd())
    query = rf"\"{' '.join(QUERY.split())}\""
    return f"""{python} -c "import duckdb; db = duckdb.connect('{database}'); db.sql({query}).show()\""""


if __name__ == "__main__":
    sys.exit(main())
