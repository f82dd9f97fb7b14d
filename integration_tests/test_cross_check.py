"""`examples/cross_check.py` on sandbox data: it finds the gaps and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from harness import Connector, Warm
from tools import ROOT, python_with, run

from sandbox import Sandbox
from sandbox.times import parse
from sandbox.world import Disagreement

DAY = "2025-10-10"
STREAMS = ("liquidations", "liquidation_volumes", "liquidation_coverage")
BINANCE = "binance/btc/usdt"
PAGE = (ROOT / "docs" / "cross-check.md").read_text("utf-8")
SENTENCE = re.compile(
    r"(?P<vendor>[\w ]+) has none of the (?P<events>[\d,]+) (?P<market>.+) liquidations \((?P<usd>[\d,]+) USD\) that "
    r"(?P<witnesses>.+?) (both )?ha(s|ve) between (?P<first>[\d:]+) and (?P<last>[\d:]+) UTC on (?P<day>[\d-]+)"
)
# Copies the rows into a DuckDB file, then calls `main` once for each list of arguments.
RUN = """
import contextlib, io, json, sys
from pathlib import Path
sys.path.insert(0, "examples")
import cross_check
from cross_checking import connect

rows, database, calls, gap, query = sys.argv[1:]
source = connect(Path(rows))
source.execute(f"ATTACH '{database}' AS file")
for (table,) in source.execute("SELECT table_name FROM duckdb_tables() WHERE table_name <> 'records'").fetchall():
    source.execute(f"CREATE TABLE file.{table} AS FROM {table}")
source.close()

done = []
for arguments in json.loads(calls):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cross_check.main(arguments)
    done.append((code, out.getvalue(), err.getvalue()))
json.dump((done, connect(Path(gap)).execute(query).fetchall()), sys.stdout, default=str)
"""
ERRORS = (
    ("empty.jsonl", "no two vendors have rows of one market"),
    ("rows.jsonl", "binance/eth/usdt", DAY, "it takes two vendors to compare"),
    ("rows.jsonl", "BTCUSDT", DAY, "write exchange/base/quote"),
    ("rows.jsonl", BINANCE, "yesterday", "write YYYY-MM-DD"),
    ("empty.jsonl", BINANCE, DAY, "it takes two vendors to compare"),
    ("unsized.jsonl", BINANCE, DAY, "without `amount_base`"),
    ("absent.duckdb", BINANCE, DAY, "does not exist"),
    ("bitfinex.jsonl", "bitfinex/btc/usdt", DAY, "there are rows of coin_metrics; it takes two vendors"),
)
GAPS = {
    "kaiko": ("03:17:30", "04:41:00"),  # not whole hours
    "kwery": ("00:00:00", "01:30:00"),  # from the day's start on
}
LISTED = {
    "vendor": "kaiko",
    "exchange": "binance",
    "market": "all",
    "kind": "missing",
    "period_start": f"{DAY}T03:00:00Z",
    "period_end": f"{DAY}T05:00:00Z",
    "note": "an outage",
    "source": "the vendor's page",
}
AT_BITFINEX = {
    "exchange": "bitfinex",
    "base_asset": "btc",
    "quote_asset": "usdt",
    "liquidated_at_ns": parse(f"{DAY}T12:00:00Z"),
    "event_type": "trade",
    "price": 1e5,
    "amount": 1,
    "amount_base": 1,
}
CONTRACTS = ("okx/btc/usdt", "bitmex/btc/usd")  # a hundredth of a bitcoin, and a dollar


@dataclass(frozen=True)
class Said:
    """Exit code, output and errors by arguments; and the answer to the page's query."""

    printed: dict[tuple[str, ...], tuple[int, str, str]]
    coverage: list[list[Any]]


@pytest.fixture(scope="module")
def python() -> Path:
    return python_with("duckdb", ".venv-demo", "setup-demo")


@contextmanager
def vendors(disagreement: Disagreement | None) -> Iterator[Sandbox]:
    with Sandbox(
        seed=7, now="2025-10-12T00:00:00Z", rows_per_day=6_000, limits=False, disagreement=disagreement
    ) as running:
        yield running


def read_gap(connector: Connector, sandbox: Sandbox, path: Path) -> None:
    """Coin Metrics at the end of a gap that it documents."""
    config = sandbox.config("2021-05-10T20:00:00Z", ["coin_metrics"], end_date="2021-05-11T03:00:00Z")
    config["coin_metrics"]["markets"] = ["binance-BTCUSDT-future"]
    path.write_bytes(connector.read(config, ("liquidations", "liquidation_coverage"), mode="full_refresh").out)


