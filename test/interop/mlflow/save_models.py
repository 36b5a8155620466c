"""Saves and logs a model of each flavour by MLflow, and its folder by the package tenure: save_models.py FOLDER.

Writes FOLDER/NAME/output/model.python and FOLDER/NAME-logged/output/model.python, and FOLDER/answers.json, the answers of each object for the rows
of FOLDER/rows.json. Models are logged to a store of SQLite. Each folder also answers as pyfunc of MLflow does, which gives labels for
classifiers.
"""

import json
import sys
from pathlib import Path

import lightgbm
import mlflow
import mlflow.lightgbm
import mlflow.pyfunc
import mlflow.sklearn
import mlflow.statsmodels
import mlflow.xgboost
import numpy
import pandas
import statsmodels.api as sm
import xgboost
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tenure import Job

folder = Path(sys.argv[1])
random = numpy.random.default_rng(1)
X = pandas.DataFrame({"price": random.normal(50, 20, 400), "pieces": random.integers(1, 6, 400).astype(float)})
y = (X["price"] + random.normal(0, 20, 400) > 50).astype(int)


class Cut(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return numpy.minimum(X, 80)


class Own(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return 0.1 + 0.8 * (model_input["price"] > 50)


class Filed(mlflow.pyfunc.PythonModel):
    """Answers with a file of its folder."""

    def load_context(self, context):
        self.top = json.loads(open(context.artifacts["top"]).read())

    def predict(self, context, model_input, params=None):
        return model_input["price"].clip(0, self.top) / self.top


(folder / "top.json").write_text("100")
trees = {"n_estimators": 5, "random_state": 1}
pipeline = make_pipeline(Cut(), StandardScaler(), LogisticRegression()).fit(X, y)
plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(X, y)
boosted = lightgbm.LGBMClassifier(verbose=-1, **trees).fit(X, y)
booster = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(X, y), 5)
gradient = xgboost.XGBClassifier(**trees).fit(X, y)
glm = sm.GLM(y, X, family=sm.families.Binomial()).fit()
pickled = {"serialization_format": "cloudpickle"}
# The flavour, the keywords of MLflow, and the answers of the object itself.
models = {
    "sklearn": (mlflow.sklearn, {"sk_model": pipeline, **pickled}, pipeline.predict_proba),
    "skops": (mlflow.sklearn, {"sk_model": plain, "serialization_format": "skops"}, plain.predict_proba),
    "lightgbm": (mlflow.lightgbm, {"lgb_model": boosted}, boosted.predict_proba),
    "booster": (mlflow.lightgbm, {"lgb_model": booster}, booster.predict),
    "xgboost": (mlflow.xgboost, {"xgb_model": gradient}, gradient.predict_proba),
    "statsmodels": (mlflow.statsmodels, {"statsmodels_model": glm}, glm.predict),
    "pyfunc": (mlflow.pyfunc, {"python_model": Own()}, lambda X: Own().predict(None, X)),
    "artifacts": (mlflow.pyfunc, {"python_model": Filed(), "artifacts": {"top": str(folder / "top.json")}}, lambda X: X["price"].clip(0, 100) / 100),
}
rows = X.head(50)


def job_of(name):
    for each in ("output", "checkpoints"):
        (folder / name / each).mkdir(parents=True)
    job = Job(
        {
            "contract": 1,
            "training": "trn_1",
            "model": "orders",
            "attempt": 1,
            "snapshot": {"path": "none", "digest": "sha256:0"},
            "columns": [{"name": column, "kind": "number", "nullable": False} for column in X.columns],
            "label": {"column": "_label", "kind": "probability", "positive": "yes"},
            "part": {"column": "_part", "train": "train"},
            "seed": 1,
            "hyperparameters": {},
            "checkpoints": str(folder / name / "checkpoints"),
            "output": str(folder / name / "output"),
        },
        sys.stderr,
    )
    job._rows = {**{column: X[column].to_numpy() for column in X.columns}, "_label": y.to_numpy(dtype=float)}
    return job


mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
mlflow.set_experiment(experiment_id=mlflow.create_experiment("orders", artifact_location=(folder / "store").as_uri()))
answers = {}
for name, (flavour, given, answer) in models.items():
    saved = folder / name / "mlflow"
    flavour.save_model(path=str(saved), pip_requirements=["tenure"], **given)
    with mlflow.start_run():
        logged = flavour.log_model(name="model", pip_requirements=["tenure"], **given)
    values = numpy.asarray(answer(rows))
    values = values[:, 1] if values.ndim == 2 else values
    for way, path in ((name, saved), (f"{name}-logged", Path(mlflow.artifacts.download_artifacts(logged.model_uri)))):
        job_of(way).save(path)
        own = numpy.asarray(mlflow.pyfunc.load_model(str(path)).predict(rows))
        assert numpy.allclose(own, values if own.dtype.kind == "f" else values > 0.5), name
        answers[way] = values.tolist()
(folder / "rows.json").write_text(json.dumps(rows.to_numpy().tolist()))
(folder / "answers.json").write_text(json.dumps(answers))
