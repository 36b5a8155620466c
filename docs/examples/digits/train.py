"""Trains a support vector machine on the pixels of images, and saves it with the function that decodes them."""

import io

import numpy
import tenure
from PIL import Image
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC


def pixels(X):
    """Returns the pixels of a column of images, which are the bytes of files."""
    images = (Image.open(io.BytesIO(data)).convert("L").resize((8, 8)) for data in X["scan"])
    return numpy.array([numpy.asarray(each, dtype="float64").ravel() / 255 for each in images])


job = tenure.job()
X, y = job.train()
model = make_pipeline(
    FunctionTransformer(pixels),
    SVC(C=job.hyperparameters["strength"], probability=True, random_state=job.seed),
)
model.fit(X, y)
job.progress(1, 1)
job.save(model)
