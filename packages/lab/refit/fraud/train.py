"""Trains LightGBM on payments: the training program of the model, and of its peers in ../peers.py."""

import lightgbm

CATEGORIES = ["mcc", "country"]
SETTINGS = {
    "objective": "binary",
    "learning_rate": 0.05,
    "num_leaves": 15,
    "min_data_in_leaf": 200,
    "lambda_l2": 10,
    "num_threads": 1,
    "deterministic": True,
    "verbose": -1,
}


def fit(X, y, names, seed, rounds, callbacks=()):
    data = lightgbm.Dataset(X, y, feature_name=names, categorical_feature=[names.index(each) for each in CATEGORIES])
    return lightgbm.train({**SETTINGS, "seed": seed}, data, rounds, callbacks=list(callbacks))


if __name__ == "__main__":
    import tenure

    job = tenure.job()
    X, y = job.train()
    rounds = job.hyperparameters["rounds"]
    names = [column.name for column in job.columns]
    job.save_lightgbm(fit(X, y, names, job.seed, rounds, [lambda env: job.progress(env.iteration + 1, rounds)]))
