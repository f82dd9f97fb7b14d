"""The benchmark server must answer any window with exactly its rows, or the comparison would be unfair."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPResponse
from pathlib import Path
from time import monotonic
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[2]
ROWS = 2_500
START_MS = 1_577_836_800_000  # 2020-01-01T00:00:00Z, one row a second from there
KAIKO = "/kaiko/v2/data/liquidation.v1/trades/bbit/perpetual-future/m00001-usdt"
MARKET_LIQUIDATIONS = "/coin_metrics/v4/timeseries/market-liquidations"
CATALOG = "/coin_metrics/v4/catalog-v2/market-liquidations"
POINTS = "/kiyotaka/v1/points"
MARKETS = [f"binance-M0000{number}USDT-future" for number in range(3)]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "gzip"])
def base(request: pytest.FixtureRequest) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.server", "--rows", str(ROWS), "--partitions", "3"]
    command += ["--gzip"] if request.param else []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout
        try:
            yield f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}"
        finally:
            server.kill()


def decoded(response: HTTPResponse | HTTPError) -> dict:
    body = response.read()
    return json.loads(gzip.decompress(body) if response.headers["Content-Encoding"] == "gzip" else body)


def get(url: str, **parameters: object) -> dict:
    query = "?" + urlencode(parameters, doseq=True) if parameters else ""
    with urlopen(Request(url + query, headers={"Accept-Encoding": "gzip"}), timeout=60) as response:
        return decoded(response)


def refused(url: str, **parameters: object) -> tuple[int, dict]:
    with pytest.raises(HTTPError) as caught:
        get(url, **parameters)
    with caught.value as answer:
        return answer.code, decoded(answer)


def second(number: int) -> str:
    return f"2020-01-01T00:{number // 60:02d}:{number % 60:02d}"


def kaiko_pages(base: str, **parameters: object) -> list[list[int]]:
    """Row numbers, page by page."""
    page = get(base + KAIKO, **parameters)
    pages = [page]
    while page.get("next_url"):
        assert page["next_url"] == f"{base}{KAIKO}?continuation_token={page['continuation_token']}"
        page = get(page["next_url"])
        pages.append(page)
    return [[(row["timestamp"] - START_MS) // 1000 for row in page["data"]] for page in pages]


def test_kaiko_pages_hold_the_whole_range_in_order(base: str) -> None:
    pages = kaiko_pages(base, page_size=1000, sort="asc")

    assert [len(page) for page in pages] == [1000, 1000, 500]
    assert [row for page in pages for row in page] == list(range(ROWS))


@pytest.mark.parametrize(
    ("start", "end", "rows"),
    [
        (f"{second(10)}.000Z", f"{second(20)}.000Z", range(10, 20)),
        (f"{second(10)}.001Z", f"{second(20)}.001Z", range(11, 21)),
        (f"{second(10)}.000Z", f"{second(10)}.000Z", range(0)),
        ("2019-12-31T00:00:00.000Z", f"{second(5)}.000Z", range(5)),
        (f"{second(2490)}.000Z", "2021-01-01T00:00:00.000Z", range(2490, ROWS)),
        ("2021-01-01T00:00:00.000Z", "2022-01-01T00:00:00.000Z", range(0)),
    ],
)
def test_kaiko_windows_include_their_start_and_not_their_end(base: str, start: str, end: str, rows: range) -> None:
    assert kaiko_pages(base, start_time=start, end_time=end, page_size=1000, sort="asc") == [list(rows)]


def test_kaiko_sorts_descending_by_default(base: str) -> None:
    pages = kaiko_pages(base, start_time=f"{second(10)}.000Z", end_time=f"{second(15)}.000Z", page_size=2)

    assert pages == [[14, 13], [12, 11], [10]]


def test_kaiko_body_has_the_documented_shape(base: str) -> None:
    page = get(base + KAIKO, page_size=2, sort="asc")

    assert page.keys() == {
        "query",
        "answer_time",
        "answer_timestamp",
        "access",
        "data",
        "continuation_token",
        "next_url",
    }
    assert page["query"]["instrument"] == "m00001-usdt"
    assert page["data"][0].keys() == {
        "amount",
        "amount_quote",
        "amount_usd",
        "price",
        "rate",
        "position_side",
        "timestamp",
        "trade_id",
    }
    assert len({row["trade_id"] for row in page["data"]}) == 2


def test_kaiko_refuses_what_the_vendor_would(base: str) -> None:
    assert refused(base + KAIKO, page_size=1001)[0] == 400
    assert refused(base + KAIKO.replace("m00001", "m00003"))[0] == 404


def coin_metrics_pages(base: str, **parameters: object) -> list[list[tuple[str, int]]]:
    """(market, row number), page by page."""
    page = get(base + MARKET_LIQUIDATIONS, **parameters)
    pages = [page]
    while page.get("next_page_url"):
        again = get(base + MARKET_LIQUIDATIONS, **parameters, next_page_token=page["next_page_token"])
        page = get(page["next_page_url"])
        assert page["data"] == again["data"]
        pages.append(page)
    return [
        [(row["market"], int(row["coin_metrics_id"]) // 10**9 - START_MS // 1000) for row in page["data"]]
        for page in pages
    ]


def test_coin_metrics_orders_several_markets_by_market_then_time(base: str) -> None:
    pages = coin_metrics_pages(base, markets=",".join(reversed(MARKETS)), page_size=2000, paging_from="start")

    assert [len(page) for page in pages] == [2000, 2000, 2000, 1500]
    assert [row for page in pages for row in page] == [(market, row) for market in MARKETS for row in range(ROWS)]


@pytest.mark.parametrize(
    ("bounds", "rows"),
    [
        ({}, range(10, 21)),
        ({"end_inclusive": "false"}, range(10, 20)),
        ({"start_inclusive": "false"}, range(11, 21)),
        ({"limit_per_market": 3, "paging_from": "start"}, range(10, 13)),
        ({"limit_per_market": 3}, range(18, 21)),
    ],
)
def test_coin_metrics_bounds(base: str, bounds: dict[str, object], rows: range) -> None:
    window = {"start_time": f"{second(10)}.000000000Z", "end_time": f"{second(20)}.000000000Z"}
    pages = coin_metrics_pages(base, markets="*-M0000[12]USDT-future", **window, **bounds)

    assert pages == [[(market, row) for market in MARKETS[1:] for row in rows]]


def test_coin_metrics_pages_from_the_end_by_default(base: str) -> None:
    pages = coin_metrics_pages(base, markets=MARKETS[0], end_time=second(4), page_size=2)

    assert [[row for _, row in page] for page in pages] == [[3, 4], [1, 2], [0]]


def test_coin_metrics_times_have_nine_digits_and_values_are_strings(base: str) -> None:
    row = get(base + MARKET_LIQUIDATIONS, markets=MARKETS[1], page_size=1, paging_from="start")["data"][0]

    assert row["time"] == "2020-01-01T00:00:00.000000000Z"
    assert all(isinstance(value, str) for value in row.values())


def test_coin_metrics_json_stream_has_a_row_in_each_line(base: str) -> None:
    url = f"{base}{MARKET_LIQUIDATIONS}?markets={MARKETS[0]},{MARKETS[2]}&format=json_stream"
    with urlopen(url, timeout=60) as response:
        rows = [json.loads(line) for line in response]

    assert [row["market"] for row in rows] == [MARKETS[0]] * ROWS + [MARKETS[2]] * ROWS


def test_coin_metrics_refuses_a_call_with_one_unknown_market(base: str) -> None:
    status, body = refused(base + MARKET_LIQUIDATIONS, markets=f"{MARKETS[0]},nowhere-X-future")

    assert (status, body["error"]["type"]) == (400, "bad_parameter")


def test_coin_metrics_catalog_pages_and_filters(base: str) -> None:
    first = get(base + CATALOG, page_size=2)
    second_page = get(first["next_page_url"])

    assert [row["market"] for row in first["data"] + second_page["data"]] == MARKETS
    assert "next_page_token" not in second_page
    assert [row["market"] for row in get(base + CATALOG, markets="*M00002*")["data"]] == MARKETS[2:]


def kiyotaka_seconds(body: dict) -> dict[tuple[str, str], list[int]]:
    return {
        (series["id"]["rawSymbol"], series["id"]["side"]): [
            point["Point"]["timestamp"]["s"] - START_MS // 1000 for point in series["points"]
        ]
        for series in body["series"]
    }


def test_kiyotaka_windows_include_their_start_and_not_their_end(base: str) -> None:
    window = {"from": START_MS // 1000 + 60, "period": 180}
    names = {"type": "LIQUIDATION_AGG", "exchange": "BINANCE_FUTURES", "rawSymbol": "M00002USDT"}
    body = get(base + POINTS, **names, **window, interval="MINUTE")

    assert kiyotaka_seconds(body) == {("M00002USDT", side): [60, 120, 180] for side in ("SELL", "BUY")}


def test_kiyotaka_has_half_of_the_rows_on_each_side(base: str) -> None:
    names = {"exchange": "BINANCE_FUTURES", "rawSymbol": "M00000USDT", "interval": "MINUTE"}
    body = get(base + POINTS, **names, **{"from": 0, "period": START_MS})

    assert [len(points) for points in kiyotaka_seconds(body).values()] == [ROWS // 2] * 2


def test_stats_count_requests_and_bytes(base: str) -> None:
    before = get(base + "/stats")
    get(base + KAIKO, page_size=1000)
    after = get(base + "/stats")

    assert after["requests"] == before["requests"] + 1
    assert after["bytes"] > before["bytes"] + 10_000
    assert after["cpu_seconds"] >= before["cpu_seconds"]


def test_latency_is_added_to_each_answer() -> None:
    command = [sys.executable, "-m", "benchmarks.server", "--rows", "1", "--latency", "0.2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as server:
        assert server.stdout
        url = f"http://127.0.0.1:{json.loads(server.stdout.readline())['port']}"
        began = monotonic()
        get(url + KAIKO.replace("m00001", "m00000"))
        waited = monotonic() - began
        server.kill()

    assert waited >= 0.2
