"""Kwery: https://kwery-api.com. Liquidations of Binance Futures."""
