"""Tests of the package without any other package, but for those that are skipped without it."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import importlib.util
import io
import json
import math
import pickle
import subprocess
import sys
import tarfile
import tempfile
import unittest
import warnings
from pathlib import Path
from typing import Any, Optional
from unittest import mock

SOURCE = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(SOURCE))

from tenure import Column, Job, Source  # noqa: E402
from tenure._folders import answer_of_folder, open_folder, other_versions, pack_folder  # noqa: E402
from tenure._objects import Asked, Task, class_places, numbers_of, put_in_order  # noqa: E402
from tenure._lightgbm import joined_text  # noqa: E402
from tenure._onnx import first_lines  # noqa: E402
from tenure._checkpoints import newest_checkpoint, write_checkpoint  # noqa: E402
from tenure._rows import has, pixels  # noqa: E402
from tenure._serve import open_file  # noqa: E402
from tenure._warned import keep_warnings  # noqa: E402
from tenure._replay import cell_of, odd_rows, spread  # noqa: E402

# NumPy cannot be imported again after a test has replaced modules.
for each in ("numpy", "pandas", "sklearn.base"):
    with contextlib.suppress(ImportError):
        importlib.import_module(each)


def given_job(folder: Path, **changes: Any) -> dict[str, Any]:
    for name in ("checkpoints", "output"):
        (folder / name).mkdir(exist_ok=True)
    return {
        "contract": 1,
        "training": "trn_1",
        "model": "price",
        "attempt": 1,
        "snapshot": {"path": str(folder / "rows.parquet"), "digest": "sha256:0"},
        "columns": [
            {"name": "size", "kind": "number", "nullable": False},
            {"name": "colour", "kind": "category", "values": ["red", "white"], "nullable": True},
        ],
        "label": {"column": "_label", "kind": "probability", "positive": "blooms"},
        "part": {"column": "_part", "train": "train"},
        "seed": 7,
        "hyperparameters": {"rounds": 3},
        "checkpoints": str(folder / "checkpoints"),
        "output": str(folder / "output"),
        "limits": {"memoryMb": None, "seconds": None},
        **changes,
    }


class Frame:
    """What a data frame of pandas has."""

    def to_parquet(self, path: Path, index: bool) -> None:
        path.write_text(f"rows without index: {not index}")


class SourceTest(unittest.TestCase):
    def test_writes_each_part_of_the_rows_as_a_file_of_its_own(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            given = {"contract": 1, "kind": "source", "model": "roses", "asOf": "2024-04-05T00:00:00.000Z", "output": folder, "limits": {}}
            source = Source(given)
            self.assertEqual(source.as_of.isoformat(), "2024-04-05T00:00:00+00:00")
            names = [source.write(Frame()).name for _ in range(2)]
            self.assertEqual(names, ["rows-000001.parquet", "rows-000002.parquet"])

    def test_refuses_the_job_of_a_training(self) -> None:
        with self.assertRaisesRegex(ValueError, "this package knows the contract 1 and the kind source"):
            Source({"contract": 1, "model": "roses"})

    @unittest.skipUnless(importlib.util.find_spec("pyarrow"), "pyarrow is missing")
    def test_writes_tables_and_batches_of_pyarrow(self) -> None:
        import pyarrow
        import pyarrow.parquet

        with tempfile.TemporaryDirectory() as folder:
            given = {"contract": 1, "kind": "source", "model": "roses", "asOf": "2024-04-05T00:00:00Z", "output": folder}
            source = Source(given)
            table = pyarrow.table({"id": [1, 2, 3]})
            for rows in (table, iter(table.to_batches(1)), pyarrow.RecordBatchReader.from_batches(table.schema, table.to_batches(2))):
                self.assertEqual(pyarrow.parquet.read_table(source.write(rows)), table)
            with self.assertRaisesRegex(ValueError, "their columns are unknown"):
                source.write(iter([]))


class PlainJob(Job):
    """Has rows of its own and gives lists, so that it needs neither NumPy nor pyarrow."""

    def _read(self) -> dict[str, Any]:
        self._categories = {"colour": ["red", "white"]}
        return {"size": [1.0, 2.5, 9.0], "colour": ["red", None, "white"], "_label": [0.0, 1.0, 1.0]}

    def frame(self, rows: Any) -> Any:
        return rows


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        kept = tempfile.TemporaryDirectory()
        self.addCleanup(kept.cleanup)
        self.folder = Path(kept.name)


class Checkpoints(Folder):
    def test_resumes_from_the_newest_whole_checkpoint(self) -> None:
        out = io.StringIO()
        job = PlainJob(given_job(self.folder), out)
        self.assertIsNone(job.resume())
        for epoch in (1, 2, 3):
            job.progress(epoch, 5, 1 / epoch)
            job.checkpoint(epoch, f"state {epoch}\n".encode() * 100)
        self.assertEqual(len(list(job.checkpoints.iterdir())), 2)
        newest = sorted(job.checkpoints.iterdir())[-1]
        newest.write_bytes(newest.read_bytes()[:-1])
        resumed = PlainJob(given_job(self.folder), io.StringIO())
        found = resumed.resume()
        assert found is not None
        self.assertEqual((found.epoch, found.data), (2, b"state 2\n" * 100))
        self.assertEqual([each["epoch"] for each in resumed.curve], [1, 2])

    def test_skips_files_that_are_no_checkpoint(self) -> None:
        (self.folder / "0000000009.checkpoint").write_text("{}")
        (self.folder / "0000000008.checkpoint").write_bytes(b"\x00\xff")
        self.assertIsNone(newest_checkpoint(self.folder))
        write_checkpoint(self.folder, 3, b"", [])
        found = newest_checkpoint(self.folder)
        self.assertEqual(found and found.epoch, 3)


class Progress(Folder):
    def test_writes_a_line_of_json_for_each_epoch(self) -> None:
        out = io.StringIO()
        job = PlainJob(given_job(self.folder), out)
        job.progress(1, 2, 0.5, {"auc": 0.75, "odd": float("nan")}, note="one")
        job.progress(2, 2, float("nan"))
        self.assertEqual(
            [json.loads(line) for line in out.getvalue().splitlines()],
            [
                {"epoch": 1, "epochs": 2, "loss": 0.5, "metrics": {"auc": 0.75}, "note": "one"},
                {"epoch": 2, "epochs": 2},
            ],
        )


class Results(Folder):
    def result(self, job: Job, name: str) -> Any:
        return json.loads((job.output / name).read_text())

    def test_reports_the_parts_of_a_traced_training(self) -> None:
        for traceparent in ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", None):
            with tempfile.TemporaryDirectory() as name:
                out = io.StringIO()
                job = Job(given_job(Path(name), traceparent=traceparent), out)
                with self.assertRaises(KeyError), job.part("tune"):
                    raise KeyError("depth")
                job._loaded = 1.0
                with job.part("fit"):
                    pass
                job._end_fit()
                lines = [json.loads(line) for line in out.getvalue().splitlines()]
                self.assertEqual(job.traceparent, traceparent)
                self.assertEqual([line["part"] for line in lines], [] if traceparent is None else ["tune", "fit"])
                self.assertEqual([line.get("error") for line in lines], [] if traceparent is None else ["'depth'", None])
                self.assertTrue(all(line["startMs"] <= line["endMs"] for line in lines))

    def test_writes_columns_answers_curve_and_packages(self) -> None:
        job = PlainJob(given_job(self.folder), io.StringIO())
        job.progress(1, 1, 0.25)
        job.write_result(lambda rows: [0.5 for _ in rows], names=["colour", "size"], infinite=True)
        self.assertEqual(
            self.result(job, "columns.json"),
            [{"name": "colour", "vocabulary": ["red", "white"]}, {"name": "size"}],
        )
        replay = self.result(job, "replay.json")
        self.assertEqual(replay["columns"], ["size", "colour"])
        self.assertGreaterEqual(len(replay["rows"]), 200)
        self.assertEqual(len(replay["rows"]), len(replay["outputs"]))
        self.assertIn(["inf", "red"], replay["rows"])
        self.assertIn([1.0, None], replay["rows"])
        self.assertEqual(self.result(job, "curve.json"), [{"epoch": 1, "epochs": 1, "loss": 0.25}])
        self.assertIn("python", self.result(job, "environment.json"))

    def test_lists_the_columns_that_the_model_takes_alone(self) -> None:
        job = PlainJob(given_job(self.folder), io.StringIO())
        job.write_result(lambda rows: [0.5 for _ in rows], names=["colour"])
        self.assertEqual(self.result(job, "columns.json"), [{"name": "colour", "vocabulary": ["red", "white"]}])
        job.write_result(lambda rows: [0.5 for _ in rows], names=["Column_0", "Column_1"])
        self.assertEqual([each["name"] for each in self.result(job, "columns.json")], ["size", "colour"])

    def test_refuses_a_model_that_takes_columns_that_requests_do_not_hold(self) -> None:
        job = PlainJob(given_job(self.folder), io.StringIO())
        with self.assertRaisesRegex(ValueError, "the model takes ratio, which the model file does not have as features"):
            job.write_result(lambda rows: [0.5 for _ in rows], names=["size", "colour", "ratio"])

    @unittest.skipUnless(has("pandas"), "no pandas")
    def test_gives_a_model_the_columns_that_it_takes_in_its_order(self) -> None:
        job = Job(given_job(self.folder), io.StringIO())
        job._categories, job._rows = {"colour": ["red", "white"]}, {}
        rows = job.frame([[1.5, "white"], [2.5, None], [None, "red"]])
        self.assertEqual(list(job._taken(rows, ["colour", "size"]).columns), ["colour", "size"])
        self.assertEqual(list(job._taken(rows, ["colour"]).columns), ["colour"])
        self.assertEqual(list(job._taken(rows, ["Column_0"]).columns), ["size", "colour"])
        codes = job._taken(rows, ["colour"], codes=True)["colour"]
        self.assertEqual([codes[0], codes[2]], [1.0, 0.0])
        self.assertNotEqual(codes[1], codes[1])

    @unittest.skipUnless(has("pandas"), "no pandas")
    def test_takes_numbers_outside_the_limits_of_a_column_for_missing(self) -> None:
        columns = given_job(self.folder)["columns"]
        columns[0] = {**columns[0], "missingBelow": 0, "missingAbove": 3.5}
        job = Job(given_job(self.folder, columns=columns), io.StringIO())
        job._categories, job._rows = {"colour": ["red", "white"]}, {}
        sizes = job.frame([[size, "red"] for size in (-0.1, 0, 3.5, 3.6, None)])["size"].tolist()
        self.assertEqual(sizes[1:3], [0, 3.5])
        self.assertTrue(all(size != size for size in (sizes[0], sizes[3], sizes[4])))

    @unittest.skipUnless(has("pandas"), "no pandas")
    def test_gives_a_model_of_catboost_the_codes_of_the_categories_that_it_takes_as_numbers(self) -> None:
        class Coded:
            feature_names_ = ["colour", "size"]

            tree_count_ = 5

            def get_cat_feature_indices(self) -> list[int]:
                return []

            get_text_feature_indices = get_cat_feature_indices

            def save_model(self, path: str, format: str) -> None:
                Path(path).write_text("{}")

            def predict(self, frame: Any, prediction_type: str) -> Any:
                self.given = frame["colour"].tolist()
                assert prediction_type == "Probability"
                return [[0.5, 0.5] for _ in self.given]

        class FrameJob(PlainJob):
            frame = Job.frame

        coded = Coded()
        FrameJob(given_job(self.folder), io.StringIO()).save_catboost(coded)
        self.assertEqual(self.result(Job(given_job(self.folder), io.StringIO()), "rounds.json"), 5)
        self.assertEqual([coded.given[0], coded.given[2]], [0, 1])
        self.assertTrue(math.isnan(coded.given[1]))

    @unittest.skipUnless(has("catboost") and has("cloudpickle"), "no catboost or cloudpickle")
    def test_serves_a_model_of_catboost_with_categories_as_an_object_that_gets_their_texts(self) -> None:
        import catboost
        import numpy

        job = Job(given_job(self.folder), io.StringIO())
        texts = ["red", "white", None] * 100
        job._categories = {"colour": ["red", "white"]}
        job._rows = {"size": numpy.arange(300.0) % 7, "colour": numpy.array(texts, dtype=object), "_label": numpy.arange(300.0) % 3 == 1}
        X, y = job.train()[0][["colour", "size"]], job._rows["_label"]
        X["colour"] = X["colour"].astype(object).where(X["colour"].notna(), "")
        model = catboost.CatBoostClassifier(iterations=5, cat_features=["colour"], verbose=0, allow_writing_files=False).fit(X, y)
        job.save_catboost(model)
        (file,) = job.output.glob("model.*")
        self.assertEqual(file.name, "model.python")
        served = open_file(file.read_bytes())
        asked = job.frame([[3.0, "red"], [3.0, None], [None, "white"], [5.0, "white"]])
        wanted = model.predict_proba([["red", 3.0], ["", 3.0], ["white", math.nan], ["white", 5.0]])
        self.assertLess(abs(served.answer(asked) - wanted).max(), 1e-9)
        self.assertEqual([each["isText"] for each in served.columns], [False, True])
        self.assertEqual(self.result(job, "rounds.json"), 5)

    @unittest.skipUnless(has("pandas"), "no pandas")
    def test_gives_a_model_of_lightgbm_the_columns_of_its_training_and_no_infinite_value_to_linear_leaves(self) -> None:
        class Boosting:
            def __init__(self, lists: Any, text: str) -> None:
                self.pandas_categorical, self.text = lists, text

            best_iteration, current_iteration = 0, lambda self: 3

            def feature_name(self) -> list[str]:
                return ["size", "colour"]

            def save_model(self, path: str) -> None:
                Path(path).write_text(self.text)

            def predict(self, frame: Any) -> Any:
                self.kind, self.sizes = frame["colour"].dtype.kind, frame["size"].tolist()
                return [0.5 for _ in self.sizes]

        class FrameJob(PlainJob):
            frame = Job.frame

        for lists, text, kind, infinite in (
            ([["red", "white"]], "tree\nis_linear=0\n", "O", True),
            (None, "tree\nis_linear=1\n", "f", False),
        ):
            model = Boosting(lists, text)
            model_job = FrameJob(given_job(self.folder), io.StringIO())
            model_job.save_lightgbm(model)
            self.assertEqual((model.kind, math.inf in model.sizes), (kind, infinite))
            self.assertEqual(self.result(model_job, "rounds.json"), 3)
            model.best_iteration = 2
            model_job.save_lightgbm(model)
            self.assertEqual(self.result(model_job, "rounds.json"), 2)

    def test_joins_models_of_lightgbm_for_each_level_into_one_of_several_outputs(self) -> None:
        given = json.loads((Path(__file__).parent / "joined_lightgbm.json").read_text(encoding="utf-8"))
        models = given["models"]
        self.assertEqual(joined_text(models), given["joined"])
        other = models[1].replace("feature_names=a c", "feature_names=a b")
        for wrong, sentence in (
            ([models[0], other], "differ in their columns"),
            ([models[0], models[1].replace("objective=quantile", "objective=poisson")], "objective poisson"),
            ([given["joined"]], "of one number"),
            # Their means are over two and over three trees.
            ([each.replace("label_index", "average_output\nlabel_index") for each in models], "trees that they average"),
        ):
            with self.assertRaisesRegex(ValueError, sentence):
                joined_text(wrong)

    def test_refuses_an_estimator_without_probabilities(self) -> None:
        class RidgeClassifier:
            classes_ = ("no", "yes")

        with self.assertRaisesRegex(ValueError, "RidgeClassifier has no predict_proba, and its predict gives labels"):
            PlainJob(given_job(self.folder), io.StringIO()).save_onnx(RidgeClassifier())

    def test_refuses_an_object_that_does_not_predict(self) -> None:
        class Summary:
            pass

        with self.assertRaisesRegex(ValueError, r"Summary has no predict: .* save\(model, answer="):
            PlainJob(given_job(self.folder), io.StringIO()).save(Summary())

    def test_refuses_a_folder_without_a_model(self) -> None:
        with self.assertRaisesRegex(ValueError, "has neither MLmodel of MLflow nor serve.py"):
            PlainJob(given_job(self.folder), io.StringIO()).save(self.folder)
        (self.folder / "MLmodel").write_text("{}")
        with mock.patch.dict(sys.modules, {"mlflow": None}), self.assertRaisesRegex(ValueError, "add mlflow or mlflow-skinny"):
            PlainJob(given_job(self.folder), io.StringIO()).save(str(self.folder))

    def test_saves_a_folder_with_the_class_that_answers_with_its_files(self) -> None:
        folder = self.folder / "served"
        (folder / "words").mkdir(parents=True)
        (folder / "words" / "height.txt").write_text("0.25")
        (folder / "beside.py").write_text("name = 'height.txt'")
        code = "from pathlib import Path\nimport beside\nclass Served:\n    def load(self, folder):\n        self.height = float((Path(folder) / 'words' / beside.name).read_text())\n"
        (folder / "serve.py").write_text(code + "    def predict(self, frame):\n        return [self.height for _ in frame]\n")
        job = PlainJob(given_job(self.folder), io.StringIO())
        with self.assertRaisesRegex(ValueError, "the code of the folder answers alone"):
            job.save(folder, answer=len)
        job.save(folder)
        self.assertEqual(self.result(job, "replay.json")["outputs"][0], [0.25])
        self.assertEqual(pack_folder(folder), pack_folder(folder))
        self.assertNotIn(b"__pycache__", pack_folder(folder))

    def test_saves_the_file_of_the_model_file_with_a_folder_or_an_object(self) -> None:
        folder, serve = self.folder / "weights", self.folder / "answer.py"
        folder.mkdir()
        (folder / "height.txt").write_text("0.25")
        serve.write_text(
            "from pathlib import Path\ndef load(folder):\n    global files\n    files = {file.name: file.read_bytes() for file in Path(folder).iterdir()}\n"
            "def predict(frame):\n    return [float(files.get('height.txt', 0.5)) for _ in frame]\n"
        )
        job = PlainJob(given_job(self.folder, serve=str(serve)), io.StringIO())
        with self.assertRaisesRegex(ValueError, "save_onnx stores no answer.py, which answers by serve of the model file"):
            job.save_onnx(b"")
        with self.assertRaisesRegex(ValueError, "the code of the folder answers alone"):
            job.save(folder, answer=len)
        with self.assertRaisesRegex(ValueError, "none is no folder: give save a folder"):
            job.save(self.folder / "none")
        job.save(folder)
        self.assertEqual(self.result(job, "replay.json")["outputs"][0], [0.25])
        self.assertIn(b'"library": "answer.py"', (job.output / "model.python").read_bytes())
        (folder / "serve.py").write_text("")
        with self.assertRaisesRegex(ValueError, "weights has another serve.py than answer.py of the model file"):
            job.save(folder)
        with mock.patch("tenure._job._pickled", lambda model: repr(model).encode()):
            job.save({"of": "an object"})
        self.assertEqual(self.result(job, "replay.json")["outputs"][0], [0.5])
        self.assertIn(b"{'of': 'an object'}", (job.output / "model.python").read_bytes())

    def test_refuses_an_object_without_the_package_that_stores_it(self) -> None:
        job = PlainJob(given_job(self.folder), io.StringIO())
        with mock.patch.dict(sys.modules, {"cloudpickle": None}), self.assertRaisesRegex(ValueError, "add cloudpickle to the requirements"):
            job.save(None, answer=len)

    def test_says_why_a_pipeline_cannot_be_converted_in_a_few_lines(self) -> None:
        self.assertEqual(first_lines(ValueError("no converter\n" + "[0.1, 0.2]\n" * 100)).count("\n"), 4)
        self.assertEqual(len(first_lines(ValueError("x" * 9_000))), 300)

    def test_writes_one_answer_for_each_quantile(self) -> None:
        label = {"column": "_label", "kind": "quantiles", "levels": [0.1, 0.5, 0.9]}
        job = PlainJob(given_job(self.folder, label=label), io.StringIO())
        self.assertEqual(job.levels, [0.1, 0.5, 0.9])
        job.write_result(lambda rows: [[1.0, 2.0, 3.0] for _ in rows])
        self.assertEqual(self.result(job, "replay.json")["outputs"][0], [1.0, 2.0, 3.0])
        with self.assertRaisesRegex(ValueError, "with 1 numbers each, expected .* with 3"):
            job.write_result(lambda rows: [1.0 for _ in rows])

    def test_trains_on_several_numbers_and_writes_one_answer_for_each(self) -> None:
        label = {"column": "_label", "columns": ["_label", "_label_2"], "kind": "numbers", "names": ["departure", "arrival"]}
        job = PlainJob(given_job(self.folder, label=label), io.StringIO())
        self.assertEqual((job.kind, job.names), ("numbers", ["departure", "arrival"]))
        if has("numpy"):
            import numpy

            truths = job._labels({"_label": numpy.array([1.0, 2.0]), "_label_2": numpy.array([3.0, 4.0])})
            self.assertEqual(truths.tolist(), [[1.0, 3.0], [2.0, 4.0]])
        job.write_result(lambda rows: [[1.0, 2.0] for _ in rows])
        self.assertEqual(self.result(job, "replay.json")["outputs"][0], [1.0, 2.0])
        with self.assertRaisesRegex(ValueError, "with 1 numbers each, expected .* with 2"):
            job.write_result(lambda rows: [1.0 for _ in rows])

    def test_takes_the_second_of_two_probabilities(self) -> None:
        job = PlainJob(given_job(self.folder), io.StringIO())
        job.write_result(lambda rows: [[0.75, 0.25] for _ in rows])
        self.assertEqual(self.result(job, "replay.json")["outputs"][0], [0.25])

    def test_refuses_answers_of_another_form(self) -> None:
        job = PlainJob(given_job(self.folder), io.StringIO())
        with self.assertRaisesRegex(ValueError, "with 3 numbers each, expected"):
            job.write_result(lambda rows: [[0.1, 0.2, 0.7] for _ in rows])
        with self.assertRaisesRegex(ValueError, "not finite"):
            job.write_result(lambda rows: [float("nan") for _ in rows])

    def test_names_the_classes_that_a_model_cannot_have_learnt(self) -> None:
        label = {"column": "_label", "kind": "classes", "classes": ["0.0", "1.0", "rare"]}
        job = PlainJob(given_job(self.folder, label=label), io.StringIO())
        with self.assertRaisesRegex(ValueError, "with 3, .*; no training row has the class 'rare'$"):
            job.write_result(lambda rows: [[0.1, 0.9] for _ in rows])

    @unittest.skipUnless(has("onnxruntime"), "no onnxruntime")
    def test_compares_a_pipeline_of_many_columns_at_fewer_rows(self) -> None:
        import numpy

        names = [f"x{place}" for place in range(800)]
        label = {"column": "_label", "kind": "number"}
        job = Job(given_job(self.folder, columns=[{"name": name, "kind": "number"} for name in names], label=label), io.StringIO())
        job._rows = {name: numpy.arange(6_000.0) for name in names}
        compared: list[int] = []
        job._rows_at = lambda places: compared.append(len(places)) or [[0.0] * 800]  # type: ignore[method-assign, func-returns-value]
        job._compare(lambda rows: [0.0 for _ in range(len(rows))])
        self.assertEqual(compared, [5_000])

    @unittest.skipUnless(has("numpy"), "no numpy")
    def test_takes_a_conversion_only_as_near_as_tenure_does(self) -> None:
        import numpy

        job = Job(given_job(self.folder, columns=[{"name": "size", "kind": "number"}]), io.StringIO())
        job._rows = {"size": numpy.arange(300.0)}
        compare = job._compare(lambda rows: [0.9] * len(rows))
        # A version is refused above 1e-5, relative only to answers above 1.
        for error in (0.9e-5, 1.5e-5):
            job._runtime = lambda _: lambda rows: [0.9 + error] * len(rows)  # type: ignore[method-assign]
            if error < 1e-5:
                compare(b"")
            else:
                with self.assertRaisesRegex(ValueError, "are answered otherwise"):
                    compare(b"")

    def test_tells_a_refit_the_rounds_of_the_judged_model_and_has_no_validation_rows(self) -> None:
        job = Job(given_job(self.folder, bestRound=37), io.StringIO())
        self.assertEqual((job.best_round, job.validation()), (37, None))
        self.assertIsNone(Job(given_job(self.folder), io.StringIO()).best_round)

    def test_refuses_a_job_of_another_contract(self) -> None:
        with self.assertRaisesRegex(ValueError, "contract 2"):
            PlainJob(given_job(self.folder, contract=2), io.StringIO())


class Folders(Folder):
    """The models of folders, without the libraries that usually write them."""

    def answer(self, model: Any, task: Task = Task(positive="yes")) -> Any:
        (self.folder / "model.pkl").write_bytes(pickle.dumps(model))
        with mock.patch.dict(sys.modules, {"joblib": None}):
            return answer_of_folder(self.folder, task)

    def test_asks_a_pickle_for_numbers_and_a_classifier_for_probabilities(self) -> None:
        self.assertEqual(self.answer(Classifier(["no", "yes"]))([1]), "probabilities")
        self.assertEqual(self.answer(Classifier(["no", "yes"]), Task(numbers=True))([1]), "labels")
        self.assertEqual(self.answer(Coded())([1]), "labels")
        self.assertEqual(self.answer(len)([1, 2]), 2)

    def test_puts_classes_in_the_order_of_the_model_file(self) -> None:
        three, bloom = Task(names=["c", "a", "b"]), Task(positive="bloom")
        places = [
            (["a", "b", "c"], three, [2, 0, 1]),
            (["c", "a", "b"], three, None),
            ([0, 1, 2], three, None),
            ([0.0, 1.0, 2.0], three, None),
            ([False, True], bloom, None),
            (["No", "Yes"], bloom, None),
            (["No", "Yes"], Task(positive="no"), [1, 0]),
            (["no", "yes"], Task(positive="no"), [1, 0]),
            ([False, True], Task(positive="false"), [1, 0]),
            ([0, 1, 2], Task(names=["2", "1", "0"]), [2, 1, 0]),
            ([-1, 1], bloom, None),
            (["bloom", "wither"], bloom, [1, 0]),
            (["bare", "bloom"], bloom, None),
            ([], three, None),
        ]
        for classes, task, expected in places:
            with self.subTest(classes):
                self.assertEqual(class_places(Classifier(classes), task), expected)
        refused = [
            (["a", "b", "c"], Task(names=["x", "y", "z"]), "the model knows the classes a, b, c; those of the model file are x, y, z"),
            ([1, 2, 3], three, "knows the classes 1, 2, 3; those of the model file are c, a, b"),
            (["a", "b"], three, "knows the classes a, b;"),
            ([1, 2], bloom, "knows the classes 1, 2, and the positive one of the model file is bloom: train it with bloom"),
            (["A", "B"], bloom, "knows the classes A, B,"),
            (["bloom"], bloom, "knows the classes bloom,"),
            ([["a", "b"], ["c", "d"]], bloom, "predicts 2 labels at once"),
        ]
        for classes, task, says in refused:
            with self.subTest(classes), self.assertRaisesRegex(ValueError, says):
                self.answer(Classifier(classes), task)

    @unittest.skipUnless(has("numpy"), "no numpy")
    def test_gives_the_probability_of_the_positive_class_that_is_sorted_first(self) -> None:
        import numpy

        with mock.patch.object(Classifier, "predict_proba", lambda self, X: numpy.array([[0.75, 0.25]])):
            found = self.answer(Classifier(["bloom", "wither"]), Task(positive="bloom"))([1])
        self.assertEqual(numbers_of(found, 1, 1).tolist(), [[0.75]])

    @unittest.skipUnless(has("numpy"), "no numpy")
    def test_takes_one_answer_a_row_in_any_form_and_refuses_every_other(self) -> None:
        import numpy

        taken = [[1, 2], [[1.0], [2.0]], numpy.array([1, 2], dtype="float32"), numpy.array([True, False]), [numpy.float64(1), 2], numpy.ma.array([1, 2])]
        for given in taken:
            with self.subTest(given):
                self.assertEqual(numbers_of(given, 2, 1).shape, (2, 1))
        self.assertEqual(numbers_of([[0.75, 0.25], [0.5, 0.5]], 2, 1).tolist(), [[0.25], [0.5]])
        refused = [
            (None, 1, "a value of the type NoneType"),
            (1.0, 1, "of the type float"),
            ({"prediction": [1, 2]}, 1, "of the type dict"),
            ((each for each in [1, 2]), 1, "of the type generator"),
            ([1], 1, "gives 1 answers for 2 rows"),
            # As many numbers as answers, in another shape.
            ([1, 2, 3, 4], 2, "gives 4 answers for 2 rows"),
            (numpy.ones((3, 2)), 3, "gives 3 answers for 2 rows"),
            ([[50.0, 2.5], [40.0, 3.5]], 1, r"answers a row with \[50.0, 2.5\], which do not sum to 1"),
            ([[1, 2, 3], [1, 2, 3]], 2, "answers 3 numbers for a row, expected 2"),
            (["yes", "no"], 1, "answers yes, expected numbers: the probabilities, and no labels"),
            (numpy.array(["0.5", "0.5"]), 1, "expected numbers"),
            (numpy.array(["2026-01-01"] * 2, dtype="datetime64[D]"), 1, "expected numbers"),
            ([1j, 1], 1, "expected numbers"),
        ]
        for given, outputs, says in refused:
            with self.subTest(says), self.assertRaisesRegex(ValueError, says):
                numbers_of(given, 2, outputs)

    @unittest.skipUnless(has("pandas"), "no pandas")
    def test_puts_a_data_frame_in_the_order_of_rows_and_outputs(self) -> None:
        import pandas

        task = Task(names=["small", "large"])
        frame = pandas.DataFrame({"large": [1, 2], "small": [3, 4]})
        self.assertEqual(put_in_order(frame, 2, task).to_numpy().tolist(), [[3, 1], [4, 2]])
        self.assertEqual(put_in_order(frame, 2, Task(positive="large")).tolist(), [1, 2])
        self.assertEqual(put_in_order(frame.iloc[::-1], 2, task).to_numpy().tolist(), [[3, 1], [4, 2]])
        self.assertEqual(put_in_order(pandas.Series([1, 2], index=[7, 8]), 2, task).tolist(), [1, 2])

    @unittest.skipUnless(has("pandas"), "no pandas")
    def test_gives_an_object_the_columns_that_it_was_fitted_with(self) -> None:
        import pandas

        frame = pandas.DataFrame({"size": [1.0], "age": [2.0]})
        names = {"lightgbm.basic": "feature_name_", "xgboost.core": "feature_names", "catboost.core": "feature_names_", "sklearn.base": "feature_names_in_"}
        for kind in (*names, "statsmodels.regression"):
            with self.subTest(kind):
                model = type("Asked", (), {"__module__": kind})()
                if kind in names:
                    setattr(model, names[kind], ["age", "size"])
                else:
                    model.model = mock.Mock(spec=["exog_names"], exog_names=["age", "size"])
                self.assertEqual(Asked(lambda X: list(X.columns), model)(frame), ["age", "size"])
        model.model.exog_names = ["x1", "x2"]
        self.assertEqual(Asked(lambda X: list(X.columns), model)(frame), ["size", "age"])
        model.model.exog_names = ["const", "age"]
        with self.assertRaisesRegex(ValueError, r"Asked does not answer rows with the columns age: it was fitted with const too, which .* It says: ZeroDivisionError"):
            Asked(lambda X: 1 / 0, model)(frame)
        with self.assertRaisesRegex(ValueError, r"with the columns size, age: if it takes other columns, or another order, list them"):
            Asked(lambda X: 1 / 0, len)(frame)

    @unittest.skipUnless(has("pandas"), "no pandas")
    def test_gives_a_category_as_the_value_that_the_object_was_fitted_with(self) -> None:
        import pandas

        def made(module: str, **fields: Any) -> Any:
            each = type("Made", (), {"__module__": module})()
            vars(each).update(fields)
            return each

        frame = pandas.DataFrame({"member": ["true", "false", float("nan")], "rooms": ["3", "2.5", "other"]}, dtype=object)
        encoder = made("sklearn.preprocessing", feature_names_in_=["member", "rooms"], categories_=[[False, True], [2.5, 3.0]])
        pipeline = made("sklearn.pipeline", steps=[("encode", made("sklearn.compose", transformers_=[("one", encoder, ["member"])]))])
        found = Asked(lambda X: X, pipeline)(frame)
        self.assertEqual(found["member"].tolist()[:2], [True, False])
        self.assertEqual(found["rooms"].tolist(), [3.0, 2.5, "other"])
        encoder.categories_ = [["false", "true"], ["3"]]
        self.assertEqual(Asked(lambda X: X, pipeline)(frame)["rooms"].tolist(), ["3", "2.5", "other"])
        booster = made("lightgbm.basic", pandas_categorical=[[False, True], [3, 4]])
        found = Asked(lambda X: X, booster)(frame)
        self.assertEqual(found["member"].cat.codes.tolist(), [1, 0, -1])
        self.assertEqual(found["rooms"].cat.categories.tolist(), [3, 4])
        with self.assertRaisesRegex(ValueError, "list the vocabulary of member, rooms in columns.json"):
            Asked(lambda X: X, made("xgboost.core"))(frame)

    @unittest.skipUnless(has("pandas"), "no pandas")
    def test_gives_a_vectorizer_its_column_alone(self) -> None:
        import pandas

        vectorizer = type("Words", (), {"build_analyzer": len})()
        search = mock.Mock(spec=["best_estimator_"], best_estimator_=mock.Mock(spec=["steps"], steps=[("words", vectorizer)]))
        frame = pandas.DataFrame({"note": ["a b", "c"]}, dtype=object)
        self.assertEqual(Asked(list, search)(frame), ["a b", "c"])
        with self.assertRaisesRegex(ValueError, "Words takes one column of texts"):
            Asked(list, search)(frame.assign(other="d"))

    @unittest.skipUnless(has("numpy"), "no numpy")
    def test_refuses_labels_in_place_of_probabilities(self) -> None:
        import numpy

        with mock.patch.object(Coded, "predict", lambda self, X: numpy.array([0, 1])):
            with self.assertRaisesRegex(ValueError, "its predict gives labels in place of probabilities"):
                self.answer(Coded())([1, 2])
            self.assertEqual(self.answer(Coded(), Task(numbers=True))([1, 2]).tolist(), [0, 1])

    def test_refuses_what_cannot_answer(self) -> None:
        with self.assertRaisesRegex(ValueError, "Labels has no predict_proba, and its predict gives labels"):
            self.answer(Labels())
        with self.assertRaisesRegex(ValueError, "dict has no predict: bring a serve.py"):
            self.answer({})
        (self.folder / "other.joblib").write_bytes(b"")
        with self.assertRaisesRegex(ValueError, "neither serve.py nor MLmodel, and 2 pickles"):
            self.answer(len)
        (self.folder / "serve.py").write_text("class Served:\n    pass\n")
        with self.assertRaisesRegex(ValueError, "serve.py has 0 classes with load.* or functions of these names"):
            self.answer(len)

    def test_refuses_a_pickle_of_another_minor_version_of_its_library_unless_it_is_allowed(self) -> None:
        folder = self.folder / "old"
        folder.mkdir()
        with mock.patch("importlib.metadata.version", lambda name: "1.9.1"):
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                (folder / "model.pkl").write_bytes(pickle.dumps({"_sklearn_version": "1.5.2"}, protocol))
                with self.assertRaisesRegex(ValueError, r"model.pkl was written by scikit-learn 1.5.2, and 1.9.1 is installed.*--allow-other-versions"):
                    open_folder(pack_folder(folder), Task(), allows_other_versions=False)
                # One that fails says the versions, too.
                with self.assertRaisesRegex(ValueError, "dict has no predict.*; model.pkl was written by scikit-learn 1.5.2"):
                    open_folder(pack_folder(folder), Task())
            (folder / "model.pkl").write_bytes(gzip.compress(pickle.dumps({"_sklearn_version": "1.5.2"})))
            self.assertIn("scikit-learn 1.5.2", other_versions(folder))
            (folder / "model.pkl").write_bytes(pickle.dumps({"_sklearn_version": "1.9.0"}))
            self.assertEqual(other_versions(folder), "")

    def test_keeps_what_libraries_warn_of_each_once_and_not_what_is_for_authors(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            with mock.patch.object(warnings, "showwarning", lambda *_arguments, **_named: None):
                kept = keep_warnings()
                for category in (UserWarning, UserWarning, DeprecationWarning):
                    warnings.warn("the model\nis old", category)
        self.assertEqual(kept, ["UserWarning: the model is old"])

    def test_warns_of_an_object_without_names_of_columns_whose_order_nobody_has_given(self) -> None:
        head: dict[str, Any] = {"columns": [{"name": "size"}, {"name": "colour"}], "outputs": 1, "frames": False, "isFolder": True, "isOrdered": False}
        named = Classifier(["no", "yes"])
        named.feature_names_in_ = ["colour", "size"]
        for model, changes, count in ((Coded(), {}, 1), (Coded(), {"isOrdered": True}, 0), (Coded(), {"columns": [{"name": "size"}]}, 0), (named, {}, 0)):
            folder = self.folder / "model"
            folder.mkdir(exist_ok=True)
            (folder / "model.pkl").write_bytes(pickle.dumps(model))
            file = b"TENURE-PYTHON 1\n" + json.dumps({**head, **changes}).encode() + b"\n" + pack_folder(folder)
            with warnings.catch_warnings(record=True) as told, mock.patch.dict(sys.modules, {"joblib": None}):
                warnings.simplefilter("always")
                open_file(file)
            self.assertEqual(["keeps no names of its columns" in str(each.message) for each in told], [True] * count)

    def test_unpacks_plain_files_of_the_folder_alone(self) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.addfile(tarfile.TarInfo("../beside"))
        with self.assertRaisesRegex(ValueError, "../beside is no plain file of the folder"):
            open_folder(packed.getvalue(), Task())


class Coded:
    def predict(self, X: Any) -> str:
        return "labels"


class Labels(Coded):
    classes_ = ("no", "yes")


class Classifier(Coded):
    feature_names_in_: list[str]

    def __init__(self, classes: list[Any]) -> None:
        self.classes_ = classes

    def predict_proba(self, X: Any) -> Any:
        return "probabilities"


@unittest.skipUnless(has("pandas") and has("cloudpickle"), "no pandas or no cloudpickle")
class Prepare(Folder):
    def job(self, prepare: Any) -> Job:
        import numpy

        class FrameJob(Job):
            def _read(self) -> dict[str, Any]:
                self._categories = {"colour": ["red", "white"]}
                sizes, colours = [1.0, 2.5, 9.0], ["red", None, "white"]
                return {"size": numpy.array(sizes), "colour": numpy.array(colours, dtype=object), "_label": numpy.array([0.0, 1.0, 1.0])}

        made = FrameJob(given_job(self.folder), io.StringIO())
        made._prepare = prepare
        return made

    def test_prepares_the_training_rows_and_those_that_the_stored_object_answers(self) -> None:
        job = self.job(lambda X: X.assign(half=X["size"] / 2, known=X["colour"].notna()))
        X, _ = job.train()
        self.assertEqual(X["half"].tolist(), [0.5, 1.25, 4.5])
        job.save(None, answer=lambda X: X["half"] / 10)
        served = open_file((job.output / "model.python").read_bytes())
        self.assertAlmostEqual(served.answer(job.frame([[7.0, None]])).iloc[0], 0.35)
        self.assertAlmostEqual(json.loads((job.output / "replay.json").read_text())["outputs"][0][0], 0.05)

    def test_refuses_a_prepare_that_gives_other_rows_or_reads_them(self) -> None:
        for prepare, sentence in (
            (lambda X: X[X["size"] > 1], "drops, adds or reorders rows"),
            (lambda X: X.sort_values("size", ascending=False), "drops, adds or reorders rows"),
            (lambda X: X["size"].tolist(), "gives no data frame"),
            (lambda X: X.assign(centred=X["size"] - X["size"].mean()), "reads other rows: it gives another centred for a row alone"),
            (lambda X: X.sort_values("size", ascending=False).reset_index(drop=True), "reads other rows: it gives another size"),
            (lambda X: X.assign(**{f"of {value}": 1 for value in X["colour"].dropna().unique()}), "reads other rows: it gives another of white"),
        ):
            with self.subTest(sentence), self.assertRaisesRegex(ValueError, sentence):
                self.job(prepare).save(None, answer=lambda X: [0.5] * len(X))
        with self.assertRaisesRegex(ValueError, "drops, adds or reorders rows"):
            self.job(lambda X: X.head(1)).train()

    def test_names_the_value_by_which_a_row_fails_that_no_training_row_has(self) -> None:
        def strict(X: Any) -> Any:
            import numpy

            if not numpy.isfinite(X.select_dtypes("number").to_numpy()).all():
                raise ValueError("Input X contains infinity")
            return [0.5] * len(X)

        def unless_zero(X: Any) -> Any:
            if (X["size"] == 0).any():
                raise KeyError("zero")
            return X

        tried = "a value that Tenure tries because a request may send it"
        for prepare, answer, sentence in (
            (lambda X: X.assign(ratio=1 / X["size"]), strict, rf'^prepare gives inf in the column "ratio" for size = 0\.0, {tried}: guard'),
            (unless_zero, strict, rf"^prepare fails \(KeyError: 'zero'\) for size = 0\.0, {tried}"),
            (lambda X: X, lambda X: 1 / X["size"], rf"^the model fails \(ValueError: the model answers .* not finite\) for size = 0\.0, {tried}"),
        ):
            with self.subTest(sentence), self.assertRaisesRegex(ValueError, sentence):
                self.job(prepare).save(None, answer=answer)
        # A guarded division is saved.
        self.job(lambda X: X.assign(ratio=1 / X["size"].clip(lower=0.001))).save(None, answer=strict)

    def test_refuses_the_formats_that_store_no_function(self) -> None:
        for name in ("save_lightgbm", "save_xgboost", "save_catboost", "save_onnx"):
            with self.assertRaisesRegex(ValueError, rf"^{name} stores no function of Python, and prepare .* use job\.save\(model\)$"):
                getattr(self.job(lambda X: X), name)(None)


@unittest.skipUnless(has("pandas") and has("cloudpickle"), "no pandas or cloudpickle")
class Texts(Folder):
    def test_gives_texts_as_they_are_in_training_and_to_the_stored_object(self) -> None:
        import numpy

        class TextJob(Job):
            def _read(self) -> dict[str, Any]:
                notes = ["good", None, "bad day"]
                return {"note": numpy.array(notes, dtype=object), "_label": numpy.array([0.0, 1.0, 1.0])}

        job = TextJob(given_job(self.folder, columns=[{"name": "note", "kind": "text", "nullable": True}]), io.StringIO())
        seen: list[Any] = []

        def answer(X: Any) -> Any:
            texts = X["note"].tolist() if hasattr(X, "columns") else [row[0] for row in X]
            seen.extend(texts)
            return [min(1.0, len(text or "") / 10) for text in texts]

        X, _ = job.train()
        self.assertEqual([None if text != text else text for text in (X["note"].tolist() if hasattr(X, "columns") else X[:, 0])], ["good", None, "bad day"])
        job.save(None, answer=answer)
        served = open_file((job.output / "model.python").read_bytes())
        self.assertEqual(served.columns, [{"name": "note", "isText": True, "kind": "text", "categories": None}])
        self.assertEqual(json.loads((job.output / "columns.json").read_text()), [{"name": "note"}])
        replay = json.loads((job.output / "replay.json").read_text())
        self.assertIn([""], replay["rows"])
        self.assertIn([None], replay["rows"])
        self.assertAlmostEqual(replay["outputs"][replay["rows"].index(["bad day"])][0], 0.7)


    def test_gives_vectors_as_arrays_and_images_as_bytes(self) -> None:
        import base64

        import numpy

        class MediaJob(Job):
            def _read(self) -> dict[str, Any]:
                scans = [base64.b64encode(data).decode() for data in (b"one", b"three")]
                cells = {"scan": [*scans, None], "place": ["[1, 2.5]", "[0,1]", "[1,1]"]}
                found: dict[str, Any] = {name: numpy.array(values, dtype=object) for name, values in cells.items()}
                return {**found, "_label": numpy.array([0.0, 1.0, 1.0])}

        columns = [{"name": "scan", "kind": "image", "nullable": True}, {"name": "place", "kind": "vector"}]
        job = MediaJob(given_job(self.folder, columns=columns), io.StringIO())

        def answer(X: Any) -> Any:
            return numpy.stack(X["place"])[:, 1] / 10 + [len(data or b"") / 100 for data in X["scan"]]

        X, _ = job.train()
        self.assertEqual(X["scan"].tolist(), [b"one", b"three", None])
        job.save(None, answer=answer)
        replay = json.loads((job.output / "replay.json").read_text())
        self.assertEqual(replay["rows"][0], ["b25l", "[1, 2.5]"])
        self.assertAlmostEqual(replay["outputs"][0][0], 0.28)


    def test_names_the_package_that_decodes_the_images_of_a_graph(self) -> None:
        with mock.patch.dict(sys.modules, {"PIL": None}), self.assertRaisesRegex(ValueError, "add pillow to the requirements"):
            pixels([b""], [1, 2, 2])


class Replay(unittest.TestCase):
    def test_spreads_rows_over_all_and_repeats_few(self) -> None:
        self.assertEqual(spread(1_000, 4), [0, 250, 500, 750])
        self.assertEqual(spread(3, 5), [0, 1, 2, 0, 1])

    def test_has_no_odd_rows_without_rows(self) -> None:
        self.assertEqual(odd_rows([], [], {}, True), [])

    def test_changes_every_value_of_thousands_of_columns_in_a_bounded_number_of_cells(self) -> None:
        columns = [Column(f"x{place}", "number", None, True) for place in range(3_000)]
        rows = [[0.25 + place for place in range(3_000)], [0.75 + place for place in range(3_000)]]
        made = odd_rows(rows, columns, {}, True)
        self.assertLess(len(made) * len(columns), 1_100_000)
        for place in range(3_000):
            low, high = 0.25 + place, 0.75 + place
            wanted = {None, low, high, low - 1.0, high + 1.0, 0.0, (low + high) / 2, math.inf, -math.inf}
            self.assertEqual({row[place] for row in made}, wanted)

    def test_changes_one_value_in_a_row_of_few_columns(self) -> None:
        made = odd_rows([[1.0, "red"]], [Column("x", "number", None, False), Column("colour", "category", None, True)], {"colour": ["blue"]}, False)
        self.assertEqual({sum(cell != known for cell, known in zip(row, [1.0, "red"])) for row in made[:-1]}, {0, 1})

    def test_writes_what_json_lacks(self) -> None:
        cells = [cell_of(value) for value in (None, float("nan"), float("inf"), float("-inf"), 1.5, "inf")]
        self.assertEqual(cells, [None, None, "inf", "-inf", 1.5, "inf"])


class Scripts(Folder):
    def run_script(self, text: str) -> subprocess.CompletedProcess[str]:
        script = self.folder / "train.py"
        script.write_text("import tenure\njob = tenure.job()\n" + text)
        return subprocess.run(
            [sys.executable, str(script)],
            input=json.dumps(given_job(self.folder)),
            capture_output=True,
            text=True,
            env={"PYTHONPATH": str(SOURCE), "PATH": "/usr/bin:/bin"},
        )

    def test_keeps_what_libraries_print_out_of_progress(self) -> None:
        done = self.run_script("import os\nprint('hello')\nos.system('echo from C')\njob.progress(1, 1)\n")
        self.assertEqual((done.returncode, done.stdout), (0, '{"epoch": 1, "epochs": 1}\n'))
        self.assertIn("hello", done.stderr)
        self.assertIn("from C", done.stderr)

    def test_ends_with_2_for_its_own_fault_and_with_1_for_a_lack_of_memory_a_server_or_a_device(self) -> None:
        fault = self.run_script("raise KeyError('colour')\n")
        self.assertEqual(fault.returncode, 2)
        self.assertIn("KeyError: 'colour'", fault.stderr)
        for passing in (
            "raise MemoryError()",
            "raise OSError(28, 'No space left on device')",
            "import urllib.error; raise urllib.error.URLError('no route to host')",
            "import socket; raise socket.gaierror('Temporary failure in name resolution')",
        ):
            self.assertEqual(self.run_script(f"{passing}\n").returncode, 1, passing)
        for lasting in ("open('/no/such/file')", "open('/')", "raise PermissionError('of the user')"):
            self.assertEqual(self.run_script(f"{lasting}\n").returncode, 2, lasting)


@unittest.skipUnless(importlib.util.find_spec("pyarrow") and importlib.util.find_spec("numpy"), "needs pyarrow")
class Rows(Folder):
    def test_gives_the_training_rows_alone(self) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        table = pyarrow.table(
            {
                "size": [1, None, 3],
                "colour": ["red", "green", "white"],
                "_label": [1, 0, 1],
                "_part": ["train", "train", "test"],
            }
        )
        parquet.write_table(table, self.folder / "rows.parquet")
        X, y = Job(given_job(self.folder), io.StringIO()).train()
        values = X.to_numpy(dtype=object).tolist() if hasattr(X, "to_numpy") else X.tolist()
        self.assertEqual(len(values), 2)
        self.assertEqual(str(values[1]), "[nan, nan]")
        self.assertEqual(y.tolist(), [1, 0])

    def test_gives_the_validation_rows_and_the_weights_of_the_training_rows(self) -> None:
        import pyarrow
        import pyarrow.parquet as parquet

        table = pyarrow.table(
            {
                "size": [1, 2, 3, 4],
                "colour": ["red", "red", "white", "white"],
                "value": [2, 1, 1, 9],
                "_label": [1, 0, 0, 1],
                "_part": ["train", "train", "train", "validation"],
            }
        )
        parquet.write_table(table, self.folder / "rows.parquet")
        plain = Job(given_job(self.folder), io.StringIO())
        self.assertIsNone(plain.validation())
        self.assertIsNone(plain.weights())
        given = given_job(
            self.folder,
            part={"column": "_part", "train": "train", "validation": "validation"},
            weights={"column": "value", "classes": {"blooms": 3}},
        )
        job = Job(given, io.StringIO())
        _, y = job.validation()
        self.assertEqual(y.tolist(), [1])
        self.assertEqual(job.weights().tolist(), [2.25, 0.375, 0.375])


if __name__ == "__main__":
    unittest.main()
