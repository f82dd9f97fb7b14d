"""`python -m sandbox`: serve the simulated vendors on loopback and print a configuration for them."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import threading
from pathlib import Path

from sandbox.sandbox import Sandbox


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--port", type=int, default=8900, help="0 takes any free port (default 8900)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--now", help="ISO time at which the clock starts; default: the wall clock")
    parser.add_argument(
        "--frozen", action="store_true", help="with --now: stop the clock there and end the configuration there"
    )
    parser.add_argument("--start-date", help="start_date of the printed configuration; default: yesterday")
    parser.add_argument(
        "--vendors", nargs="+", help="vendors of the printed configuration; default: kaiko kwery coin_metrics kiyotaka"
    )
    parser.add_argument("--community", action="store_true", help="Coin Metrics without a key in the configuration")
    parser.add_argument("--rows-per-day", type=float, default=20_000, help="of the busiest market (default 20000)")
    parser.add_argument("--live-rows-per-day", type=float, help="of the busiest market, after --live-from")
    parser.add_argument("--live-from", help="ISO time; default: the start of the current hour")
    parser.add_argument("--tiny-markets", type=int, default=0, help="number of extra markets with a few rows each")
    parser.add_argument("--tiny-rows-per-day", type=float, default=1.0)
    parser.add_argument("--late-fraction", type=float, default=0.0, help="fraction of the rows that arrive late")
    parser.add_argument("--late-seconds", type=float, default=0.0, help="maximum delay of a late row")
    parser.add_argument("--cache-rows", type=int, default=500_000, help="encoded rows to cache (default 500000)")
    parser.add_argument("--no-limits", action="store_true", help="enforce no rate limits")
    parser.add_argument("--no-gzip", action="store_true", help="never compress a response")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="an option; see README.md")
    parser.add_argument("--config", type=Path, help="also write the configuration to this file")
    return parser


def _options(pairs: list[str]) -> dict[str, object]:
    options: dict[str, object] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def main(argv: list[str] | None = None) -> int:
    """Serve until interrupted."""
    args = _parser().parse_args(argv)
    sandbox = Sandbox(
        seed=args.seed,
        now=args.now,
        ticking=not args.frozen,
        port=args.port,
        limits=not args.no_limits,
        compress=not args.no_gzip,
        tiny_markets=args.tiny_markets,
        cache_rows=args.cache_rows,
        live_from=args.live_from,
        rows_per_day=args.rows_per_day,
        live_rows_per_day=args.live_rows_per_day,
        tiny_rows_per_day=args.tiny_rows_per_day,
        late_fraction=args.late_fraction,
        late_seconds=args.late_seconds,
        **_options(args.option),
    )
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    with sandbox:
        config = sandbox.config(args.start_date, args.vendors, community=args.community)
        if args.frozen:
            config["end_date"] = args.now  # the connector's clock does not stop
        text = json.dumps(config, indent=2)
        if args.config:
            args.config.write_text(text + "\n")
        with contextlib.suppress(BrokenPipeError):
            print(text, flush=True)
        print(f"sandbox: all data is simulated; serving at {sandbox.url}", file=sys.stderr, flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
