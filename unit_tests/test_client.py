"""The client: its requests, retries and failures, and where it never sends a key."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import msgspec
import pytest

from sandbox.http import Reply
from sandbox.http import Request as Arrived
from sandbox.server import Answer, Server, Wire
from source_liquidations.errors import (
    AccessRefused,
    LiquidationsError,
    RequestRefused,
    Stopped,
    UnexpectedAnswer,
    VendorUnavailable,
    WindowTooLarge,
)
from source_liquidations.http import transport
from source_liquidations.http.answers import Response
from source_liquidations.http.budgets import Allowance, Budget
from source_liquidations.http.client import Client, Purse, Request
from source_liquidations.http.patience import Patience
from source_liquidations.http.redaction import keep_secret
from source_liquidations.http.traffic import Traffic
from source_liquidations.http.transport import origin

KEY = "k+e/y=with&odd:chars"
# Short pauses, but long timeouts, because a busy machine may respond late.
QUICK = Patience(connect=60.0, answer=60.0, tries=4, first_pause=0.01, longest_pause=0.05, longest_total=600.0)
GOOD = Reply(body={"data": [1, 2, 3]})


class Counting(Server):
    """Counts the connections that were opened."""

    connections = 0

    def track(self, connection: socket.socket, *, opened: bool) -> None:
        self.connections += opened
        super().track(connection, opened=opened)


class Vendor:
    """A server that sends the given answers in turn, repeats the last one, and records the requests."""

    def __init__(self) -> None:
        self.arrived: list[Arrived] = []
        self.answers: list[Answer] = []
        self.server = Counting(0, self._answer, ("/base",))
        self.server.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/base"

    def will(self, *answers: Reply | Answer) -> Vendor:
        self.answers = [a if isinstance(a, Answer) else Answer(a) for a in answers]
        return self

    def _answer(self, request: Arrived) -> Answer:
        self.arrived.append(request)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(scope="module")
def running() -> Iterator[Vendor]:
    vendor = Vendor()
    yield vendor
    vendor.server.stop()


@pytest.fixture
def vendor(running: Vendor) -> Vendor:
    running.arrived.clear()
    return running.will(GOOD)


Make = Callable[..., Client]


@pytest.fixture
def make(vendor: Vendor) -> Make:
    keep_secret([KEY])

    def made(**changes: object) -> Client:
        given = {
            "vendor": "acme",
            "base": vendor.url,
            "budget": Budget(1000, 1.0),
            "headers": {"X-Api-Key": KEY},
            "patience": QUICK,
        }
        return Client(**(given | changes))  # type: ignore[arg-type]

    return made


def impatient_once(make: Make) -> Client:
    """A client with a short timeout for its first attempt and a long one afterwards."""
    purse = Patient()
    client = purse.client = make(patience=replace(QUICK, answer=0.4), purse=purse)
    return client


class Patient(Purse):
    client: Client

    def charge_lost(self, request: Request) -> str:
        self.client.patience = vars(self.client._transport)["_patience"] = QUICK
        return ""


def decode(response: Response) -> list[int]:
    rows: list[int] = response.decoded(msgspec.json.Decoder())["data"]
    return rows


def wire(kind: str, **details: object) -> Answer:
    return Answer(Reply(body={"data": list(range(2_000))}), Wire(kind, **details))  # type: ignore[arg-type]


def status(code: int, body: object = None, **headers: str) -> Reply:
    return Reply(code, {"message": f"words for {code}"} if body is None else body, headers)


# Requests.


def test_a_base_url_is_quoted_once_and_its_requests_are_not_again(vendor: Vendor, make: Make) -> None:
    client = make(base=f"http://127.0.0.1:{vendor.server.port}/a proxy/\u00e4")
    vendor.will(GOOD)
    decode(client.fetch(Request("/x", (("markets", "a,b/c%"),))))
    assert vendor.arrived[0].target == "/a%20proxy/%C3%A4/x?markets=a,b%2Fc%25"
    assert client.base == f"http://127.0.0.1:{vendor.server.port}/a%20proxy/%C3%A4"


def test_a_header_key_goes_into_the_header_and_not_into_the_url(vendor: Vendor, make: Make) -> None:
    request = Request("/v1/things", (("a", "x y&z"), ("b", "1,2:3"), ("a", "é")))
    assert decode(make().fetch(request)) == [1, 2, 3]
    (arrived,) = vendor.arrived
    assert (arrived.method, arrived.path) == ("GET", "/v1/things")
    assert arrived.query == [("a", "x y&z"), ("b", "1,2:3"), ("a", "é")]
    assert arrived.target == "/base/v1/things?a=x%20y%26z&b=1,2:3&a=%C3%A9"
    headers = {name: value for name, value in arrived.headers.items() if name not in ("host", "connection")}
    assert headers == {
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": "source-liquidations",
        "x-api-key": KEY,
    }


def test_a_query_key_comes_last_and_is_encoded(vendor: Vendor, make: Make) -> None:
    decode(make(headers={}, key_params=(("api_key", KEY),)).fetch(Request("/v1/things", (("a", "1"),))))
    assert vendor.arrived[0].query == [("a", "1"), ("api_key", KEY)]
    assert "x-api-key" not in vendor.arrived[0].headers


def test_a_request_without_parameters_has_no_question_mark(vendor: Vendor, make: Make) -> None:
    decode(make().fetch(Request("/v1/things")))
    assert vendor.arrived[0].target == "/base/v1/things"


def test_connections_are_kept(vendor: Vendor, make: Make) -> None:
    client, before = make(), vendor.server.connections
    for _ in range(20):
        decode(client.fetch(Request("/x")))
    assert vendor.server.connections == before + 1


def test_a_compressed_body_is_unpacked(vendor: Vendor, make: Make) -> None:
    vendor.will(Reply(body={"data": list(range(5_000))}))
    assert decode(make().fetch(Request("/x"))) == list(range(5_000))


def test_traffic_counts_requests_retries_and_bytes(vendor: Vendor, make: Make) -> None:
    vendor.will(status(500), status(503), GOOD)
    traffic = Traffic()
    decode(make().fetch(Request("/x"), traffic))
    assert (traffic.requests, traffic.retries, traffic.waiting) == (3, 2, "")
    assert traffic.bytes > 0
    assert traffic.seconds_waited > 0


def test_what_several_workers_wait_for_is_told_together(vendor: Vendor, make: Make) -> None:
    """One worker's success does not hide that another still waits."""
    traffic = Traffic()
    traffic.note("the request budget, 3.0 s", "the scheduler")
    assert traffic.waiting == "the request budget, 3.0 s"
    heard: list[str] = []

    def wait(number: int) -> None:
        traffic.note(f"try {number}")
        traffic.count(retries=1)
        heard.append(traffic.waiting)
        barrier.wait(60)

    barrier = threading.Barrier(6)
    threads = [threading.Thread(target=wait, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    barrier.wait(60)
    for thread in threads:
        thread.join()
    decode(make().fetch(Request("/x"), traffic))
    assert traffic.waiting == "the request budget, 3.0 s; try 0; try 1; 3 more"
    assert traffic.retries == 5


# Retries.


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504, 520, 524, 599])
def test_transient_statuses_are_retried(vendor: Vendor, make: Make, code: int) -> None:
    vendor.will(status(code), status(code), GOOD)
    assert decode(make().fetch(Request("/x"))) == [1, 2, 3]
    assert len(vendor.arrived) == 3


