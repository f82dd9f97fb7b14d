"""What Gate's three calls share: paths, contract names, errors, rate limit headers.

Page: Gate API v4, "Futures". Answers are lists of objects. An error is an object with a `label`.
"""

import re
from typing import Any

import msgspec
from requests.structures import CaseInsensitiveDict

from source_liquidations.errors import LiquidationsError, OutOfReach, RequestRefused, UnexpectedAnswer
from source_liquidations.http.answers import Response, reset_seconds, vendor_words
from source_liquidations.http.statuses import OK, TOO_MANY_REQUESTS, status_and_words
from source_liquidations.reading.pages import encode, members_of
from source_liquidations.symbols import asset
from source_liquidations.vendors.decoding import Page

ROOT = "/api/v4/futures"
LIMIT = 1000  # rows; a related call refuses more
# Without this header, Gate cuts contract counts to integers.
HEADERS = {"X-Gate-Size-Decimal": "1"}
SETTLES = ("usdt", "btc")  # settle currencies of a pattern that does not name one

# Limits reset at an instant of Gate's clock. Ours may differ, so the delay has bounds, in seconds.
_SHORTEST_DELAY, _LONGEST_DELAY = 1.0, 60.0
_SERVER_ERROR = 500
# The statuses that these labels mean, even if the answer has another one.
_STATUS_OF = {
    "TOO_MANY_REQUESTS": TOO_MANY_REQUESTS,
    "TOO_FAST": TOO_MANY_REQUESTS,
    "INTERNAL": _SERVER_ERROR,
    "SERVER_ERROR": _SERVER_ERROR,
}
_TOO_OLD = re.compile(r"exceeds \d+-day limit")  # of contract_stats
_CHECK_THE_KEY = "Check the key, if a proxy in front of Gate adds one: Gate's public calls need none."
_ADVICE = {
    401: _CHECK_THE_KEY,
    402: _CHECK_THE_KEY,
    403: "Gate needs no key and no plan for this: it may refuse your address for its country. Use another one, or a"
    " proxy (`gate.base_url`).",
}
_RATE_HEADERS = {
    "X-Gate-RateLimit-Requests-Remain": "X-RateLimit-Remaining",
    "X-Gate-RateLimit-Reset-Timestamp": "X-RateLimit-Reset",
}


def path(settle: str, call: str) -> str:
    return f"{ROOT}/{settle}/{call}"


def market(settle: str, contract: str) -> str:
    """The market of a contract in unified streams: BTC_USDT, or usd1/BTC_USD1 for a currency not in SETTLES."""
    return contract if settle in SETTLES else f"{settle}/{contract}"


def assets(contract: str) -> tuple[str, str]:
    """Base and quote asset in lower case: BTC_USDT is btc in usdt."""
    base, _, quote = contract.rpartition("_")
    return asset(base), asset(quote)


def rename_time(page: Page[Any]) -> None:
    """Rename the vendor's `time` to `timestamp`: in every stream, `time` is RFC 3339."""
    for index, row in enumerate(map(bytes, page.raw)):
        if row.startswith(b'{"time":') and row.count(b'"time"') == 1 and not page.collides:
            page.raw[index] = msgspec.Raw(b'{"timestamp":' + row[8:])
        else:
            members = members_of(row)
            page.raw[index] = msgspec.Raw(encode({"timestamp": members.pop("time"), **members}))


def translated(response: Response) -> Response:
    """The answer with the HTTP status that its label means, and with the usual names of its rate limit headers."""
    status = response.status
    if OK < status < _SERVER_ERROR:
        status = _STATUS_OF.get(vendor_words(response.body).partition(":")[0], status)
    headers = CaseInsensitiveDict(response.headers)
    for theirs, usual in _RATE_HEADERS.items():
        if theirs in headers:
            headers.setdefault(usual, headers[theirs])
    if "X-RateLimit-Reset" in headers:
        delay = reset_seconds(Response(status, headers, b"")) or 0.0
        headers["X-RateLimit-Reset"] = f"{min(max(delay, _SHORTEST_DELAY), _LONGEST_DELAY):.3f}"
    return Response(status, headers, response.body)


def explain(response: Response) -> LiquidationsError | None:
    """The error that a refusal means, if its status would mislead: Gate's public calls take no key."""
    words = status_and_words(response)
    if response.status == 400 and _TOO_OLD.search(words):
        # 403, as for a plan with a shorter history: only this window is at fault.
        return OutOfReach(words, status=403, advice="Gate keeps 180 days. Set a later `start_date`.")
    if "MISSING_REQUIRED_HEADER" in words:
        return UnexpectedAnswer(
            f"{words}. Gate has closed this call to requests without a key.",
            advice="None of your settings is missing. Take the stream out of the sync, or update the connector.",
        ).of_reading()
    if response.status in _ADVICE:
        error = RequestRefused(words, status=response.status, advice=_ADVICE[response.status])
        return error if response.status == 403 else error.of_reading()
    return None
