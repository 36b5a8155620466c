"""Trains the teachers: pipelines of scikit-learn, which a Python process answers."""

import numpy as np
import tenure
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

CATEGORIES = ["origin", "destination", "hour", "weekday"]
NUMBERS = ["distance", "recentLateShare"]


def logistic(seed):
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore", min_frequency=50), CATEGORIES), (numbers, NUMBERS))
    return make_pipeline(columns, LogisticRegression(max_iter=300))


def boosted(seed):
    codes = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1)
    columns = make_column_transformer((codes, CATEGORIES), (SimpleImputer(strategy="median"), NUMBERS))
    return make_pipeline(columns, GradientBoostingClassifier(n_estimators=300, max_depth=3, subsample=0.5, random_state=seed))


if __name__ == "__main__":
    job = tenure.job()
    X, y = job.train()
    X = X.astype({name: object for name in CATEGORIES}).astype({name: np.float64 for name in NUMBERS})
    teachers = {"logistic": logistic, "boosted": boosted}
    job.save(teachers[job.hyperparameters["teacher"]](job.seed).fit(X, y))