def read(connector: Connector, sandbox: Sandbox, path: Path, *, more: bool = False) -> None:
    """The output of `read`: one market on one day, or also one with contracts of 0.01 and one of a dollar each."""
    config = sandbox.config(f"{DAY}T00:00:00Z", end_date="2025-10-11T00:00:00Z")
    del config["kaiko"]["assets"], config["kiyotaka"]["coins"], config["kiyotaka"]["coin_exchanges"]
    instruments = ("binc/perpetual-future/btc-usdt", "okex/perpetual-future/btc-usdt", "bmex/perpetual-future/btc-usd")
    markets = ("binance-BTCUSDT-future", "okex-BTC-USDT-SWAP-future", "bitmex-XBTUSD-future")
    config["kaiko"]["instruments"] = instruments if more else instruments[:1]
    config["coin_metrics"]["markets"] = markets if more else markets[:1]
    config["kwery"]["symbols"] = ["BTC"]
    config["kiyotaka"]["symbols"] = ["BINANCE_FUTURES/BTCUSDT"]
    done = connector.read(config, STREAMS if more else STREAMS[:1], mode="full_refresh")
    assert done.code == 0, done
    path.write_bytes(done.out)


@pytest.fixture(scope="module")
def said(warm: Warm, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Said:
    """The script's output by its arguments, in this process."""
    directory = tmp_path_factory.mktemp("rows")
    connector = Connector(warm, tmp_path_factory.mktemp("connector"))
    with vendors(Disagreement()) as sandbox:
        read(connector, sandbox, directory / "rows.jsonl", more=True)
        read_gap(connector, sandbox, directory / "gap.jsonl")
    for vendor, (start, end) in GAPS.items():
        gap = Disagreement(vendor, "binance/BTCUSDT", parse(f"{DAY}T{start}Z"), parse(f"{DAY}T{end}Z"))
        with vendors(gap) as sandbox:
            read(connector, sandbox, directory / f"{vendor}.jsonl")
    with (directory / "kaiko.jsonl").open("a") as file:
        file.write(json.dumps({"type": "RECORD", "record": {"stream": "liquidation_coverage", "data": LISTED}}) + "\n")
    with (directory / "bitfinex.jsonl").open("w") as file:
        for vendor in ("bitfinex", "coin_metrics"):
            row = {**AT_BITFINEX, "vendor": vendor, "market": vendor, "liquidation_id": "1"}
            file.write(json.dumps({"type": "RECORD", "record": {"stream": "liquidations", "data": row}}) + "\n")
    lines = (directory / "rows.jsonl").read_text().splitlines(keepends=True)
    bare = [line for line in lines if '"stream":"liquidations"' in line]
    (directory / "bare.jsonl").write_text("".join(bare) + bare[-1][:100])  # nothing else, and cut off
    unsized = [re.sub(r'"amount_base":[^,]+', '"amount_base":null', line) for line in bare]
    (directory / "unsized.jsonl").write_text("".join(unsized))
    (directory / "empty.jsonl").write_text('{"type":"LOG","log":{"level":"INFO","message":"nothing"}}\n')

    calls: list[tuple[str, ...]] = [
        ("rows.jsonl",),
        *(("rows.jsonl", market, DAY) for market in (BINANCE, *CONTRACTS)),
        *(("bare.jsonl", market, DAY) for market in CONTRACTS),
        ("rows.duckdb", BINANCE, DAY, "--picture", str(directory / "picture.png"), "--note", "Simulated"),
        *((f"{vendor}.jsonl", BINANCE, DAY) for vendor in GAPS),
        *(case[:-1] for case in ERRORS),
    ]
    arguments = json.dumps([[str(directory / call[0]), *call[1:]] for call in calls])
    (query,) = re.findall(r"```sql\n(.+?)```", PAGE, re.DOTALL)
    files = (directory / "rows.jsonl", directory / "rows.duckdb")
    done = run(python, "-c", RUN, *files, arguments, directory / "gap.jsonl", query)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    assert (directory / "picture.png").read_bytes().startswith(b"\x89PNG")
    printed, coverage = json.loads(done.stdout)
    return Said(dict(zip((call[:3] for call in calls), map(tuple, printed), strict=True)), coverage)


def text(said: Said, *call: str) -> str:
    code, out, err = said.printed[call]
    assert (code, err) == (0, "")
    return out


def verdict(said: Said, *call: str) -> list[str]:
    return text(said, *call).split("\n\n")[0].splitlines()


def test_it_finds_the_known_disagreement_and_says_it_in_one_sentence(said: Said) -> None:
    (sentence,) = verdict(said, "rows.jsonl", BINANCE, DAY)
    found = SENTENCE.match(sentence)
    assert found, sentence
    with vendors(Disagreement()) as sandbox:
        missing = sandbox.expected("kwery", "BTC", f"{DAY}T21:00:00Z", f"{DAY}T22:00:00Z")
    assert found["vendor"] == "Coin Metrics"
    assert found["witnesses"] == "Kaiko and Kwery"
    assert found["market"] == "Binance BTC/USDT"
    assert found["day"] == DAY
    assert (found["first"], found["last"]) == (missing[0]["timestamp"][11:19], missing[-1]["timestamp"][11:19])
    assert int(found["events"]) == len(missing) > 50
    usd = int(found["usd"].replace(",", ""))
    assert usd == pytest.approx(sum(row["usd_value"] for row in missing), rel=0.01)
    sums = re.search(r"Kiyotaka's sum from 21:00 to 22:00 is ([\d,]+) USD", sentence)
    assert sums, sentence
    assert int(sums[1].replace(",", "")) == pytest.approx(usd, rel=0.01)


def test_tables_count_what_each_vendor_sent(said: Said) -> None:
    printed = text(said, "rows.jsonl", BINANCE, DAY)
    markets = {"Kaiko": "binc/perpetual-future/btc-usdt", "Kwery": "BTC", "Coin Metrics": "binance-BTCUSDT-future"}
    with vendors(Disagreement()) as sandbox:
        counts = {
            name: len(sandbox.expected(name.lower().replace(" ", "_"), market, DAY, "2025-10-11"))
            for name, market in markets.items()
        }
    missing = counts["Kaiko"] - counts["Coin Metrics"]
    for name, count in counts.items():
        lacking = missing if name == "Coin Metrics" else 0
        assert re.search(rf"\n{name} +\S+ +{count:,} +[\d,]+ +{count:,} +0 +{lacking}\n", printed), printed
    assert re.search(rf"\nKaiko and Kwery +{missing} ", printed), printed
    assert [line[:5] for line in printed.splitlines() if "← none: Coin Metrics" in line] == ["21:00"]
    assert "Coin Metrics, 21:00: liquidation_coverage does not list it." in printed


def test_the_page_shows_what_is_printed(said: Said) -> None:
    printed = text(said, "rows.jsonl", BINANCE, DAY)
    (shown,) = re.findall(r"```\n(Coin Metrics has none .+?)```", PAGE, re.DOTALL)
    assert printed.startswith(shown)


def test_the_page_tells_zero_from_not_known(said: Said) -> None:
    rows = [row[2:] for row in said.coverage]
    shown = re.findall(r"\| (2021-\S+ \S+) \| (\d+) \| ([a-z ]+) \| (.+) \|", PAGE)
    assert len(shown) == 4
    for hour, events, meaning, because in shown:
        assert [f"{hour}:00", int(events), meaning, because] in rows, rows


@pytest.mark.parametrize("rows", ["rows.jsonl", "bare.jsonl"])
@pytest.mark.parametrize("market", CONTRACTS)
def test_contracts_and_orders_match(said: Said, market: str, rows: str) -> None:
    printed = text(said, rows, market, DAY)
    agreed = re.match(r"Coin Metrics and Kaiko agree on ([\d,]+) of ([\d,]+) ", printed)
    assert agreed, printed
    assert agreed[1] == agreed[2]
    assert "Coin Metrics: sizes are computed from numbers of contracts." in printed
    assert "Coin Metrics: orders, not necessarily executed" in printed


def test_a_duckdb_file_says_the_same(said: Said) -> None:
    printed = text(said, "rows.duckdb", BINANCE, DAY)
    assert printed.startswith(text(said, "rows.jsonl", BINANCE, DAY).rstrip())


@pytest.mark.parametrize("vendor", GAPS)
def test_it_finds_a_gap_of_any_vendor_at_any_time(said: Said, vendor: str) -> None:
    (sentence,) = verdict(said, f"{vendor}.jsonl", BINANCE, DAY)
    found = SENTENCE.match(sentence)
    assert found, sentence
    assert found["vendor"].lower() == vendor
    assert GAPS[vendor][0] <= found["first"] < found["last"] < GAPS[vendor][1]


def test_it_says_what_is_known_of_a_gap(said: Said) -> None:
    printed = text(said, "kaiko.jsonl", BINANCE, DAY)
    assert re.search(r"Kaiko, 03:\d\d: liquidation_coverage says missing: an outage \(the vendor's page\)\.", printed)


def test_it_lists_what_there_is(said: Said) -> None:
    lines = text(said, "rows.jsonl").splitlines()
    assert [line.split()[0] for line in lines] == [BINANCE, "bitmex/btc/usd", "okx/btc/usdt"]
    assert "coin_metrics, kaiko, kwery" in lines[0]


@pytest.mark.parametrize("case", ERRORS, ids=lambda case: case[-1])
def test_it_explains_what_it_cannot_do(said: Said, case: tuple[str, ...]) -> None:
    code, out, err = said.printed[case[:-1]]
    assert (code, out) == (1, "")
    assert case[-1] in err
