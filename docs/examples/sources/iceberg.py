"""Writes the roses of an Iceberg table in a SQL catalogue, as they were planted until the moment of the snapshot."""

import os

import tenure
from pyiceberg.catalog.sql import SqlCatalog

source = tenure.source()
folder = os.environ["ROSES"]
catalogue = SqlCatalog("garden", uri=f"sqlite:///{folder}/catalogue.db", warehouse=f"file://{folder}")
table = catalogue.load_table("garden.roses")
source.write(table.scan(row_filter=f"planted_at <= '{source.as_of.isoformat()}'").to_arrow())
