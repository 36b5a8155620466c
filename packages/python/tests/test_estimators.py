"""
Tests over every combination of a framework, a task, labels, marks of missing values, types and orders of columns that a saved or brought estimator
is served with its own answers, or refused. Needs the packages of test/interop/mlflow-models.txt; those of CatBoost are among them where it is installed.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from typing import Any, Callable, Iterator, NamedTuple, Optional

# Threads that wait for each other take many times longer on a busy machine.
os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent))

from test_tenure import given_job  # noqa: E402

from tenure import Job  # noqa: E402
from tenure._folders import open_folder, pack_folder  # noqa: E402
from tenure._objects import Task  # noqa: E402
from tenure._rows import has  # noqa: E402
from tenure._serve import _MARK, Opened, _answer, check_values, open_file, rows_of  # noqa: E402

COUNT = 260
LABELS: dict[str, dict[str, Any]] = {
    "probability": {"positive": "churned"},
    "classes": {"classes": ["low", "mid", "high"]},
    "number": {},
}
#: Of a training frame. A date is a category of texts in a request.
TYPES = ["float64", "float32", "int64", "Int64", "bool", "boolean", "object", "category", "datetime64[ns]", "datetime64[ns, Europe/Berlin]"]
TIMES = TYPES[-2:]


class Outcome(NamedTuple):
    name: str
    #: "right", "wrong" or "refused".
    what: str
    why: str = ""


def labels_of(task: str, labels: str, score: Any) -> Any:
    """The labels that a script trains with: those of ``job.train()``, or the names or booleans that a person has."""
    import numpy

    if task == "number":
        return score
    if task == "classes":
        codes = numpy.digitize(score, [-0.5, 0.5])
        return codes if labels == "codes" else numpy.array(LABELS[task]["classes"])[codes]
    codes = (score > 0).astype("int64")
    return {"codes": codes, "names": numpy.where(codes == 1, "churned", "stayed"), "booleans": codes == 1}[labels]


def own_answers(model: Any, task: str, X: Any) -> Any:
    """The answers of an estimator in plain Python, in the order of the model file."""
    if task == "number":
        return model.predict(X).reshape(len(X), 1)
    order = [str(each).lower() for each in model.classes_]
    given = model.predict_proba(X)
    if task == "probability":
        return given[:, [order.index("churned") if "churned" in order else 1]]
    return given[:, [order.index(name) if name in order else place for place, name in enumerate(LABELS[task]["classes"])]]


def job_of(folder: Path, task: str, rows: Any, kinds: dict[str, str], nullable: bool = True) -> Job:
    import numpy

    columns = [{"name": name, "kind": kind, "nullable": nullable} for name, kind in kinds.items()]
    job = Job(given_job(folder, columns=columns, label={"column": "_label", "kind": task, **LABELS[task]}), io.StringIO())
    job._rows = {name: rows[name].to_numpy(dtype="float64" if kind == "number" else object) for name, kind in kinds.items()}
    job._rows["_label"] = numpy.array(LABELS[task].get("classes", [0.0]) * len(rows), dtype=object if task == "classes" else None)[: len(rows)]
    job._categories = {name: sorted(set(rows[name])) for name, kind in kinds.items() if kind != "number"}
    return job


def near(found: Any, known: Any) -> bool:
    import numpy

    return bool(numpy.shape(found) == numpy.shape(known) and (abs(found - known) <= 1e-5 * numpy.maximum(1, abs(known))).all())


def boosters() -> Iterator[Outcome]:
    """Saves the estimators of libraries whose files Tenure reads."""
    import lightgbm
    import numpy
    import pandas
    import xgboost

    if has("catboost"):
        import catboost

    random = numpy.random.default_rng(5)
    rows = pandas.DataFrame({"a": random.normal(size=COUNT).round(3), "b": random.integers(0, 2, COUNT).astype("float64")})
    gone = random.random(COUNT) < 0.2

    def made(library: str, task: str, mark: Optional[float]) -> Any:
        kind = "Regressor" if task == "number" else "Classifier"
        if library == "xgboost":
            return getattr(xgboost, f"XGB{kind}")(n_estimators=8, max_depth=3, **({} if mark is None else {"missing": mark}))
        if library == "lightgbm":
            return getattr(lightgbm, f"LGBM{kind}")(n_estimators=8, verbose=-1, min_child_samples=5)
        return getattr(catboost, f"CatBoost{kind}")(iterations=8, depth=3, verbose=0, allow_writing_files=False)

    answers: dict[str, Callable[[Path, Any, str], Any]] = {
        "xgboost": lambda output, X, task: xgboost.Booster(model_file=str(output / "model.ubj")).predict(xgboost.DMatrix(X)),
        "lightgbm": lambda output, X, task: lightgbm.Booster(model_file=str(output / "model.txt")).predict(X),
        "catboost": lambda output, X, task: catboost.CatBoost().load_model(str(output / "model.json"), "json").predict(
            X, **({} if task == "number" else {"prediction_type": "Probability"})
        ),
    }
    for library, task, labels, mark, type_b, order in itertools.product(
        [each for each in answers if has(each)], LABELS, ("codes", "names", "booleans"), (None, numpy.nan, -999.0), ("float64", "float32", "int64", "bool"), ("ab", "ba")
    ):
        if (labels == "booleans" and task != "probability") or (labels != "codes" and (task == "number" or library == "xgboost")):
            continue
        if library != "xgboost" and mark == -999.0:
            continue
        # Each type and order with what a job gives, and each label and mark with one other type and order.
        if (mark is not None or labels != "codes") and (type_b, order) not in (("float64", "ab"), ("int64", "ba")):
            continue
        data = rows if mark is None else rows.assign(a=numpy.where(gone, mark, rows["a"]))
        score = numpy.where(gone, 1.2, rows["a"]) + 0.5 * rows["b"].to_numpy()
        name = f"{library} {task} {labels} mark={mark} {type_b} {order}"
        with tempfile.TemporaryDirectory() as made_folder:
            job = job_of(Path(made_folder), task, data, {"a": "number", "b": "number"})
            X = job.train()[0].astype({"b": type_b})[list(order)]
            model = made(library, task, mark).fit(X, labels_of(task, labels, score))
            try:
                getattr(job, f"save_{library}")(model)
            except ValueError as error:
                yield Outcome(name, "refused", str(error))
                continue
            known = own_answers(model, task, X)
            replay = json.loads((job.output / "replay.json").read_text())
            asked = job.frame(replay["rows"])[list(order)]
            own = numpy.array(replay["outputs"])
            file = numpy.asarray(answers[library](job.output, asked, task)).reshape(len(asked), -1)[:, -own.shape[1] :]
            # The first 240 rows are those of the training, evenly.
            places = [place * COUNT // 240 for place in range(240)]
            yield Outcome(name, "right" if near(own[:240], known[places]) and near(file, own) else "wrong")


def objects() -> Iterator[Outcome]:
    """Saves and brings pipelines, some of which make texts of their columns."""
    import cloudpickle
    import numpy
    import pandas
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

    random = numpy.random.default_rng(6)
    whole = random.integers(0, 2, COUNT), random.integers(1, 7, COUNT)
    a = random.normal(size=COUNT).round(3)

    def steps() -> dict[str, Callable[[], Any]]:
        texts = FunctionTransformer(lambda X: X.astype(str))
        crossed = FunctionTransformer(lambda X: (X["b"].astype(str) + "_" + X["c"].astype(str)).to_frame("x"))
        numbers = FunctionTransformer(lambda X: X.astype("float64"))
        return {
            "texts": lambda: make_column_transformer((make_pipeline(texts, OneHotEncoder(handle_unknown="ignore")), ["b", "c"]), ("passthrough", ["a"])),
            "crossed": lambda: make_pipeline(crossed, OneHotEncoder(handle_unknown="ignore")),
            "hashed": lambda: FunctionTransformer(lambda X: numpy.column_stack([X["a"], [sum(map(ord, f"{value}")) % 7 for value in X["b"]]])),
            "numbers": lambda: numbers,
        }

    for step, task, type_b, order, road in itertools.product(steps(), LABELS, TYPES, ("abc", "cba"), ("save", "frame", "twice", "pickle", "dtype", "mlflow")):
        is_time = type_b in TIMES
        if step == "numbers" and is_time or (road == "mlflow" and type_b in ("category", "object", "boolean", TIMES[1])):
            continue
        # Each type by each road, each step with two types, and each task and order with whole numbers.
        is_first = (task, order) == ("probability", "abc")
        if not (is_first and (step == "texts" or type_b in ("int64", "bool")) or (step, type_b) == ("texts", "int64") and road != "mlflow"):
            continue
        b = whole[0] if type_b in ("bool", "boolean") else whole[1]
        rows = pandas.DataFrame({"a": a, "b": b.astype("float64"), "c": whole[1].astype("float64")})
        days = pandas.Series(pandas.Timestamp("2026-01-01") + pandas.to_timedelta(b, unit="D"))
        if is_time:
            rows["b"] = [f"{day.isoformat()}" for day in (days.dt.tz_localize("Europe/Berlin") if type_b == TIMES[1] else days)]
        # What the person has trained with.
        column = days if is_time else pandas.Series(b)
        column = column.dt.tz_localize("Europe/Berlin") if type_b == TIMES[1] else column.astype(type_b if not is_time else "datetime64[ns]")
        X = pandas.DataFrame({"a": a, "b": column, "c": whole[1]})[list(order)]
        score = a + 0.6 * (whole[1] % 2) - 0.4 * b
        final = Ridge() if task == "number" else LogisticRegression()
        model = make_pipeline(steps()[step](), final).fit(X, labels_of(task, "codes" if task == "number" else "names", score))
        known = own_answers(model, task, X)
        kinds = {"a": "number", "b": "category" if is_time else "number", "c": "number"}
        name = f"{step} {task} {type_b} {order} by {road}"
        with tempfile.TemporaryDirectory() as made:
            try:
                if road in ("save", "frame", "twice"):
                    job = job_of(Path(made), task, rows, kinds, nullable=False)
                    given = {"save": {}, "frame": {"frame": X}, "twice": {"frame": pandas.concat([X, X[["b"]]], axis=1)}}[road]
                    job.save(model, **given)
                    served = open_file((job.output / "model.python").read_bytes())
                else:
                    folder = Path(made) / "model"
                    if road == "mlflow":
                        import mlflow.sklearn
                        from mlflow.models import infer_signature

                        signature = infer_signature(X)
                        mlflow.sklearn.save_model(model, str(folder), signature=signature, pip_requirements=["none"], serialization_format="cloudpickle")
                    else:
                        folder.mkdir()
                        (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))
                    wanted = LABELS[task].get("classes", [])
                    types = {"b": "int64" if type_b in ("object", "category") else type_b, "c": "int64"} if road == "dtype" else {}
                    columns = [{"name": each, "isText": kinds[each] != "number", **({"dtype": types[each]} if each in types else {})} for each in kinds]
                    head = {
                        "columns": columns,
                        "frames": True,
                        "outputs": len(wanted) or 1,
                        "isFolder": True,
                        "task": Task(task == "number", wanted, LABELS[task].get("positive"))._asdict(),
                    }
                    served = open_file(_MARK + json.dumps(head).encode() + b"\n" + pack_folder(folder))
                numbers = rows[[each for each in kinds if kinds[each] == "number"]].to_numpy(dtype="float64")
                texts = [rows["b"].tolist()] if is_time else []
                found = _answer(served, rows_of(served, numbers, texts))
                check_values(served, rows_of(served, numbers, texts))
            except (ValueError, TypeError) as error:
                yield Outcome(name, "refused", str(error))
                continue
            yield Outcome(name, "right" if near(found, known) else "wrong")


def _is_plain(name: str) -> bool:
    """Whether nothing is lost of this combination, so that it must be served."""
    of = name.split()
    if of[0] in ("xgboost", "lightgbm", "catboost"):
        return "-999" not in name and "names" not in of
    return of[-1] in ("frame", "dtype") and of[0] != "twice" or (of[0] == "numbers" and of[-1] != "twice")


@unittest.skipUnless(has("lightgbm") and has("xgboost") and has("mlflow"), "the packages of the estimators are missing")
class Estimators(unittest.TestCase):
    def check(self, made: Iterator[Outcome]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcomes = list(made)
        self.assertEqual([each.name for each in outcomes if each.what == "wrong"], [])
        self.assertEqual([(each.name, each.why) for each in outcomes if each.what == "refused" and _is_plain(each.name)], [])

    def test_files_of_estimators_answer_as_these_or_are_refused(self) -> None:
        self.check(boosters())

    def test_a_file_has_the_categories_that_the_model_was_trained_with(self) -> None:
        import lightgbm
        import numpy
        import pandas

        random = numpy.random.default_rng(7)
        rows = pandas.DataFrame({"a": random.normal(size=COUNT), "city": random.choice(list("abcdefgh"), COUNT)})
        with tempfile.TemporaryDirectory() as made:
            job = job_of(Path(made), "probability", rows, {"a": "number", "city": "category"})
            X = job.train()[0]
            kept = X.city.isin(list("abcde")).to_numpy()
            few = X[kept].assign(city=X[kept].city.cat.remove_unused_categories())
            job.save_lightgbm(lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(few, rows["a"][kept] > 0))
            self.assertEqual(json.loads((job.output / "columns.json").read_text())[1], {"name": "city", "vocabulary": list("abcde")})

    def test_an_object_around_an_estimator_is_refused_with_what_to_save(self) -> None:
        import lightgbm
        import pandas
        import xgboost
        from sklearn.compose import TransformedTargetRegressor
        from sklearn.model_selection import GridSearchCV

        rows = pandas.DataFrame({"a": range(COUNT)}, dtype="float64")
        with tempfile.TemporaryDirectory() as made:
            job = job_of(Path(made), "number", rows, {"a": "number"})
            search = GridSearchCV(lightgbm.LGBMRegressor(n_estimators=2, verbose=-1), {"max_depth": [2]}, cv=2).fit(rows, rows["a"])
            with self.assertRaisesRegex(ValueError, "GridSearchCV is no booster or estimator of LightGBM: save its best_estimator_$"):
                job.save_lightgbm(search)
            scaled = TransformedTargetRegressor(xgboost.XGBRegressor(n_estimators=2)).fit(rows, rows["a"])
            with self.assertRaisesRegex(ValueError, "TransformedTargetRegressor is no booster or estimator of XGBoost: save the whole object by job.save"):
                job.save_xgboost(scaled)

    def test_objects_get_the_types_of_their_training_or_are_refused(self) -> None:
        self.check(objects())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for outcome in itertools.chain(boosters(), objects()):
        print(f"{outcome.what}\t{outcome.name}\t{outcome.why[:250]}")