@pytest.mark.parametrize(
    "fault",
    [
        wire("refused"),
        wire("reset"),
        wire("reset_mid_body"),
        wire("cut"),
        wire("cut", length="cut"),
        wire("bad_gzip"),
        wire("silent", seconds=60.0),
        wire("slow_first_byte", seconds=60.0),
        wire("slow_drip", seconds=60.0, chunk=100),
        Answer(Reply(200, b"<html>Welcome</html>", content_type="text/html")),
        Answer(Reply(200, b"")),
    ],
    ids=lambda answer: answer.wire.kind if answer.wire else "html" if answer.reply.body else "empty",
)
def test_broken_connections_are_retried(vendor: Vendor, make: Make, fault: Answer) -> None:
    vendor.will(fault, GOOD)
    client = impatient_once(make) if fault.wire and fault.wire.seconds == 60.0 else make()
    assert decode(client.fetch(Request("/x"))) == [1, 2, 3]
    assert len(vendor.arrived) == 2


def test_an_endless_drip_fails(vendor: Vendor, make: Make) -> None:
    """Each piece arrives in time, so no read times out."""
    vendor.will(wire("slow_drip", seconds=0.05, chunk=20), GOOD)
    assert decode(impatient_once(make).fetch(Request("/x"))) == [1, 2, 3]
    assert len(vendor.arrived) == 2


