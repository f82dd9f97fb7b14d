"""The HTTP APIs of seven vendors of liquidation data, simulated on loopback. No figure in here is real."""

from sandbox.app import Canned, Recorded
from sandbox.sandbox import Sandbox

__all__ = ["Canned", "Recorded", "Sandbox"]
