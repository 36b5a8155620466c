"""Writes the roses of a Delta table, as they were planted until the moment of the snapshot."""

import os

import tenure
from deltalake import DeltaTable

source = tenure.source()
table = DeltaTable(os.environ["ROSES"])
source.write(table.to_pyarrow_table(filters=[("planted_at", "<=", source.as_of)]))
