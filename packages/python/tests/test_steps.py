"""Tests that each estimator of scikit-learn becomes an ONNX file or an object that is served, with the answers of the estimator."""

from __future__ import annotations

import contextlib
import io
import math
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, Iterator
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_tenure import given_job  # noqa: E402

from tenure._objects import answer_of_object  # noqa: E402
from tenure import Job  # noqa: E402
from tenure._rows import has  # noqa: E402
from tenure._serve import open_file  # noqa: E402

needed = ("skl2onnx", "onnxruntime", "pandas", "cloudpickle")
kinds: dict[str, dict[str, Any]] = {
    "number": {},
    "probability": {"positive": "1"},
    "classes": {"classes": ["0", "1", "2"]},
}


def job_of(folder: Path, kind: str, missing: bool = False) -> Job:
    """A job whose sizes are on even tenths, with every fifth one missing. ``missing``: so are some colours."""
    import numpy

    columns = [{"name": "size", "kind": "number", "nullable": True}, {"name": "colour", "kind": "category", "nullable": True}]
    job = Job(given_job(folder, columns=columns, label={"column": "_label", "kind": kind, **kinds[kind]}), io.StringIO())
    texts = ["red", "white", None if missing else "blue", "blue", "white", "nan", "white"]
    sizes = [math.nan if n % 5 == 3 else 10 + n / 5 for n in range(700)]
    job._categories = {"colour": ["blue", "nan", "red", "white"]}
    job._rows = {"size": numpy.array(sizes), "colour": numpy.array([texts[n % 7] for n in range(700)], dtype=object), "_label": numpy.arange(700.0)}
    return job


def pipelines() -> Iterator[tuple[str, bool, Any]]:
    """Gives the kind of the label, whether categories are missing, and a pipeline."""
    import numpy
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.ensemble import BaggingRegressor, ExtraTreesRegressor, GradientBoostingClassifier, GradientBoostingRegressor
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, IsolationForest, RandomForestClassifier
    from sklearn.ensemble import RandomForestRegressor, VotingClassifier, VotingRegressor
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
    from sklearn.kernel_approximation import Nystroem
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.pipeline import FeatureUnion, make_pipeline
    from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, Normalizer, OneHotEncoder, OrdinalEncoder, PowerTransformer
    from sklearn.preprocessing import SplineTransformer, StandardScaler, TargetEncoder

    def of(model: Any, size: Any = None, colour: Any = None) -> Any:
        size = make_pipeline(SimpleImputer(), StandardScaler()) if size is None else size
        colour = OneHotEncoder(handle_unknown="ignore") if colour is None else colour
        return make_pipeline(make_column_transformer((size, ["size"]), (colour, ["colour"])), model)

    known = {"handle_unknown": "use_encoded_value", "unknown_value": -1}
    rare = {"handle_unknown": "infrequent_if_exist", "min_frequency": 150}
    filled = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
    logs = {"func": numpy.log1p, "inverse_func": numpy.expm1}
    histograms, forest = HistGradientBoostingRegressor(max_iter=3), RandomForestRegressor(5, random_state=1)
    for model in (
        Ridge(),
        forest,
        ExtraTreesRegressor(5, random_state=1),
        BaggingRegressor(n_estimators=3, random_state=1),
        GradientBoostingRegressor(n_estimators=3),
        GradientBoostingRegressor(n_estimators=2, init=Ridge()),
        histograms,
        HistGradientBoostingRegressor(loss="poisson", max_iter=3),
        VotingRegressor([("trees", histograms), ("line", Ridge())], weights=[1, 3]),
        TransformedTargetRegressor(Ridge(), **logs),
        TransformedTargetRegressor(Ridge(), transformer=StandardScaler()),
        RandomizedSearchCV(Ridge(), {"alpha": [0.1, 1]}, n_iter=2, cv=2),
        IsolationForest(n_estimators=5, random_state=1),
        KNeighborsRegressor(weights="distance"),
        GaussianProcessRegressor(alpha=1),
    ):
        yield "number", False, of(model)
    for size in (
        SimpleImputer(),
        SimpleImputer(add_indicator=True),
        KNNImputer(),
        IterativeImputer(),
        FeatureUnion([("a", SimpleImputer()), ("b", MissingIndicator(features="all"))]),
        *(
            make_pipeline(SimpleImputer(), step)
            for step in (
                KBinsDiscretizer(5),
                SplineTransformer(),
                Nystroem(n_components=3),
                FunctionTransformer(numpy.log1p),
                FunctionTransformer(numpy.square),
                Normalizer(norm="max"),
                PowerTransformer(),
            )
        ),
    ):
        yield "number", False, of(Ridge(), size)
        yield "number", False, of(forest, size)
    for colour in (
        OneHotEncoder(handle_unknown="ignore", drop="first"),
        OneHotEncoder(**rare),
        OneHotEncoder(drop="first", **rare),
        OrdinalEncoder(**known),
        OrdinalEncoder(encoded_missing_value=-2, **known),
        OrdinalEncoder(encoded_missing_value=-2, min_frequency=150, **known),
        TargetEncoder(random_state=1),
        filled,
    ):
        yield "number", True, of(forest, colour=colour)
    coded = of(HistGradientBoostingRegressor(max_iter=3, categorical_features=[1]), "passthrough", OrdinalEncoder(**known))
    yield "number", False, coded
    yield "number", False, TransformedTargetRegressor(of(Ridge()), **logs)
    for kind in ("probability", "classes"):
        vote = [("line", LogisticRegression()), ("none", "drop"), ("trees", RandomForestClassifier(3, random_state=1))]
        for model in (
            LogisticRegression(),
            RandomForestClassifier(5, random_state=1),
            GradientBoostingClassifier(n_estimators=3),
            HistGradientBoostingClassifier(max_iter=3),
            VotingClassifier(vote, voting="soft", weights=[1, 7, 3]),
            CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=2),
        ):
            yield kind, False, of(model)
        yield kind, False, CalibratedClassifierCV(of(LogisticRegression()), cv=2)
        yield kind, False, of(LogisticRegression(), colour=TargetEncoder(random_state=1))


