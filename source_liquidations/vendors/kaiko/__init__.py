"""Kaiko: https://docs.kaiko.com."""

from source_liquidations.vendors.kaiko.vendor import Kaiko

__all__ = ["Kaiko"]
