"""Writes ``reviews.csv`` beside this file: short texts with the mean rating of 20 people, from the source archive of vaderSentiment (MIT licence).

Hutto and Gilbert, "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014.
"""

import csv
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

kinds = {"movie": "movieReviewSnippets", "product": "amazonReviewSnippets", "tweet": "tweets"}
with tempfile.TemporaryDirectory() as folder:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder]
    subprocess.run([*pip, "vaderSentiment==3.3.2"], check=True)
    (archive,) = Path(folder).glob("*.tar.gz")
    with tarfile.open(archive) as outer:
        inner = outer.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz").read()
with tarfile.open(fileobj=io.BytesIO(inner)) as texts, open(Path(__file__).with_name("reviews.csv"), "w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file)
    rows.writerow(["id", "kind", "review", "positive"])
    for kind, name in kinds.items():
        data = texts.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt").read().decode("utf-8")
        for line in data.splitlines():
            key, rating, text = line.split("\t", 2)
            # A rating near 0 is a text without an opinion.
            if abs(float(rating)) >= 0.5 and text.strip():
                rows.writerow([f"{kind} {key}", kind, text.strip(), float(rating) > 0])