@pytest.mark.parametrize("code", [100, 102, 103])
def test_an_informational_answer_is_not_the_answer(make: Make, code: int) -> None:
    """If it passed for one, the next request on the connection would get the answer to this one."""

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection, connection.makefile("rb") as requests:
            for body in (b'{"data":[1]}', b'{"data":[2]}'):
                while requests.readline() not in (b"\r\n", b""):
                    pass
                connection.sendall(b"HTTP/1.1 %d Soon\r\nLink: </style.css>\r\n\r\n" % code)
                time.sleep(0.1)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n" + body)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        client = make(base=f"http://127.0.0.1:{listening.getsockname()[1]}")
        assert [decode(client.fetch(Request("/x"))) for _ in range(2)] == [[1], [2]]


def test_a_host_that_refuses_connections_is_unavailable(make: Make) -> None:
    with pytest.raises(VendorUnavailable, match=r"no usable answer to /x in 4 tries: \w*Connection"):
        decode(make(base="http://127.0.0.1:1").fetch(Request("/x")))


def test_retries_end_and_the_error_says_what_happened(vendor: Vendor, make: Make) -> None:
    vendor.will(status(503))
    with pytest.raises(VendorUnavailable) as caught:
        decode(make().fetch(Request("/x", (("a", "1"),))))
    assert len(vendor.arrived) == QUICK.tries
    assert caught.value.failure_type == "transient_error"
    assert "/x?a=1 in 4 tries: HTTP 503: words for 503." in caught.value.message
    assert "next sync resumes from the last checkpoint" in caught.value.message


def test_a_large_request_that_times_out_is_tried_twice(vendor: Vendor, make: Make) -> None:
    vendor.will(status(503), status(504))
    with pytest.raises(WindowTooLarge, match="HTTP 504"):
        decode(make().fetch(Request("/x", is_large=True)))
    assert len(vendor.arrived) == 2


def test_a_small_request_that_times_out_is_unavailable(vendor: Vendor, make: Make) -> None:
    vendor.will(status(504))
    with pytest.raises(VendorUnavailable, match="in 4 tries: HTTP 504"):
        decode(make().fetch(Request("/x")))


def test_pauses_grow(vendor: Vendor, make: Make) -> None:
    vendor.will(status(503))
    patience = Patience(tries=4, first_pause=0.1, longest_pause=60.0)
    arrivals: list[float] = []
    vendor.server.answer, plain = lambda r: (arrivals.append(time.monotonic()), plain(r))[1], vendor.server.answer
    try:
        with pytest.raises(VendorUnavailable):
            decode(make(patience=patience).fetch(Request("/x")))
    finally:
        vendor.server.answer = plain
    pauses = [later - earlier for earlier, later in pairwise(arrivals)]
    assert all(pause >= 0.75 * 0.1 * 2**n for n, pause in enumerate(pauses))


def test_an_error_with_status_200_is_retried_and_then_reported(vendor: Vendor, make: Make) -> None:
    error = Reply(body={"data": [4], "error": "INTERNAL_ERROR"})
    vendor.will(error, error, GOOD)
    assert decode(make().fetch(Request("/x"))) == [1, 2, 3]
    assert len(vendor.arrived) == 3
    vendor.will(error)
    with pytest.raises(VendorUnavailable, match="a 200 with an error: INTERNAL_ERROR"):
        make().fetch(Request("/x"))


def test_a_byte_order_mark_is_skipped(vendor: Vendor, make: Make) -> None:
    vendor.will(Reply(200, b'\xef\xbb\xbf{"data":[1]}'))
    assert decode(make().fetch(Request("/x"))) == [1]


