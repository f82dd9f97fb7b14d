"""The value of Coin Metrics' contracts; the expected figures are calculated by hand."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from source_liquidations.errors import AccessRefused, RequestRefused, VendorUnavailable
from source_liquidations.http.answers import Response
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Partition
from source_liquidations.vendors.coin_metrics.markets import Contracts
from source_liquidations.vendors.contract_sizes import converted

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
    (
        {
            "market": "binance-1MBABYDOGEUSDT-future",
            "base": "babydoge",
            "quote": "usdt",
            "size_asset": "babydoge",
            "contract_size": "1000000",
        },
        "20000",
        "0.0125",
        "20000",
        "250",
    ),
    # A quote asset that is not a dollar.
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
    """A client with given answers that records its requests."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[Request] = []

    def fetch(self, request: Request, traffic: Traffic | None = None) -> Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Response(200, {}, json.dumps(answer).encode())


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
    found = converted(contracts.by_market, [row["market"]], [amount.encode()], [price.encode()])
    assert literals(found.amount_base) == [None if base is None else float(base)]
    assert literals(found.notional_usd) == [None if usd is None else float(usd)]


def test_markets_of_one_page_have_their_own_contracts() -> None:
    rows = [{**LINEAR, "contract_size": "0.01"}, {**INVERSE, "contract_size": "1"}]
    markets = [rows[0]["market"], rows[0]["market"], rows[1]["market"], "unknown-XYZ-future", rows[0]["market"]]
    contracts, _ = prepared({"data": rows}, markets=tuple(markets))
    amounts, prices = [b"100", b"null", b"60000", b"5", b"300"], [b"60000", b"1", b"60000", b"6", msgspec.Raw(b"null")]
    found = converted(contracts.by_market, markets, amounts, prices)
    assert literals(found.amount_base) == [1, None, 1, None, 3]
    assert literals(found.notional_usd) == [60000, None, 60000, None, None]


def test_an_amount_in_the_base_asset_keeps_its_digits_beside_other_contracts() -> None:
    rows = [{**LINEAR, "contract_size": "1"}, {**INVERSE, "contract_size": "1"}]
    markets = tuple(row["market"] for row in rows)
    contracts, _ = prepared({"data": rows}, markets=markets)
    amounts = [b"0.123456789012345678", b"123456789012345678"]
    found = converted(contracts.by_market, markets, amounts, [b"60000", b"60000"])
    assert found.amount_base == [amounts[0], b"2057613150205.76"]
    assert found.notional_usd == [b"7407.40734074074", amounts[1]]


def test_all_markets_are_requested_at_once_and_pages_are_followed() -> None:
    rows = [{**LINEAR, "contract_size": "0.01"}, {**INVERSE, "contract_size": "1"}]
    pages = ({"data": rows[:1], "next_page_token": "x"}, {"data": rows[1:]})
    markets = (rows[1]["market"], rows[0]["market"])
    contracts, wire = prepared(*pages, markets=markets)
    listed = ("markets", "bitmex-XBTUSD-future,okex-BTC-USDT-SWAP-future")
    assert [request.path for request in wire.asked] == ["/v4/reference-data/markets"] * 2
    assert wire.asked[0].params == (listed, ("page_size", "10000"))
    assert wire.asked[1].params == (listed, ("page_size", "10000"), ("next_page_token", "x"))
    found = converted(contracts.by_market, markets, [b"60000", b"100"], [b"60000", b"60000"])
    assert literals(found.amount_base) == [1, 1]


@pytest.mark.parametrize("name", ["base", "quote", "size_asset"])
@pytest.mark.parametrize("value", [1, True, [], {"a": [1]}])
def test_an_odd_row_stops_no_other(name: str, value: Any) -> None:
    rows = [{**LINEAR, "market": "odd-BTCUSDT-future", "contract_size": "1", name: value}]
    rows += [{**LINEAR, "contract_size": "0.01"}]
    markets = [row["market"] for row in rows]
    contracts, _ = prepared({"data": rows}, markets=tuple(markets))
    found = converted(contracts.by_market, markets, [b"1", b"100"], [b"6", b"60000"])
    assert literals(found.amount_base) == [1 if name == "quote" else None, 1]
    assert literals(found.notional_usd) == [None, 60000]


