"""The vendors. A further one is a folder beside these, and a line here."""

from source_liquidations.vendors.bitfinex import Bitfinex
from source_liquidations.vendors.coin_metrics import CoinMetrics
from source_liquidations.vendors.coinalyze import Coinalyze
from source_liquidations.vendors.gate import Gate
from source_liquidations.vendors.kaiko import Kaiko
from source_liquidations.vendors.kiyotaka import Kiyotaka
from source_liquidations.vendors.kwery import Kwery
from source_liquidations.vendors.vendor import Vendor

VENDORS: tuple[type[Vendor], ...] = (Kaiko, Kwery, CoinMetrics, Kiyotaka, Bitfinex, Gate, Coinalyze)
