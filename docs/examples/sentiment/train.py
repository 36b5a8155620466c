"""Trains a logistic regression on embeddings, and saves it with the function that makes a matrix of them."""

import numpy
import tenure
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer


def matrix(X):
    """Returns a column of vectors, which are arrays, as a matrix."""
    return numpy.stack(X["embedding"])


job = tenure.job()
X, y = job.train()
model = make_pipeline(
    FunctionTransformer(matrix),
    LogisticRegression(C=job.hyperparameters["strength"], max_iter=1_000, random_state=job.seed),
)
model.fit(X, y)
job.progress(1, 1)
job.save(model)