class Refusing(Wire):
    """A vendor that refuses a call with one of these markets and has the sizes of all other futures."""

    def __init__(self, unknown: set[str], status: int, futures: list[str]) -> None:
        super().__init__()
        self.unknown = unknown
        self.status = status
        self.futures = futures

    def fetch(self, request: Request, traffic: Traffic | None = None) -> Response:
        params = dict(request.params)
        markets = params["markets"].split(",") if "markets" in params else self.futures
        wrong = [market for market in markets if market in self.unknown]
        kind = RequestRefused if self.status in {400, 404} else AccessRefused
        self.answers = [
            kind(f"HTTP {self.status}: no '{wrong[0]}'", status=self.status)
            if wrong
            else {"data": [{**LINEAR, "market": market, "contract_size": "1"} for market in markets]}
        ]
        return super().fetch(request, traffic)


def told_of(wire: Refusing, markets: list[str], caplog: pytest.LogCaptureFixture) -> tuple[list[str], list[str]]:
    """The markets whose sizes are known, and the log lines."""
    contracts = Contracts(wire)  # type: ignore[arg-type]
    contracts.prepare([Partition.of(market=market) for market in markets], Traffic())
    bases = literals(converted(contracts.by_market, markets, [b"1"] * len(markets), [b"2"] * len(markets)).amount_base)
    return [market for market, base in zip(markets, bases, strict=True) if base is not None], caplog.messages


@pytest.mark.parametrize("status", [400, 404])
@pytest.mark.parametrize("unknown", [[0], [63], [5, 40], [7, 8, 9]])
def test_an_unknown_market_takes_no_size_from_others(
    unknown: list[int], status: int, caplog: pytest.LogCaptureFixture
) -> None:
    markets = [f"okex-{n:02d}-future" for n in range(64)]
    missing = [markets[n] for n in unknown]
    others = [market for market in markets if market not in missing]
    wire = Refusing(set(missing), status, [*others, "okex-another-future"])
    known, told = told_of(wire, markets, caplog)
    assert known == others
    (line,) = told
    assert f"no contract size of {', '.join(missing)} (HTTP {status}: no '{missing[0]}'): amount_base" in line
    assert [request.params[0] for request in wire.asked] == [("markets", ",".join(markets)), ("type", "future")]


def test_a_refusal_of_everything_is_not_repeated(caplog: pytest.LogCaptureFixture) -> None:
    markets = [f"okex-{n:04d}-future" for n in range(400)]
    for status, most in ((403, 1), (404, 2)):
        caplog.clear()
        wire = Refusing(set(markets), status, markets)
        known, told = told_of(wire, markets, caplog)
        assert known == []
        (line,) = told
        assert f"and 395 more (HTTP {status}: no 'okex-" in line
        assert len(wire.asked) <= most


@pytest.mark.parametrize("kind", [RequestRefused, AccessRefused, VendorUnavailable])
def test_what_is_unavailable_is_reported_once_and_stops_nothing(
    kind: type[RequestRefused | AccessRefused | VendorUnavailable], caplog: pytest.LogCaptureFixture
) -> None:
    refusal = kind("HTTP 403: forbidden", status=403)
    contracts, wire = prepared(refusal, markets=tuple(f"okex-{n}-future" for n in range(7)))
    assert len(wire.asked) == 1
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("coin_metrics: the reference data have no contract size of okex-0-future, okex-1-future")
    assert "and 2 more (HTTP 403: forbidden): amount_base and notional_usd are null there" in line
    found = converted(contracts.by_market, ["okex-0-future"], [b"1"], [b"2"])
    assert literals(found.amount_base) == literals(found.notional_usd) == [None]
