"""Trains models outside of any job, saves each as code of Python, and prints the answers of the objects: bring_models.py FOLDER ORDERS.

Writes FOLDER/pickle/model.pkl, FOLDER/mlflow, FOLDER/statsmodels/model.pickle and FOLDER/code. The answers are for an order of 3 pieces of 90 on the web.
"""

import json
import sys
from pathlib import Path

import cloudpickle
import mlflow.sklearn
import numpy
import pandas
import statsmodels.formula.api as smf
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler


class Cut(BaseEstimator, TransformerMixin):
    def fit(self, X, y=None):
        self.top_ = numpy.quantile(X, 0.95, axis=0)
        return self

    def transform(self, X):
        return numpy.minimum(X, self.top_)


SERVE = '''import json
from pathlib import Path

import numpy


class Weights:
    def load(self, folder):
        self.weights = json.loads((Path(folder) / "weights" / "numbers.json").read_text())

    def predict(self, frame):
        return 1 / (1 + numpy.exp(-(self.weights["price"] * frame["unit_price"] + self.weights["constant"])))
'''

folder = Path(sys.argv[1])
orders = pandas.read_csv(sys.argv[2]).rename(columns={"unit price": "unit_price"})
# Text labels, as a person has them.
y = orders["returned"]
X = orders[["unit_price", "pieces", "channel"]]
asked = pandas.DataFrame({"unit_price": [90.0], "pieces": [3.0], "channel": ["web"]})
for name in ("pickle", "statsmodels", "code/weights"):
    (folder / name).mkdir(parents=True)

encoded = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["channel"]), (make_pipeline(Cut(), StandardScaler()), ["unit_price", "pieces"]))
own = make_pipeline(encoded, LogisticRegression()).fit(X, y)
(folder / "pickle" / "model.pkl").write_bytes(cloudpickle.dumps(own))

# It takes some of the features, in an order of its own.
some = X[["pieces", "unit_price"]]
plain = make_pipeline(StandardScaler(), LogisticRegression()).fit(some, y)
mlflow.set_tracking_uri(f"sqlite:///{folder / 'mlflow.db'}")
mlflow.set_experiment(experiment_id=mlflow.create_experiment("orders", artifact_location=(folder / "store").as_uri()))
with mlflow.start_run():
    logged = mlflow.sklearn.log_model(plain, name="model", serialization_format="cloudpickle", pip_requirements=["none"])
mlflow.artifacts.download_artifacts(logged.model_uri, dst_path=str(folder / "mlflow"))

glm = smf.logit("returned ~ unit_price + pieces", X.assign(returned=(y == "yes").astype(int))).fit(disp=0)
glm.save(str(folder / "statsmodels" / "model.pickle"), remove_data=True)

(folder / "code" / "serve.py").write_text(SERVE)
weights = {"price": 0.08, "constant": -4.0}
(folder / "code" / "weights" / "numbers.json").write_text(json.dumps(weights))

answers = {
    "pickle": own.predict_proba(asked)[0, 1],
    "mlflow": plain.predict_proba(asked[["pieces", "unit_price"]])[0, 1],
    "statsmodels": glm.predict(asked).iloc[0],
    "code": 1 / (1 + numpy.exp(-(weights["price"] * 90 + weights["constant"]))),
}
print(json.dumps({name: float(answer) for name, answer in answers.items()}))
