"""Trains LightGBM on the example roses of the tests and writes the model with rows and its own answers.

Usage: npx tsx roses.ts | python roses.py > packages/predictors/test/support/roses-lightgbm.json
Needs lightgbm and numpy. The categories stand in the file as pandas would leave them.
"""

import json
import sys

import lightgbm
import numpy as np

COLOURS = ["red", "white"]
roses = json.load(sys.stdin)
matrix = np.array(
    [[r["size"], COLOURS.index(r["colour"]), np.nan if r["age"] is None else r["age"]] for r in roses], dtype=float
)
# The first twenty days, which precede the test rows of a retraining as of day 30.
train = slice(0, 1200)
data = lightgbm.Dataset(
    matrix[train],
    np.array([int(r["blooms"]) for r in roses])[train],
    feature_name=["size", "colour", "age"],
    categorical_feature=[1],
)
params = {"objective": "binary", "num_leaves": 7, "learning_rate": 0.1, "seed": 1, "num_threads": 1, "verbose": -1}
booster = lightgbm.train(params, data, 40)
text = booster.model_to_string()
text = text.replace("pandas_categorical:null", "pandas_categorical:" + json.dumps([COLOURS]))
rows = [{"size": r["size"], "colour": r["colour"], "age": r["age"]} for r in roses[1200:1260]]
answers = booster.predict(matrix[1200:1260]).tolist()
json.dump({"model": text, "rows": rows, "answers": answers}, sys.stdout)
sys.stdout.write("\n")
