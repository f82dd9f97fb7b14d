"""Vendors side by side for one market and day: `compare`, then `verdict`, `tables` and, in `picture`, `draw`."""

from cross_checking.comparison import Comparison, compare
from cross_checking.matching import Tolerance
from cross_checking.rows import CannotCompare, choices, connect
from cross_checking.words import remarks, tables, verdict

__all__ = [
    "CannotCompare",
    "Comparison",
    "Tolerance",
    "choices",
    "compare",
    "connect",
    "remarks",
    "tables",
    "verdict",
]
