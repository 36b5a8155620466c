"""Writes the roses of a DuckDB database, as they were planted until the moment of the snapshot."""

import os

import duckdb
import tenure

source = tenure.source()
database = duckdb.connect(os.environ["ROSES"], read_only=True)
database.execute(
    f"copy (from roses where planted_at <= $1 order by id) to '{source.output}/roses.parquet'", [source.as_of]
)
