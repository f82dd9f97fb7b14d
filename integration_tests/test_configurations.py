"""Bad configurations: `check` says FAILED, which field it is and what is allowed; no stack, no key, no request."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from bad_configurations import BAD, NO_CONFIGURATION, Bad
from cases import CASES, COIN_METRICS, EVENTS, KAIKO_KEY, config_of
from harness import Connector

from sandbox import Sandbox
from source_liquidations import SourceLiquidations


def good(sandbox: Sandbox) -> dict[str, Any]:
    config = config_of(CASES, sandbox)
    for vendor in ("kaiko", "kwery", "kiyotaka", "coin_metrics"):
        config[vendor]["api_key"] = {"coin_metrics": "cm+key/with=chars"}.get(vendor, config[vendor]["api_key"])
    return config


def test_the_table_is_long_enough() -> None:
    assert len({bad.name for bad in BAD}) == len(BAD) >= 60


def test_the_unchanged_configuration_is_valid(sandbox: Sandbox) -> None:
    status = SourceLiquidations().check(logging.getLogger("test"), good(sandbox))
    assert status.status.value == "SUCCEEDED", status.message


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_check_names_the_field_and_what_is_allowed(bad: Bad, sandbox: Sandbox) -> None:
    config = bad.of(good(sandbox))
    status = SourceLiquidations().check(logging.getLogger("test"), config)
    message = status.message or ""
    assert status.status.value == "FAILED"
    assert f"`{bad.field}`" in message or (bad.name.startswith("no vendor") and "kaiko, kwery" in message), message
    assert bad.says in message
    assert "Traceback" not in message
    assert sandbox.requests() == [], "nothing is asked of a vendor"
    for section in config.values():
        key = section.get("api_key") if isinstance(section, dict) else None
        assert not (isinstance(key, str) and len(key) > 3 and key.strip() in message)


SAMPLE = [bad for bad in BAD if bad.name in ("no start", "start_date, no such day", "lookback_window, longer than time",
    "kaiko.api_key, line break after", "kaiko.base_url, a user and a password", "no vendor but empty ones",
    "num_workers, fraction")]  # fmt: skip


@pytest.mark.parametrize("bad", SAMPLE, ids=str)
def test_the_command_line_says_the_same(bad: Bad, connector: Connector, sandbox: Sandbox) -> None:
    config = bad.of(good(sandbox))
    run = connector.check(config, script=bad is SAMPLE[0])
    assert run.code == 0, run
    assert run.status["status"] == "FAILED"
    assert f"`{bad.field}" in run.status["message"]
    assert bad.says in run.status["message"]
    assert b"Traceback" not in run.out + run.err
    for command in (connector.discover(config), connector.read(config, [COIN_METRICS.stream])):
        assert command.code == 1
        (trace,) = command.traces
        assert trace["failure_type"] == "config_error"
        assert f"`{bad.field}" in trace["message"]
        assert not trace.get("stack_trace")
        assert b"Traceback" not in command.out + command.err
        assert KAIKO_KEY not in (command.out + command.err).decode()
    assert sandbox.requests() == []


@pytest.mark.parametrize("text", NO_CONFIGURATION.values(), ids=NO_CONFIGURATION.keys())
def test_a_file_that_is_no_configuration_fails(text: str, connector: Connector) -> None:
    run = connector.check(text)
    assert run.status["status"] == "FAILED"
    assert b"Traceback" not in run.out + run.err


def test_whole_numbers_may_be_written_with_a_point(sandbox: Sandbox, connector: Connector) -> None:
    """JSON does not distinguish 4.0 from 4, nor does the specification."""
    config = COIN_METRICS.config(sandbox, num_workers=4.0)
    config["coin_metrics"]["requests_per_minute"] = 6000.0
    assert connector.check(config).status["status"] == "SUCCEEDED"
    assert connector.read(config, [COIN_METRICS.stream]).code == 0


@pytest.mark.parametrize("end", ["", None, "2199-01-01"], ids=["empty", "none", "in the future"])
def test_the_end_date_is_optional_and_may_be_in_the_future(end: str | None, sandbox: Sandbox) -> None:
    config = COIN_METRICS.config(sandbox, end=None, **({} if end is None else {"end_date": end}))
    assert SourceLiquidations().check(logging.getLogger("test"), config).status.value == "SUCCEEDED"


def test_fields_of_the_platform_are_accepted(sandbox: Sandbox) -> None:
    config = COIN_METRICS.config(sandbox) | {"__injected_declarative_manifest": {}, "_x": 1}
    assert SourceLiquidations().check(logging.getLogger("test"), config).status.value == "SUCCEEDED"


# Errors that only the vendor can detect.

REFUSED = [
    ({"kaiko.api_key": "wrong-kaiko-key"}, "kaiko.api_key", "HTTP 401"),
    ({"kaiko.api_key": "sandbox-kaiko-forbidden"}, "kaiko.api_key", "HTTP 403"),
    ({"kaiko.instruments": ["bbit/perpetual-future/nonesuch"]}, "kaiko.instruments[0]", "HTTP 404"),
    ({"kaiko.instruments": ["none*/perpetual-future/*"]}, "kaiko.instruments[0]", "matches"),
    ({"kaiko.assets": ["btc", "nonesuch"]}, "kaiko.assets[1]", "HTTP 404"),
    (
        {"coin_metrics.markets": ["nonesuch-*-future", "x-*-future"]},
        "coin_metrics.markets[1]",
        "coin_metrics.markets[0]",
    ),
    ({"gate.contracts": ["usdt/NONE*", "usdt/XX*"]}, "gate.contracts[1]", "gate.contracts[0]"),
    ({"kiyotaka.symbols": ["BYBIT/NONE*", "BYBIT/ZZZ*"]}, "kiyotaka.symbols[1]", "kiyotaka.symbols[0]"),
    (
        {"kaiko.instruments": ["none*/perpetual-future/*", "x*/perpetual-future/*"]},
        "kaiko.instruments[1]",
        "kaiko.instruments[0]",
    ),
    ({"kwery.api_key": "wrong-kwery-key"}, "kwery.api_key", "HTTP 401"),
    ({"kwery.symbols": ["BTC", "NONESUCH"]}, "kwery.symbols[1]", "Allowed: BTC"),
    ({"coin_metrics.api_key": "wrong+cm/key"}, "coin_metrics.api_key", "HTTP 401"),
    ({"coin_metrics.markets": ["binance-BTCUSDT-future", "x-y-future"]}, "coin_metrics.markets[1]", "HTTP 400"),
    ({"coin_metrics.markets": ["nonesuch-*-future"]}, "coin_metrics.markets[0]", "matches"),
    ({"kiyotaka.api_key": "wrong-kiyotaka-key"}, "kiyotaka.api_key", "HTTP 401"),
    ({"kiyotaka.symbols": ["BYBIT/NONESUCH"]}, "kiyotaka.symbols[0]", "HTTP 400"),
    ({"kiyotaka.symbols": ["BYBIT/NONE*"]}, "kiyotaka.symbols[0]", "matches"),
    ({"bitfinex.symbols": ["tNONESUCH:USD", "*"]}, "bitfinex.symbols[0]", "is not among the pairs"),
    ({"bitfinex.symbols": ["tBTCUSD", "tbtcf0:ustf0"]}, "bitfinex.symbols[1]", "Did you mean tBTCF0:USTF0?"),
    ({"bitfinex.symbols": ["*", "tNONE*"]}, "bitfinex.symbols[1]", "matches"),
    ({"gate.contracts": ["usdt/BTC_USDT", "usdt/NONESUCH_USDT"]}, "gate.contracts[1]", "CONTRACT_NOT_FOUND"),
    ({"gate.contracts": ["usdt/NONE*"]}, "gate.contracts[0]", "matches"),
    ({"gate.contracts": ["usdt/BTC_USDT", "eur/BTC_EUR"]}, "gate.contracts[1]", "HTTP 400"),
    ({"gate.contracts": ["eur/*"]}, "gate.contracts[0]", "HTTP 400"),
    ({"gate.contracts": ["usd/*"]}, "gate.contracts[0]", "matches"),
]


def refused(changes: dict[str, Any], sandbox: Sandbox) -> str:
    """The message of `check` for one changed field, with only its vendor configured."""
    (path,) = changes
    vendor = path.split(".")[0]
    config = Bad("", changes, path, "").of(good(sandbox))
    config = {name: value for name, value in config.items() if not isinstance(value, dict) or name == vendor}
    status = SourceLiquidations().check(logging.getLogger("test"), config)
    assert status.status.value == "FAILED"
    assert status.message is not None
    assert status.message.startswith(vendor)
    return status.message


@pytest.mark.parametrize(("changes", "field", "says"), REFUSED, ids=lambda value: str(value)[:60])
def test_check_names_the_field_that_a_vendor_refuses(
    changes: dict[str, Any], field: str, says: str, sandbox: Sandbox
) -> None:
    message = refused(changes, sandbox)
    assert f"`{field}`" in message, message
    assert says in message
    (path,) = changes
    assert json.dumps(changes[path]).strip('"') not in message or "key" not in path


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"coin_metrics.markets": ["okx-BTC-USDT-SWAP-future"]}, "Coin Metrics writes okex"),
        ({"coin_metrics.markets": ["Binance-BTCUSDT-future"]}, "Coin Metrics writes binance"),
        ({"coin_metrics.markets": ["BINANCE_FUTURES-*-future"]}, "Coin Metrics writes binance"),
        ({"kaiko.instruments": ["bybit/perpetual-future/btc-usdt"]}, "Kaiko writes bbit"),
        ({"kaiko.instruments": ["binance/perpetual-future/*"]}, "Kaiko writes binc"),
        ({"kiyotaka.symbols": ["okx/BTC-USDT-SWAP"]}, "Kiyotaka writes OKEX_SWAP"),
        ({"kiyotaka.symbols": ["binance/*"]}, "Kiyotaka writes BINANCE"),
        ({"kiyotaka.coin_exchanges": ["BYBIT", "okx"]}, "Kiyotaka writes OKEX_SWAP or OKEX_FUTURES, not okx."),
        (
            {"kiyotaka.api_key": "a-key-of-openmarket"},
            "If it is one of openmarket, set `kiyotaka.platform` to openmarket.",
        ),
    ],
    ids=str,
)
def test_check_knows_another_vendors_spelling_and_the_other_platform(
    changes: dict[str, Any], says: str, sandbox: Sandbox
) -> None:
    message = refused(changes, sandbox)
    assert says in message, message


def test_check_names_what_each_vendor_refuses(sandbox: Sandbox) -> None:
    config = good(sandbox)
    config["kaiko"]["api_key"] = "wrong-kaiko-key"
    config["gate"]["contracts"] = ["usdt/NONESUCH_USDT"]
    message = SourceLiquidations().check(logging.getLogger("test"), config).message or ""
    assert "`kaiko.api_key`" in message
    assert "`gate.contracts[0]`" in message


def test_check_costs_little(sandbox: Sandbox) -> None:
    assert SourceLiquidations().check(logging.getLogger("test"), good(sandbox)).status.value == "SUCCEEDED"
    asked = {vendor: len(sandbox.requests(vendor)) for vendor in ("kaiko", "kwery", "coin_metrics", "kiyotaka")}
    assert asked["coin_metrics"] == 1
    assert [request.path for request in sandbox.requests("bitfinex")] == [
        "/v2/platform/status",
        "/v2/conf/pub:list:pair:futures,pub:list:pair:margin",
    ]
    assert asked["kwery"] == 2
    assert asked["kiyotaka"] <= 3, "one interval of each symbol, and one sum"
    assert asked["kaiko"] == 5, "one row of each entry"
    lists = ("/conf/", "/future-markets")
    assert all(r.rows <= 10 for r in sandbox.requests() if not any(path in r.path for path in lists))


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-02-28", "2026-02-28T00:00:00.000Z"),
        ("2026-02-28T12:00:00", "2026-02-28T12:00:00.000Z"),
        ("2026-02-28T12:00:00+00:00", "2026-02-28T12:00:00.000Z"),
        ("2026-02-28T12:00:00.5+01:00", "2026-02-28T11:00:00.500Z"),
        ("2026-02-28T12:00Z", "2026-02-28T12:00:00.000Z"),
    ],
)
def test_dates_in_every_form_of_rfc_3339(text: str, instant: str, connector: Connector, sandbox: Sandbox) -> None:
    run = connector.read(EVENTS.config(sandbox, text, "2026-02-28T13:00:00Z"), [EVENTS.stream])
    assert run.code == 0, run
    assert {request.params.get("start_time") for request in sandbox.requests("kaiko")} - {None} == {instant}
