"""The vendors. A new one is a folder here and a line in this file."""

from source_liquidations.vendors.bitfinex.vendor import Bitfinex
from source_liquidations.vendors.coin_metrics.vendor import CoinMetrics
from source_liquidations.vendors.coinalyze.vendor import Coinalyze
from source_liquidations.vendors.gate.vendor import Gate
from source_liquidations.vendors.kaiko.vendor import Kaiko
from source_liquidations.vendors.kiyotaka.vendor import Kiyotaka
from source_liquidations.vendors.kwery.vendor import Kwery
from source_liquidations.vendors.vendor import Vendor

VENDORS: tuple[type[Vendor], ...] = (Kaiko, Kwery, CoinMetrics, Kiyotaka, Bitfinex, Gate, Coinalyze)