@pytest.mark.parametrize("code", [200, 302, 503])
def test_a_body_that_unpacks_to_too_much_is_refused_in_little_memory(
    vendor: Vendor, make: Make, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "LARGEST_BODY", 4 << 20)
    vendor.will(Reply(code, bytes(64 << 20), {"Location": "/base/there"}))
    tracemalloc.start()
    try:
        with pytest.raises(UnexpectedAnswer, match="a body of more than 4 MiB"):
            make().fetch(Request("/x"))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(vendor.arrived) == 1
    assert most < 16 << 20


def test_a_large_body_is_held_once(vendor: Vendor, make: Make) -> None:
    size = 32 << 20
    vendor.will(Reply(body=b'{"data":[]}' + b" " * size))
    tracemalloc.start()
    try:
        assert decode(make().fetch(Request("/x"))) == []
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 1.5 * size


@pytest.mark.parametrize("body", [b'{"data":[1],"skipped":"\xff\xfe"}', b'{"data":[1],"\xe9":1}'])
def test_a_body_that_is_not_utf8_is_retried_even_without_a_decoder(vendor: Vendor, make: Make, body: bytes) -> None:
    vendor.will(Reply(200, body), GOOD)
    assert decode(make().fetch(Request("/x"))) == [1, 2, 3]


# 429 and budgets.

LONG_AGO = "Wed, 21 Oct 2015 07:28:00 GMT"


def test_retry_after_is_respected(vendor: Vendor, make: Make) -> None:
    vendor.will(status(429, None, **{"Retry-After": "0.5"}), GOOD)
    started = time.monotonic()
    decode(make().fetch(Request("/x")))
    assert time.monotonic() - started >= 0.5


def test_retry_after_delays_all_requests_of_the_vendor(vendor: Vendor, make: Make) -> None:
    """With a clock that stands still until the pause."""
    vendor.will(status(429, None, **{"X-RateLimit-Reset": "1", "X-RateLimit-Remaining": "0"}), GOOD)
    now = [1_000.0]
    client = make(budget=Budget(1_000_000, 1.0, clock=lambda: now[0]))
    first = threading.Thread(target=client.fetch, args=(Request("/x"),), daemon=True)
    first.start()
    deadline = time.monotonic() + 60
    while client.budget.reserve() == 0.0 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert client.budget.reserve() == pytest.approx(1.0)
    assert len(vendor.arrived) == 1
    now[0] += 1.1
    first.join(60)
    assert not first.is_alive()
    assert len(vendor.arrived) == 2


def test_retry_after_does_not_count_as_a_failed_attempt(vendor: Vendor, make: Make) -> None:
    vendor.will(*[status(429, None, **{"Retry-After": "0.01"})] * (3 * QUICK.tries), GOOD)
    client = make()
    assert decode(client.fetch(Request("/x"))) == [1, 2, 3]
    assert len(vendor.arrived) == 3 * QUICK.tries + 1


def test_endless_retry_after_fails(vendor: Vendor, make: Make) -> None:
    vendor.will(*[status(429, None, **{"Retry-After": "0.001"})] * 100)
    with pytest.raises(VendorUnavailable, match="HTTP 429") as raised:
        decode(make(budget=Budget(1_000, 0.01)).fetch(Request("/x")))
    assert raised.value.scope == "reading"
    assert len(vendor.arrived) == 31


