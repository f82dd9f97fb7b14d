"""Vendors side by side for one market and day: `compare`, then `verdict`, `tables` and, in `picture`, `draw`."""

from cross_checking.comparison import Comparison, compare
from cross_checking.matching import Tolerance
from cross_checking.report import remarks, tables, verdict
from cross_checking.rows import CannotCompare, comparable_markets, connect

__all__ = [
    "CannotCompare",
    "Comparison",
    "Tolerance",
    "comparable_markets",
    "compare",
    "connect",
    "remarks",
    "tables",
    "verdict",
]
