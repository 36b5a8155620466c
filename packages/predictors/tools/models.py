"""Trains small models of LightGBM, XGBoost, CatBoost and scikit-learn from seeds, with odd rows and their own answers, into a folder.

Usage: python models.py FOLDER [--rows N] [--rounds N] [--seeds N] [--only trees|onnx] [--usual]. Needs lightgbm, xgboost, catboost, scikit-learn,
skl2onnx, onnxruntime. For each model: NAME.txt/.json/.ubj/.onnx, NAME.rows (JSON lists; null is missing, "inf" and "-inf") and NAME.answers
(JSON). Half of the rows are odd: missing, infinite, zero, boundary values, unseen and impossible categories. Answers to scikit-learn's models
are those of onnxruntime on the converted file.
"""

import argparse
import json
import os
import sys
import warnings

import catboost
import lightgbm
import numpy as np
import xgboost
from odd_models import odd_models

warnings.filterwarnings("ignore")
parser = argparse.ArgumentParser()
parser.add_argument("folder")
parser.add_argument("--rows", type=int, default=500)
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--seeds", type=int, default=1)
parser.add_argument("--only", choices=["trees", "onnx"])
parser.add_argument("--usual", action="store_true", help="without the models of odd_models.py")
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


def tree_models(seed):
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


import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn import ensemble, tree
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skl2onnx_numbers import take_numpy_numbers

take_numpy_numbers()


