"""The HTTP APIs of seven vendors of liquidation data, simulated on loopback. All data is simulated."""

from sandbox.app import Canned, Recorded
from sandbox.sandbox import Sandbox

__all__ = ["Canned", "Recorded", "Sandbox"]
