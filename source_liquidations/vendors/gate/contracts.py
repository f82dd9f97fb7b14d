"""Gate, GET /futures/{settle}/contracts: for its own stream, patterns, contract sizes and `liquidation_coverage`."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from source_liquidations import numbers
from source_liquidations.errors import LiquidationsError
from source_liquidations.http.client import Client, Request
from source_liquidations.http.redaction import redact
from source_liquidations.http.traffic import Traffic
from source_liquidations.logs import logger
from source_liquidations.reading.endpoint import Partition
from source_liquidations.reading.pages import merged
from source_liquidations.streams import Stream
from source_liquidations.symbols import DOLLARS
from source_liquidations.vendors.contract_sizes import Contract, Converted, converted
from source_liquidations.vendors.decoding import Fields, ListBody, Page, RowDecoder
from source_liquidations.vendors.gate.calls import LIMIT, SETTLES, assets, market, path
from source_liquidations.vendors.listing import DateReader, Entry, ListedPeriod, Listing, coverage_of, rows_of
from source_liquidations.vendors.patterns import is_pattern, matches, matching_names

STREAM = Stream("gate_contracts", ("settle", "name"), declared_in=__name__)
SETTING = "gate.contracts"
CALL = "contracts"
_DEFAULT_LIMIT = 100


class ContractRow(msgspec.Struct):
    """The fields that are read here. Only the name is certain to be text."""

    name: str
    type: Any = None
    quanto_multiplier: msgspec.Raw = numbers.NULL
    status: Any = None
    create_time: msgspec.Raw = numbers.NULL
    launch_time: msgspec.Raw = numbers.NULL
    delisted_time: msgspec.Raw = numbers.NULL


class ContractList(Listing):
    """The contracts of these settle currencies, one currency after the other, in pages by `offset`."""

    def __init__(self, client: Client, settles: Sequence[str]) -> None:
        decoder = RowDecoder(ListBody, ContractRow, Fields(STREAM), added=("settle",))
        super().__init__(client, first_page(settles[0]), decoder)
        self._settles = tuple(settles)

    def entries(self, page: Page[Any], request: Request, memory: dict[Any, Any]) -> tuple[list[Entry], Request | None]:
        """Each contract once, with its settle currency."""
        settle = request.path.split("/")[-2]
        names: set[tuple[str, str]] = memory.setdefault("names", set())
        entries: list[Entry] = []
        for row, literal in zip(page.rows, page.raw, strict=True):
            if (settle, row.name) not in names:
                names.add((settle, row.name))
                entries.append(((settle, row), merged(literal, {"settle": settle})))
        # The maximum of `limit` is not documented: a page of full hundreds may be cut off at a lower one than ours.
        count = len(page.raw)
        if entries and (count >= LIMIT or count % _DEFAULT_LIMIT == 0):
            return entries, request.with_param("offset", str(int(dict(request.params)["offset"]) + count))
        others = self._settles[self._settles.index(settle) + 1 :]
        return entries, first_page(others[0]) if others else None


def first_page(settle: str) -> Request:
    return Request(path(settle, CALL), (("limit", str(LIMIT)), ("offset", "0")))


def settles_of(entries: Sequence[str]) -> tuple[str, ...]:
    """The settle currencies whose lists are read: the two usual ones, and others that an entry names."""
    named = [settle for settle in (entry.partition("/")[0] for entry in entries) if not is_pattern(settle)]
    return tuple(dict.fromkeys((*SETTLES, *named)))


class Contracts:
    """The lists of contracts that a sync needs, by settle currency. Each is requested once. Thread-safe."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.lists: dict[str, dict[str, ContractRow]] = {}
        self._sizes: dict[str, Contract | None] = {}  # by market; None once the missing size was logged
        self._lock = threading.Lock()

    def of(self, settle: str, traffic: Traffic) -> Mapping[str, ContractRow]:
        with self._lock:
            if settle not in self.lists:
                rows = rows_of(ContractList(self._client, [settle]), traffic)
                self.lists[settle] = {row.name: row for (_, row), _ in rows}
                sizes = {name: size_of(row) for name, row in self.lists[settle].items()}
                self._sizes |= {market(settle, name): size for name, size in sizes.items() if size is not None}
            return self.lists[settle]

    def matching(self, pattern: str, where: str, traffic: Traffic) -> list[str]:
        """`settle/CONTRACT` of the contracts that match a pattern. Raises ConfigurationError if none does."""
        code = pattern.partition("/")[0]
        settles = [settle for settle in SETTLES if matches(code, settle)] if is_pattern(code) else [code]
        names = [f"{settle}/{name}" for settle in settles for name in sorted(self.of(settle, traffic))]
        advice = f"Compare it with {path('usdt', CALL)}, e.g. usdt/BTC_* or usdt/*."
        return matching_names(pattern, names, where, "contract of Gate's list", advice)

    def prepare(self, partitions: Sequence[Partition], traffic: Traffic) -> None:
        """Request the sizes of these partitions' contracts. A list that is not available does not stop the sync."""
        for settle in dict.fromkeys(partition["settle"] for partition in partitions):
            try:
                self.of(settle, traffic)
            except LiquidationsError as error:
                logger.warning(
                    "gate: the list of contracts of %s could not be read (%s): amount_base and notional_usd are null",
                    settle,
                    redact(error.cause),
                )

    def converted(self, markets: Sequence[str], amounts: Sequence[Any], prices: Sequence[Any]) -> Converted:
        """Amounts in contracts, converted by today's sizes. All three are columns of one page."""
        if without_size := set(markets) - self._sizes.keys():
            self._sizes |= dict.fromkeys(without_size)
            logger.warning(
                "gate: the list of contracts has no size of %s: amount_base and notional_usd are null there",
                ", ".join(sorted(without_size)),
            )
        return converted(self._sizes, markets, amounts, prices)


def size_of(row: ContractRow) -> Contract | None:
    """What one contract is; None if the list does not say.

    A direct contract is `quanto_multiplier` of the base asset. An inverse one is a dollar, and its multiplier is 0.
    """
    try:
        size = float(numbers.literal_of(row.quanto_multiplier))
    except ValueError:
        return None
    in_dollars = assets(row.name)[1] in DOLLARS
    if row.type == "inverse" and size == 0:
        return Contract(1.0, is_inverse=True, in_dollars=in_dollars)
    return Contract(size, is_inverse=False, in_dollars=in_dollars) if row.type == "direct" and size > 0 else None


def _periods_of(entry: tuple[str, ContractRow], date: DateReader, end: int) -> Iterator[ListedPeriod]:
    settle, row = entry
    name = market(settle, row.name)
    start = date(row, "launch_time", name) or date(row, "create_time", name)
    yield "gate", name, "starts", start, "trading began; the history that can be read is shorter"
    if row.status == "delisted":
        yield "gate", name, "ends", date(row, "delisted_time", name), "delisted"


to_coverage = partial(coverage_of, "gate", STREAM, f"/futures/{{settle}}/{CALL}", _periods_of)
