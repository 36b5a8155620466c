"""Trains CatBoost models with categories from seeds, with odd rows and their own answers, into a folder.

Usage: python category_models.py FOLDER [--rows N] [--rounds N] [--seeds N] [--usual]. Needs catboost and pandas. Writes the same files as
`models.py`; texts in rows are categories. Half of the rows are odd: categories that training has not seen, empty and long texts, missing,
infinite and boundary numbers.
"""

import argparse
import json
import os

import catboost
import numpy as np
import pandas

parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--rows", type=int, default=500)
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--seeds", type=int, default=1)
parser.add_argument("--usual", action="store_true", help="only the models of the tests")
options = parser.parse_args()
os.makedirs(options.folder, exist_ok=True)
index = []

LETTERS = "aäßπж日😀 '\"\\\t"
CATEGORIES = ["city", "colour", "flag", "user", "store"]
NUMBERS = ["size", "age", "price"]


def texts(rng, count, longest):
    return ["".join(rng.choice(list(LETTERS), rng.integers(0, longest))) + str(at) for at in range(count)]


def data(rng, users):
    rows = max(1500, options.rows)
    frame = pandas.DataFrame({
        "city": rng.choice(texts(rng, 60, 90), rows),
        "size": rng.normal(size=rows),
        "colour": rng.choice(["red", "white", "grün", "日本", ""], rows),
        "age": np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows)),
        "flag": rng.choice(["yes", "no"], rows),
        "user": rng.choice(texts(rng, users, 12), rows),
        "store": rng.integers(-5, 30, rows),
        "price": rng.exponential(size=rows),
    })  # fmt: skip
    return frame


def score_of(rng, frame):
    effects = {name: {value: rng.normal() for value in sorted(set(frame[name]), key=str)} for name in CATEGORIES}
    score = frame["size"] + np.nan_to_num(frame["age"]) * (frame["flag"] == "yes") + np.log(frame["price"])
    for name in CATEGORIES:
        score = score + frame[name].map(effects[name])
    pair = {value: rng.normal() for value in sorted(set(frame["colour"] + frame["flag"]))}
    return (score + 2 * (frame["colour"] + frame["flag"]).map(pair) + rng.normal(size=len(frame))).to_numpy()


def targets(score, kind):
    return {
        "binary": (score > 0.3).astype(int),
        "classes": np.digitize(score, [-2, 0, 2]),
        "number": score,
        "positive": np.exp(score / 5),
        "two": np.stack([score, -2 * score], 1),
        "labels": np.stack([score > 0, score > 1, score < -1], 1).astype(int),
    }[kind]


def odd(rng, frame):
    """Replaces values in every second row."""
    frame = frame[: options.rows].copy()
    seen = {name: list(set(frame[name])) for name in CATEGORIES}
    columns = {name: frame[name].tolist() for name in frame}
    for at in range(0, len(frame), 2):
        for _ in range(rng.integers(1, 4)):
            name = rng.choice(CATEGORIES + NUMBERS)
            if name == "store":
                value = int(rng.choice([-6, 1000, 2**31, 2**40, -(2**31)]))
            elif name in CATEGORIES:
                value = rng.choice(["", "unseen", "x" * int(rng.integers(1, 200)), "grün", "7", *rng.choice(seen[name], 2)])
            else:
                value = rng.choice([np.inf, -np.inf, 0.0, -0.0, 1e-36, 1e9, -1e9] + [np.nan] * 3 * (name == "age"))
            columns[name][at] = value
    return pandas.DataFrame(columns)


def plain(value):
    if isinstance(value, str):
        return value
    return None if np.isnan(value) else "inf" if value == np.inf else "-inf" if value == -np.inf else float(value)


