"""Kiyotaka, also sold as OpenMarket: https://docs.kiyotaka.ai."""
