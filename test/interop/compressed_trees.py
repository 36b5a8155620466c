"""Trains models of XGBoost and CatBoost into a folder, or answers rows with the files of all libraries."""
import json, sys
import catboost, lightgbm, numpy, xgboost

names = ["zero", "one", "two", "three", "kind"]


def rows_of(seed, count, texts):
    rng = numpy.random.default_rng(seed)
    rows = rng.normal(size=(count, 5))
    rows[rng.random(rows.shape) < 0.05] = numpy.nan
    rows[:, 4] = rng.integers(0, 4, count) if texts else rng.normal(size=count)
    return rows


def targets(rows):
    values = numpy.nan_to_num(rows)
    return values[:, 0] * values[:, 1] + numpy.sin(3 * values[:, 2]) + values[:, 4] / 2


def xgboost_matrix(rows, texts, label=None):
    types = ["q"] * 4 + ["c" if texts else "q"]
    matrix = xgboost.DMatrix(rows, label=label, feature_names=names, feature_types=types, enable_categorical=True)
    if label is not None:
        matrix.set_group([50] * (len(rows) // 50))
    return matrix


def train(folder):
    made = []
    binary = lambda score: score > 0.3
    classes = lambda score: numpy.digitize(score, [-0.5, 0.8])
    positive = lambda score: numpy.exp(score)
    tailed = lambda score: numpy.exp(3 * score)
    binary_trees = {"objective": "binary:logistic"}
    for name, params, target in [
        ("binary", binary_trees, binary),
        ("categories", {**binary_trees, "max_cat_to_onehot": 1}, binary),
        ("dart", {**binary_trees, "booster": "dart", "rate_drop": 0.3}, binary),
        ("forest", {**binary_trees, "num_parallel_tree": 3, "subsample": 0.7}, binary),
        ("classes", {"objective": "multi:softprob", "num_class": 3}, classes),
        ("number", {"objective": "reg:squarederror"}, lambda score: score),
        ("slow", {"objective": "reg:squarederror", "eta": 2e-8}, lambda score: score),
        ("tailed", {"objective": "reg:squarederror"}, tailed),
        ("poisson", {"objective": "count:poisson"}, positive),
        ("ranking", {"objective": "rank:ndcg"}, classes),
        ("biased-ranking", {"objective": "rank:ndcg", "lambdarank_unbiased": True}, classes),
        ("quantiles", {"objective": "reg:quantileerror", "quantile_alpha": [0.2, 0.8]}, lambda score: score),
    ]:
        rows = rows_of(1, 600, name == "categories")
        params = {"max_depth": 4, "nthread": 1, "seed": 1, **params}
        booster = xgboost.train(params, xgboost_matrix(rows, name == "categories", target(targets(rows))), 16)
        for ending in ["json", "ubj"]:
            file = f"{folder}/xgboost-{name}.{ending}"
            booster.save_model(file)
            made.append({"file": file, "texts": name == "categories"})
    for name, params, target in [
        ("binary", {"loss_function": "Logloss"}, binary),
        ("classes", {"loss_function": "MultiClass"}, classes),
        ("number", {"loss_function": "RMSE"}, lambda score: score),
        ("leaf-wise", {"loss_function": "RMSE", "grow_policy": "Lossguide"}, lambda score: score),
        ("poisson", {"loss_function": "Poisson"}, positive),
    ]:
        rows = rows_of(1, 600, False)
        params = {"iterations": 16, "depth": 4, "random_seed": 1, "thread_count": 1, "verbose": 0, **params}
        model = catboost.CatBoost({"allow_writing_files": False, **params}).fit(rows, target(targets(rows)))
        file = f"{folder}/catboost-{name}.json"
        model.save_model(file, format="json")
        made.append({"file": file, "texts": False})
    return [{**each, "rows": written(rows_of(2, 200, each["texts"]))} for each in made]


def written(rows):
    return [[None if numpy.isnan(value) else value for value in row] for row in rows]


def answer(file, texts, rows):
    rows = numpy.array([[numpy.nan if value is None else float(value) for value in row] for row in rows])
    library = file.rsplit("/", 1)[1].split("-")[0]
    if library == "lightgbm":
        return lightgbm.Booster(model_file=file).predict(rows)
    if library == "xgboost":
        return xgboost.Booster(model_file=file).predict(xgboost_matrix(rows, texts))
    model = catboost.CatBoost().load_model(file, format="json")
    kinds = {"binary": "Probability", "classes": "Probability", "poisson": "Exponent"}
    answers = model.predict(rows, prediction_type=next((kinds[kind] for kind in kinds if kind in file), "RawFormulaVal"))
    return answers[:, 1] if "binary" in file else answers


if len(sys.argv) > 1:
    print(json.dumps(train(sys.argv[1])))
else:
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line)).tolist()))
