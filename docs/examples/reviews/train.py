"""Trains TF-IDF and a logistic regression, and saves the pipeline as it is."""

import tenure
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

job = tenure.job()
X, y = job.train()
pipeline = make_pipeline(
    # A vectorizer takes one column of texts, so that the column is named alone and not in a list.
    make_column_transformer((TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True), "review")),
    LogisticRegression(C=job.hyperparameters["strength"], max_iter=1_000, random_state=job.seed),
)
pipeline.fit(X, y)
job.progress(1, 1)
job.save(pipeline)
