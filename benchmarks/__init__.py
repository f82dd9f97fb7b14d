"""Benchmarks of the connector beside other ways of reading the same rows; see README.md."""
