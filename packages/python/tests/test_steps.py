"""Tests of the steps of scikit-learn that skl2onnx alone does not convert. Skipped without skl2onnx, ONNX Runtime and pandas."""

from __future__ import annotations

import io
import sys
import unittest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_tenure import Folder, given_job  # noqa: E402

from tenure import Job  # noqa: E402
from tenure._rows import has  # noqa: E402


@unittest.skipUnless(has("skl2onnx") and has("onnxruntime") and has("pandas"), "no skl2onnx or pandas")
class Steps(Folder):
    def given(self, kind: str, **label: Any) -> tuple[Job, Any, Any]:
        """A job with rows, and a step that encodes them."""
        import numpy
        from sklearn.compose import make_column_transformer
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        job = Job(given_job(self.folder, label={"column": "_label", "kind": kind, **label}), io.StringIO())
        job._categories = {"colour": ["red", "white"]}
        numbers, texts = numpy.arange(300) / 10, numpy.array(["red", "white", "white"] * 100)
        job._rows = {"size": numbers, "colour": texts, "_label": numbers}
        encode = make_column_transformer((StandardScaler(), ["size"]), (OneHotEncoder(handle_unknown="ignore"), ["colour"]))
        return job, job._matrix([numbers, texts]), encode

    def worst(self, job: Job, pipeline: Any, train: Any) -> float:
        given = job._runtime(job._convert(pipeline))(train)
        wanted = job._source(pipeline)(train)
        return float(abs(given.reshape(wanted.shape) - wanted).max())

    def test_converts_votes_with_weights_and_the_options_that_are_the_default(self) -> None:
        import numpy
        from sklearn.ensemble import RandomForestClassifier, VotingClassifier, VotingRegressor
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline

        job, train, encode = self.given("classes", classes=["0", "1", "2"])
        members = [("line", LogisticRegression()), ("none", "drop"), ("trees", RandomForestClassifier(3, random_state=1))]
        for weights in (None, [1, 7, 3]):
            vote = make_pipeline(encode, VotingClassifier(members, voting="soft", weights=weights))
            self.assertLess(self.worst(job, vote.fit(train, numpy.arange(300) // 7 % 3), train), 1e-6)
        job, train, encode = self.given("number")
        vote = make_pipeline(encode, VotingRegressor([("one", Ridge()), ("two", Ridge(500))], weights=[1, 3]))
        self.assertLess(self.worst(job, vote.fit(train, numpy.arange(300.0) % 11), train), 1e-5)

    def test_converts_bins_functions_and_logarithms_of_the_target(self) -> None:
        import numpy
        from sklearn.compose import TransformedTargetRegressor, make_column_transformer
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer

        job, train, encode = self.given("number")
        targets = 1 + numpy.arange(300.0) % 11
        logs = {"func": numpy.log1p, "inverse_func": numpy.expm1}
        for pipeline in (
            make_pipeline(make_column_transformer((KBinsDiscretizer(5), ["size"])), Ridge()),
            make_pipeline(make_column_transformer((FunctionTransformer(numpy.log1p), ["size"])), Ridge()),
            make_pipeline(make_column_transformer((FunctionTransformer(numpy.sqrt), ["size"])), RandomForestRegressor(3)),
            make_pipeline(encode, TransformedTargetRegressor(Ridge(), **logs)),
            TransformedTargetRegressor(make_pipeline(encode, RandomForestRegressor(3)), **logs),
            TransformedTargetRegressor(make_pipeline(encode, Ridge()), func=numpy.log, inverse_func=numpy.exp),
        ):
            self.assertLess(self.worst(job, pipeline.fit(train, targets), train), 1e-5, pipeline)

    def test_converts_rare_categories_that_share_a_column_and_searches_of_hyperparameters(self) -> None:
        import numpy
        from sklearn.compose import make_column_transformer
        from sklearn.linear_model import Ridge
        from sklearn.model_selection import RandomizedSearchCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        job, _, _ = self.given("number")
        job._categories = {"colour": ["blue", "green", "red", "white"]}
        numbers, texts = numpy.arange(300) / 10, numpy.array((["red", "white", "white", "white", "blue", "green"] * 50))
        job._rows = {"size": numbers, "colour": texts}
        train, targets = job._matrix([numbers, texts]), numpy.arange(300.0) % 6
        asked = job.frame([[1.5, text] for text in ("red", "white", "blue", "green", None)])
        for options in (
            {"handle_unknown": "infrequent_if_exist", "min_frequency": 60},
            {"handle_unknown": "infrequent_if_exist", "max_categories": 3, "drop": "first"},
            {"handle_unknown": "infrequent_if_exist"},
            {"handle_unknown": "ignore", "min_frequency": 60},
        ):
            encode = make_column_transformer((OneHotEncoder(**options), ["colour"]), ("passthrough", ["size"]))
            searched = RandomizedSearchCV(Ridge(), {"alpha": [0.1, 1]}, n_iter=2, cv=2)
            pipeline = make_pipeline(encode, searched).fit(train, targets)
            self.assertLess(self.worst(job, pipeline, asked), 1e-5, options)

    def test_converts_rare_categories_of_several_columns_of_texts(self) -> None:
        import itertools
        import numpy
        from sklearn.compose import make_column_transformer
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        columns = [{"name": name, "kind": "category", "nullable": True} for name in ("colour", "shape", "place")]
        columns.append({"name": "size", "kind": "number", "nullable": False})
        job = Job(given_job(self.folder, columns=columns, label={"column": "_label", "kind": "number"}), io.StringIO())
        texts = {
            "colour": ["red", "white", "white", "white", "blue", "green"] * 50,
            "shape": ["round"] * 200 + ["flat"] * 90 + ["red"] * 10,
            "place": ["Bern", "Oslo"] * 150,
        }
        job._categories = {name: sorted(set(values)) for name, values in texts.items()}
        job._rows = {**{name: numpy.array(values) for name, values in texts.items()}, "size": numpy.arange(300) / 10}
        train, targets = job._matrix(list(job._rows.values())), numpy.arange(300.0) % 7
        asked = [[*row, 1.5] for row in itertools.product(*([*values, None] for values in job._categories.values()))]
        frame = job.frame(asked)
        for options, names in itertools.product(
            (
                {"handle_unknown": "infrequent_if_exist", "min_frequency": 60},
                {"handle_unknown": "infrequent_if_exist", "max_categories": 2},
                {"handle_unknown": "infrequent_if_exist", "max_categories": 2, "drop": "first"},
                {"handle_unknown": "infrequent_if_exist"},
                {"handle_unknown": "ignore", "min_frequency": 60},
            ),
            (["colour", "shape"], ["place", "shape", "colour"]),
        ):
            encode = make_column_transformer((OneHotEncoder(**options), names), ("passthrough", ["size"]))
            pipeline = make_pipeline(encode, Ridge()).fit(train, targets)
            self.assertLess(self.worst(job, pipeline, frame), 1e-5, (options, names))

    def test_answers_with_the_score_of_a_detector_of_outliers(self) -> None:
        import json
        from sklearn.ensemble import IsolationForest
        from sklearn.pipeline import make_pipeline

        job, train, encode = self.given("number")
        pipeline = make_pipeline(encode, IsolationForest(n_estimators=5, random_state=1)).fit(train)
        job.save_onnx(pipeline)
        replay = json.loads((job.output / "replay.json").read_text())
        scores = pipeline.decision_function(job.frame(replay["rows"]))
        self.assertLess(abs(scores - [each[0] for each in replay["outputs"]]).max(), 1e-6)

    def test_names_a_step_that_is_not_converted_and_what_to_do_instead(self) -> None:
        import numpy
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.compose import TransformedTargetRegressor, make_column_transformer
        from sklearn.ensemble import GradientBoostingRegressor, VotingRegressor
        from sklearn.experimental import enable_iterative_imputer  # noqa: F401
        from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator
        from sklearn.kernel_approximation import Nystroem
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import FeatureUnion, make_pipeline
        from sklearn.preprocessing import FunctionTransformer, SplineTransformer, StandardScaler, TargetEncoder

        def refused(kind: str, pipeline: Any, targets: Any, why: str, **label: Any) -> None:
            job, train, _ = self.given(kind, **label)
            with self.assertRaisesRegex(ValueError, why):
                job._convert(pipeline.fit(train, targets))

        def of_size(step: Any) -> Any:
            return make_pipeline(make_column_transformer((step, ["size"])), Ridge())

        _, _, encode = self.given("number")
        numbers, classes = numpy.arange(300.0) % 11, numpy.arange(300) % 3
        for step, why in (
            (KNNImputer(), r"^KNNImputer has no conversion to ONNX that Tenure reads: use SimpleImputer\(add_indicator=True\)"),
            (IterativeImputer(), "^IterativeImputer has no conversion to ONNX that Tenure reads: use SimpleImputer"),
            (FeatureUnion([("a", StandardScaler()), ("b", MissingIndicator(features="all"))]), "^MissingIndicator has .*: use SimpleImputer"),
            (SplineTransformer(), "^SplineTransformer has no conversion to ONNX that Tenure reads: use KBinsDiscretizer"),
            (Nystroem(n_components=3), "^Nystroem has .*: compute its columns by SQL in prepare of the model file"),
            (FunctionTransformer(numpy.square), "FunctionTransformer computes square, and only numpy.abs, .* is converted: compute its columns"),
        ):
            refused("number", of_size(step), numbers, why)
        scaled = TransformedTargetRegressor(Ridge(), transformer=StandardScaler())
        refused("number", make_pipeline(encode, scaled), numbers, "^TransformedTargetRegressor is converted only with the inverse_func numpy.abs")
        logs = TransformedTargetRegressor(Ridge(), func=numpy.log1p, inverse_func=numpy.expm1)
        vote = make_pipeline(encode, VotingRegressor([("one", logs)]))
        refused("number", vote, numbers, "^TransformedTargetRegressor is converted at the end of a pipeline alone")
        whole = CalibratedClassifierCV(make_pipeline(encode, LogisticRegression()), cv=2)
        refused("probability", whole, classes % 2, "^CalibratedClassifierCV around a pipeline .* put it at the end of the pipeline")
        begun = make_pipeline(encode, GradientBoostingRegressor(init=Ridge(), n_estimators=2))
        refused("number", begun, numbers, "^GradientBoostingRegressor is converted without an estimator as its init")
        target = make_pipeline(make_column_transformer((TargetEncoder(), ["colour"])), LogisticRegression())
        refused("classes", target, classes, "^TargetEncoder of more than two classes is not converted: use", classes=["0", "1", "2"])

    def test_converts_words_of_texts_and_refuses_what_is_answered_otherwise(self) -> None:
        import numpy
        from sklearn.compose import make_column_transformer
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        def given(words: list[str], vectorizer: Any) -> tuple[Job, Any, Any]:
            job, _, _ = self.given("probability", positive="1")
            texts = numpy.array([f"{words[at % len(words)]} {at % 7}" for at in range(300)], dtype=object)
            job._categories = {"colour": sorted(set(texts))}
            job._rows["colour"] = texts
            train = job._matrix([job._rows["size"], texts])
            pipeline = make_pipeline(make_column_transformer((StandardScaler(), ["size"]), (vectorizer, "colour")), LogisticRegression())
            return job, pipeline.fit(train, numpy.arange(300) % len(words) == len(words) - 1), train

        english = ["The quick Fox", "a lazy DOG sleeps", "over and over"]
        for vectorizer in (TfidfVectorizer(), CountVectorizer(ngram_range=(1, 2))):
            self.assertLess(self.worst(*given(english, vectorizer)), 1e-6)
        for words, vectorizer in ((["größer", "Käse und Öl"], TfidfVectorizer()), (english, TfidfVectorizer(sublinear_tf=True))):
            job, pipeline, _ = given(words, vectorizer)
            with self.assertRaisesRegex(ValueError, "training rows are answered otherwise, because skl2onnx divides texts into words of ASCII letters alone"):
                job._convert(pipeline)


if __name__ == "__main__":
    unittest.main()
