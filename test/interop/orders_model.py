"""Writes a model folder of MLServer, or with a fourth word one of MLflow: ``orders_model.py FOLDER ORDERS SEED [mlflow]``.

Another seed gives another model. Beside it, the folder gets a model of vectors in ``vectors/``, with its answer to one of them.
"""

import json
import sys
from pathlib import Path

import joblib
import pandas
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

folder, orders, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
rows = pandas.read_csv(orders).rename(columns={"unit price": "unit_price"})
encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["channel"]), remainder="passthrough")
model = make_pipeline(encode, RandomForestClassifier(50, random_state=seed))
model.fit(rows[["unit_price", "pieces", "channel"]], rows["returned"] == "yes")
joblib.dump(model, folder / "model.joblib")
settings = {
    "name": "orders",
    "implementation": "mlserver_sklearn.SKLearnModel",
    "parameters": {"uri": str(folder / "model.joblib"), "version": "v1", "content_type": "pd"},
}
(folder / "model-settings.json").write_text(json.dumps(settings))
# The price and the pieces as one vector.
matrix = rows[["unit_price", "pieces"]].to_numpy()
trees = RandomForestClassifier(20, random_state=seed).fit(matrix, rows["returned"] == "yes")
vectors = folder / "vectors"
vectors.mkdir(exist_ok=True)
joblib.dump(trees, vectors / "model.joblib")
settings = {"name": "vectors", "implementation": "mlserver_sklearn.SKLearnModel", "parameters": {"uri": str(vectors / "model.joblib")}}
(vectors / "model-settings.json").write_text(json.dumps(settings))
(vectors / "answer.json").write_text(json.dumps(trees.predict_proba([[52.5, 3]])[0, 1]))
if len(sys.argv) > 4:
    import mlflow.sklearn

    target = str(folder / f"mlflow-{seed}")
    options = {"serialization_format": "cloudpickle", "pyfunc_predict_fn": "predict_proba", "pip_requirements": []}
    mlflow.sklearn.save_model(model, target, **options)
