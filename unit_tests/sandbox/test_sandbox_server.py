"""The server, the request log, canned bodies, the clock, the controls over HTTP, the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox import Canned, Sandbox

NOW = "2026-11-21T02:30:00Z"
WINDOW = {"start_time": "2026-11-20T00:00:00Z", "end_time": "2026-11-20T04:00:00Z"}
ROOT = Path(__file__).parents[2]


def test_every_answer_says_that_it_is_simulated(shared: Any) -> None:
    for path in (
        "/kaiko/v2",
        "/coin_metrics/v4",
        "/kwery/v1/limits",
        "/kiyotaka/v1/points",
        "/bitfinex/v2/platform/status",
        "/gate/api/v4/futures/usdt/contracts",
        "/coinalyze/v1/exchanges",
        "/nothing",
        "/_control/now",
    ):
        assert shared.get(path).headers["X-Simulated"] == "true"


def test_connections_are_kept_alive(shared: Any) -> None:
    answer = shared.trades(page_size=1)
    assert answer.raw.version == 11
    assert answer.headers["Connection"] == "keep-alive"


def test_gzip_where_it_is_accepted(shared: Any) -> None:
    plain = shared.get("/kaiko-reference/v1/instruments", headers={"Accept-Encoding": "identity"})
    packed = shared.get("/kaiko-reference/v1/instruments", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"])
    assert packed.json() == plain.json()


def test_the_log_records_requests_exactly(make: Any) -> None:
    api = make()
    api.trades(page_size=3, **WINDOW)
    api.get("/kiyotaka/v1/points", [("exchange", "BYBIT"), ("exchange", "OKEX_SWAP")])
    first, second = api.sandbox.requests()
    assert (first.vendor, first.method) == ("kaiko", "GET")
    assert first.path == "/v2/data/liquidation.v1/trades/bbit/perpetual-future/btc-usdt"
    assert first.query == [("page_size", "3"), *WINDOW.items()]
    assert first.headers["x-api-key"] == "sandbox-kaiko-key"
    assert (first.status, first.rows) == (200, 3)
    assert second.query == [("exchange", "BYBIT"), ("exchange", "OKEX_SWAP")]
    assert (second.status, second.rows) == (401, 0)
    assert first.time <= second.time
    assert api.sandbox.requests("kaiko") == [first]
    api.sandbox.clear()
    assert api.sandbox.requests() == []


def test_canned_bodies_come_in_turn_and_then_the_vendor_again(make: Any) -> None:
    api = make()
    path = "/v1/liquidations"
    api.sandbox.serve("kwery", path, [{"data": [1]}, b"raw bytes", Canned("text", 418, {"X-Tea": "pot"})])
    answers = [api.kwery(symbol="BTC", limit=1) for _ in range(4)]
    assert answers[0].json() == {"data": [1]}
    assert answers[1].content == b"raw bytes"
    assert (answers[2].status_code, answers[2].text, answers[2].headers["X-Tea"]) == (418, "text", "pot")
    assert len(answers[3].json()["data"]) == 1
    assert api.kaiko("trades/bbit/perpetual-future/btc-usdt", page_size=1).json()["query"]


def test_added_rows_stand_where_their_time_puts_them(make: Any) -> None:
    api = make()
    rows = api.liquidations(page_size=10_000, **WINDOW).json()["data"]
    new = {**rows[10], "time": rows[10]["time"][:-4] + "999Z", "coin_metrics_id": "1"}
    api.sandbox.add_rows("coin_metrics", "bybit-BTCUSDT-future", [new])
    found = api.liquidations(page_size=10_000, **WINDOW).json()["data"]
    assert sorted(found, key=lambda r: r["time"]) == found
    assert [row for row in found if row not in rows] == [new]
    event = api.trades(page_size=1, **WINDOW).json()["data"][0]
    api.sandbox.add_rows("kaiko", "bbit/perpetual-future/btc-usdt", [{**event, "trade_id": "new"}])
    assert "new" in {row["trade_id"] for row in api.trades(page_size=2, **WINDOW).json()["data"]}


def test_rows_can_be_added_where_nothing_was(make: Any) -> None:
    api = make(rows_per_day=100)
    market = "ftx-BTC-PERP-future"
    row = {"market": market, "time": "2024-05-05T05:05:05.000000005Z", "coin_metrics_id": "5", "type": "trade"}
    api.sandbox.add_rows("coin_metrics", market, [row])
    body = api.liquidations(market, start_time="2024-01-01", end_time="2026-01-01").json()
    assert body["data"] == [row]


def test_many_clients_at_once(shared: Any) -> None:
    expected = shared.trades(page_size=1000, **WINDOW).json()["data"]
    found: list[bool] = []

    def read() -> None:
        with requests.Session() as session:
            for _ in range(5):
                url = f"{shared.sandbox.url}/kaiko/v2/data/liquidation.v1/trades/bbit/perpetual-future/btc-usdt"
                answer = session.get(
                    url, params={"page_size": 1000, **WINDOW}, headers={"X-Api-Key": "sandbox-kaiko-key"}
                )
                found.append(answer.json()["data"] == expected)

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 80


def test_stopping_cuts_connections_and_frees_the_port() -> None:
    sandbox = Sandbox(now=NOW)
    sandbox.start()
    url = sandbox.url
    with requests.Session() as session:
        assert session.get(f"{url}/kaiko-reference/v1/exchanges", timeout=60).status_code == 200
        sandbox.stop()
        with pytest.raises(requests.ConnectionError):
            session.get(f"{url}/kaiko-reference/v1/exchanges", timeout=60)


def test_it_listens_on_loopback_only(shared: Any) -> None:
    assert shared.sandbox._server.server_address[0] == "127.0.0.1"


class TestConfiguration:
    def test_it_names_every_vendor_and_the_sandbox(self, shared: Any) -> None:
        config = shared.sandbox.config()
        assert set(config) == {"start_date", "kaiko", "kwery", "coin_metrics", "kiyotaka"}
        assert config["start_date"] == "2026-11-20T00:00:00Z"
        assert config["kaiko"]["reference_base_url"] == f"{shared.sandbox.url}/kaiko-reference"
        for vendor in ("kaiko", "kwery", "coin_metrics", "kiyotaka"):
            assert config[vendor]["base_url"] == f"{shared.sandbox.url}/{vendor}"

    def test_vendors_and_fields_can_be_chosen(self, shared: Any) -> None:
        config = shared.sandbox.config("2026-01-01T00:00:00Z", ["kwery"], num_workers=3)
        assert set(config) == {"start_date", "kwery", "num_workers"}

    def test_some_vendors_are_in_it_only_by_name(self, shared: Any) -> None:
        vendors = ["bitfinex", "gate", "coinalyze"]
        config = shared.sandbox.config(vendors=vendors)
        assert set(config) == {"start_date", *vendors}
        for vendor in vendors:
            assert config[vendor]["base_url"] == f"{shared.sandbox.url}/{vendor}"
        for name in config["gate"]["contracts"]:
            settle, _, contract = name.partition("/")
            assert shared.gate(f"{settle}/liq_orders", contract=contract, limit=1).json()
        key = config["coinalyze"]["api_key"].removeprefix("sandbox-coinalyze-")
        window = {"interval": config["coinalyze"]["interval"], "from_": 1795132800, "to": 1795132800}
        for symbol in config["coinalyze"]["symbols"]:
            assert shared.coinalyze("liquidation-history", key=key, symbols=symbol, **window).json()
        assert config["bitfinex"]["symbols"] == ["*"]
        assert shared.hist(limit=1).json()

    def test_the_community_host_needs_no_key(self, shared: Any) -> None:
        section = shared.sandbox.config(community=True)["coin_metrics"]
        assert "api_key" not in section
        path = section["base_url"].removeprefix(shared.sandbox.url) + "/v4/timeseries/market-liquidations"
        assert shared.get(path, {"markets": section["markets"][0]}).status_code == 200

    def test_it_can_be_had_over_http(self, shared: Any) -> None:
        assert shared.get("/_control/config").json() == shared.sandbox.config()

    def test_everything_in_it_can_be_read(self, shared: Any) -> None:
        config = shared.sandbox.config()
        for market in config["kaiko"]["instruments"]:
            assert shared.trades(market, page_size=1).json()["data"]
        for asset in config["kaiko"]["assets"]:
            assert shared.kaiko(f"token/{asset}", page_size=1).json()["data"]
        key = config["coin_metrics"]["api_key"]
        assert shared.liquidations(",".join(config["coin_metrics"]["markets"]), key=key, limit_per_market=1).json()[
            "data"
        ]
        for symbol in config["kwery"]["symbols"]:
            assert shared.kwery(symbol=symbol, limit=1).json()["data"]
        for symbol in config["kiyotaka"]["symbols"]:
            exchange, name = symbol.split("/")
            query = {"exchange": exchange, "rawSymbol": name, "from": 1795132800, "period": 3600}
            assert shared.points(**query).json()["series"]


class TestControl:
    def post(self, api: Any, what: str, **body: Any) -> Any:
        answer = api.session.post(f"{api.sandbox.url}/_control/{what}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def test_requests_and_clear(self, make: Any) -> None:
        api = make()
        api.trades(page_size=1)
        (record,) = api.get("/_control/requests", {"vendor": "kaiko"}).json()
        assert record["query"] == [["page_size", "1"]]
        assert api.get("/_control/requests", {"count": "1"}).json() == {"count": 1}
        self.post(api, "clear")
        assert api.get("/_control/requests").json() == []

    def test_faults(self, make: Any) -> None:
        api = make()
        self.post(api, "fault", kind="status", status=503, vendor="kaiko", times=None)
        assert api.trades().status_code == 503
        self.post(api, "fault", clear=True)
        assert api.trades().status_code == 200

    def test_the_clock(self, make: Any) -> None:
        api = make()
        assert self.post(api, "now", advance=60)["now"] == "2026-11-21T02:31:00.000000000Z"
        assert self.post(api, "now", now="2026-11-22T00:00:00Z")["now"].startswith("2026-11-22")

    def test_canned_bodies_rows_and_expected(self, make: Any) -> None:
        api = make()
        self.post(api, "serve", vendor="kwery", path="/v1/limits", answers=[{"body": {"plan": "x"}, "status": 201}])
        answer = api.kwery(path="limits")
        assert (answer.status_code, answer.json()) == (201, {"plan": "x"})
        query = {"vendor": "kwery", "market": "BTC", "start": WINDOW["start_time"], "end": WINDOW["end_time"]}
        rows = self.post(api, "expected", **query)
        assert rows == api.sandbox.expected("kwery", "BTC", *WINDOW.values())
        self.post(api, "rows", vendor="kwery", market="BTC", rows=[rows[0]])
        assert self.post(api, "expected", **query) == [rows[0], *rows]

    def test_rows_that_are_arrays(self, make: Any) -> None:
        api = make()
        query = {"vendor": "bitfinex", "market": "*", "start": "2026-11-20T00:00:00Z", "end": "2026-11-20T01:00:00Z"}
        rows = self.post(api, "expected", **query)
        assert rows == api.sandbox.expected(**query)
        self.post(api, "rows", vendor="bitfinex", market="*", rows=[rows[0]])
        assert self.post(api, "expected", **query).count(rows[0]) == 2
        options = {"vendor": "coinalyze", "market": "BTCUSDT.6", "interval": "1hour"}
        assert len(self.post(api, "expected", **{**query, **options})) == 1

    def test_a_body_that_is_an_array(self, make: Any) -> None:
        api = make()
        api.sandbox.serve("bitfinex", "/v2/platform/status", [[0]])
        self.post(api, "serve", vendor="gate", path="/api/v4/futures/usdt/contracts", answers=[{"body": []}])
        assert api.get("/bitfinex/v2/platform/status").json() == [0]
        assert api.gate("usdt/contracts").json() == []

    def test_limits(self, make: Any) -> None:
        api = make(limits=True)
        assert self.post(api, "limits", enabled=False) == {"enabled": False}
        path = "catalog-v2/market-liquidations"
        assert {api.community(path, page_size=1).status_code for _ in range(12)} == {200}

    def test_mistakes_are_reported(self, shared: Any) -> None:
        assert shared.get("/_control/nothing").status_code == 404
        answer = shared.session.post(f"{shared.sandbox.url}/_control/fault", json={"kind": "nothing"})
        assert answer.status_code == 400
        assert "unknown fault" in answer.json()["error"]


class TestCommandLine:
    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "sandbox", "--port", "0", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def test_it_prints_a_configuration_and_serves_until_a_signal(self, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        arguments = [
            "--now",
            NOW,
            "--vendors",
            "kwery",
            "kaiko",
            "--config",
            str(file),
            "--option",
            "kwery_flavour=recorded",
        ]
        with self.start(*arguments) as process:
            assert process.stderr is not None
            assert process.stdout is not None
            line = process.stderr.readline()
            assert "all data is simulated" in line
            url = line.split()[-1]
            answer = requests.get(
                f"{url}/kwery/v1/liquidations",
                {"symbol": "BTC"},
                headers={"X-API-Key": "sandbox-kwery-pro"},
                timeout=60,
            )
            assert "count" in answer.json()["meta"]
            process.send_signal(signal.SIGTERM)
            printed = json.loads(process.stdout.read())
            assert process.wait(60) == 0
        assert printed["kwery"]["base_url"] == f"{url}/kwery"
        assert set(printed) == {"start_date", "kwery", "kaiko"}
        assert json.loads(file.read_text()) == printed

    def test_the_clock_ticks_on_from_now_unless_frozen(self) -> None:
        """If it is frozen, the configuration ends there, because the connector has its own clock."""
        for arguments, moves in ((["--now", NOW], True), (["--now", NOW, "--frozen"], False)):
            with self.start(*arguments) as process:
                assert process.stderr is not None
                assert process.stdout is not None
                url = process.stderr.readline().split()[-1]
                first, second = (requests.get(f"{url}/_control/now", timeout=60).json()["ns"] for _ in range(2))
                process.terminate()
                end = json.loads(process.stdout.read()).get("end_date")
            assert (first < second) is moves
            assert end == (None if moves else NOW)
