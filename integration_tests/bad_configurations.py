"""Invalid configurations, with the field and the text that the error message must have.

Each is a change of a valid one: `{"kaiko.region": "mars"}` sets a field, `REMOVED` removes it.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

REMOVED = object()


@dataclass(frozen=True)
class Bad:
    """An invalid configuration; the message must contain the field and `says`."""

    name: str
    changes: dict[str, Any]
    field: str
    says: str

    def of(self, good: dict[str, Any]) -> dict[str, Any]:
        config = copy.deepcopy(good)
        for path, value in self.changes.items():
            *sections, last = path.split(".")
            place = config
            for section in sections:
                place = place[section]
            if value is REMOVED:
                del place[last]
            else:
                place[last] = value
        return config

    def __str__(self) -> str:
        return self.name


def dates(field: str) -> list[Bad]:
    form = "Allowed: YYYY-MM-DD"
    values: dict[str, Any] = {
        "words": "yesterday",
        "day first": "28.02.2026",
        "slashes": "2026/02/28",
        "no such day": "2026-02-30",
        "no such month": "2026-13-01",
        "no such hour": "2026-02-28T25:00:00Z",
        "no such zone": "2026-02-28T12:00:00+25:00",
        "zone by name": "2026-02-28T12:00:00 CET",
        "blank for T": "2026-02-28 12:00:00Z",
        "ten digits": "2026-02-28T12:00:00.0123456789Z",
        "line break": "2026-02-28\n",
        "blank": " 2026-02-28",
        "other digits": "२०२६-०२-२८",
        "year zero": "0000-01-01",
    }
    cases = [Bad(f"{field}, {name}", {field: value}, field, form) for name, value in values.items()]
    for name, value in {"number": 20260228, "list": ["2026-02-28"], "true": True}.items():
        cases.append(Bad(f"{field}, {name}", {field: value}, field, "Allowed: "))
    return cases


def durations() -> list[Bad]:
    values: dict[str, Any] = {
        "words": "one hour",
        "number": 3600,
        "clock": "01:00:00",
        "negative": "-PT1H",
        "nothing in it": "P",
        "nothing after T": "PT",
        "months": "P1M",
        "fraction": "PT1.5H",
        "an interval": "2026-01-01/P1D",
        "a date": "2026-01-01",
        "line break": "PT1H\n",
        "longer than time": "P99999999999D",
    }
    return [
        Bad(f"lookback_window, {name}", {"lookback_window": value}, "lookback_window", "Allowed: ")
        for name, value in values.items()
    ]


def counts(field: str, *, maximum: int | None) -> list[Bad]:
    values: dict[str, Any] = {
        "zero": 0,
        "negative": -1,
        "fraction": 1.5,
        "text": "eight",
        "fraction as text": "8.5",
        "true": True,
    }
    if maximum is not None:
        values["too many"] = maximum + 1
    return [Bad(f"{field}, {name}", {field: value}, field, "Allowed: ") for name, value in values.items()]


def base_urls(field: str) -> list[Bad]:
    values: dict[str, Any] = {
        "http elsewhere": "http://example.com",
        "http on the network": "http://192.168.0.1:8900",
        "http on all addresses": "http://0.0.0.0:8900",
        "loopback as a number": "http://2130706433/",
        "loopback in short": "http://127.1/",
        "a host that begins like loopback": "http://127.0.0.1.example.com",
        "a host that begins like localhost": "http://localhost.example.com",
        "a user before the host": "http://127.0.0.1@example.com",
        "a user and a password": "https://user:secret@example.com",
        "a backslash": "https://example.com\\@127.0.0.1",
        "no scheme": "example.com/kaiko",
        "no host": "https:///kaiko",
        "no address": "https://",
        "another scheme": "ftp://example.com",
        "a file": "file:///etc/passwd",
        "script": "javascript:alert(1)",
        "a query": "https://example.com?key=",
        "an empty query": "https://example.com?",
        "a fragment": "https://example.com#",
        "a port out of range": "https://example.com:99999",
        "a port that is none": "https://example.com:https",
        "a bracket left open": "https://[::1",
        "a blank": "https://exa mple.com",
        "a line break": "https://example.com/\nX-Header: 1",
        "a trailing line break": "https://example.com\n",
        "a tab": "https://example.com\t",
    }
    cases = [Bad(f"{field}, {name}", {field: value}, field, "E.g. https://") for name, value in values.items()]
    return [*cases, Bad(f"{field}, number", {field: 8900}, field, "Allowed: text")]


def keys(vendor: str) -> list[Bad]:
    field = f"{vendor}.api_key"
    values = {
        "blank within": "sandbox key",
        "blank after": "sandbox-key ",
        "line break after": "sandbox-key\n",
        "carriage return": "sandbox-key\r\n",
        "tab": "sandbox\tkey",
        "not ASCII": "sändbox-key",
        "zero byte": "sandbox\x00key",
        "zero width blank": "sandbox\u200bkey",
        "half a character": "sandbox\ud800key",
    }
    cases = [Bad(f"{field}, {name}", {field: value}, field, "Copy it again") for name, value in values.items()]
    return [*cases, Bad(f"{field}, number", {field: 5}, field, "must be text")]


def entries(field: str, values: dict[str, Any], form: str) -> list[Bad]:
    """Lists with an invalid entry after a valid one, and values that are not lists."""
    good = values.pop("good")
    return [
        *[Bad(f"{field}, {n}", {field: [good, v]}, f"{field}[1]", form) for n, v in values.items()],
        Bad(f"{field}, no list", {field: good}, field, "must be a list, e.g. ["),
        Bad(f"{field}, an object", {field: {"0": good}}, field, "must be a list, e.g. ["),
        Bad(f"{field}, a number in it", {field: [good, 7]}, f"{field}[1]", "Allowed: "),
        Bad(f"{field}, null in it", {field: [None]}, f"{field}[0]", "Allowed: "),
        Bad(f"{field}, half a character", {field: [good, f"{good}\ud800"]}, f"{field}[1]", ""),
        Bad(f"{field}, line break", {field: [good, f"{good}\n"]}, f"{field}[1]", "Allowed: "),
    ]


VENDORS = ("kaiko", "kwery", "coin_metrics", "kiyotaka", "bitfinex", "gate", "coinalyze")
BAD = [
    Bad("no start", {"start_date": REMOVED}, "start_date", "is required"),
    Bad("start in the future", {"start_date": "2099-01-01", "end_date": REMOVED}, "start_date", "past date"),
    Bad("end before start", {"end_date": "2026-01-01"}, "end_date", "later date"),
    Bad("end equal to start", {"start_date": "2026-02-01", "end_date": "2026-02-01"}, "end_date", "later date"),
    *dates("start_date"),
    *dates("end_date"),
    *durations(),
    *counts("num_workers", maximum=40),
    *counts("kaiko.requests_per_minute", maximum=None),
    *counts("kwery.max_credits_per_sync", maximum=None),
    Bad("credits that pay for no row", {"kwery.max_credits_per_sync": 26}, "kwery.max_credits_per_sync", "Allowed: 45"),
    Bad("min_usd, negative", {"kwery.min_usd": -1}, "kwery.min_usd", "Allowed: "),
    Bad("min_usd, text", {"kwery.min_usd": "much"}, "kwery.min_usd", "Allowed: "),
    Bad("no vendor", dict.fromkeys(VENDORS, REMOVED), "kaiko", "at least one"),
    Bad(
        "no vendor but empty ones",
        {
            "kaiko": {},
            "kwery": None,
            "coin_metrics": [],
            "kiyotaka": "",
            "bitfinex": {"symbols": []},
            "gate": {"interval": "1h"},
            "coinalyze": {"interval": "daily", "denomination": "usd"},
        },
        "kaiko",
        "at least one",
    ),
    Bad("a vendor's name with a slip", {"kaikoo": {}}, "kaikoo", "Did you mean `kaiko`?"),
    Bad("unknown field, close", {"startdate": "2026-01-01"}, "startdate", "Did you mean `start_date`?"),
    Bad("unknown field of a vendor", {"kaiko.instrument": []}, "kaiko.instrument", "Did you mean `kaiko.instruments`?"),
    *[
        Bad(f"{vendor} is {name}", {vendor: value}, vendor, "must be a JSON object")
        for vendor in ("kaiko", "coin_metrics")
        for name, value in (("a list", ["BTC"]), ("text", "sandbox-key"), ("true", True))
    ],
    Bad("kaiko with an empty key", {"kaiko.api_key": ""}, "kaiko.api_key", "is required"),
    Bad("kaiko with null for a key", {"kaiko.api_key": None}, "kaiko.api_key", "is required"),
    Bad("kaiko without a key", {"kaiko.api_key": REMOVED}, "kaiko.api_key", "is required"),
    Bad("kwery without a key", {"kwery.api_key": REMOVED}, "kwery.api_key", "is required"),
    Bad("kiyotaka without a key", {"kiyotaka.api_key": REMOVED}, "kiyotaka.api_key", "is required"),
    Bad("coin_metrics without markets", {"coin_metrics.markets": REMOVED}, "coin_metrics.markets", "is required"),
    Bad("bitfinex without symbols", {"bitfinex.symbols": REMOVED}, "bitfinex.symbols", "is required"),
    Bad("coin_metrics with no markets", {"coin_metrics.markets": []}, "coin_metrics.markets", "is required"),
    Bad("gate without contracts", {"gate.contracts": REMOVED}, "gate.contracts", "is required"),
    Bad(
        "kaiko with nothing to read",
        {"kaiko.instruments": [], "kaiko.assets": []},
        "kaiko.instruments",
        "nothing to read",
    ),
    Bad(
        "kiyotaka with nothing to read",
        {"kiyotaka.symbols": [], "kiyotaka.coins": []},
        "kiyotaka.symbols",
        "nothing to read",
    ),
    Bad("coins without exchanges", {"kiyotaka.coin_exchanges": []}, "kiyotaka.coin_exchanges", "required with coins"),
    *keys("kaiko"),
    *keys("coin_metrics"),
    *base_urls("kaiko.base_url"),
    *base_urls("coin_metrics.base_url")[:4],
    *base_urls("kaiko.reference_base_url")[:4],
    *[
        Bad(f"{field}, {name}", {field: value}, field, "Allowed: ")
        for field, values in {
            "kaiko.region": {"unknown": "mars", "upper case": "US", "number": 1},
            "kaiko.interval": {
                "no unit": "1",
                "minutes": "5m",
                "25 hours": "25h",
                "two days": "2d",
                "line break": "1h\n",
            },
            "kwery.side": {"unknown": "both", "upper case": "LONG"},
            "kiyotaka.platform": {"unknown": "kiyotaka.ai"},
            "kiyotaka.interval": {"unknown": "1h", "lower case": "hour"},
            "kiyotaka.denomination": {"unknown": "eur"},
            "gate.interval": {"unknown": "2h", "upper case": "1H"},
        }.items()
        for name, value in values.items()
    ],
    *entries(
        "kaiko.instruments",
        {
            "good": "bbit/perpetual-future/btc-usdt",
            "no class": "bbit/btc-usdt",
            "four parts": "bbit/perpetual-future/btc/usdt",
            "an empty part": "bbit//btc-usdt",
            "a blank": "bbit/perpetual-future/btc usdt",
            "empty": "",
        },
        "Allowed: exchange/instrument_class/instrument",
    ),
    Bad(
        "kaiko.instruments, spot",
        {"kaiko.instruments": ["bbit/spot/btc-usdt"]},
        "kaiko.instruments[0]",
        "Allowed: future",
    ),
    Bad("kaiko.instruments, a path", {"kaiko.instruments": ["../future/.."]}, "kaiko.instruments[0]", ""),
    *entries(
        "kaiko.assets",
        {"good": "btc", "upper case": "BTC", "a pattern": "b*", "a path": "../v1", "two dots": "..", "empty": ""},
        "Allowed: an asset code",
    ),
    *entries(
        "coin_metrics.markets",
        {
            "good": "binance-BTCUSDT-future",
            "two in one": "binance-ETHUSDT-future,bybit-ETHUSDT-future",
            "a parameter": "binance-ETHUSDT-future&api_key=x",
            "a blank": "binance ETHUSDT",
            "percent": "binance%2DETHUSDT",
            "empty": "",
        },
        "Allowed: a market id",
    ),
    Bad("a spot market", {"coin_metrics.markets": ["binance-btc-usdt-spot"]}, "coin_metrics.markets[0]", "futures"),
    *entries(
        "kwery.symbols", {"good": "BTC", "lower case": "btc", "a pattern": "B*", "empty": ""}, "Allowed: a symbol"
    ),
    *entries(
        "kiyotaka.symbols",
        {"good": "BYBIT/BTCUSDT", "no exchange": "BTCUSDT", "an empty part": "BYBIT/", "empty": ""},
        "Allowed: EXCHANGE/rawSymbol",
    ),
    *entries(
        "gate.contracts",
        {
            "good": "usdt/BTC_USDT",
            "no settle currency": "BTC_USDT",
            "upper case": "USDT/BTC_USDT",
            "two in one": "usdt/BTC_USDT,usdt/ETH_USDT",
            "a path": "../usdt/BTC_USDT",
            "an empty part": "usdt/",
            "a blank": "usdt/BTC USDT",
            "empty": "",
        },
        "Allowed: the settle currency in lower case",
    ),
    *counts("bitfinex.requests_per_minute", maximum=None),
    *base_urls("bitfinex.base_url")[:4],
    *entries(
        "bitfinex.symbols",
        {"good": "tBTCUSD", "no t": "BTCF0:USTF0", "two in one": "tBTCUSD,tETHUSD", "a blank": "tBTC USD", "empty": ""},
        "Allowed: a symbol",
    ),
]

# Files that are not a configuration at all, as text.
NO_CONFIGURATION = {
    "no JSON": "start_date: 2026-01-01",
    "cut off": '{"start_date": "2026-01-01", "kaiko": {',
    "empty": "",
    "a list": "[]",
    "null": "null",
    "text": '"2026-01-01"',
    "an empty object": "{}",
}
