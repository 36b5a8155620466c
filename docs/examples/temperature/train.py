"""Trains a regression with XGBoost and resumes from its last checkpoint."""

import tenure
import xgboost as xgb

job = tenure.job()
X, y = job.train()
rounds = job.hyperparameters["rounds"]
parameters = {
    "objective": "reg:squarederror",
    "max_depth": job.hyperparameters["depth"],
    "eta": job.hyperparameters["learningRate"],
    "seed": job.seed,
}
data = xgb.DMatrix(X, y, enable_categorical=True)
step = 20
found = job.resume()
booster = xgb.Booster(parameters, model_file=bytearray(found.data)) if found else None
for start in range(found.epoch if found else 0, rounds, step):
    booster = xgb.train(parameters, data, min(step, rounds - start), xgb_model=booster)
    done = booster.num_boosted_rounds()
    job.progress(done, rounds, float(booster.eval(data).split(":")[1]))
    job.checkpoint(done, bytes(booster.save_raw("ubj")))
job.save_xgboost(booster)
