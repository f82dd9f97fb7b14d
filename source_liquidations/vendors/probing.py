"""The one probe of all `check`s: a cheap real request for an entry of the configuration, decoded as a read does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from source_liquidations.errors import (
    AccessRefused,
    LiquidationsError,
    RequestRefused,
    UnexpectedAnswer,
    VendorUnavailable,
)
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span


def probe(
    endpoint: Endpoint,
    request: Request,
    span: Span,
    traffic: Traffic,
    *,
    entries: Callable[[LiquidationsError], Sequence[str]] | None = None,
    plan_is_the_keys: bool = False,
) -> Answer:
    """What the endpoint answers. Raises what is wrong, naming the entries of the configuration that it is about.

    `entries` finds them in the vendor's words where the request asks for several partitions; `plan_is_the_keys` says
    that a plan which does not cover an entry belongs to the key, and so names it, too.
    """
    try:
        return endpoint.decode(endpoint.client.fetch(request, traffic), span, request, {})
    except (AccessRefused, RequestRefused, UnexpectedAnswer, VendorUnavailable) as error:
        if error.scope == "reading":  # the key itself
            raise
        named = entries(error) if entries is not None else [entry_of(span.partitions[0])]
        if plan_is_the_keys and isinstance(error, AccessRefused):
            named = [f"`{endpoint.vendor}.api_key`", *named]
        for partition in span.partitions if isinstance(error, RequestRefused) else ():
            endpoint.hinted(error, str(partition))
        raise error.named(", ".join(named)) from None


def entry_of(partition: Partition) -> str:
    return f"`{partition.entry}` ({partition})"
