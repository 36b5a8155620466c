"""Trains small models of LightGBM, XGBoost and CatBoost from seeds, with odd rows and their own answers, into a folder.

Usage: python models.py FOLDER [--rows N] [--rounds N] [--seeds N]. Needs lightgbm, xgboost, catboost, numpy.
For each model: NAME.txt/.json/.ubj, NAME.rows (JSON lists; null is missing, "inf" and "-inf") and NAME.answers (JSON).
Half of the rows are odd: missing, infinite, zero, boundary values, unseen and impossible categories.
"""

import argparse
import json
import os
import warnings

import catboost
import lightgbm
import numpy as np
import xgboost

warnings.filterwarnings("ignore")
parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--rows", type=int, default=500)
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--seeds", type=int, default=1)
options = parser.parse_args()
os.makedirs(options.folder, exist_ok=True)
COLUMNS, CATEGORIES = 8, 40
index = []


def data(rng, cats, missing=True, zeros=False, finite=()):
    rows = rng.normal(size=(max(1500, options.rows), COLUMNS))
    for column in cats:
        rows[:, column] = rng.integers(0, CATEGORIES, len(rows))
    if missing:
        lost = rng.random(rows.shape) < 0.1
        lost[:, list(finite)] = False
        rows[lost] = np.nan
    if zeros:
        rows[rng.random(rows.shape) < 0.1] = 0
    return rows


def targets(rows, kind):
    filled = np.nan_to_num(rows)
    score = filled[:, 0] + filled[:, 1] * filled[:, 2] + (filled[:, 3] % 3 == 1)
    return {
        "binary": (score > 0.3).astype(int),
        "classes": np.digitize(score, [-0.5, 0.8]),
        "number": score,
        "positive": np.exp(score / 3),
        "probability": 1 / (1 + np.exp(-score)),
        "two": np.stack([score, -2 * score], 1),
    }[kind]


def odd(rng, rows, values):
    """Copies rows and replaces values in every second one."""
    rows = rows[: options.rows].copy()
    for row in rows[::2]:
        for _ in range(rng.integers(1, 4)):
            row[rng.integers(COLUMNS)] = rng.choice(values)
    return rows


def write(name, path, rows, answers):
    plain = lambda v: None if np.isnan(v) else "inf" if v == np.inf else "-inf" if v == -np.inf else float(v)
    answers = np.asarray(answers, dtype=float)
    known = np.isfinite(answers.reshape(len(rows), -1)).all(1)
    with open(f"{options.folder}/{name}.rows", "w") as file:
        json.dump([[plain(v) for v in row] for row in rows[known]], file)
    with open(f"{options.folder}/{name}.answers", "w") as file:
        json.dump(answers[known].tolist(), file)
    index.append({"name": name, "file": os.path.basename(path)})


def lightgbm_model(name, seed, params, cats=(), kind="binary", missing=True, linear=False):
    rng = np.random.default_rng(seed)
    rows = data(rng, cats, missing, params.get("zero_as_missing", False))
    settings = {"linear_tree": True} if linear else None
    train = lightgbm.Dataset(rows, targets(rows, kind), categorical_feature=list(cats) or "auto", params=settings)
    params = {"verbose": -1, "num_leaves": 15, "min_data_in_leaf": 3, "num_threads": 1, "seed": seed, **params}
    booster = lightgbm.train(params, train, options.rounds)
    path = f"{options.folder}/{name}.txt"
    booster.save_model(path)
    edges = [1e-36, -1e-36, 1e-35, 2e-35, 0.0, -0.0]
    rows = odd(rng, rows, [np.nan, np.inf, -np.inf, *edges, 1e9, -1e9, -1, 0.5, -0.5, 7.5, 300, 2**31, 1e300])
    write(name, path, rows, booster.predict(rows))


def xgboost_model(name, seed, params, cats=(), kind="binary", ending="json"):
    rng = np.random.default_rng(seed)
    rows = data(rng, cats).astype(np.float32)
    types = ["c" if column in cats else "q" for column in range(COLUMNS)]
    matrix = lambda rows, y=None: xgboost.DMatrix(rows, y, feature_types=types, enable_categorical=True)
    params = {"seed": seed, "tree_method": "hist", "max_depth": 4, "nthread": 1, **params}
    booster = xgboost.train(params, matrix(rows, targets(rows, kind)), options.rounds)
    path = f"{options.folder}/{name}.{ending}"
    booster.save_model(path)
    rows = odd(rng, rows.astype(float), [np.nan, 0.0, -0.0, 1e-36, 1e9, -1e9, 0.5, -0.5, 7.5])
    for column in cats:
        strange = ~((rows[:, column] >= 0) & (rows[:, column] < CATEGORIES) & (rows[:, column] % 1 == 0))
        rows[strange, column] = np.where(rng.random(strange.sum()) < 0.5, np.nan, CATEGORIES - 1)
    write(name, path, rows, booster.predict(matrix(rows.astype(np.float32))))


