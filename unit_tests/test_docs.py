"""The documentation says what the code says: tables, versions, links, commands, configurations, messages."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from airbyte_cdk.models import ConfiguredAirbyteCatalogSerializer
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from benchmarks import server as benchmark_server
from sandbox import Sandbox
from sandbox import __main__ as sandbox_command
from source_liquidations import command_line
from source_liquidations import config as configuration
from source_liquidations.logs import logger
from source_liquidations.reading.report import StreamReport
from source_liquidations.source import SourceLiquidations
from source_liquidations.symbols import ASSETS, EXCHANGES, assets_of
from source_liquidations.unified import POSITIONS
from source_liquidations.vendors import VENDORS
from source_liquidations.vendors.kiyotaka.liquidation_agg import POSITION_OF

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = [*DOCS, *(page for name in ("", "examples", "sandbox", "benchmarks") for page in (ROOT / name).glob("*.md"))]
TROUBLESHOOTING = ROOT / "docs" / "troubleshooting.md"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]

BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.M | re.S)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, *languages: str) -> Iterator[str]:
    for _, language, text in BLOCK.findall(page.read_text("utf-8")):
        if language in languages:
            yield text


# Tables, versions, links


def test_tables_are_what_the_code_says() -> None:
    script = [sys.executable, str(ROOT / "scripts" / "stream_tables.py"), "--check"]
    done = subprocess.run(script, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_stream_has_a_table_of_its_fields() -> None:
    text = "\n".join(page.read_text("utf-8") for page in DOCS)
    shown = {name for names in re.findall(r"^<!-- table: fields ([\w ]+) -->$", text, re.M) for name in names.split()}
    assert {schema.stem for schema in (ROOT / "source_liquidations").glob("**/schemas/*.json")} <= shown


def test_streams_that_fail_in_postgres_are_named() -> None:
    """PyAirbyte reads its files with pandas, which makes times of integers with these names."""
    page = (ROOT / "docs" / "destinations.md").read_text("utf-8")
    named = re.search("is taken for a time: (.*?)[.]", page, re.S)
    assert named
    failing = {
        schema.stem
        for schema in (ROOT / "source_liquidations").rglob("schemas/*.json")
        for name, field in json.loads(schema.read_text("utf-8"))["properties"].items()
        if "integer" in field["type"] and re.fullmatch("timestamp|.*_(at|time)", name)
    }
    assert set(re.findall("`(.*?)`", named[1])) == failing


def test_every_page_is_in_the_table_of_contents() -> None:
    linked = set(LINK.findall((ROOT / "docs" / "README.md").read_text("utf-8")))
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"} <= linked


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 120


def test_every_vendor_has_a_page_and_a_row_in_the_table_to_choose_from() -> None:
    chosen = (ROOT / "docs" / "choose-a-vendor.md").read_text("utf-8")
    for vendor in VENDORS:
        assert (ROOT / "docs" / "vendors" / f"{vendor.name}.md").exists(), vendor.name
        assert re.search(rf"^\| \[[^]]+\]\(vendors/{vendor.name}\.md\)[^|]* \|", chosen, re.M), vendor.name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_version_is_this_one(page: Path) -> None:
    named = re.findall(r"(?:source-liquidations:|[Vv]ersion )(\d+\.\d+\.\d+)", page.read_text("utf-8"))
    assert set(named) <= {VERSION}


def anchors(page: Path) -> set[str]:
    """The names that headings can be linked by, as GitHub and Airbyte's site make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    titles = (title.lower().strip() for title in re.findall(r"^#+ (.+)$", text, re.M))
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: no such heading"


# Tables of spellings and sides

UNIFIED = ROOT / "docs" / "streams.md"

