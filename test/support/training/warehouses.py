"""Fills a DuckDB database, a Delta table, an Iceberg table and a MariaDB table with the same roses.

Usage: warehouses.py ROWS.parquet FOLDER [HOST:PORT of MariaDB]
"""

import sys

import duckdb
import pyarrow.parquet
import pymysql
from deltalake import write_deltalake
from pyiceberg.catalog.sql import SqlCatalog

path, folder, *server = sys.argv[1:]
rows = pyarrow.parquet.read_table(path)
halves = [rows.slice(0, rows.num_rows // 2), rows.slice(rows.num_rows // 2)]

database = duckdb.connect(f"{folder}/duck.db")
database.execute("create table roses as from rows")
database.close()

catalogue = SqlCatalog("garden", uri=f"sqlite:///{folder}/catalogue.db", warehouse=f"file://{folder}")
catalogue.create_namespace("garden")
iceberg = catalogue.create_table("garden.roses", schema=rows.schema)
for half in halves:
    write_deltalake(f"{folder}/delta", half, mode="append")
    iceberg.append(half)

for address in server:
    host, port = address.split(":")
    with pymysql.connect(host=host, port=int(port), user="root", autocommit=True) as root, root.cursor() as cursor:
        cursor.execute("create database garden")
        cursor.execute(
            "create table garden.roses (id bigint primary key, planted_at datetime(6), known_at datetime(6),"
            " size double, colour varchar(20), age double, blooms tinyint(1))"
        )
        cursor.execute("create user reader@localhost identified by 'thorn'")
        cursor.execute("grant select on garden.* to reader@localhost")
        cursor.executemany(
            "insert into garden.roses values (%s, %s, %s, %s, %s, %s, %s)",
            [tuple(None if v is None else v.replace(tzinfo=None) if hasattr(v, "tzinfo") else v for v in row.values()) for row in rows.to_pylist()],
        )
