"""Writes ``pixels.parquet`` beside this file: the 1,797 handwritten digits that scikit-learn ships, each as a list of 64 numbers."""

from pathlib import Path

import pyarrow
import pyarrow.parquet
from sklearn.datasets import load_digits

digits = load_digits()
scans = pyarrow.array((digits.data / 16).tolist(), pyarrow.list_(pyarrow.float64()))
ids = [f"digit {place}" for place in range(len(scans))]
table = pyarrow.table({"id": ids, "scan": scans, "digit": [str(digit) for digit in digits.target]})
pyarrow.parquet.write_table(table, Path(__file__).with_name("pixels.parquet"))
