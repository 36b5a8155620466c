"""
A training program for tests without any package but tenure: each epoch adds a stump on the size of a rose, in LightGBM's text format.

Usage: stumps.py MODE LOG. It appends "attempt epoch" to LOG for each epoch that it trains.
"""

import json
import math
import os
import sys
import time

import tenure

TREE = """Tree={number}
num_leaves=2
num_cat={categories}
split_feature={column}
split_gain=1
threshold={threshold}
decision_type={kind}
left_child=-1
right_child=-2
leaf_value={left} {right}
leaf_weight=1 1
leaf_count=1 1
internal_value=0
internal_weight=0
internal_count=2
{sets}is_linear=0
shrinkage=1

"""


def model(thresholds):
    """Stumps on the size, and one on the colour, whose first code is red."""
    trees = [
        TREE.format(number=n, categories=0, column=0, threshold=t, kind=10, left=-0.8, right=0.8, sets="")
        for n, t in enumerate(thresholds)
    ]
    sets = "cat_boundaries=0 1\ncat_threshold=1\n"
    trees.append(
        TREE.format(number=len(trees), categories=1, column=1, threshold=0, kind=1, left=0.5, right=-0.5, sets=sets)
    )
    head = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nlabel_index=0\nmax_feature_idx=1\nobjective=binary sigmoid:1\nfeature_names=size colour\nfeature_infos=none none\n\n"
    return head + "".join(trees) + "end of trees\n\nfeature_importances:\n"


def answer(thresholds, size, colour):
    score = sum(-0.8 if size is None or size <= t else 0.8 for t in thresholds) + (0.5 if colour == "red" else -0.5)
    return 1 / (1 + math.exp(-score))


def write(job, thresholds, off=0.0):
    (job.output / "model.txt").write_text(model(thresholds))
    (job.output / "columns.json").write_text(json.dumps([{"name": "size"}, {"name": "colour", "vocabulary": ["red", "white"]}]))
    rows = [[None if n % 10 == 9 else n / 20, ["red", "white"][n % 2], None] for n in range(200)]
    outputs = [[answer(thresholds, size, colour) + (off if n == 7 else 0)] for n, (size, colour, _) in enumerate(rows)]
    (job.output / "replay.json").write_text(json.dumps({"columns": ["size", "colour", "age"], "rows": rows, "outputs": outputs}))
    (job.output / "curve.json").write_text(json.dumps(job.curve))
    (job.output / "environment.json").write_text(json.dumps({"stumps": "1.0"}))


def train(job, mode, log):
    epochs = job.hyperparameters["epochs"]
    found = job.resume()
    thresholds = json.loads(found.data) if found else []
    for epoch in range(len(thresholds) + 1, epochs + 1):
        with open(log, "a") as file:
            file.write(f"{job.attempt} {epoch}\n")
        thresholds.append(10 * epoch / (epochs + 1))
        job.progress(epoch, epochs, 1 / epoch)
        job.checkpoint(epoch, json.dumps(thresholds).encode())
        if mode == "slow":
            time.sleep(0.3)
        if mode == "die" and epoch == 2 and job.attempt == 1:
            os.kill(os.getpid(), 9)
        if mode == "hang" and epoch == 2 and job.attempt == 1:
            time.sleep(120)
    return thresholds


mode, log = sys.argv[1:]
job = tenure.job()
if mode == "columns":
    raise ValueError(" ".join(column.name for column in job.columns))
if mode == "fault":
    raise KeyError("no such column")
if mode == "garbage":
    os.write(job._out.fileno(), b"round 1 of 3\n\xff\xfe\n{}\n")
    sys.exit(0)
if mode == "greedy":
    print(len(bytearray(400 * 1024 * 1024)))
if mode == "silent":
    time.sleep(120)
if mode == "broken":
    sys.exit(3)
with job.part("fit"):
    thresholds = train(job, mode, log)
if mode == "noisy":
    os.write(job._out.fileno(), b"done, I think\n")
write(job, thresholds, 0.001 if mode == "wrong" else 0.0)