def answers_of(path, feeds):
    """Returns the numeric output: probabilities, or the values of a regression."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    name = next(each.name for each in session.get_outputs() if "float" in each.type or "double" in each.type)
    answers = session.run([name], feeds)[0]
    return answers[:, 0] if answers.shape[1] == 1 else answers


def save_onnx(name, made, rows, double):
    path = f"{options.folder}/{name}.onnx"
    onnx.save(made, path)
    write(name, path, rows, answers_of(path, {"x": rows if double else rows.astype(np.float32)}))


def bounds_of(model):
    """Returns thresholds of some of its trees, at which rows are placed."""
    trees = [each.tree_ for each in np.ravel(getattr(model, "estimators_", [])) if hasattr(each, "tree_")]
    return [float(np.float32(bound)) for each in trees[:5] for bound in each.threshold if bound != -2][:50]


def sklearn_model(name, seed, model, kind="binary", double=False, missing=False, texts=False):
    rng = np.random.default_rng(seed)
    rows = data(rng, (), missing)
    wanted = targets(rows, kind)
    model.fit(rows, np.array(["low", "mid", "high"])[wanted] if texts else wanted)
    settings = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
    kinds = [("x", (DoubleTensorType if double else FloatTensorType)([None, COLUMNS]))]
    odd_values = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, 1e9, -1e9, 0.5, -0.5, *bounds_of(model)]
    opsets = {"": 18, "ai.onnx.ml": 3}
    made = convert_sklearn(model, initial_types=kinds, options=settings, target_opset=opsets)
    # onnxruntime computes trees in 32 bits and refuses the 64 bits that skl2onnx declares.
    if double and made.graph.node[0].op_type.startswith("TreeEnsemble"):
        made.graph.output[-1].type.tensor_type.elem_type = TensorProto.FLOAT
    save_onnx(name, made, odd(rng, rows.round(3), odd_values), double)


def random_tree(rng, depth, place):
    """Returns the nodes of a tree as (node, column, mode, threshold, true, false, tracks missing), and its leaves as (node, weight)."""
    if depth == 0 or (depth < 3 and rng.random() < 0.2):
        return [(place, 0, "LEAF", 0.0, 0, 0, 0)], [(place, float(np.float32(rng.normal())))]
    mode = rng.choice(["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"])
    threshold = float(np.float32(rng.choice([0.0, -0.5, 0.5, 1e9, np.inf, -np.inf, *rng.normal(size=8)])))
    first, first_leaves = random_tree(rng, depth - 1, place + 1)
    other = place + 1 + len(first)
    second, second_leaves = random_tree(rng, depth - 1, other)
    node = (place, int(rng.integers(COLUMNS)), str(mode), threshold, place + 1, other, int(rng.integers(2)))
    return [node, *first, *second], first_leaves + second_leaves


def random_trees(name, seed, newest, double=False):
    """Builds every comparison, with and without missing values on its true side, in the older operators or in version 5."""
    rng = np.random.default_rng(seed)
    grown = [random_tree(rng, 4, 0) for _ in range(options.rounds)]
    number, dtype = (TensorProto.DOUBLE, np.float64) if double else (TensorProto.FLOAT, np.float32)
    if newest:
        modes = ["BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT"]
        roots, nodes, leaves = [], [], []
        for own, weights in grown:
            inner = {node[0]: len(nodes) + at for at, node in enumerate(each for each in own if each[2] != "LEAF")}
            ends = {node: len(leaves) + at for at, (node, _) in enumerate(weights)}
            roots.append(len(nodes))
            place = lambda node: (ends[node], 1) if node in ends else (inner[node], 0)
            nodes += [(c, modes.index(m), t, *place(yes), *place(no), lost) for _, c, m, t, yes, no, lost in own if m != "LEAF"]
            leaves += [weight for _, weight in weights]
        columns, kinds, bounds, yes, yes_ends, no, no_ends, lost = map(list, zip(*nodes))
        node = helper.make_node(
            "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, tree_roots=roots, nodes_featureids=columns,
            nodes_modes=numpy_helper.from_array(np.array(kinds, np.uint8)), nodes_splits=numpy_helper.from_array(np.array(bounds, dtype)),
            nodes_truenodeids=yes, nodes_trueleafs=yes_ends, nodes_falsenodeids=no, nodes_falseleafs=no_ends,
            nodes_missing_value_tracks_true=lost, leaf_targetids=[0] * len(leaves),
            leaf_weights=numpy_helper.from_array(np.array(leaves, dtype)), aggregate_function=1, post_transform=0,
        )
    else:
        flat = [(index, *node) for index, (own, _) in enumerate(grown) for node in own]
        ids, nodes, columns, kinds, bounds, yes, no, lost = map(list, zip(*flat))
        weights = [(index, *leaf) for index, (_, own) in enumerate(grown) for leaf in own]
        node = helper.make_node(
            "TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=ids, nodes_nodeids=nodes,
            nodes_featureids=columns, nodes_modes=kinds, nodes_values=bounds, nodes_truenodeids=yes, nodes_falsenodeids=no,
            nodes_missing_value_tracks_true=lost, target_treeids=[each[0] for each in weights], aggregate_function="AVERAGE",
            target_nodeids=[each[1] for each in weights], target_weights=[each[2] for each in weights],
            target_ids=[0] * len(weights), base_values=[0.25],
        )
    x = helper.make_tensor_value_info("x", number, [None, COLUMNS])
    y = helper.make_tensor_value_info("y", number if newest else TensorProto.FLOAT, [None, 1])
    sets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5 if newest else 3)]
    made = helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=sets, ir_version=10)
    rows = odd(rng, data(rng, ()).round(3), [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -0.5, 1e9, -1e9])
    save_onnx(name, made, rows, double)


def pipeline_model(name, seed, last):
    """Returns named columns: numbers, some of them missing, whole numbers and texts."""
    rng = np.random.default_rng(seed)
    count = max(1500, options.rows)
    age, income = rng.normal(40, 12, count).round(1), rng.lognormal(8, 1, count).round()
    visits, city = rng.integers(0, 9, count), rng.choice(["Bern", "Oslo", "Rome", "Ulm"], count)
    age[rng.random(count) < 0.1] = np.nan
    table = np.array(list(zip(age.tolist(), income.tolist(), visits.tolist(), city.tolist())), object)
    wanted = (np.nan_to_num(age, nan=40) / 40 + (city == "Oslo") + visits / 9 + rng.normal(0, 0.3, count) > 1.8).astype(int)
    numbers = Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())])
    encode = ColumnTransformer([("n", numbers, [0, 1, 2]), ("c", OneHotEncoder(handle_unknown="ignore"), [3])])
    model = Pipeline([("encode", encode), ("last", last)]).fit(table, wanted)
    kinds = [("age", FloatTensorType([None, 1])), ("income", FloatTensorType([None, 1]))]
    kinds += [("visits", Int64TensorType([None, 1])), ("city", StringTensorType([None, 1]))]
    path = f"{options.folder}/{name}.onnx"
    onnx.save(convert_sklearn(model, initial_types=kinds, options={id(model): {"zipmap": False}}), path)
    rows = table[: options.rows].copy()
    rows[::5, 3], rows[1::7, 1], rows[2::9, 0] = "Zug", 1e12, -1e9
    column = lambda at, dtype: rows[:, at : at + 1].astype(dtype)
    feeds = {"age": column(0, np.float32), "income": column(1, np.float32), "visits": column(2, np.int64), "city": column(3, str).astype(object)}
    answers = answers_of(path, feeds)
    plain = lambda v: v if isinstance(v, str) else None if np.isnan(v) else float(v)
    with open(f"{options.folder}/{name}.rows", "w") as file:
        json.dump([[plain(v) for v in row] for row in rows], file)
    with open(f"{options.folder}/{name}.answers", "w") as file:
        json.dump(answers.tolist(), file)
    index.append({"name": name, "file": f"{name}.onnx"})


def onnx_models(seed):
    grown = {"n_estimators": options.rounds, "max_depth": 4, "random_state": seed}
    boosted = {"max_iter": options.rounds, "max_leaf_nodes": 15, "random_state": seed}
    for text, model, more in [
        ("forest", ensemble.RandomForestClassifier(**grown), {}),
        ("forest-double", ensemble.RandomForestClassifier(**grown), {"double": True}),
        ("forest-missing", ensemble.RandomForestClassifier(**grown), {"missing": True}),
        ("forest-classes", ensemble.RandomForestClassifier(**grown), {"kind": "classes", "texts": True}),
        ("forest-number", ensemble.RandomForestRegressor(**grown), {"kind": "number"}),
        ("extra-trees", ensemble.ExtraTreesRegressor(**grown), {"kind": "number", "double": True}),
        ("two-outputs", ensemble.RandomForestRegressor(**grown), {"kind": "two"}),
        ("tree", tree.DecisionTreeClassifier(max_depth=5), {"kind": "classes"}),
        ("boosting", ensemble.GradientBoostingClassifier(**grown), {}),
        ("boosting-classes", ensemble.GradientBoostingClassifier(**grown), {"kind": "classes"}),
        ("boosting-number", ensemble.GradientBoostingRegressor(**grown), {"kind": "number", "double": True}),
        ("histogram", ensemble.HistGradientBoostingClassifier(**boosted), {"missing": True}),
        ("histogram-double", ensemble.HistGradientBoostingClassifier(**boosted), {"missing": True, "double": True}),
        ("histogram-classes", ensemble.HistGradientBoostingClassifier(**boosted), {"kind": "classes", "missing": True}),
        ("histogram-number", ensemble.HistGradientBoostingRegressor(**boosted), {"kind": "number", "missing": True}),
    ]:
        sklearn_model(f"sklearn-{text}-{seed}", seed, model, **more)
    for text, newest, double in [("older", False, False), ("older-double", False, True), ("newest", True, False), ("newest-double", True, True)]:
        random_trees(f"trees-{text}-{seed}", seed, newest, double)
    network = MLPClassifier((16, 8), max_iter=30, random_state=seed)
    sklearn_model(f"session-network-{seed}", seed, network, kind="classes")
    pipeline_model(f"session-pipeline-{seed}", seed, LogisticRegression())
    pipeline_model(f"session-pipeline-forest-{seed}", seed, ensemble.RandomForestClassifier(**grown))


for seed in range(options.seeds):
    if options.only != "onnx":
        tree_models(seed)
        if not options.usual:
            odd_models(sys.modules[__name__], seed)
    if options.only != "trees":
        onnx_models(seed)

with open(f"{options.folder}/index.json", "w") as file:
    json.dump(index, file)
