"""Trains small models with older versions of LightGBM, XGBoost and CatBoost, whose files differ from those of today, into a pack for the tests.

Usage: python older_models.py packages/predictors/test/support/older-models.json.gz. Needs `uv`, which makes an environment for each version. Half of the
rows are odd: missing values and categories that no split has. XGBoost 1.5 and 1.6 and LightGBM 2.2 have their versions of Python.
"""

import base64
import gzip
import json
import os
import subprocess
import sys
import tempfile

ENVIRONMENTS = [
    ("3.8", ["xgboost==1.5.2", "numpy<1.24", "scikit-learn", "setuptools<70"]),
    ("3.8", ["xgboost==1.6.2", "numpy<1.24", "setuptools<70"]),
    ("3.9", ["xgboost==1.7.6", "numpy<1.24"]),
    ("3.11", ["xgboost==2.1.4", "numpy<2"]),
    ("3.12", ["xgboost==3.1.3", "numpy<3"]),
    ("3.12", ["xgboost==3.3.0", "numpy<3"]),
    ("3.12", ["xgboost==3.4.1", "numpy<3"]),
    ("3.7", ["lightgbm==2.2.3", "numpy", "scikit-learn"]),
    ("3.12", ["catboost==1.2.7", "numpy<2"]),
]
COLUMNS, ROWS, CATEGORIES = 4, 60, 60


def rows_of(np, categorical):
    """Returns rows; column 1 holds codes if it is categorical. Half of the last 60 rows are unusual."""
    rng = np.random.RandomState(7)
    rows = rng.randn(400, COLUMNS).astype(np.float32)
    if categorical:
        rows[:, 1] = rng.randint(0, CATEGORIES, len(rows))
    rows[rng.rand(*rows.shape) < 0.1] = np.nan
    score = np.nan_to_num(rows[:, 0]) + np.nan_to_num(rows[:, 1]) % 3 * np.nan_to_num(rows[:, 2])
    asked = rows[:ROWS].copy()
    for row in asked[::2]:
        row[rng.randint(COLUMNS)] = np.nan if rng.rand() < 0.5 else 0
    if categorical:
        asked[1::4, 1] = CATEGORIES - 1
    return rows, score, asked


def xgboost_models(np, add):
    import xgboost

    version = tuple(int(part) for part in xgboost.__version__.split(".")[:2])
    binary = {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "tree_method": "hist", "seed": 1}

    def model(name, ending, params, target, categorical=False):
        rows, score, asked = rows_of(np, categorical)
        types = ["c" if categorical and at == 1 else "q" for at in range(COLUMNS)]
        matrix = lambda given, y=None: xgboost.DMatrix(given, y, feature_types=types, enable_categorical=True)
        booster = xgboost.train({**binary, **params}, matrix(rows, target(score)), 5)
        booster.save_model(f"{name}.{ending}")
        add(name, f"{name}.{ending}", asked, booster.predict(matrix(asked)))

    yes = lambda score: (score > 0.3).astype(int)
    two = lambda score: np.stack([score, -2 * score], 1)
    sets = {"max_cat_to_onehot": 1}
    if version == (1, 5):
        rows, score, asked = rows_of(np, False)
        classes, more = np.digitize(score, [-0.5, 0.8]), {"eval_set": [(rows[:60], yes(score)[:60])], "verbose": False}
        forest = {"n_estimators": 40, "max_depth": 3, "n_jobs": 1, "num_parallel_tree": 3, "subsample": 0.6, "learning_rate": 0.9}
        stopped = xgboost.XGBClassifier(use_label_encoder=False, **forest).fit(rows[60:], yes(score)[60:], early_stopping_rounds=2, **more)
        stopped.save_model("stopped.json")
        add("stopped-forest", "stopped.json", asked, stopped.predict_proba(asked)[:, 1])
        grown = xgboost.XGBRFClassifier(n_estimators=3, max_depth=3, n_jobs=1, use_label_encoder=False).fit(rows, classes)
        grown.save_model("grown.json")
        add("forest-classes", "grown.json", asked, grown.predict_proba(asked))
    elif version < (3, 0):
        model("categories", "json", sets, yes, categorical=True)
        model("categories-ubj", "ubj", sets, yes, categorical=True)
        model("one-hot", "json", {"max_cat_to_onehot": 100}, yes, categorical=True)
    if version >= (3, 3):
        levels, dart = [0.45, 0.5, 0.55], {"booster": "dart", "rate_drop": 0.5}
        model("dart", "json", dart, yes)
    if version >= (3, 4):
        model("dart-ubj", "ubj", dart, yes)
        model("quantiles", "json", {"objective": "reg:quantileerror", "quantile_alpha": levels}, lambda score: score)
        model("expectiles", "json", {"objective": "reg:expectileerror", "expectile_alpha": [0.1, 0.5, 0.9]}, lambda score: score)
    if (2, 0) <= version < (3, 3):
        vectors = {"objective": "reg:squarederror", "multi_strategy": "multi_output_tree"}
        model("vector-leaves", "json", vectors, two)
        model("vector-leaves-ubj", "ubj", vectors, two)
        model("one-vector-leaf", "json", {**vectors, "gamma": 1e9}, two)


