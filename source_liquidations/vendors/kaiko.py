"""Kaiko: derivative liquidation events, token-level liquidation volumes.

Pages: https://docs.kaiko.com, "Derivative liquidation events" and "Token-level liquidation volumes".
Beside this file: the reference data, and the envelope of all answers.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from source_liquidations import timestamps
from source_liquidations.coverage import ALL, documented, observed, throttled_at_binance
from source_liquidations.errors import AccessRefused, RequestRefused, UnexpectedAnswer, shown
from source_liquidations.harmonized import (
    LIQUIDATION_VOLUMES,
    LIQUIDATIONS,
    POSITIONS,
    EventMaker,
    Volume,
    iso_interval,
    number,
    volume_rows,
)
from source_liquidations.http.answers import Answered
from source_liquidations.http.budgets import Budget
from source_liquidations.http.client import Client, Request
from source_liquidations.http.traffic import Traffic
from source_liquidations.http.transport import origin
from source_liquidations.reading.endpoint import Answer, Endpoint, Partition, Rows, Span
from source_liquidations.streams import Stream
from source_liquidations.symbols import asset, assets_of, exchange
from source_liquidations.vendors.decoding import (
    Number,
    RowDecoder,
    added_rows,
    iso_instants,
    time_members,
    unix_instants,
)
from source_liquidations.vendors.kaiko_reference import (
    CLASSES,
    PAGE_SIZE,
    Body,
    InstrumentList,
    Instruments,
    exchanges,
    next_token,
)
from source_liquidations.vendors.listing import is_pattern
from source_liquidations.vendors.vendor import Feed, Shared, Vendor, base_url

logger = logging.getLogger("airbyte")

MARKET_DATA = "https://{region}.market-api.kaiko.io"
REFERENCE_DATA = "https://reference-data-api.kaiko.io"
TRADES = "/v2/data/liquidation.v1/trades"
TOKEN = "/v2/data/liquidation.v1/token"  # nosec B105

REQUESTS_PER_MINUTE = 6000
MILLISECOND = 1_000_000
ENTRIES_CHECKED = 100


class TradeRow(msgspec.Struct):
    timestamp: int | str
    trade_id: str
    position_side: str | None = None
    amount: Number = None
    amount_quote: Number = None
    amount_usd: Number = None
    price: Number = None
    rate: Number = None


class Counts(msgspec.Struct):
    total_trades: Number = None
    total_amount: Number = None
    long_trades: Number = None
    long_amount: Number = None
    short_trades: Number = None
    short_amount: Number = None


class ExchangeCounts(Counts, kw_only=True):
    exchange: str


class TokenRow(Counts, kw_only=True):
    interval_time: str
    interval_timestamp: int | str | None = None
    exchanges: list[ExchangeCounts] | None = None


class AccessRange(msgspec.Struct):
    start_timestamp: int | None = None
    end_timestamp: int | None = None


class Access(msgspec.Struct):
    access_range: AccessRange | None = None


_access = msgspec.json.Decoder(Access)


class KaikoEndpoint(Endpoint):
    """What both endpoints share: ascending pages of 1,000, and continuation tokens that carry the parameters."""

    vendor = "kaiko"
    path: str

    def __init__(self, client: Client) -> None:
        self.client = client
        self._access_noted: set[tuple[Partition, int]] = set()

    def request_path(self, partition: Partition) -> str:
        raise NotImplementedError

    def first(self, span: Span) -> Request:
        # start_time is inclusive, end_time exclusive, in milliseconds; `sort` defaults to desc.
        return Request(
            self.request_path(span.partitions[0]),
            (
                *self.extra_params(span.partitions[0]),
                ("start_time", timestamps.format_instant(span.start, 3)),
                ("end_time", timestamps.format_instant(span.end, 3)),
                ("sort", "asc"),
                ("page_size", PAGE_SIZE),
            ),
        )

    def extra_params(self, partition: Partition) -> tuple[tuple[str, str], ...]:
        return ()

    def place(self, partition: Partition) -> tuple[str, str]:
        """Exchange and market, as the stream of coverage has them."""
        raise NotImplementedError

    def note_access(self, body: Body[Any], span: Span, instants: list[int]) -> None:
        """What of the span the key may not read, if no row came from there. No page says what becomes of such rows."""
        partition = span.partitions[0]
        if body.access is msgspec.UNSET or (partition, span.end) in self._access_noted:  # later pages begin later
            return
        self._access_noted.add((partition, span.end))
        try:
            readable = _access.decode(body.access).access_range or AccessRange()
        except msgspec.DecodeError:  # nothing that a row depends on
            return
        first, last = _limit(readable.start_timestamp), _limit(readable.end_timestamp)
        refused = []
        if first and span.start < first and not (instants and instants[0] < first):
            refused.append((span.start, min(first, span.end)))
        if last and last < span.end:
            refused.append((max(last, span.start), span.end))
        for start, end in refused:
            if start == end:  # of a span without length: `check` asks for no time
                continue
            note = "outside the access range of the key"
            self.observations.append(observed("kaiko", *self.place(partition), "missing", start, end, note))
            if len(self.observations) == 1:
                logger.warning(
                    "kaiko: the key may read from %s to %s, and no row of %s came from %s to %s; other markets may lack"
                    " rows as well. A larger plan has them; reset the stream once you have it.",
                    *(timestamps.format_shortest(limit) if limit else "any time" for limit in (first, last)),
                    partition,
                    timestamps.format_shortest(start),
                    timestamps.format_shortest(end),
                )

    def following(self, body: Body[Any], request: Request) -> Request | None:
        token = next_token(self.client, body)
        return Request(request.path, (("continuation_token", token),)) if token else None


class Trades(KaikoEndpoint):
    step = MILLISECOND

    def __init__(self, client: Client, reference: Instruments, instruments: Sequence[str]) -> None:
        super().__init__(client)
        self._reference = reference
        self._instruments = instruments
        self._decoder = RowDecoder(
            "kaiko_liquidation_events",
            Body,
            TradeRow,
            added=("exchange", "instrument_class", "instrument", "time", "time_ns"),
        )

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        seen: dict[Partition, None] = {}
        matching = partial(self._reference.matching, traffic=traffic)
        for name, where in self.resolved("kaiko.instruments", self._instruments, is_pattern, matching):
            code, instrument_class, instrument = name.split("/", 2)
            seen.setdefault(
                Partition.of(exchange=code, instrument_class=instrument_class, instrument=instrument, entry=where)
            )
        return list(seen)

    def place(self, partition: Partition) -> tuple[str, str]:
        return exchange(partition["exchange"]), str(partition)

    def request_path(self, partition: Partition) -> str:
        return "/".join([TRADES, *(quote(value, safe="") for _, value in partition.values)])

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        del memory
        body, raw, collides = self._decoder.decode(answered)
        rows = body.data
        values = [row.timestamp for row in rows]
        if set(map(type, values)) - {int}:
            values = [whole_number("timestamp", value) for value in values]
        instants, times = unix_instants("timestamp", values) if values else ([], [])
        self.note_access(body, span, instants)
        partition = span.partitions[0]
        each = time_members(times, instants)
        page = added_rows(raw, instants, constant=dict(partition.values), each=each, typed=rows, collides=collides)
        page.times = times
        return Answer.before(page, partial(self.following, body, request))


class TokenVolumes(KaikoEndpoint):
    rows_per_step = 1

    def __init__(self, client: Client, assets: Sequence[str], interval: str) -> None:
        super().__init__(client)
        self._assets = assets
        self._interval = interval
        self.step = interval_length(interval)
        self._decoder = RowDecoder("kaiko_token_liquidation_volumes", Body, TokenRow, added=("asset", "interval"))

    def partitions(self, traffic: Traffic) -> Iterable[Partition]:
        del traffic
        return dict.fromkeys(
            Partition.of(asset=asset, interval=self._interval, entry=f"kaiko.assets[{index}]")
            for index, asset in enumerate(self._assets)
        )

    def place(self, partition: Partition) -> tuple[str, str]:
        return ALL, f"all/{partition['asset']}"

    def request_path(self, partition: Partition) -> str:
        return f"{TOKEN}/{quote(partition['asset'], safe='')}"

    def extra_params(self, partition: Partition) -> tuple[tuple[str, str], ...]:
        return (("interval", partition["interval"]),)

    def decode(self, answered: Answered, span: Span, request: Request, memory: dict[Any, Any]) -> Answer:
        del memory
        body, raw, collides = self._decoder.decode(answered)
        partition = span.partitions[0]
        instants = iso_instants("interval_time", [row.interval_time for row in body.data])
        self.note_access(body, span, instants)
        page = added_rows(raw, instants, constant=dict(partition.values), typed=body.data, collides=collides)
        return Answer.before(page, partial(self.following, body, request))


# liquidations: position_side is the position; amount is in the base currency; the price is the execution's.
class _Literals(msgspec.Struct, gc=False):
    price: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    amount: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    amount_usd: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_literals = msgspec.json.Decoder(list[_Literals])
_event = EventMaker("kaiko", amount_unit="base")


def to_liquidations(rows: Rows, span: Span) -> list[bytes]:
    partition = span.partitions[0]
    code = partition["exchange"]
    names = _event.names(str(partition), code, *assets_of(partition["instrument"], code), "trade")
    literals = _literals.decode(b"[" + b",".join(rows.raw) + b"]")
    return [
        _event.row(
            names,
            row.trade_id,
            time,
            instant,
            row.position_side,
            number("price", literal.price),
            number("amount", literal.amount),
            number("amount_usd", literal.amount_usd),
        )
        for row, literal, instant, time in zip(rows.typed, literals, rows.instants, rows.times, strict=True)
    ]


class _ExchangeLiterals(msgspec.Struct):
    exchange: str
    long_trades: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    long_amount: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    short_trades: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    short_amount: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


class _TokenLiterals(msgspec.Struct):
    exchange: str = "all"
    long_trades: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    long_amount: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    short_trades: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    short_amount: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    exchanges: list[_ExchangeLiterals] | None = None


_token_literals = msgspec.json.Decoder(_TokenLiterals)


def to_volumes(rows: Rows, span: Span) -> list[bytes]:
    """For each interval and side: the asset over all exchanges, then each exchange. Amounts are US dollars."""
    partition = span.partitions[0]
    name = asset(partition["asset"])
    volumes = []
    for raw, row in zip(rows.raw, rows.typed, strict=True):
        whole = _token_literals.decode(raw)
        for counts in (whole, *(whole.exchanges or ())):
            for side in POSITIONS:
                volumes.append(
                    Volume(
                        vendor="kaiko",
                        market=f"{counts.exchange}/{partition['asset']}",
                        exchange=exchange(counts.exchange),
                        asset=name,
                        interval=iso_interval(partition["interval"]),
                        interval_start=row.interval_time,
                        position_side=side,
                        amount=msgspec.Raw(number(f"{side}_amount", getattr(counts, f"{side}_amount"))),
                        unit="usd",
                        liquidation_count=msgspec.Raw(number(f"{side}_trades", getattr(counts, f"{side}_trades"))),
                    )
                )
    return volume_rows(volumes)


class Kaiko(Vendor):
    name = "kaiko"
    required = ("api_key",)
    one_of = ("instruments", "assets")
    streams = (
        Stream("kaiko_liquidation_events", ("exchange", "instrument_class", "instrument", "trade_id"), "time"),
        Stream("kaiko_token_liquidation_volumes", ("asset", "interval", "interval_time"), "interval_time"),
        Stream("kaiko_instruments", ("exchange_code", "class", "code")),
        Stream("kaiko_exchanges", ("code",)),
    )
    unified = (LIQUIDATIONS, LIQUIDATION_VOLUMES)
    coverage = documented(
        "kaiko",
        "Kaiko, token-level liquidation volumes",
        [("all", "starts", "2025-01-08", None, "token-level volumes; liquidation events may begin earlier")],
        market="token-level volumes",
    ) + throttled_at_binance("kaiko")

    @classmethod
    def entry_problem(cls, field: str, entry: str) -> tuple[str, str] | None:
        wanted_class = entry.split("/", 2)[1] if field == "instruments" else ""
        if field != "instruments" or any(fnmatchcase(instrument_class, wanted_class) for instrument_class in CLASSES):
            return None
        return (
            f"{wanted_class!r} is not a class of instruments with liquidations.",
            f"Allowed: {' or '.join(CLASSES)}, or a pattern that matches one of them.",
        )

    def __init__(self, config: Mapping[str, Any], shared: Shared) -> None:
        per_minute = config.get("requests_per_minute") or REQUESTS_PER_MINUTE
        documented = {region: MARKET_DATA.format(region=region) for region in ("us", "eu")}
        self._client = Client(
            vendor="kaiko",
            hosts={
                "data": base_url(config, documented[config.get("region", "us")]),
                "reference": base_url(config, REFERENCE_DATA, "reference_base_url"),
            },
            headers={"X-Api-Key": config["api_key"]},
            keyless_hosts=frozenset({"reference"}),
            own_origins=frozenset(origin(url) for url in (*documented.values(), REFERENCE_DATA)),
            budget=Budget(per_minute, 60.0),
            connections=shared.workers,
            stop=shared.stop,
        )
        self._interval = config.get("interval", "1h")
        self._instruments = tuple(config.get("instruments", ()))
        self._assets = tuple(config.get("assets", ()))

    def feeds(self) -> Sequence[Feed]:
        return (
            Feed(self._trades(), "kaiko_liquidation_events", {LIQUIDATIONS.name: to_liquidations}),
            Feed(self._volumes(), "kaiko_token_liquidation_volumes", {LIQUIDATION_VOLUMES.name: to_volumes}),
            Feed(InstrumentList(self._client), "kaiko_instruments"),
            Feed(exchanges(self._client), "kaiko_exchanges"),
        )

    def _trades(self) -> Trades:
        return Trades(self._client, Instruments(self._client), self._instruments)

    def _volumes(self) -> TokenVolumes:
        return TokenVolumes(self._client, self._assets, self._interval)

    def check(self, traffic: Traffic) -> None:
        """One row of each of the first entries, decoded as in a read; wildcards must match something."""
        for endpoint in (self._trades(), self._volumes()):
            for partition in endpoint.all_partitions(traffic)[:ENTRIES_CHECKED]:
                self._check(endpoint, partition, traffic)

    def _check(self, endpoint: KaikoEndpoint, partition: Partition, traffic: Traffic) -> None:
        request = Request(endpoint.request_path(partition), (("page_size", "1"),))
        span = Span((partition,), 0, 0)
        try:
            endpoint.decode(self._client.fetch(request, traffic), span, request, {})
        except (AccessRefused, RequestRefused, UnexpectedAnswer) as error:
            if error.scope == "reading":
                raise
            key = "`kaiko.api_key`, " if isinstance(error, AccessRefused) else ""
            raise error.named(f"{key}`{partition.entry}` ({partition})") from None


def _limit(timestamp: int | None) -> int | None:
    """A bound of the access range in nanoseconds; None where there is none, or none that can be read."""
    try:
        return timestamp * timestamps.unix_unit(timestamp)[0] if timestamp else None
    except ValueError:
        return None


def whole_number(field: str, value: int | str) -> int:
    """An integer, also where the vendor writes it as a string."""
    if isinstance(value, int):
        return value
    if re.fullmatch(r"\d{1,20}", value, re.ASCII):
        return int(value)
    raise UnexpectedAnswer(f"`{field}` is {shown(value)}, no whole number.", advice="No row was guessed from it.")


def interval_length(interval: str) -> int:
    """Nanoseconds of `1h` to `24h`, or `1d`."""
    count, unit = int(interval[:-1]), interval[-1]
    return count * (timestamps.DAY if unit == "d" else timestamps.HOUR)
