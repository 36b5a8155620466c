"""Writes ``sentiment.parquet`` beside this file: the texts of ``reviews.csv``, which ``reviews/download.py`` writes beside it, as embeddings.

An embedding is the mean of the vectors of a text's tokens, 256 numbers of length 1, by the weights that the package wordllama ships (MIT licence).
"""

import csv
from pathlib import Path

import numpy
import pyarrow
import pyarrow.parquet
import wordllama
from safetensors.numpy import load_file
from tokenizers import Tokenizer

package = Path(wordllama.__file__).parent
tokenizer = Tokenizer.from_file(str(package / "tokenizers" / "l2_supercat_tokenizer_config.json"))
weights = load_file(str(package / "weights" / "l2_supercat_256.safetensors"))["embedding.weight"].astype("float64")


def embed(text):
    mean = weights[tokenizer.encode(text, add_special_tokens=False).ids].mean(axis=0)
    return (mean / numpy.linalg.norm(mean)).round(6).tolist()


here = Path(__file__)
with open(here.with_name("reviews.csv"), newline="", encoding="utf-8") as file:
    reviews = [row for row in csv.DictReader(file) if row["kind"] != "tweet"]
columns = {name: [row[name] for row in reviews] for name in ("id", "review")}
embeddings = pyarrow.array([embed(text) for text in columns["review"]], pyarrow.list_(pyarrow.float64()))
positive = [row["positive"] == "True" for row in reviews]
table = pyarrow.table({**columns, "embedding": embeddings, "positive": positive})
pyarrow.parquet.write_table(table, here.with_name("sentiment.parquet"))