def catboost_model(name, seed, params, kind="binary"):
    rng = np.random.default_rng(seed)
    rows = data(rng, (), finite=range(4, COLUMNS))
    params = {"iterations": options.rounds, "depth": 4, "random_seed": seed, "thread_count": 1, **params}
    model = catboost.CatBoost({"verbose": 0, "allow_writing_files": False, **params}).fit(rows, targets(rows, kind))
    path = f"{options.folder}/{name}.json"
    model.save_model(path, format="json")
    rows = odd(rng, rows, [np.inf, -np.inf, 0.0, -0.0, 1e-36, 1e9, -1e9])
    kinds = {"binary": "Probability", "classes": "Probability", "positive": "Exponent"}
    answers = model.predict(rows, prediction_type=kinds.get(kind, "RawFormulaVal"))
    write(name, path, rows, answers[:, 1] if kind == "binary" else answers)


for seed in range(options.seeds):
    name = lambda text: f"{text}-{seed}"
    forest = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.7}
    three = {"objective": "multiclass", "num_class": 3}
    for text, params, more in [
        ("binary", {"objective": "binary"}, {}),
        ("categories", {"objective": "binary", "max_cat_to_onehot": 1, "min_data_per_group": 5}, {"cats": (3, 4)}),
        ("zero-as-missing", {"objective": "binary", "zero_as_missing": True}, {}),
        ("no-missing", {"objective": "binary", "use_missing": False}, {}),
        ("never-missing", {"objective": "regression"}, {"kind": "number", "missing": False}),
        ("classes", three, {"kind": "classes"}),
        ("one-vs-all", {**three, "objective": "multiclassova", "sigmoid": 1.7}, {"kind": "classes"}),
        ("dart", {"objective": "binary", "boosting": "dart", "sigmoid": 2.0}, {}),
        ("forest", {"objective": "binary", **forest}, {}),
        ("forest-classes", {**three, **forest}, {"kind": "classes"}),
        ("absolute", {"objective": "regression_l1"}, {"kind": "number"}),
        ("poisson", {"objective": "poisson"}, {"kind": "positive"}),
        ("gamma", {"objective": "gamma"}, {"kind": "positive"}),
        ("tweedie", {"objective": "tweedie"}, {"kind": "positive"}),
        ("sqrt", {"objective": "regression", "reg_sqrt": True}, {"kind": "number"}),
        ("quantile", {"objective": "quantile", "alpha": 0.9}, {"kind": "number"}),
        ("entropy", {"objective": "cross_entropy"}, {"kind": "probability"}),
        ("entropy-lambda", {"objective": "cross_entropy_lambda"}, {"kind": "probability"}),
        ("linear", {"objective": "regression", "linear_tree": True}, {"kind": "number", "linear": True}),
        ("wide", {"objective": "binary", "num_leaves": 300, "max_bin": 1000}, {}),
        ("constant", {"objective": "binary", "min_data_in_leaf": 5000}, {}),
    ]:
        lightgbm_model(name(f"lightgbm-{text}"), seed, params, **more)
    logistic = {"objective": "binary:logistic"}
    for text, params, more in [
        ("binary", logistic, {}),
        ("binary-ubj", logistic, {"ending": "ubj"}),
        ("categories", {**logistic, "max_cat_to_onehot": 1}, {"cats": (3, 4)}),
        ("categories-ubj", {**logistic, "max_cat_to_onehot": 1}, {"cats": (3, 4), "ending": "ubj"}),
        ("classes", {"objective": "multi:softprob", "num_class": 3}, {"kind": "classes"}),
        ("number", {"objective": "reg:squarederror"}, {"kind": "number"}),
        ("dart", {**logistic, "booster": "dart", "rate_drop": 0.3}, {}),
        ("forest", {**logistic, "num_parallel_tree": 5, "subsample": 0.7, "eta": 1}, {}),
        ("poisson", {"objective": "count:poisson"}, {"kind": "positive"}),
        ("gamma", {"objective": "reg:gamma"}, {"kind": "positive"}),
        ("tweedie", {"objective": "reg:tweedie"}, {"kind": "positive"}),
        ("two-outputs", {"objective": "reg:squarederror"}, {"kind": "two"}),
        ("vector-leaves", {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree"}, {"kind": "two"}),
        ("base-score", {**logistic, "base_score": 0.1}, {}),
        ("raw", {"objective": "binary:logitraw"}, {}),
        ("hinge", {"objective": "binary:hinge"}, {}),
        ("exact", {**logistic, "tree_method": "exact"}, {}),
    ]:
        xgboost_model(name(f"xgboost-{text}"), seed, params, **more)
    for text, params, more in [
        ("binary", {"loss_function": "Logloss"}, {}),
        ("largest-missing", {"loss_function": "Logloss", "nan_mode": "Max"}, {}),
        ("classes", {"loss_function": "MultiClass"}, {"kind": "classes"}),
        ("number", {"loss_function": "RMSE"}, {"kind": "number"}),
        ("leaf-wise", {"loss_function": "RMSE", "grow_policy": "Lossguide"}, {"kind": "number"}),
        ("depth-wise", {"loss_function": "Logloss", "grow_policy": "Depthwise"}, {}),
        ("poisson", {"loss_function": "Poisson"}, {"kind": "positive"}),
        ("two-outputs", {"loss_function": "MultiRMSE"}, {"kind": "two"}),
    ]:
        catboost_model(name(f"catboost-{text}"), seed, params, **more)

with open(f"{options.folder}/index.json", "w") as file:
    json.dump(index, file)
