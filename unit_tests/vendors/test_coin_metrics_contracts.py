"""What Coin Metrics' contracts are worth; the figures are worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from source_liquidations.errors import RequestRefused
from source_liquidations.http.answers import Answered
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition
from source_liquidations.vendors.coin_metrics.contracts import Contracts

LINEAR = {"market": "okex-BTC-USDT-SWAP-future", "base": "btc", "quote": "usdt", "size_asset": "btc"}
INVERSE = {"market": "bitmex-XBTUSD-future", "base": "btc", "quote": "usd", "size_asset": "usd"}
EVERY: list[tuple[dict[str, str], str, str, str | None, str | None]] = [
    # market, amount, price: amount_base, notional_usd
    ({**LINEAR, "contract_size": "0.01"}, "250", "60000", "2.5", "150000"),
    ({**LINEAR, "market": "binance-BTCUSDT-future", "contract_size": "1"}, "0.045", "11380.39", "0.045", "512.11755"),
    ({**INVERSE, "contract_size": "1"}, "30000", "60000", "0.5", "30000"),
    ({**INVERSE, "market": "deribit-BTC-PERPETUAL-future", "contract_size": "10"}, "4500", "90000", "0.5", "45000"),
    # The price is that of 1,000 SHIB, which is what the symbol counts.
    (
        {
            "market": "binance-1000SHIBUSDT-future",
            "base": "shib",
            "quote": "usdt",
            "size_asset": "shib",
            "contract_size": "1000",
        },
        "20000",
        "0.0125",
        "20000",
        "250",
    ),
    # A quote that is no dollar.
    (
        {
            **LINEAR,
            "market": "b-ETHXBT-future",
            "base": "eth",
            "quote": "btc",
            "size_asset": "eth",
            "contract_size": "1",
        },
        "7",
        "0.04",
        "7",
        None,
    ),
    (
        {"market": "bitmex-XBTEUR-future", "base": "btc", "quote": "eur", "size_asset": "eur", "contract_size": "1"},
        "30000",
        "60000",
        "0.5",
        None,
    ),
    # Quanto: counted in neither.
    (
        {**INVERSE, "market": "bitmex-ETHUSD-future", "base": "eth", "size_asset": "btc", "contract_size": "1"},
        "7",
        "3",
        None,
        None,
    ),
    ({**LINEAR, "contract_size": "0"}, "1", "2", None, None),
    ({**LINEAR, "contract_size": "a lot"}, "1", "2", None, None),
    ({**INVERSE, "contract_size": "1"}, "30000", "0", None, "30000"),
]


class Wire:
    """A client whose answers are given; what it was asked for."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []

    def fetch(self, request: Request, traffic: Traffic | None = None) -> Answered:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Answered(200, {}, json.dumps(answer).encode())


def prepared(*answers: Any, markets: tuple[str, ...]) -> tuple[Contracts, Wire]:
    wire = Wire(*answers)
    contracts = Contracts(wire)  # type: ignore[arg-type]
    contracts.prepare([Partition.of(market=market) for market in markets], Traffic())
    return contracts, wire


def literals(values: Any) -> list[Any]:
    return [json.loads(bytes(value)) for value in values]


@pytest.mark.parametrize(("row", "amount", "price", "base", "usd"), EVERY)
def test_an_amount_in_contracts(
    row: dict[str, str], amount: str, price: str, base: str | None, usd: str | None
) -> None:
    contracts, _ = prepared({"data": [row]}, markets=(row["market"],))
    found = contracts.columns([row["market"]], [amount.encode()], [price.encode()])
    assert literals(found.amount_base) == [None if base is None else float(base)]
    assert literals(found.notional_usd) == [None if usd is None else float(usd)]


def test_markets_of_one_page_have_their_own_contracts() -> None:
    rows = [{**LINEAR, "contract_size": "0.01"}, {**INVERSE, "contract_size": "1"}]
    markets = [rows[0]["market"], rows[0]["market"], rows[1]["market"], "unknown-XYZ-future", rows[0]["market"]]
    contracts, _ = prepared({"data": rows}, markets=tuple(markets))
    amounts, prices = [b"100", b"null", b"60000", b"5", b"300"], [b"60000", b"1", b"60000", b"6", msgspec.Raw(b"null")]
    found = contracts.columns(markets, amounts, prices)
    assert literals(found.amount_base) == [1, None, 1, None, 3]
    assert literals(found.notional_usd) == [60000, None, 60000, None, None]


def test_all_markets_are_asked_for_at_once_and_pages_are_followed() -> None:
    rows = [{**LINEAR, "contract_size": "0.01"}, {**INVERSE, "contract_size": "1"}]
    pages = ({"data": rows[:1], "next_page_token": "x"}, {"data": rows[1:]})
    markets = (rows[1]["market"], rows[0]["market"])
    contracts, wire = prepared(*pages, markets=markets)
    listed = ("markets", "bitmex-XBTUSD-future,okex-BTC-USDT-SWAP-future")
    assert [request.path for request in wire.asked] == ["/v4/reference-data/markets"] * 2
    assert wire.asked[0].params == (listed, ("page_size", "10000"))
    assert wire.asked[1].params == (listed, ("page_size", "10000"), ("next_page_token", "x"))
    assert literals(contracts.columns(markets, [b"60000", b"100"], [b"60000", b"60000"]).amount_base) == [1, 1]


def test_what_cannot_be_had_is_told_once_and_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    refusal = RequestRefused("HTTP 403: forbidden", status=403)
    contracts, _ = prepared(refusal, markets=tuple(f"okex-{n}-future" for n in range(7)))
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("coin_metrics: the reference data have no contract size of okex-0-future, okex-1-future")
    assert "and 2 more (HTTP 403: forbidden): amount_base and notional_usd are null there" in line
    found = contracts.columns(["okex-0-future"], [b"1"], [b"2"])
    assert literals(found.amount_base) == literals(found.notional_usd) == [None]