# As exchanges write them; the expected results are derived below.
SYMBOLS = (
    ("binance", "BTCUSDT"),
    ("binance", "BNBUSD_PERP"),
    ("binance", "1000SHIBUSDT"),
    ("bybit", "BTCPERP"),
    ("okx", "BTC-USDT-SWAP"),
    ("deribit", "BTC-PERPETUAL"),
    ("deribit", "ETH_USDC-PERPETUAL"),
    ("bitmex", "XBTH26"),
    ("bitfinex", "tBTCF0:USTF0"),
    ("hyperliquid", "kPEPE"),
    ("kraken", "PI_XBTUSD"),
    ("ftx", "BTC-MOVE-0325"),
)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    first, *rest = ("| " + " | ".join(row) + " |" for row in (head, *rows))
    return "\n".join([first, "|" + "---|" * len(head), *rest])


def code(words: Iterable[str | None]) -> str:
    return ", ".join("-" if word is None else f"`{word}`" for word in words)


TABLES = {
    "exchanges": table(
        ("exchange", "vendors' codes"),
        [(code([name]), code(codes)) for name, codes in EXCHANGES.items() if len(codes) > 1],
    ),
    "assets": table(("asset", "written as"), [(code([name]), code([alias])) for alias, name in ASSETS.items()]),
    "symbols": table(
        ("exchange", "symbol", "base", "quote"),
        [
            (code([name]), code([symbol]), *(code([found]) for found in assets_of(symbol, name)))
            for name, symbol in SYMBOLS
        ],
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_spellings_are_those_of_the_code(name: str) -> None:
    """`UPDATE=1 pytest unit_tests/test_docs.py` writes them."""
    page = UNIFIED.read_text("utf-8")
    begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, rest = page.split(begin)
    held, after = rest.split(end)
    if os.environ.get("UPDATE"):
        UNIFIED.write_text(f"{before}{begin}\n{TABLES[name]}\n\n{end}{after}", "utf-8")
        return
    assert held.strip() == TABLES[name], "the page says something else than the code"


def test_the_table_of_sides_is_that_of_the_code() -> None:
    page = UNIFIED.read_text("utf-8")
    rows = re.findall(r"^\| (Kaiko|Kwery|Coin Metrics|Kiyotaka|Coinalyze) \|.*\| `(\w+)` \| `(\w+)` \|$", page, re.M)
    said = {vendor: {"long": long, "short": short} for vendor, long, short in rows}
    same = {position: position for position in POSITIONS}
    assert said == {
        "Kaiko": same,
        "Kwery": same,
        "Coin Metrics": POSITIONS,
        "Kiyotaka": {position: side for side, position in POSITION_OF.items()},
        "Coinalyze": {"long": "l", "short": "s"},
    }


# Commands and configurations


def commands(page: Path) -> Iterator[list[str]]:
    """What shell blocks call, up to a pipe, a redirection or a further command."""
    for block in blocks(page, "", "sh", "shell", "text"):
        for line in block.replace("\\\n", " ").splitlines():
            line = line.strip().removeprefix("$ ")
            if not re.match(r"(/usr/bin/time -v )?(make|source-liquidations|\S*python3?) ", line) or "…" in line:
                continue
            words = shlex.split(re.split(r"\s[|&<>]|;", line)[0], comments=True)
            yield words[2:] if words[0] == "/usr/bin/time" else words


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_exist(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    for command in commands(page):
        program, *arguments = command
        if program == "make":
            assert {word for word in arguments if "=" not in word} <= targets, command
        elif program == "source-liquidations":
            command_line.arguments([word.strip("[]") for word in arguments])
        elif arguments[:2] == ["-m", "sandbox"]:
            sandbox_command._parser().parse_args(arguments[2:])
        elif arguments[:2] == ["-m", "benchmarks.server"]:
            benchmark_options(arguments[2:], monkeypatch)
        elif arguments[0] == "-m":
            assert find_spec(arguments[1]) is not None, command
        elif not arguments[0].startswith("-"):
            assert (ROOT / arguments[0]).exists(), command


def benchmark_options(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The options are known to its parser, which is asked for no more than its help."""
    monkeypatch.setattr(sys, "argv", ["server", *arguments, "--help"])
    with pytest.raises(SystemExit) as ended:
        benchmark_server.main()
    assert ended.value.code == 0


def configurations() -> Iterator[Any]:
    for page in PAGES:
        for block in blocks(page, "json"):
            if '"start_date"' in block:
                yield pytest.param(json.loads(block), id=f"{name_of(page)}: {' '.join(block.split())[:60]}")


@pytest.mark.parametrize("config", [*configurations()])
def test_configurations_are_valid(config: dict[str, Any]) -> None:
    config = json.loads(json.dumps(config).replace("your key", "key").replace("\\u2026", "key"))
    configuration.parse(config)


# The report


def test_the_report_is_documented_field_by_field() -> None:
    page = (ROOT / "docs" / "operations.md").read_text("utf-8")
    section = page.partition("## The report\n")[2].partition("\n## ")[0]
    whole, entries = (re.findall(r"^\| `(\w+)` \|", part, re.M) for part in section.split("Each entry of `streams`:"))
    assert whole == ["version", "seconds", "streams"]
    assert tuple(entries) == StreamReport.__struct_fields__


# Messages

START, END = "2026-02-28T00:00:00Z", "2026-03-01T00:00:00Z"
KAIKO_EVENTS = {"instruments": ["bbit/perpetual-future/btc-usdt"], "assets": []}


@pytest.fixture(scope="module")
def vendors() -> Iterator[Sandbox]:
    with Sandbox(seed=1, now="2026-03-01T12:30:00Z", rows_per_day=3_000, limits=False) as running:
        yield running


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_LIQUIDATIONS_PATIENCE", "0.01")


def config_of(vendors: Sandbox, vendor: str, **fields: Any) -> dict[str, Any]:
    config = vendors.config(START, [vendor])
    config[vendor] |= fields
    return {**config, "end_date": END}


def says(message: str | None) -> None:
    """The page has the message. Backslashes before marks are not seen, lines end anywhere."""
    page = " ".join(re.sub(r"\\(?=[*_|<])", "", TROUBLESHOOTING.read_text("utf-8")).split())
    if not message or message not in page:
        pytest.fail(f"docs/troubleshooting.md does not have this message: {message}", pytrace=False)


CHECKS: list[tuple[str, dict[str, Any]]] = [
    ("kaiko", {"instrument": ["bbit/perpetual-future/btc-usdt"]}),
    ("kaiko", {"api_key": "not the key"}),
    ("kaiko", {"api_key": "not-the-key"}),
    ("kaiko", {"api_key": "sandbox-kaiko-forbidden"}),
    ("kaiko", {"instruments": ["bbit/perpetual-future/btc-usdx"]}),
    ("kaiko", {"instruments": ["bbit/perpetual-future/zzz*"]}),
    ("coin_metrics", {"markets": ["binance-BTCUSDT-future", "nowhere-XYZ-future"]}),
    (
        "coin_metrics",
        {
            "api_key": "sandbox-coin-metrics-limited",
            "markets": ["binance-BTCUSDT-future"],
            "metrics_exchanges": ["binance"],
        },
    ),
    ("kwery", {"api_key": "sandbox-kwery-free", "min_usd": 1000}),
    ("kiyotaka", {"api_key": "sandbox-kiyotaka-basic"}),
]


@pytest.mark.parametrize(("vendor", "fields"), CHECKS, ids=lambda value: str(value)[:60])
def test_what_check_says_is_documented(vendor: str, fields: dict[str, Any], vendors: Sandbox) -> None:
    status = SourceLiquidations().check(logger, config_of(vendors, vendor, **fields))
    says(status.message)


def test_what_check_says_without_a_vendor() -> None:
    """The page names the first two vendors only, so that a further one changes nothing there."""
    first, second, *others = (vendor.name for vendor in VENDORS)
    message = SourceLiquidations().check(logger, {"start_date": START}).message or ""
    assert message.startswith(f"`{', '.join((first, second, *others))}`: ")
    says(message.replace(", ".join(others), "…"))


def read(config: dict[str, Any], stream: str) -> None:
    catalog = ConfiguredAirbyteCatalogSerializer.load(
        {
            "streams": [
                {
                    "stream": {"name": stream, "json_schema": {}, "supported_sync_modes": ["incremental"]},
                    "sync_mode": "incremental",
                    "destination_sync_mode": "append_dedup",
                }
            ]
        }
    )
    for _ in SourceLiquidations().read(logger, config, catalog):
        pass


def failure(config: dict[str, Any], stream: str) -> str:
    """The message of the error that a read ends with."""
    with pytest.raises(AirbyteTracedException) as failed:
        read(config, stream)
    return str(failed.value.message)


READS: list[tuple[str, str, dict[str, Any], dict[str, Any] | None]] = [
    (
        "kaiko_liquidation_events",
        "kaiko",
        KAIKO_EVENTS,
        {"kind": "status", "status": 503, "times": None},
    ),
    ("kaiko_liquidation_events", "kaiko", KAIKO_EVENTS, {"kind": "repeat_token", "times": None}),
    (
        "kaiko_liquidation_events",
        "kaiko",
        KAIKO_EVENTS,
        {"kind": "wrong_types", "field": "trade_id", "value": 7, "times": None},
    ),
    ("kaiko_liquidation_events", "kaiko", KAIKO_EVENTS, {"kind": "status", "status": 401, "times": None, "after": 1}),
    ("coin_metrics_market_liquidations", "coin_metrics", {"markets": ["nowhere-XYZ-future"]}, None),
    ("kwery_liquidations", "kwery", {"api_key": "sandbox-kwery-exhausted", "symbols": ["BTC"]}, None),
    ("kwery_liquidations", "kaiko", KAIKO_EVENTS, None),
]


@pytest.mark.parametrize(("stream", "vendor", "fields", "fault"), READS, ids=lambda value: str(value)[:60])
def test_what_a_read_says_is_documented(
    stream: str, vendor: str, fields: dict[str, Any], fault: dict[str, Any] | None, vendors: Sandbox
) -> None:
    vendors.clear()
    if fault is not None:
        vendors.fault(**{**fault, "vendor": vendor})
    config = config_of(vendors, vendor, **fields)
    says(failure(config, stream))
    vendors.clear()


LOGS: list[tuple[str, str, dict[str, Any], dict[str, Any] | None, str]] = [
    (
        "kwery_liquidations",
        "kwery",
        {"symbols": ["BTC"], "max_credits_per_sync": 2_000},
        None,
        "kwery_liquidations: kwery: stopped",
    ),
    (
        "kiyotaka_liquidation_agg",
        "kiyotaka",
        {
            "api_key": "sandbox-kiyotaka-free",
            "symbols": ["BYBIT/BTCUSDT"],
            "coins": [],
            "requests_per_minute": 600,
        },
        None,
        "reach back",
    ),
    (
        "kaiko_liquidation_events",
        "kaiko",
        KAIKO_EVENTS,
        {"kind": "unknown_fields", "fields": {"surprise": 1}, "times": None},
        "undocumented fields",
    ),
]


@pytest.mark.parametrize(("stream", "vendor", "fields", "fault", "words"), LOGS, ids=lambda value: str(value)[:60])
def test_what_the_log_says_is_documented(
    stream: str,
    vendor: str,
    fields: dict[str, Any],
    fault: dict[str, Any] | None,
    words: str,
    vendors: Sandbox,
    caplog: pytest.LogCaptureFixture,
) -> None:
    vendors.clear()
    if fault is not None:
        vendors.fault(**{**fault, "vendor": vendor})
    with caplog.at_level("INFO", logger="airbyte"):
        start = "2026-01-01" if words == "reach back" else START
        read({**config_of(vendors, vendor, **fields), "start_date": start, "num_workers": 1}, stream)
    vendors.clear()
    (message,) = [record.getMessage() for record in caplog.records if words in record.getMessage()]
    says(message)
