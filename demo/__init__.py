"""The demo: vendors → this connector → PyAirbyte → a DuckDB file, tables and a picture."""