@unittest.skipUnless(all(map(has, needed)), f"needs {', '.join(needed)}")
class Steps(unittest.TestCase):
    def saved(self, job: Job, estimator: Any) -> tuple[str, Any, str]:
        """Returns the name of the file, its answers for rows, and the log."""
        log = io.StringIO()
        with contextlib.redirect_stderr(log):
            job.save_onnx(estimator)
        (file,) = job.output.glob("model.*")
        return file.name, open_file(file.read_bytes()).answer if file.suffix == ".python" else job._runtime(file.read_bytes()), log.getvalue()

    def test_saves_each_estimator_with_its_answers_as_onnx_or_as_an_object(self) -> None:
        import numpy

        files: dict[str, int] = {}
        for kind, missing, pipeline in pipelines():
            with tempfile.TemporaryDirectory() as name, self.subTest(kind=kind, pipeline=str(pipeline)):
                job = job_of(Path(name), kind, missing)
                train, targets = job._matrix([job._rows["size"], job._rows["colour"]]), 1 + numpy.arange(700) % 11
                pipeline.fit(train, targets if kind == "number" else targets // 3 % (2 if kind == "probability" else 3))
                file, answer, log = self.saved(job, pipeline)
                files[file] = files.get(file, 0) + 1
                self.assertEqual("served by a Python process" in log, file == "model.python", log)
                # On odd tenths, where trees have thresholds.
                asked = job.frame([[size, text] for size in (12.3, 60.1, 9.1, 14.6, None) for text in ("red", "white", "blue", None, "nan")])
                given, wanted = numpy.asarray(answer(asked)), numpy.asarray(answer_of_object(pipeline, job._task)(asked))
                self.assertLess(abs(given.reshape(wanted.shape) - wanted).max(), 1e-4, log)
        self.assertEqual(set(files), {"model.onnx", "model.python"}, files)

    def test_takes_linear_models_and_forests_as_onnx(self) -> None:
        import numpy
        from sklearn.compose import make_column_transformer
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        for model in (Ridge(), RandomForestRegressor(5, random_state=1)):
            with tempfile.TemporaryDirectory() as name:
                job = job_of(Path(name), "number")
                encode = make_column_transformer((SimpleImputer(), ["size"]), (OneHotEncoder(handle_unknown="ignore"), ["colour"]))
                pipeline = make_pipeline(encode, model).fit(job._matrix([job._rows["size"], job._rows["colour"]]), numpy.arange(700) % 11)
                self.assertEqual(self.saved(job, pipeline)[0], "model.onnx")

    def test_takes_words_of_texts_as_onnx_where_skl2onnx_divides_the_texts_as_scikit_learn(self) -> None:
        import numpy
        from sklearn.compose import make_column_transformer
        from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        english, german = ["The quick Fox", "a lazy DOG sleeps", "over and over"], ["größer", "Käse und Öl"]
        for words, vectorizer, wanted in (
            (english, CountVectorizer(), "model.onnx"),
            (english, TfidfVectorizer(), "model.onnx"),
            (german, TfidfVectorizer(), "model.python"),
        ):
            with tempfile.TemporaryDirectory() as name:
                columns = [{"name": "text", "kind": "category"}]
                job = Job(given_job(Path(name), columns=columns, label={"column": "_label", "kind": "probability", "positive": "1"}), io.StringIO())
                texts = numpy.array([words[at % len(words)] for at in range(300)], dtype=object)
                job._categories, job._rows = {"text": words}, {"text": texts, "_label": numpy.arange(300) % len(words) == 0}
                pipeline = make_pipeline(make_column_transformer((vectorizer, "text")), LogisticRegression())
                file, _, log = self.saved(job, pipeline.fit(*job.train()))
                self.assertEqual(file, wanted, log)

    def test_answers_graphs_of_vectors_beside_numbers_and_texts(self) -> None:
        import numpy
        import onnx
        from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

        def graph(nodes: Any, *inputs: Any) -> bytes:
            given = [make_tensor_value_info(name, kind, [None, *shape]) for name, kind, shape in inputs]
            made = make_graph(nodes, "g", given, [make_tensor_value_info("y", onnx.TensorProto.FLOAT, [None, None])])
            return make_model(made, opset_imports=[make_opsetid("", 17)], ir_version=8).SerializeToString()

        number, text = onnx.TensorProto.FLOAT, onnx.TensorProto.STRING
        flat, cast = make_node("Flatten", ["scan"], ["flat"]), make_node("Cast", ["note"], ["number"], to=number)
        joined = make_node("Concat", ["size", "flat", "number"], ["y"], axis=1)
        named = graph([flat, cast, joined], ("scan", number, [1, 2, 2]), ("size", number, [1]), ("note", text, [1]))
        matrix = graph([make_node("Identity", ["x"], ["y"])], ("x", number, [5]))
        scan, size, note = ({"name": "scan", "kind": "vector"}, {"name": "size", "kind": "number"}, {"name": "note", "kind": "text"})
        for data, columns, wanted in (
            (named, [note, scan, size], [[0.5, 1, 2, 3, 4, 7], [-1, *[math.nan] * 4, 8]]),
            (matrix, [size, scan], [[0.5, 1, 2, 3, 4], [-1, *[math.nan] * 4]]),
        ):
            with tempfile.TemporaryDirectory() as name:
                columns = [{**column, "nullable": True} for column in columns]
                job = Job(given_job(Path(name), columns=columns, label={"column": "_label", "kind": "number"}), io.StringIO())
                job._rows = {}
                cells = {"scan": "[1, 2, 3, 4]", "size": 0.5, "note": "7"}, {"scan": None, "size": -1.0, "note": "8"}
                asked = job.frame([[row[column["name"]] for column in columns] for row in cells])
                numpy.testing.assert_allclose(job._runtime(data)(asked), wanted)

    def test_serves_the_object_where_a_library_of_the_conversion_is_missing(self) -> None:
        import numpy
        from sklearn.linear_model import Ridge

        for missing in ("skl2onnx", "onnxruntime"):
            with tempfile.TemporaryDirectory() as name, mock.patch.dict(sys.modules, {missing: None}):
                job = Job(given_job(Path(name), columns=[{"name": "size", "kind": "number"}], label={"column": "_label", "kind": "number"}), io.StringIO())
                job._rows = {"size": numpy.arange(300.0), "_label": numpy.arange(300.0)}
                file, _, log = self.saved(job, Ridge().fit(*job.train()))
                self.assertEqual(file, "model.python")
                self.assertIn(missing, log)


if __name__ == "__main__":
    unittest.main()
