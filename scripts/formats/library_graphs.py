"""Converts models of scikit-learn and CatBoost to ONNX, with odd rows and the answers of ONNX Runtime, as `graphs.py` writes them.

Usage: python library_graphs.py FILE [--rows N] [--first SEED] [--seeds N]. Needs scikit-learn, skl2onnx, catboost, onnxruntime. Models that do not
convert are named on standard error.
"""

import argparse
import json
import sys
import warnings

import catboost
import numpy as np
import onnx
from skl2onnx import to_onnx
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn import calibration, cross_decomposition, decomposition, discriminant_analysis, ensemble, feature_selection, linear_model
from sklearn import multiclass, multioutput, naive_bayes, neighbors, neural_network, preprocessing, svm, tree
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline, make_union

from graphs import ODD, line_of
from skl2onnx_numbers import take_numpy_numbers

warnings.filterwarnings("ignore")
take_numpy_numbers()
COLUMNS = 6


def models_of(seed):
    """Yields name, kind of target, and model."""
    own = {"random_state": seed}
    small = {"n_estimators": 8, "max_depth": 4, **own}
    logistic = linear_model.LogisticRegression
    for name, model in [
        ("extra-trees", ensemble.ExtraTreesClassifier(**small)), ("random-forest", ensemble.RandomForestClassifier(**small)),
        ("boosting", ensemble.GradientBoostingClassifier(**small)), ("histogram", ensemble.HistGradientBoostingClassifier(max_iter=8, **own)),
        ("histogram-balanced", ensemble.HistGradientBoostingClassifier(max_iter=8, class_weight="balanced", **own)),
        ("tree", tree.DecisionTreeClassifier(max_depth=4, **own)), ("extra-tree", tree.ExtraTreeClassifier(max_depth=4, **own)),
        ("ada", ensemble.AdaBoostClassifier(n_estimators=5, **own)), ("bagging", ensemble.BaggingClassifier(n_estimators=4, **own)),
        ("voting", ensemble.VotingClassifier([("a", logistic()), ("b", tree.DecisionTreeClassifier(max_depth=3))], voting="soft")),
        ("stacking", ensemble.StackingClassifier([("a", logistic()), ("b", tree.DecisionTreeClassifier(max_depth=3))])),
        ("logistic", logistic()), ("logistic-cv", linear_model.LogisticRegressionCV(Cs=2)), ("ridge", linear_model.RidgeClassifier()),
        ("sgd", linear_model.SGDClassifier(loss="log_loss", **own)), ("sgd-hinge", linear_model.SGDClassifier(loss="modified_huber", **own)),
        ("perceptron", linear_model.Perceptron(**own)), ("linear-svc", svm.LinearSVC(**own)), ("svc", svm.SVC(probability=True, **own)),
        ("network", neural_network.MLPClassifier((8, 5), max_iter=20, **own)), ("network-tanh", neural_network.MLPClassifier((7,), "tanh", max_iter=20, **own)),
        ("network-logistic", neural_network.MLPClassifier((7, 3), "logistic", max_iter=20, **own)),
        ("lda", discriminant_analysis.LinearDiscriminantAnalysis()), ("qda", discriminant_analysis.QuadraticDiscriminantAnalysis()),
        ("gaussian", naive_bayes.GaussianNB()), ("bernoulli", naive_bayes.BernoulliNB()), ("neighbours", neighbors.KNeighborsClassifier(3)),
        ("calibrated", calibration.CalibratedClassifierCV(linear_model.RidgeClassifier(), cv=2)),
        ("calibrated-isotonic", calibration.CalibratedClassifierCV(logistic(), method="isotonic", cv=2)),
        ("calibrated-forest", calibration.CalibratedClassifierCV(ensemble.RandomForestClassifier(**small), cv=2)),
        ("one-vs-rest", multiclass.OneVsRestClassifier(logistic())), ("one-vs-one", multiclass.OneVsOneClassifier(logistic())),
        ("one-vs-rest-trees", multiclass.OneVsRestClassifier(tree.DecisionTreeClassifier(max_depth=3))),
        ("scaled", make_pipeline(preprocessing.StandardScaler(), decomposition.PCA(3), logistic())),
        ("scaled-trees", make_pipeline(preprocessing.RobustScaler(), ensemble.RandomForestClassifier(**small))),
        ("filled-trees", make_pipeline(SimpleImputer(strategy="median"), ensemble.ExtraTreesClassifier(**small))),
        ("filled-network", make_pipeline(SimpleImputer(), preprocessing.MinMaxScaler(clip=True), neural_network.MLPClassifier((6,), max_iter=20, **own))),
        ("binned", make_pipeline(preprocessing.KBinsDiscretizer(4, encode="onehot-dense"), logistic())),
        ("polynomial", make_pipeline(preprocessing.PolynomialFeatures(2), logistic())), ("power", make_pipeline(preprocessing.PowerTransformer(), logistic())),
        ("quantile", make_pipeline(preprocessing.QuantileTransformer(n_quantiles=20), logistic())), ("normed", make_pipeline(preprocessing.Normalizer("max"), logistic())),
        ("selected", make_pipeline(feature_selection.SelectKBest(k=3), logistic())),
        ("united", make_pipeline(make_union(preprocessing.MaxAbsScaler(), decomposition.TruncatedSVD(2, **own)), logistic())),
    ]:  # fmt: skip
        yield name, "binary", model
        if name not in ("sgd-hinge",):
            yield f"{name}-classes", "classes", model
    for name, kind, model in [
        ("isolation", "number", ensemble.IsolationForest(n_estimators=8, **own)), ("ridge", "two", linear_model.Ridge()), ("lasso", "number", linear_model.Lasso()),
        ("elastic", "number", linear_model.ElasticNet()), ("bayes", "number", linear_model.BayesianRidge()), ("huber", "number", linear_model.HuberRegressor()),
        ("poisson", "positive", linear_model.PoissonRegressor()), ("tweedie", "positive", linear_model.TweedieRegressor(power=1.5)),
        ("gamma", "positive", linear_model.GammaRegressor()), ("svr", "number", svm.SVR()), ("linear-svr", "number", svm.LinearSVR(**own)),
        ("network", "number", neural_network.MLPRegressor(hidden_layer_sizes=(8, 4), max_iter=20, **own)),
        ("network-logistic", "number", neural_network.MLPRegressor(hidden_layer_sizes=(8,), activation="logistic", max_iter=20, **own)), ("pls", "two", cross_decomposition.PLSRegression(2)),
        ("extra-trees", "number", ensemble.ExtraTreesRegressor(**small)), ("extra-trees-two", "two", ensemble.ExtraTreesRegressor(**small)),
        ("histogram", "number", ensemble.HistGradientBoostingRegressor(max_iter=8, **own)), ("boosting", "number", ensemble.GradientBoostingRegressor(**small)),
        ("histogram-quantile", "number", ensemble.HistGradientBoostingRegressor(max_iter=8, loss="quantile", quantile=0.9, **own)),
        ("boosting-huber", "number", ensemble.GradientBoostingRegressor(loss="huber", **small)), ("ada", "number", ensemble.AdaBoostRegressor(n_estimators=4, **own)),
        ("bagging", "number", ensemble.BaggingRegressor(n_estimators=4, **own)), ("several", "two", multioutput.MultiOutputRegressor(linear_model.Ridge())),
        ("voting", "number", ensemble.VotingRegressor([("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=4))])),
        ("stacking", "number", ensemble.StackingRegressor([("a", linear_model.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=4))])),
        ("neighbours", "number", neighbors.KNeighborsRegressor(3)), ("tree-two", "two", tree.DecisionTreeRegressor(max_depth=4, **own)),
    ]:  # fmt: skip
        yield f"{name}-regression", kind, model


def data(rng, count, kind, missing):
    rows = rng.normal(size=(count, COLUMNS)).round(3)
    score = rows[:, 0] + rows[:, 1] * rows[:, 2] + rng.normal(size=count) / 3
    wanted = {
        "binary": (score > 0.3).astype(int),
        "classes": np.digitize(score, [-0.5, 0.8]),
        "number": score,
        "positive": np.exp(score / 3),
        "two": np.stack([score, -2 * score], 1),
    }[kind]
    if missing:
        rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows, wanted


def odd_rows(rng, rows, count):
    rows = rows[:count].copy()
    for row in rows[1::2]:
        row[rng.integers(COLUMNS)] = rng.choice(ODD)
    return rows


def tell(file, name, made, rows, seed):
    """Returns one JSON line: the graph with predictions for unusual rows."""
    graph = made.graph
    names = {each.name for each in graph.initializer}
    given = next(each for each in graph.input if each.name not in names)
    # onnxruntime computes trees in 32 bits and refuses the 64 bits that skl2onnx declares.
    makers = {name: node.op_type for node in graph.node for name in node.output}
    for each in graph.output:
        if each.type.tensor_type.elem_type == 11 and any(op.startswith("TreeEnsemble") for op in makers.values()):
            each.type.tensor_type.elem_type = 1 if makers[each.name] in ("Identity", "TreeEnsembleClassifier", "TreeEnsembleRegressor") else 11
    kind = {1: np.float32, 11: np.float64}[given.type.tensor_type.elem_type]
    numbers = [each.name for each in graph.output if each.type.tensor_type.elem_type in (1, 11)]
    if len(numbers) != 1:
        print(f"{name}: {len(numbers)} outputs of numbers", file=sys.stderr)
        return
    found = line_of(made.SerializeToString(), {given.name: rows.astype(kind)}, numbers[0])
    versions = {each.domain: each.version for each in made.opset_import}
    operators = [node.op_type for node in graph.node]
    file.write(json.dumps({"name": f"{name}-{seed}", "operators": operators, "opset": versions.get("", 0), **found}) + "\n")


def sklearn_graphs(file, seed, count):
    rng = np.random.default_rng(seed)
    for name, kind, model in models_of(seed):
        rows, wanted = data(rng, 300, kind, name.startswith(("filled", "histogram")))
        asked = odd_rows(rng, rows, count)
        for type_name, typed in (("float", FloatTensorType), ("double", DoubleTensorType)):
            try:
                model.fit(rows, wanted)
                settings = {id(model): {"zipmap": False}} if hasattr(model, "predict_proba") else None
                opsets = {"": int(rng.integers(12, 22)), "ai.onnx.ml": 3}
                made = to_onnx(model, initial_types=[("x", typed([None, COLUMNS]))], options=settings, target_opset=opsets)
            except Exception as error:  # The library has as many classes of errors as converters.
                print(f"{name} ({type_name}): {str(error)[:120]!r}", file=sys.stderr)
                continue
            tell(file, f"{name}-{type_name}", made, asked, seed)


def catboost_graphs(file, seed, count, folder):
    rng = np.random.default_rng(seed)
    own = {"iterations": 8, "depth": 4, "random_seed": seed, "verbose": 0, "allow_writing_files": False}
    for name, kind, model in [
        ("binary", "binary", catboost.CatBoostClassifier(**own)), ("classes", "classes", catboost.CatBoostClassifier(**own)),
        ("number", "number", catboost.CatBoostRegressor(**own)), ("poisson", "positive", catboost.CatBoostRegressor(loss_function="Poisson", **own)),
        ("cross-entropy", "binary", catboost.CatBoostClassifier(loss_function="CrossEntropy", **own)),
    ]:  # fmt: skip
        rows, wanted = data(rng, 300, kind, False)
        path = f"{folder}/catboost-{name}.onnx"
        model.fit(rows, wanted).save_model(path, format="onnx")
        made = onnx.load(path)
        # A list of dictionaries follows the probabilities.
        for node in [each for each in made.graph.node if each.op_type == "ZipMap"]:
            made.graph.node.remove(node)
            for output in made.graph.output:
                if output.name == node.output[0]:
                    output.CopyFrom(onnx.helper.make_tensor_value_info(node.input[0], 1, ["n", None]))
        tell(file, f"catboost-{name}", made, odd_rows(rng, rows, count), seed)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--rows", type=int, default=60)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    options = parser.parse_args()
    with open(options.file, "w") as file:
        for seed in range(options.first, options.first + options.seeds):
            sklearn_graphs(file, seed, options.rows)
            catboost_graphs(file, seed, options.rows, options.file.rsplit("/", 1)[0])