def lightgbm_models(np, add):
    import lightgbm

    rows, score, asked = rows_of(np, False)
    rows, asked = rows.astype(float), asked.astype(float)
    for name in ["xentropy", "xentlambda"]:
        params = {"objective": name, "num_leaves": 7, "num_threads": 1, "verbose": -1, "seed": 1}
        booster = lightgbm.train(params, lightgbm.Dataset(rows, 1 / (1 + np.exp(-score))), 5)
        booster.save_model(f"{name}.txt")
        add(name, f"{name}.txt", asked, booster.predict(asked))


def catboost_models(np, add):
    import catboost

    rows, score, asked = rows_of(np, False)
    params = {"iterations": 5, "depth": 3, "random_seed": 1, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
    parts = [catboost.CatBoostClassifier(**params).fit(rows, score > bound) for bound in (0.3, -0.3)]
    both = catboost.sum_models(parts, [0.5, 0.25])
    both.save_model("both.json", format="json")
    add("sum", "both.json", asked, both.predict(asked, prediction_type="Probability")[:, 1])


def train(library, version):
    """Prints the models of the installed version as JSON."""
    import numpy as np

    cases = []

    def add(name, file, rows, answers):
        with open(file, "rb") as opened:
            data = base64.b64encode(opened.read()).decode()
        plain = [[None if np.isnan(value) else float(value) for value in row] for row in rows]
        cases.append({"name": f"{library}-{version}-{name}", "bytes": data, "rows": plain, "answers": np.asarray(answers, float).tolist()})

    os.chdir(tempfile.mkdtemp())
    {"xgboost": xgboost_models, "lightgbm": lightgbm_models, "catboost": catboost_models}[library](np, add)
    with open(os.environ["OLDER_MODELS"], "w") as file:
        json.dump(cases, file)


def pack(path):
    cases = []
    for python, packages in ENVIRONMENTS:
        with tempfile.NamedTemporaryFile(suffix=".json") as made:
            flags = [part for package in packages for part in ("--with", package)]
            library, version = packages[0].split("==")
            command = ["uv", "run", "--no-project", "--python", python, *flags, "python", __file__, "--train", library, version]
            subprocess.run(command, check=True, env={**os.environ, "OLDER_MODELS": made.name}, stdout=sys.stderr)
            cases += json.load(open(made.name))
    with open(path, "wb") as file:
        file.write(gzip.compress(json.dumps(cases).encode(), mtime=0))
    print(f"{len(cases)} models, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    train(*sys.argv[2:]) if sys.argv[1] == "--train" else pack(sys.argv[1])
