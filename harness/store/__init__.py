"""Where results are kept: records in SQLite, readings in Arrow and Parquet. Knows `core` and nothing of phones."""
