"""Trains models of LightGBM, XGBoost and CatBoost with less usual settings, for `models.py`, which passes its helpers."""

import catboost
import lightgbm
import numpy as np
import xgboost

NUMBER, CLASSES, POSITIVE = {"kind": "number"}, {"kind": "classes"}, {"kind": "positive"}


def ranks(m, rng, rows):
    return np.digitize(m.targets(rows, "number"), [-1, 0, 1])


def survival(m, rng, rows):
    """Returns times, negative if the event was not observed."""
    return np.exp(m.targets(rows, "number") / 3) * np.where(rng.random(len(rows)) < 0.3, -1, 1)


def several(m, rng, rows):
    yes = m.targets(rows, "binary")
    return np.stack([yes, 1 - yes, np.nan_to_num(rows[:, 1]) > 0], 1).astype(int)


def lightgbm_model(m, name, seed, params, kind="binary", cats=(), codes=None, target=None, early=False):
    rng = np.random.default_rng(seed)
    rows = m.data(rng, cats, True, params.get("zero_as_missing", False))
    for column in cats if codes else ():
        rows[:, column] = rng.integers(*codes, len(rows))
    wanted = target(m, rng, rows) if target else m.targets(rows, kind)
    group = [50] * (len(rows) // 50) if target is ranks else None
    rows, wanted = rows[: len(rows) // 50 * 50], wanted[: len(rows) // 50 * 50]
    linear = {"linear_tree": True} if "linear_tree" in params else None
    train = lightgbm.Dataset(rows, wanted, group=group, categorical_feature=list(cats) or "auto", params=linear)
    params = {"verbose": -1, "num_leaves": 15, "min_data_in_leaf": 3, "num_threads": 1, "seed": seed, **params}
    more = {}
    if early:
        other = lightgbm.Dataset(*(lambda x: (x, m.targets(x, kind)))(m.data(rng, cats)), reference=train)
        more = {"valid_sets": [other], "callbacks": [lightgbm.early_stopping(2, verbose=False)]}
    booster = lightgbm.train(params, train, m.options.rounds, **more)
    path = f"{m.options.folder}/{name}.txt"
    booster.save_model(path)
    edges = [1e-36, -1e-36, 1e-35, 2e-35, 0.0, -0.0, 31, 32, 33, 63, 64, -1, -2, -7.5, 0.5, -0.5, 300, 2**31, -(2**31), 2**32, 1e300]
    asked = m.odd(rng, rows, [np.nan, np.inf, -np.inf, *edges])
    m.write(name, path, asked, booster.predict(asked))


def xgboost_model(m, name, seed, params, kind="binary", cats=(), target=None, ending="json"):
    rng = np.random.default_rng(seed)
    rows = m.data(rng, cats).astype(np.float32)
    rows = rows[: len(rows) // 50 * 50]
    wanted = target(m, rng, rows) if target else m.targets(rows, kind)
    types = ["c" if column in cats else "q" for column in range(m.COLUMNS)]
    matrix = lambda rows, y=None: xgboost.DMatrix(rows, y, feature_types=types, enable_categorical=True)
    train = matrix(rows, None if params["objective"] == "survival:aft" else wanted)
    if params["objective"] == "survival:aft":
        train.set_float_info("label_lower_bound", wanted)
        train.set_float_info("label_upper_bound", np.where(rng.random(len(wanted)) < 0.3, np.inf, wanted))
    if target is ranks:
        train.set_group([50] * (len(rows) // 50))
    params = {"seed": seed, "tree_method": "hist", "max_depth": 4, "nthread": 1, **params}
    booster = xgboost.train(params, train, m.options.rounds)
    path = f"{m.options.folder}/{name}.{ending}"
    booster.save_model(path)
    asked = m.odd(rng, rows.astype(float), [np.nan, 0.0, -0.0, 1e-40, 1e9, -1e9, 0.5, -0.5, 7.5, 1e38, -1e38])
    for column in cats:
        strange = ~((asked[:, column] >= 0) & (asked[:, column] < m.CATEGORIES) & (asked[:, column] % 1 == 0))
        asked[strange, column] = np.where(rng.random(strange.sum()) < 0.5, np.nan, m.CATEGORIES - 1)
    # For multi:softmax, Tenure serves the probabilities, while the library returns the class.
    is_softmax = params["objective"] == "multi:softmax"
    answers = booster.predict(matrix(asked.astype(np.float32)), output_margin=is_softmax)
    if is_softmax:
        powers = np.exp(answers - answers.max(1, keepdims=True))
        answers = powers / powers.sum(1, keepdims=True)
    m.write(name, path, asked, answers)


def catboost_model(m, name, seed, params, kind="binary", target=None, predict=None):
    rng = np.random.default_rng(seed)
    rows = m.data(rng, (), finite=range(4, m.COLUMNS))
    rows = rows[: len(rows) // 50 * 50]
    wanted = target(m, rng, rows) if target else m.targets(rows, kind)
    group = {"group_id": np.repeat(np.arange(len(rows) // 50), 50)} if target is ranks else {}
    own = {"iterations": m.options.rounds, "depth": 4, "random_seed": seed, "thread_count": 1, "verbose": 0, "allow_writing_files": False}
    model = catboost.CatBoost({**own, **params}).fit(rows, wanted, **group)
    path = f"{m.options.folder}/{name}.json"
    model.save_model(path, format="json")
    asked = m.odd(rng, rows, [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-36, 1e9, -1e9])
    answers = model.predict(asked, prediction_type=predict or "RawFormulaVal")
    is_binary = predict == "Probability" and answers.shape[1] == 2 and params["loss_function"] != "MultiLogloss"
    m.write(name, path, asked, answers[:, 1] if is_binary else answers)


def odd_models(m, seed):
    name = lambda text: f"{text}-{seed}"
    forest = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.6}
    binary, linear = {"objective": "binary"}, {"linear_tree": True}
    three, sets = {"objective": "multiclass", "num_class": 3}, {"objective": "binary", "min_data_per_group": 2, "cat_smooth": 1, "max_cat_to_onehot": 1}
    for text, params, more in [
        ("monotone", {**binary, "monotone_constraints": [1, -1] + [0] * 6, "monotone_constraints_method": "advanced"}, {}),
        ("goss", {**binary, "data_sample_strategy": "goss"}, {}), ("extra", {**binary, "extra_trees": True}, {}),
        ("few-bins", {**binary, "max_bin": 15}, {}), ("two-bins", {**binary, "max_bin": 2}, {}), ("quantized", {**binary, "use_quantized_grad": True}, {}),
        ("mape", {"objective": "mape"}, POSITIVE), ("huber", {"objective": "huber"}, NUMBER), ("fair", {"objective": "fair"}, NUMBER),
        ("lambdarank", {"objective": "lambdarank"}, {"target": ranks}), ("xendcg", {"objective": "rank_xendcg"}, {"target": ranks}),
        ("many-categories", sets, {"cats": (3, 4), "codes": (0, 3000)}), ("negative-categories", sets, {"cats": (3,), "codes": (-5, 60)}),
        ("one-hot", {**sets, "max_cat_to_onehot": 100}, {"cats": (3, 4)}), ("zero-categories", {**sets, "zero_as_missing": True}, {"cats": (3, 4)}),
        ("no-missing-categories", {**sets, "use_missing": False}, {"cats": (3, 4)}),
        ("linear-binary", {**binary, **linear}, {}), ("linear-classes", {**three, **linear}, CLASSES), ("linear-forest", {"objective": "regression", **linear, **forest}, NUMBER),
        ("linear-dart", {"objective": "regression", **linear, "boosting": "dart"}, NUMBER), ("linear-categories", {"objective": "regression", **linear}, {**NUMBER, "cats": (3,)}),
        ("one-leaf", {**binary, "min_gain_to_split": 30.0}, {}), ("no-average", {**binary, "boost_from_average": False}, {}), ("unbalanced", {**binary, "is_unbalance": True}, {}),
        ("dart-classes", {**three, "boosting": "dart"}, CLASSES), ("five-classes", {**three, "num_class": 5}, CLASSES),
        ("one-vs-all-forest", {**three, "objective": "multiclassova", **forest}, CLASSES), ("absolute-forest", {"objective": "l1", **forest}, NUMBER),
        ("sqrt-forest", {"objective": "regression", "reg_sqrt": True, **forest}, NUMBER), ("poisson-forest", {"objective": "poisson", **forest}, POSITIVE),
        ("entropy-forest", {"objective": "xentropy", **forest}, {"kind": "probability"}), ("slope-forest", {**binary, "sigmoid": 0.3, **forest}, {}),
        ("early", {**binary, "learning_rate": 0.5}, {"early": True}), ("early-classes", {**three, "learning_rate": 0.9}, {"early": True, **CLASSES}),
    ]:  # fmt: skip
        lightgbm_model(m, name(f"lightgbm-{text}"), seed, params, **more)
    logistic, soft = {"objective": "binary:logistic"}, {"objective": "multi:softprob", "num_class": 3}
    quantiles, vectors = {"objective": "reg:quantileerror", "quantile_alpha": [0.1, 0.5, 0.9]}, {"multi_strategy": "multi_output_tree"}
    dart = {"booster": "dart", "rate_drop": 0.4}
    for text, params, more in [
        ("softmax", {**soft, "objective": "multi:softmax"}, CLASSES), ("vector-classes", {**soft, **vectors}, CLASSES),
        ("labels", logistic, {"target": several}), ("vector-labels", {**logistic, **vectors}, {"target": several}),
        ("vector-labels-ubj", {**logistic, **vectors}, {"target": several, "ending": "ubj"}),
        ("dart-classes", {**soft, **dart}, CLASSES), ("dart-ubj", {**logistic, **dart, "normalize_type": "forest"}, {"ending": "ubj"}),
        ("dart-categories", {**logistic, **dart}, {"cats": (3, 4)}), ("one-hot", {**logistic, "max_cat_to_onehot": 100}, {"cats": (3, 4)}),
        ("few-categories", {**logistic, "max_cat_to_onehot": 2, "max_cat_threshold": 3}, {"cats": (3, 4)}),
        ("cox", {"objective": "survival:cox"}, {"target": survival}), ("cox-base", {"objective": "survival:cox", "base_score": 0.5}, {"target": survival}),
        ("aft", {"objective": "survival:aft", "aft_loss_distribution": "logistic"}, POSITIVE), ("aft-base", {"objective": "survival:aft", "base_score": 2.0}, POSITIVE),
        ("rank", {"objective": "rank:ndcg"}, {"target": ranks}), ("pairwise", {"objective": "rank:pairwise", "base_score": 0.7}, {"target": ranks}),
        ("absolute", {"objective": "reg:absoluteerror"}, NUMBER), ("pseudohuber", {"objective": "reg:pseudohubererror"}, NUMBER),
        ("squared-log", {"objective": "reg:squaredlogerror"}, POSITIVE), ("quantiles", quantiles, NUMBER), ("vector-quantiles", {**quantiles, **vectors}, NUMBER),
        ("near-quantiles", {**quantiles, "quantile_alpha": [0.45, 0.5, 0.55]}, NUMBER), ("expectiles", {"objective": "reg:expectileerror", "expectile_alpha": [0.1, 0.5, 0.9]}, NUMBER),
        ("expectile", {"objective": "reg:expectileerror", "expectile_alpha": 0.7}, NUMBER), ("base-expectiles", {"objective": "reg:expectileerror", "expectile_alpha": [0.3, 0.7], "base_score": [-1.0, 0.5]}, NUMBER),
        ("share", {"objective": "reg:logistic", "base_score": 0.2}, {"kind": "probability"}), ("loss-guide", {**logistic, "grow_policy": "lossguide", "max_leaves": 20}, {}),
        ("approximate", {**logistic, "tree_method": "approx"}, {}), ("base-classes", {**soft, "base_score": [0.2, 0.3, 0.5]}, CLASSES),
        ("base-two", {"objective": "reg:squarederror", "base_score": [1.5, -2.5]}, {"kind": "two"}), ("base-labels", {**logistic, "base_score": [0.2, 0.3, 0.7]}, {"target": several}),
        ("base-raw", {"objective": "binary:logitraw", "base_score": 0.2}, {}), ("base-hinge", {"objective": "binary:hinge", "base_score": 0.2}, {}),
        ("base-poisson", {"objective": "count:poisson", "base_score": 2.5}, POSITIVE), ("base-gamma", {"objective": "reg:gamma", "base_score": 0.7}, POSITIVE),
        ("forest-classes", {**soft, "num_parallel_tree": 3, "subsample": 0.6}, CLASSES), ("empty", {**logistic, "gamma": 1e9}, {}), ("classes-ubj", soft, {**CLASSES, "ending": "ubj"}),
    ]:  # fmt: skip
        # The newest for Python 3.11 has no expectiles.
        if params["objective"] == "reg:expectileerror" and tuple(map(int, xgboost.__version__.split(".")[:2])) < (3, 3):
            continue
        xgboost_model(m, name(f"xgboost-{text}"), seed, params, **more)
    share = {"predict": "Probability"}
    for text, params, more in [
        ("one-vs-all", {"loss_function": "MultiClassOneVsAll"}, {**CLASSES, **share}), ("entropy", {"loss_function": "CrossEntropy"}, {"kind": "probability", **share}),
        ("focal", {"loss_function": "Focal:focal_alpha=0.5;focal_gamma=2"}, share), ("labels", {"loss_function": "MultiLogloss"}, {"target": several, **share}),
        ("tweedie", {"loss_function": "Tweedie:variance_power=1.2"}, {**POSITIVE, "predict": "Exponent"}), ("uncertain", {"loss_function": "RMSEWithUncertainty"}, {**NUMBER, "predict": "RMSEWithUncertainty"}),
        ("quantiles", {"loss_function": "MultiQuantile:alpha=0.1,0.5,0.9"}, NUMBER), ("log-quantile", {"loss_function": "LogLinQuantile"}, POSITIVE),
        ("huber", {"loss_function": "Huber:delta=1"}, NUMBER), ("expectile", {"loss_function": "Expectile:alpha=0.3"}, NUMBER), ("absolute", {"loss_function": "MAE"}, NUMBER),
        ("rank", {"loss_function": "YetiRank"}, {"target": ranks}), ("cox", {"loss_function": "Cox"}, {"target": survival}),
        ("ordered", {"loss_function": "Logloss", "boosting_type": "Ordered"}, share), ("two-depth-wise", {"loss_function": "MultiRMSE", "grow_policy": "Depthwise"}, {"kind": "two"}),
        ("leaf-wise-classes", {"loss_function": "MultiClass", "grow_policy": "Lossguide", "max_leaves": 9}, {**CLASSES, **share}),
        ("deep", {"loss_function": "RMSE", "depth": 10}, NUMBER), ("ignored", {"loss_function": "RMSE", "ignored_features": [0, 7]}, NUMBER),
    ]:  # fmt: skip
        catboost_model(m, name(f"catboost-{text}"), seed, params, **more)
