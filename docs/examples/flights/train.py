"""Trains trees on the flights with LightGBM."""

import lightgbm as lgb
import tenure

rounds = 150
job = tenure.job()
X, y = job.train()
data = lgb.Dataset(X, y)
parameters = {
    "objective": "binary",
    "metric": "binary_logloss",
    "num_leaves": 31,
    "learning_rate": 0.05,
    # A tree that splits 300 airports into small sets memorises days instead of airports.
    "min_data_per_group": 200,
    "cat_smooth": 50,
    "seed": job.seed,
    "deterministic": True,
    "verbose": -1,
}


def report(env):
    if (env.iteration + 1) % 10 == 0:
        job.progress(env.iteration + 1, rounds, env.evaluation_result_list[0][2])


booster = lgb.train(parameters, data, rounds, valid_sets=[data], callbacks=[report])
job.save_lightgbm(booster)
