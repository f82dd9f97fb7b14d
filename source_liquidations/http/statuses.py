"""What an HTTP status means: retry, or whose mistake it is and what to do."""

from source_liquidations.errors import AccessRefused, LiquidationsError, RequestRefused, UnexpectedAnswer
from source_liquidations.http.answers import Response, vendor_words

OK = 200
UNAUTHORIZED = 401
TOO_MANY_REQUESTS = 429
GATEWAY_TIMEOUT = 504
PROXY_REFUSES = 407
REDIRECTS = frozenset({301, 302, 303, 307, 308})
# 5xx are retried as well.
_RETRIED = frozenset({408, TOO_MANY_REQUESTS})

_CHECK_THE_KEY = "Check the key and the plan of the vendor's account."
# status: (error, advice); any other 4xx is as 400
_REFUSALS: dict[int, tuple[type[AccessRefused] | type[RequestRefused], str]] = {
    400: (RequestRefused, "Correct what is named here, or take it out of the configuration."),
    401: (AccessRefused, _CHECK_THE_KEY),
    402: (AccessRefused, _CHECK_THE_KEY),
    403: (
        AccessRefused,
        "The key's plan does not cover this; ask the vendor, or take it out of the configuration.",
    ),
}


def refusal(response: Response) -> LiquidationsError | None:
    """The error that an answer other than 200 means; None if it should be retried."""
    status = response.status
    if status in _RETRIED or status >= 500:
        return None
    if not 400 <= status < 500:
        return UnexpectedAnswer(f"the answer has status {status}, which is not documented.")
    error, advice = _REFUSALS.get(status, _REFUSALS[400])
    return error(status_and_words(response), status=status, advice=advice)


def status_and_words(response: Response) -> str:
    """The status, the vendor's words, and the request's id for the vendor's support (Cloudflare's `CF-RAY`)."""
    ray = response.headers.get("CF-RAY")
    return f"HTTP {response.status}: {vendor_words(response.body)}{f' (CF-RAY {ray})' if ray else ''}"
