"""A sandbox with a frozen clock, and shortcuts to call its vendors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from sandbox import Sandbox

NOW = "2026-11-21T02:30:00Z"


class Api:
    """Sends GET requests to one sandbox over one keep-alive session."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session = requests.Session()

    def get(self, path: str, params: Any = None, headers: dict[str, str] | None = None) -> requests.Response:
        return self.session.get(self.sandbox.url + path, params=params, headers=headers, timeout=20)

    def kaiko(self, path: str, key: str = "sandbox-kaiko-key", **params: Any) -> requests.Response:
        return self.get(f"/kaiko/v2/data/liquidation.v1/{path}", params, {"X-Api-Key": key})

    def trades(self, market: str = "bbit/perpetual-future/btc-usdt", **params: Any) -> requests.Response:
        return self.kaiko(f"trades/{market}", **params)

    def coin_metrics(self, path: str, key: str | None = "sandbox-coin-metrics-key", **params: Any) -> requests.Response:
        return self.get(f"/coin_metrics/v4/{path}", {**({"api_key": key} if key else {}), **params})

    def liquidations(self, markets: str = "bybit-BTCUSDT-future", **params: Any) -> requests.Response:
        return self.coin_metrics("timeseries/market-liquidations", markets=markets, **params)

    def community(self, path: str, **params: Any) -> requests.Response:
        return self.get(f"/coin_metrics_community/v4/{path}", params)

    def kwery(self, plan: str = "business", path: str = "liquidations", **params: Any) -> requests.Response:
        return self.get(f"/kwery/v1/{path}", params, {"X-API-Key": f"sandbox-kwery-{plan}"})

    def points(self, plan: str = "key", **params: Any) -> requests.Response:
        query = {"type": "LIQUIDATION_AGG", "exchange": "BYBIT", "rawSymbol": "BTCUSDT", "interval": "HOUR"}
        query.update({name.replace("__", "."): value for name, value in params.items()})
        query = {name: value for name, value in query.items() if value is not None}
        return self.get("/kiyotaka/v1/points", query, {"X-Kiyotaka-Key": f"sandbox-kiyotaka-{plan}"})

    def hist(self, **params: Any) -> requests.Response:
        return self.get("/bitfinex/v2/liquidations/hist", params)

    def gate(self, path: str, decimals: bool = True, **params: Any) -> requests.Response:
        params = {name.rstrip("_"): value for name, value in params.items()}
        headers = {"X-Gate-Size-Decimal": "1"} if decimals else {}
        return self.get(f"/gate/api/v4/futures/{path}", params, headers)

    def coinalyze(self, path: str, key: str | None = "key", **params: Any) -> requests.Response:
        params = {name.rstrip("_"): value for name, value in params.items()}
        headers = {"api_key": f"sandbox-coinalyze-{key}"} if key else {}
        return self.get(f"/coinalyze/v1/{path}", params, headers)


@pytest.fixture
def make() -> Iterator[Callable[..., Api]]:
    """Starts sandboxes: `make(limits=True)`."""
    running: list[Api] = []

    def start(**options: Any) -> Api:
        sandbox = Sandbox(**{"seed": 7, "now": NOW, "limits": False, **options})
        sandbox.start()
        running.append(Api(sandbox))
        return running[-1]

    yield start
    for api in running:
        api.session.close()
        api.sandbox.stop()
        assert api.sandbox.errors == []


@pytest.fixture(scope="session")
def shared() -> Iterator[Api]:
    """One sandbox for tests that do not change it."""
    with Sandbox(seed=7, now=NOW, limits=False) as sandbox:
        api = Api(sandbox)
        yield api
        api.session.close()
        assert sandbox.errors == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock of the rate limits, which moves only when a test sets it."""
    now = [1000.0]
    monkeypatch.setattr("sandbox.limits.time", SimpleNamespace(monotonic=lambda: now[0]))
    return now
