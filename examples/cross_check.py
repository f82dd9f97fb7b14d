"""Do the vendors agree? One market and one day of the stream `liquidations`, vendor beside vendor.

  python examples/cross_check.py rows.duckdb                              lists the markets that it can compare
  python examples/cross_check.py rows.duckdb binance/btc/usdt 2025-10-10 --picture cross-check.png

The rows are a DuckDB file that duckdb_lane.py or PyAirbyte wrote, or the JSON lines of `source-liquidations read`. If
they have `liquidation_volumes` (Kiyotaka has sums only) and `liquidation_coverage` (known gaps), these are used, too.
It needs duckdb, and matplotlib for the picture. What counts as a match: docs/cross-check.md.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cross_checking import CannotCompare, Tolerance, comparable_markets, compare, connect, remarks, tables, verdict


def main(arguments: list[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        connection = connect(args.rows)
        if not (args.market and args.day):
            for market, vendors, days in comparable_markets(connection):
                print(f"{market:24}{vendors:32}{days}")
            return 0
        tolerance = Tolerance(args.seconds, args.size, args.gap)
        ids = {vendor: name for vendor, _, name in (pair.partition("=") for pair in args.id)}
        comparison = compare(connection, args.market, args.day, tolerance=tolerance, ids=ids)
    except CannotCompare as error:
        print(error, file=sys.stderr)
        return 1
    sections = ("\n".join(verdict(comparison)), tables(comparison), "\n".join(remarks(comparison)))
    print(*filter(None, sections), sep="\n\n")
    if args.picture:
        from cross_checking.picture import draw  # matplotlib is slow to import

        draw(comparison, note=args.note).savefig(args.picture)
        print(f"\nPicture: {args.picture}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Tolerance()
    parser.add_argument("rows", type=Path, help="a DuckDB file, or JSON lines")
    parser.add_argument("market", nargs="?", help="exchange/base/quote, as in the stream `liquidations`")
    parser.add_argument("day", nargs="?", help="YYYY-MM-DD, UTC")
    parser.add_argument("--id", action="append", default=[], metavar="VENDOR=MARKET", help="if a vendor has several")
    parser.add_argument("--seconds", type=float, default=default.seconds, help="largest difference of times (1)")
    parser.add_argument("--size", type=float, default=default.size, help="largest relative difference of sizes (0.001)")
    parser.add_argument("--gap", type=int, default=default.gap, help="this many missing in a row are a gap (10)")
    parser.add_argument("--picture", type=Path, metavar="PNG", help="draw the hours to this file")
    parser.add_argument("--note", default="", help="a line for the picture, e.g. that the data are simulated")
    return parser


if __name__ == "__main__":
    sys.exit(main())
