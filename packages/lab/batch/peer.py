"""Scores a Parquet file with scikit-learn, as a data scientist would write it: read, transform, predict, write.

prepare <weights.json> <model.joblib>: the pipeline with the network that Tenure scores with, so that both answer the same numbers.
score <model.joblib> <input.parquet> <output.parquet>: prints one line of JSON with the seconds of each step.
"""

import json
import sys
import time

import joblib
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


def prepare(weights_path, model_path):
    with open(weights_path) as file:
        said = json.load(file)
    numbers = [fit for fit in said["fits"] if fit["kind"] == "number"]
    texts = [fit for fit in said["fits"] if fit["kind"] == "category"]
    rows = max(2, *(len(fit["vocabulary"]) for fit in texts))
    frame = pd.DataFrame(
        {fit["name"]: [float(row) for row in range(rows)] for fit in numbers}
        | {fit["name"]: [fit["vocabulary"][row % len(fit["vocabulary"])] for row in range(rows)] for fit in texts}
    )
    scale = Pipeline([("fill", SimpleImputer()), ("scale", StandardScaler())])
    encode = OneHotEncoder(categories=[fit["vocabulary"] for fit in texts], handle_unknown="ignore")
    columns = ColumnTransformer(
        [("numbers", scale, [fit["name"] for fit in numbers]), ("texts", encode, [fit["name"] for fit in texts])]
    )
    network = MLPClassifier((said["units"],), activation="relu", max_iter=1)
    pipeline = Pipeline([("columns", columns), ("network", network)])
    pipeline.fit(frame, [row % 2 for row in range(rows)])
    fitted = pipeline.named_steps["columns"].named_transformers_
    fitted["numbers"].named_steps["fill"].statistics_ = np.array([fit["fill"] for fit in numbers])
    fitted["numbers"].named_steps["scale"].mean_ = np.array([fit["mean"] for fit in numbers])
    fitted["numbers"].named_steps["scale"].scale_ = np.array([fit["std"] for fit in numbers])
    network.coefs_ = [np.array(layer["kernel"]) for layer in said["layers"]]
    network.intercepts_ = [np.array(layer["bias"]) for layer in said["layers"]]
    joblib.dump(pipeline, model_path)


def score(model_path, input_path, output_path):
    pipeline = joblib.load(model_path)
    marks = [time.perf_counter()]
    frame = pd.read_parquet(input_path)
    marks.append(time.perf_counter())
    probability = pipeline.predict_proba(frame)[:, 1]
    marks.append(time.perf_counter())
    answers = pd.DataFrame({"id": frame["id"], "probability": probability.astype("float32")})
    answers["answer"] = answers["probability"] >= 0.5
    answers.to_parquet(output_path, compression="zstd", index=False)
    marks.append(time.perf_counter())
    read, predict, write = (after - before for before, after in zip(marks, marks[1:]))
    print(json.dumps({"rows": len(frame), "read": read, "predict": predict, "write": write, "seconds": marks[-1] - marks[0]}))


if __name__ == "__main__":
    {"prepare": prepare, "score": score}[sys.argv[1]](*sys.argv[2:])