def pauses_of(client: Client, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The client's sleeps, recorded without sleeping."""
    pauses: list[float] = []
    monkeypatch.setattr(client, "_sleep", pauses.append)
    monkeypatch.setattr(client.budget, "refused", lambda seconds: None)
    return pauses


def test_the_vendors_delays_are_for_429s_without_retry_after(
    vendor: Vendor, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first, the second, then the last delay for all further 429s, which outnumber the tries."""
    with_delay, without_delay = status(429, None, **{"Retry-After": "7"}), status(429)
    vendor.will(without_delay, without_delay, with_delay, *[without_delay] * 4, GOOD)
    client = make(delays=(60.0, 240.0), patience=Patience())
    pauses = pauses_of(client, monkeypatch)
    assert decode(client.fetch(Request("/x"))) == [1, 2, 3]
    assert pauses == [60.0, 240.0, 7.0, *[240.0] * 4]


def test_delays_end_with_the_patience_and_not_with_the_attempts(
    vendor: Vendor, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.will(status(429))
    client = make(delays=(60.0, 240.0), patience=Patience())
    pauses = pauses_of(client, monkeypatch)
    now = [0.0]
    monkeypatch.setattr("source_liquidations.http.client.time.monotonic", lambda: now[0] + sum(pauses))
    with pytest.raises(VendorUnavailable, match="in 9 tries: HTTP 429") as raised:
        client.fetch(Request("/x"))
    assert pauses == [60.0, *[240.0] * 7]
    assert "asks to wait" not in raised.value.message, "it does not say how long"
    assert raised.value.scope == "reading"


def test_delays_are_scaled_with_the_patience(vendor: Vendor, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor.will(status(429), GOOD)
    client = make(delays=(60.0,), patience=replace(QUICK, scale=0.5))
    pauses = pauses_of(client, monkeypatch)
    client.fetch(Request("/x"))
    assert pauses == [30.0]


@pytest.mark.parametrize("code", [200, 418, 500])
def test_an_answer_of_any_status_may_mean_a_429(
    vendor: Vendor, make: Make, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.will(*[status(code, ["busy"])] * (QUICK.tries + 1), GOOD)

    def translate(response: Response) -> Response:
        return replace(response, status=429) if b"busy" in response.body else response

    client = make(translate=translate, delays=(60.0,), patience=Patience())
    pauses = pauses_of(client, monkeypatch)
    assert decode(client.fetch(Request("/x"))) == [1, 2, 3]
    assert pauses == [60.0] * (QUICK.tries + 1)


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "0"}, {"X-RateLimit-Reset": "0"}, {"Retry-After": LONG_AGO}])
def test_a_429_without_retry_after_outlasts_the_budgets_period(
    vendor: Vendor, make: Make, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.will(*[status(429, None, **headers)] * 100)
    client = make(budget=Budget(1_000_000, 60.0), patience=Patience())
    pauses: list[float] = []
    monkeypatch.setattr(client, "_sleep", pauses.append)
    monkeypatch.setattr(client.budget, "refused", lambda seconds: None)  # the distance that it keeps from then on
    with pytest.raises(VendorUnavailable, match="HTTP 429") as raised:
        decode(client.fetch(Request("/x")))
    assert raised.value.scope == "reading"
    assert len(vendor.arrived) == Patience.tries
    assert sum(pauses) >= 60.0
    assert pauses == sorted(pauses)


@pytest.mark.parametrize("code", [429, 503])
def test_a_delay_that_is_always_too_short_is_outlasted(
    vendor: Vendor, make: Make, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vendor may ask for one second while its limit lasts a minute, or its outage half a minute."""
    vendor.will(status(code, None, **{"Retry-After": "0.1"}))
    client = make(budget=Budget(1_000_000, 60.0), patience=Patience())
    pauses = pauses_of(client, monkeypatch)
    with pytest.raises(VendorUnavailable, match=f"HTTP {code}") as raised:
        client.fetch(Request("/x"))
    assert sum(pauses) >= (60.0 if code == 429 else 0.75 * 31)
    assert "asks to wait" not in raised.value.message, "for less than a second"
    if code == 429:
        assert pauses[:20] == [0.1] * 20


def test_a_too_long_retry_after_delays_no_other_request(vendor: Vendor, make: Make) -> None:
    vendor.will(status(429, None, **{"Retry-After": "86400"}), GOOD)
    client = make()
    with pytest.raises(VendorUnavailable):
        decode(client.fetch(Request("/x")))
    assert client.budget.reserve() == 0.0


class StopsTheWait(threading.Event):
    """An event that is set shortly after a wait for it starts."""

    def wait(self, timeout: float | None = None) -> bool:
        threading.Timer(0.3, self.set).start()
        return super().wait(timeout)


def test_seconds_waited_are_those_that_passed(vendor: Vendor, make: Make) -> None:
    vendor.will(status(429, None, **{"Retry-After": "300"}), GOOD)
    stop, traffic = StopsTheWait(), Traffic()
    with pytest.raises(Stopped):
        decode(make(stop=stop, patience=Patience()).fetch(Request("/x"), traffic))
    assert 0.1 < traffic.seconds_waited < 30


def test_a_too_long_retry_after_fails_immediately(vendor: Vendor, make: Make) -> None:
    vendor.will(status(429, None, **{"Retry-After": "3600"}))
    started = time.monotonic()
    with pytest.raises(VendorUnavailable, match="HTTP 429"):
        decode(make().fetch(Request("/x")))
    assert len(vendor.arrived) == 1
    assert time.monotonic() - started < 30


def test_an_answer_with_nothing_remaining_is_a_good_answer(vendor: Vendor, make: Make) -> None:
    vendor.will(Reply(200, {"data": [7]}, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "60"}))
    client = make()
    assert decode(client.fetch(Request("/x"))) == [7]
    assert client.budget.reserve() > 0, "somebody else uses the key: their requests count too"


def test_a_budget_used_up_for_a_day_is_not_waited_for(vendor: Vendor, make: Make) -> None:
    budget = Budget(1_000, 1.0, Allowance(24, 86_400.0, capacity=24.0))
    client = make(budget=budget)
    assert budget.reserve(24.0) == 0.0
    with pytest.raises(VendorUnavailable, match=r"has room again in 2\.0 hours") as caught:
        client.fetch(Request("/x", weight=2.0))
    assert caught.value.scope == "reading"
    assert vendor.arrived == []


def test_the_keys_plan_is_reported_once(vendor: Vendor, make: Make, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="airbyte")
    plans = ("trial", "trial", "two words")
    vendor.will(*(Reply(body={"data": []}, headers={"X-RateLimit-Plan": plan}) for plan in plans))
    client = make()
    for _ in range(3):
        client.fetch(Request("/x"))
    assert [message for message in caplog.messages if "plan" in message] == ["acme: the key's plan is trial"]


def test_the_budget_is_used_before_each_attempt_but_a_reserved_first_one(vendor: Vendor, make: Make) -> None:
    vendor.will(status(500), GOOD)
    budget = Budget(1, 0.3)
    started = time.monotonic()
    assert budget.reserve() == 0.0
    decode(make(budget=budget).fetch(Request("/x"), reserved=True))
    assert time.monotonic() - started >= 0.25
    assert len(vendor.arrived) == 2


def test_each_attempt_takes_the_weight_of_its_request(
    vendor: Vendor, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    vendor.will(status(500), GOOD)
    budget = Budget(1_000, 60.0)
    taken: list[float] = []
    monkeypatch.setattr(budget, "reserve", lambda weight: taken.append(weight) or 0.0)
    make(budget=budget).fetch(Request("/x", weight=7.0))
    assert taken == [7.0] * 2


def test_a_request_counts_once_it_is_connected(vendor: Vendor, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = transport.connections

    def slow(url: str) -> object:
        time.sleep(0.6)
        return ready(url)

    monkeypatch.setattr(transport, "connections", slow)
    client = make(budget=Budget(1, 1.0))
    client.fetch(Request("/x"))
    arrived = time.monotonic()
    client.fetch(Request("/x"))
    assert time.monotonic() - arrived >= 0.9


def test_a_redirect_takes_a_place_in_the_budget(vendor: Vendor, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    vendor.will(status(302, b"", Location="/base/y"), status(307, b"", Location="/base/z"), GOOD)
    budget = Budget(1_000, 60.0)
    taken: list[float] = []
    monkeypatch.setattr(budget, "reserve", lambda weight: taken.append(weight) or 0.0)
    make(budget=budget).fetch(Request("/x", weight=7.0), reserved=True)
    assert len(vendor.arrived) == 3
    assert taken == [7.0] * 2


def test_a_request_that_was_not_sent_gives_all_its_places_back(make: Make) -> None:
    budget = Budget(8, 60.0, counts_weight=True)
    client = make(base="http://127.0.0.1:9", budget=budget)  # nobody listens
    with pytest.raises(VendorUnavailable):
        client.fetch(Request("/x", weight=8))
    assert budget.reserve(weight=8) == 0.0


# Failures without a retry.


@pytest.mark.parametrize(
    ("code", "kind", "scope"),
    [
        (400, RequestRefused, "partition"),
        (401, AccessRefused, "reading"),
        (402, AccessRefused, "reading"),
        (403, AccessRefused, "partition"),
        (404, RequestRefused, "partition"),
        (405, RequestRefused, "partition"),
        (414, RequestRefused, "partition"),
        (422, RequestRefused, "partition"),
    ],
)
def test_refusals_fail_immediately(
    vendor: Vendor, make: Make, code: int, kind: type[LiquidationsError], scope: str
) -> None:
    vendor.will(status(code))
    with pytest.raises(kind, match=f"HTTP {code}: words for {code}") as caught:
        decode(make().fetch(Request("/x")))
    assert len(vendor.arrived) == 1
    assert (caught.value.failure_type, caught.value.scope) == ("config_error", scope)


@pytest.mark.parametrize("code", [204, 206, 304])
def test_a_status_that_no_page_names_is_unexpected(vendor: Vendor, make: Make, code: int) -> None:
    vendor.will(Reply(code, b""))
    with pytest.raises(UnexpectedAnswer, match=f"status {code}"):
        decode(make().fetch(Request("/x")))
    assert len(vendor.arrived) == 1


def test_a_vendor_may_explain_a_refusal_better(vendor: Vendor, make: Make) -> None:
    vendor.will(status(400))
    special = RequestRefused("too many points", status=400)
    with pytest.raises(RequestRefused, match="too many points"):
        decode(make(explain=lambda response: special if response.status == 400 else None).fetch(Request("/x")))


def test_a_vendor_may_map_an_answer_to_an_http_status(vendor: Vendor, make: Make) -> None:
    """A vendor may report a rate limit with a 400 and its own header."""

    def translate(response: Response) -> Response:
        if b"too fast" not in response.body:
            return response
        return Response(429, {"Retry-After": response.headers["X-Theirs"]}, response.body)

    vendor.will(status(400, {"message": "too fast"}, **{"X-Theirs": "0.05"}), GOOD)
    assert decode(make(translate=translate).fetch(Request("/x"))) == [1, 2, 3]
    assert len(vendor.arrived) == 2


def test_a_body_of_the_wrong_shape_is_not_retried(vendor: Vendor, make: Make) -> None:
    decoder = msgspec.json.Decoder(dict[str, list[str]])
    with pytest.raises(UnexpectedAnswer, match=r"\$\[\.\.\.\]\[0\]|data"):
        make().fetch(Request("/x")).decoded(decoder)
    assert len(vendor.arrived) == 1


# Other origins.


def test_a_redirect_on_the_same_origin_is_followed(vendor: Vendor, make: Make) -> None:
    vendor.will(status(302, b"", Location="/base/there?a=1"), GOOD)
    assert decode(make().fetch(Request("/x"))) == [1, 2, 3]
    assert [arrived.path for arrived in vendor.arrived] == ["/x", "/there"]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "there",
    [
        "http://localhost:{port}/base/x",
        "//localhost:{port}/x",
        "https://127.0.0.1:{port}/x",
        "http://127.0.0.1:1/x",
    ],
)
def test_a_redirect_to_another_origin_is_refused(vendor: Vendor, make: Make, code: int, there: str) -> None:
    vendor.will(status(code, b"", Location=there.format(port=vendor.server.port)), GOOD)
    with pytest.raises(UnexpectedAnswer, match="redirect to another origin was refused"):
        decode(make().fetch(Request("/x")))
    assert [arrived.headers["host"] for arrived in vendor.arrived] == [f"127.0.0.1:{vendor.server.port}"]


def test_a_redirect_to_an_invalid_url_fails(vendor: Vendor, make: Make) -> None:
    vendor.will(status(302, b"", Location="http://[::1"))
    with pytest.raises(VendorUnavailable, match="Invalid"):
        decode(make().fetch(Request("/x")))


@pytest.mark.parametrize("headers", [{"Location": "/base/x"}, {}])
def test_endless_redirects_fail(vendor: Vendor, make: Make, headers: dict[str, str]) -> None:
    vendor.will(Reply(302, b"", headers))
    with pytest.raises(VendorUnavailable, match="redirected"):
        decode(make().fetch(Request("/x")))
    assert len(vendor.arrived) == 3 * QUICK.tries


def test_next_page_addresses_are_checked(vendor: Vendor, make: Make) -> None:
    client = make(own_origins=frozenset({"https://api.acme.com:443"}))
    client.check_origin(f"{vendor.url}/x?token=1")
    client.check_origin("https://api.acme.com/x")
    client.check_origin("https://API.acme.com:443/x")
    for url in ("/x?token=1", "?token=1", "x/y?token=1", "../x?token=1", "./x?at=https://evil.example"):
        client.check_origin(url)
    for url in (
        "http://api.acme.com/x",
        "https://api.acme.com:444/x",
        "https://api.acme.com.evil.example/x",
        "https://api.acme.com@evil.example/x",
        "https://evil.example/https://api.acme.com/",
        f"http://localhost:{vendor.server.port}/x",
        "//evil.example/x",
        "/\\evil.example/x",
        "\\\\evil.example/x",
        " //evil.example/x",
        "\t//evil.example/x",
        "api.acme.com:443/x",
    ):
        with pytest.raises(UnexpectedAnswer, match="another origin was refused"):
            client.check_origin(url)


@pytest.mark.parametrize("url", ["http://[::1", "https://api.acme.com:port/x", "https://api.acme.com:99999/x"])
def test_an_invalid_next_page_address_is_refused(make: Make, url: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        make().check_origin(url)


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("HTTPS://Api.Acme.com/x?y") == "https://api.acme.com:443"
    assert origin("http://127.0.0.1:8900/x") == "http://127.0.0.1:8900"


# Keys, stopping, waiting times.


def test_no_error_and_no_repr_shows_the_key(vendor: Vendor, make: Make) -> None:
    vendor.will(status(401, {"message": f"Key {KEY} is not valid, see https://acme.com?api_key=k%2Be%2Fy"}))
    client = make(key_params=(("api_key", KEY),))
    with pytest.raises(AccessRefused) as caught:
        decode(client.fetch(Request("/x")))
    assert KEY not in caught.value.message
    assert "k%2Be" not in caught.value.message
    assert "is not valid" in caught.value.message
    with pytest.raises(VendorUnavailable) as refused:
        decode(make(base="http://127.0.0.1:1", key_params=(("api_key", KEY),)).fetch(Request("/x")))
    for text in (repr(client), str(refused.value), repr(refused.value), str(refused.value.__cause__)):
        assert KEY not in text
        assert "k%2Be" not in text


def test_stop_ends_a_pause(vendor: Vendor, make: Make) -> None:
    vendor.will(status(429, None, **{"Retry-After": "600"}))
    stop = StopsTheWait()
    started = time.monotonic()
    with pytest.raises(Stopped):
        decode(make(stop=stop, patience=Patience()).fetch(Request("/x")))
    assert time.monotonic() - started < 30


def test_stop_ends_a_dripping_body(vendor: Vendor, make: Make) -> None:
    vendor.will(wire("slow_drip", seconds=0.05, chunk=10))
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Stopped):
        decode(make(stop=stop, patience=Patience()).fetch(Request("/x")))


def test_waiting_times_can_be_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Patience.from_environment() == Patience()
    monkeypatch.setenv("SOURCE_LIQUIDATIONS_PATIENCE", "0.5")
    scaled = Patience.from_environment()
    assert (scaled.connect, scaled.answer, scaled.first_pause, scaled.longest_pause) == (5.0, 30.0, 0.5, 30.0)
    assert scaled.tries == Patience.tries


def test_patience_ends_before_airbytes_heartbeat() -> None:
    """Airbyte stops a source that has sent nothing for 90 minutes."""
    patience = Patience()
    slowest_try = patience.connect + 2 * patience.answer
    assert patience.answer == 60.0
    assert patience.tries * (slowest_try + patience.longest_pause) + patience.longest_total < 90 * 60
