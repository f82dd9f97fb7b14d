"""The one probe of all `check`s: a cheap real request for an entry of the configuration, decoded as a read does."""

from __future__ import annotations

from collections.abc import Sequence

from source_liquidations import timestamps
from source_liquidations.errors import AccessRefused, LiquidationsError, RequestRefused
from source_liquidations.http.client import Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Span


def probe(
    endpoint: Endpoint,
    request: Request,
    span: Span,
    traffic: Traffic,
    *,
    plan_is_the_keys: bool = False,
) -> Answer:
    """What the endpoint answers. Raises what is wrong, naming the entries of the configuration that it is about.

    `plan_is_the_keys` says that a plan which does not cover an entry belongs to the key, and so names it, too.
    """
    try:
        return endpoint.decode(endpoint.client.fetch(request, traffic), span, request, {})
    except LiquidationsError as error:
        if error.scope == "reading":  # the key itself
            raise
        named = _at_fault(span.partitions, error.cause)
        if plan_is_the_keys and isinstance(error, AccessRefused):
            named = [f"`{endpoint.vendor}.api_key`", *named]
        if isinstance(error, RequestRefused):
            for partition in span.partitions:
                endpoint.hinted(error, str(partition))
        raise error.named(", ".join(named)) from None


def probe_at(endpoint: Endpoint, partition: Partition, at: int, traffic: Traffic) -> Answer:
    """What the endpoint answers to its shortest window at an instant."""
    start = timestamps.floor_to(at, endpoint.step)
    span = Span((partition,), start, start + endpoint.step)
    return probe(endpoint, endpoint.first(span), span, traffic)


def _at_fault(partitions: Sequence[Partition], words: str) -> list[str]:
    """The entry of a partition; of several, the entries that the vendor's words quote, else the setting of them all."""
    first = partitions[0]
    if len(partitions) == 1:
        return [f"`{first.entry}` ({first})"]
    quoted = [f"`{one.entry}`" for one in partitions if f"'{one.values[0][1]}'" in words]
    return quoted or [f"`{first.entry.partition('[')[0]}`"]
