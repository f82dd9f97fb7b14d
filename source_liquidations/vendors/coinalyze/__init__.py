"""Coinalyze: https://api.coinalyze.net/v1/doc. Sums of liquidations per market and interval."""
