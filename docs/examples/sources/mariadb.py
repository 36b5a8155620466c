"""Writes the roses of a MariaDB or MySQL table, a thousand rows at a time, as they were planted until the moment of the snapshot."""

import datetime
import os

import pyarrow
import pymysql
import tenure

SCHEMA = pyarrow.schema(
    [
        ("id", pyarrow.int64()),
        ("planted_at", pyarrow.timestamp("us", "UTC")),
        ("known_at", pyarrow.timestamp("us", "UTC")),
        ("size", pyarrow.float64()),
        ("colour", pyarrow.string()),
        ("age", pyarrow.float64()),
        ("blooms", pyarrow.bool_()),
    ]
)


def batches(cursor):
    while rows := cursor.fetchmany(1_000):
        for row in rows:
            # DATETIME has no zone; the table holds UTC. TINYINT(1) is a number.
            for name in ("planted_at", "known_at"):
                row[name] = row[name].replace(tzinfo=datetime.timezone.utc)
            row["blooms"] = bool(row["blooms"])
        yield pyarrow.RecordBatch.from_pylist(rows, SCHEMA)


source = tenure.source()
host, port = os.environ["ROSES"].split(":")
database = pymysql.connect(
    host=host,
    port=int(port),
    user="reader",
    password=os.environ["ROSES_PASSWORD"],
    database="garden",
    cursorclass=pymysql.cursors.SSDictCursor,
)
with database, database.cursor() as cursor:
    cursor.execute("select * from roses where planted_at <= %s order by id", source.as_of.replace(tzinfo=None))
    source.write(batches(cursor))
