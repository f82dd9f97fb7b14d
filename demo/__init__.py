"""The demo: vendors → this connector → PyAirbyte → a DuckDB file, a table and a picture."""
