"""Gate: `contracts`, the list of contracts with their current multipliers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from sandbox.gate_calls import Calls, places, size_text
from sandbox.gate_orders import Orders
from sandbox.instruments import Instrument
from sandbox.numbers import decimal
from sandbox.prices import digest, price_at
from sandbox.times import DAY, HOUR, NS
from sandbox.world import World


class Contracts:
    """One row a contract; a delisted contract is absent unless `gate_delisted` is `listed`."""

    def __init__(self, world: World, calls: Calls, orders: Orders) -> None:
        self._world = world
        self._calls = calls
        self._orders = orders

    def rows(self, settle: str, *, decimals: bool) -> list[dict[str, Any]]:
        """All contracts of a settle currency."""
        instruments = [self._orders.instruments[name] for name in self._orders.of_settle(settle)]
        with_delisted = self._world.options.gate_delisted == "listed"
        return [self._row(i, decimals) for i in instruments if with_delisted or not self._ended(i)]

    def _ended(self, instrument: Instrument) -> bool:
        return instrument.ends is not None and instrument.ends <= self._world.now()

    def _row(self, instrument: Instrument, decimals: bool) -> dict[str, Any]:
        i, ended = instrument, self._ended(instrument)
        price = round(price_at(self._world.market.seed, i.base, self._world.now() // HOUR), i.tick)
        noise = digest(i.key)
        tick = decimal(1, i.tick)
        created, delisted = i.starts // NS, (i.ends or 0) // NS if ended else 0
        row: dict[str, Any] = {
            "name": i.symbol,
            "type": "inverse" if i.face else "direct",
            "quanto_multiplier": "0" if i.face else decimal(1, i.contract),
            "ref_discount_rate": "0",
            "order_price_deviate": "0.5",
            "maintenance_rate": "0.005",
            "mark_type": "index",
            "last_price": str(price),
            "mark_price": str(price),
            "index_price": str(price),
            "funding_rate_indicative": "0.0001",
            "mark_price_round": tick,
            "funding_offset": 0,
            "in_delisting": ended,
            "risk_limit_base": "1000000",
            "interest_rate": "0.0003",
            "order_price_round": tick,
            "order_size_min": 1,
            "ref_rebate_rate": "0.2",
            "funding_interval": 28800,
            "risk_limit_step": "1000000",
            "leverage_min": "1",
            "leverage_max": "100",
            "risk_limit_max": "8000000",
            "maker_fee_rate": "-0.00025",
            "taker_fee_rate": "0.00075",
            "funding_rate": "0.0001",
            "order_size_max": 1_000_000,
            "funding_next_apply": self._calls.stamp(self._world.now() // (8 * HOUR) * 8 * HOUR // NS + 28800),
            "short_users": noise % 1000,
            "config_change_time": self._calls.stamp(created + 86400),
            "trade_size": noise % 10**10,
            "position_size": noise % 10**7,
            "long_users": noise % 900,
            "funding_impact_value": "60000",
            "orders_limit": 50,
            "trade_id": noise % 10**8,
            "orderbook_id": noise % 10**9,
            "enable_bonus": True,
            "enable_credit": True,
            "create_time": self._calls.stamp(created),
            "funding_cap_ratio": "0.75",
            "status": "delisted" if ended else "trading",
            "launch_time": self._calls.stamp(created),
            "delisting_time": self._calls.stamp(delisted - 7 * DAY // NS if delisted else 0),
            "delisted_time": self._calls.stamp(delisted),
            "contract_type": "",
            "enable_decimal": places(i) > 0,
        }
        for name in ("order_size_min", "order_size_max", "position_size", "trade_size"):
            row[name] = msgspec.Raw(size_text(Decimal(row[name]), decimals).encode())
        return row
