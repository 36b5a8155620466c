"""Trains a scikit-learn pipeline that encodes its own columns, and saves it as ONNX."""

import tenure
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

job = tenure.job()
X, y = job.train()
texts = [column.name for column in job.columns if column.kind == "category"]
numbers = [column.name for column in job.columns if column.kind == "number"]
pipeline = make_pipeline(
    make_column_transformer((OneHotEncoder(handle_unknown="ignore"), texts), (StandardScaler(), numbers)),
    LogisticRegression(C=job.hyperparameters["smoothing"], max_iter=1_000, random_state=job.seed),
)
pipeline.fit(X.astype({name: object for name in texts}), y)
job.progress(1, 1)
job.save_onnx(pipeline)