def category_model(name, seed, params, kind="binary", users=300, without=(), answer=None):
    rng = np.random.default_rng(seed)
    frame = data(rng, min(users, 60) if options.usual else users)
    wanted = targets(score_of(rng, frame), kind)
    frame = frame.drop(columns=list(without))
    names = [each for each in CATEGORIES if each in frame]
    own = {"iterations": options.rounds, "depth": 4, "random_seed": seed, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
    model = catboost.CatBoost({**own, **params}).fit(catboost.Pool(frame, wanted, cat_features=names))
    path = f"{options.folder}/{name}.json"
    model.save_model(path, format="json")
    asked = odd(rng, frame if len(without) == 0 else frame.assign(**{each: "" for each in without}))[list(frame)]
    kinds = {"binary": "Probability", "classes": "Probability", "labels": "Probability", "positive": "Exponent"}
    answers = model.predict(catboost.Pool(asked, cat_features=names), prediction_type=answer or kinds.get(kind, "RawFormulaVal"))
    answers = answers[:, 1] if kind == "binary" else answers
    rows = [[str(v) if at in model.get_cat_feature_indices() else plain(v) for at, v in enumerate(row)] for row in asked.itertuples(index=False)]
    with open(f"{options.folder}/{name}.rows", "w") as file:
        json.dump(rows, file)
    with open(f"{options.folder}/{name}.answers", "w") as file:
        json.dump(np.asarray(answers, dtype=float).tolist(), file)
    index.append({"name": name, "file": f"{name}.json"})


def ctrs(*types):
    return {"simple_ctr": list(types), "combinations_ctr": list(types)}


for seed in range(options.seeds):
    logloss, rmse = {"loss_function": "Logloss", "max_ctr_complexity": 1}, {"loss_function": "RMSE", "max_ctr_complexity": 1}
    deep, number, classes = {"max_ctr_complexity": 4}, {"kind": "number"}, {"kind": "classes"}
    usual = [
        ("one-hot", {**logloss, "one_hot_max_size": 100}, {"without": ["user"]}),
        ("ctrs", logloss, {}),
        ("combinations", {**logloss, **deep, "one_hot_max_size": 3}, {}),
        ("classes", {"loss_function": "MultiClass", "max_ctr_complexity": 2}, classes),
        ("quantiles", {"loss_function": "MultiQuantile:alpha=0.1,0.5,0.9", "max_ctr_complexity": 2}, number),
        ("depth-wise", {**rmse, "one_hot_max_size": 100, "grow_policy": "Depthwise"}, number),
    ]
    more = [
        ("pairs", {**logloss, "max_ctr_complexity": 2}, {}),
        ("number", rmse, number),
        ("number-combinations", {**rmse, **deep, "one_hot_max_size": 5, "depth": 6}, number),
        ("deep-classes", {"loss_function": "MultiClass", **deep}, classes),
        ("one-vs-all", {"loss_function": "MultiClassOneVsAll", **deep}, classes),
        ("two-outputs", {"loss_function": "MultiRMSE", **deep, **ctrs("Counter")}, {"kind": "two"}),
        ("labels", {"loss_function": "MultiLogloss", **deep, **ctrs("Counter")}, {"kind": "labels"}),
        ("poisson", {"loss_function": "Poisson", **deep}, {"kind": "positive"}),
        ("uncertain", {"loss_function": "RMSEWithUncertainty", **deep}, {**number, "answer": "RMSEWithUncertainty"}),
        ("leaf-wise", {**logloss, "grow_policy": "Lossguide", "max_leaves": 12, **deep}, {}),
        ("depth-wise-combinations", {**rmse, **deep, "grow_policy": "Depthwise", "one_hot_max_size": 3}, number),
        ("one-hot-many", {**logloss, "one_hot_max_size": 3000}, {"users": 2500}),
        ("users", {**logloss, **deep}, {"users": 20_000}),
        ("ordered", {**logloss, **deep, "boosting_type": "Ordered"}, {}),
        ("largest-missing", {**logloss, **deep, "nan_mode": "Max"}, {}),
        ("all-simple", {**logloss, "store_all_simple_ctr": True}, {}),
        ("full-counter", {**logloss, **deep, "counter_calc_method": "Full", **ctrs("Counter")}, {}),
        ("buckets", {**logloss, **deep, **ctrs("Buckets")}, {}),
        ("buckets-classes", {"loss_function": "MultiClass", "max_ctr_complexity": 2, **ctrs("Buckets")}, classes),
        ("means", {**logloss, **deep, **ctrs("BinarizedTargetMeanValue")}, {}),
        ("means-number", {**rmse, **deep, **ctrs("BinarizedTargetMeanValue:TargetBorderCount=5")}, number),
        ("borders-number", {**rmse, **deep, **ctrs("Borders:TargetBorderCount=5", "Counter")}, number),
        ("buckets-number", {**rmse, **deep, **ctrs("Buckets:TargetBorderCount=4", "Counter:CtrBorderCount=40")}, number),
        ("priors", {**logloss, **deep, **ctrs("Borders:Prior=0.2/1:Prior=7/1", "Counter:Prior=0.5/1")}, {}),
        ("fine-borders", {**logloss, **deep, **ctrs("Borders:CtrBorderCount=255:CtrBorderType=Uniform", "Counter:CtrBorderCount=100")}, {}),
        ("few-leaves", {**logloss, **deep, "ctr_leaf_count_limit": 20}, {}),
        ("large-model", {**logloss, **deep, "model_size_reg": 0, "depth": 8}, {}),
    ]  # fmt: skip
    for text, params, rest in usual + ([] if options.usual else more):
        try:
            category_model(f"catboost-{text}-{seed}", seed, params, **rest)
        except Exception as error:
            raise RuntimeError(f"catboost-{text}") from error

with open(f"{options.folder}/index.json", "w") as file:
    json.dump(index, file)
