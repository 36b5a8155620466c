"""Tests that objects of real libraries, brought as pickles and folders of MLflow, answer as in plain Python. Needs the packages of test/interop/mlflow-models.txt."""

from __future__ import annotations

import json
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from typing import Any, Callable, Optional
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from tenure._folders import pack_folder  # noqa: E402
from tenure._rows import has  # noqa: E402
from tenure._serve import _MARK, Opened, answers_of, check_values, open_file, rows_of  # noqa: E402
from tenure._values import refuse_other_values  # noqa: E402

CLASSES = ["small", "mid size", "größe"]
LABELS: dict[str, dict[str, Any]] = {
    "probability": {"numbers": False, "names": [], "positive": "bloom"},
    "classes": {"numbers": False, "names": CLASSES},
    "number": {"numbers": True, "names": []},
    "numbers": {"numbers": True, "names": ["a", "b"]},
}
#: In another order than the objects are fitted with. A person reads ``member`` from a CSV as booleans.
KINDS = {"note": "text", "colour": "category", "member": "category", "pieces": "number", "size": "number"}
#: A category of whole numbers, which some tests ask with.
MORE = {**KINDS, "rooms": "category"}


#: Of columns.json; none unless a test lists one.
VOCABULARIES: dict[str, list[str]] = {}


class _Counts:
    """Encodes a category by how often it was met, as an encoder of another library does."""

    def fit(self, X: Any, y: Any) -> Any:
        self.tables = {name: X[name].value_counts() for name in X if name != "pieces"}
        return self

    def transform(self, X: Any) -> Any:
        return X.assign(**{name: X[name].map(table).fillna(0) / 100 for name, table in self.tables.items()})


class _Hashes:
    """Encodes a category by its text, and keeps nothing."""

    def fit(self, X: Any, y: Any) -> Any:
        return self

    def transform(self, X: Any) -> Any:
        return X.assign(**{name: [sum(map(ord, str(value))) % 7 for value in X[name]] for name in X if name != "pieces"})


def opened(folder: Path, label: str, features: list[str]) -> Opened:
    """A brought folder, as its process opens it."""
    task = LABELS[label]
    listed = {name: {"categories": values} for name, values in VOCABULARIES.items()}
    columns = [{"name": name, "isText": MORE[name] != "number", "kind": MORE[name], **listed.get(name, {})} for name in features]
    head = {"columns": columns, "frames": True, "outputs": len(task["names"]) or 1, "isFolder": True, "task": task}
    return open_file(_MARK + json.dumps(head).encode() + b"\n" + pack_folder(folder))


@unittest.skipUnless(has("mlflow") and has("statsmodels") and has("lightgbm") and has("xgboost"), "the packages of the objects are missing")
class Objects(unittest.TestCase):
    def setUp(self) -> None:
        import numpy
        import pandas

        warnings.simplefilter("ignore")
        random = numpy.random.default_rng(3)
        count = 300
        size = random.uniform(1, 10, count)
        self.rows = pandas.DataFrame(
            {
                "size": numpy.where(random.random(count) < 0.1, numpy.nan, size),
                "pieces": random.integers(1, 6, count),
                "member": random.random(count) < 0.5,
                "colour": random.choice(["red", "white", "blue"], count),
                "note": random.choice(["good rose", "bad rose", "fine"], count),
                "rooms": random.integers(1, 6, count),
            }
        )
        self.rows.loc[::7, "colour"] = numpy.nan
        score = size + self.rows["member"] * 2 - (self.rows["colour"] == "white") * 2 + random.normal(0, 1, count)
        self.bloom = numpy.where(score > 6, "bloom", "wither")
        self.size = numpy.array(CLASSES)[numpy.digitize(score, [4, 8])]
        self.price = score.to_numpy() * 10
        self.known = self.rows["size"].fillna(5.0)

    def ask(self, folder: Path, label: str, features: list[str], places: list[int], checks: bool = True) -> Any:
        """The answers to rows as a registration asks for them, which checks values; or as a replica does."""
        import numpy

        model, rows = opened(folder, label, features), self.rows.iloc[places]
        numbers = rows[[name for name in features if MORE[name] == "number"]].to_numpy(dtype="float64")

        def text(value: Any) -> Optional[str]:
            return None if value != value else str(value).lower() if isinstance(value, (bool, numpy.bool_)) else str(value)

        texts = [[text(value) for value in rows[name]] for name in features if MORE[name] != "number"]
        answers = answers_of(model, rows_of(model, numbers, texts))
        if checks:
            check_values(model, rows_of(model, numbers, texts))
        return numpy.frombuffer(answers, dtype="float32").reshape(len(rows), -1)

    def compare(self, label: str, save: Callable[[Path], Any], own: Callable[[Any], Any], features: Optional[list[str]] = None) -> None:
        import numpy

        with tempfile.TemporaryDirectory() as made:
            folder = Path(made) / "model"
            save(folder)
            places = list(range(0, 60))
            expected = numpy.asarray(own(self.rows.iloc[places]), dtype="float64").reshape(len(places), -1)
            # Of a registration, and of a replica.
            for asked, checks in ((places, True), ([0], False), ([7], False)):
                found = self.ask(folder, label, features or list(KINDS), asked, checks)
                numpy.testing.assert_allclose(found, expected[asked], rtol=1e-5, atol=1e-6)

    def pickled(self, model: Any) -> Callable[[Path], None]:
        import cloudpickle

        def save(folder: Path) -> None:
            folder.mkdir()
            (folder / "model.pkl").write_bytes(cloudpickle.dumps(model))

        return save

    def test_estimators_of_scikit_learn_answer_as_in_plain_python(self) -> None:
        from sklearn.calibration import CalibratedClassifierCV
        from sklearn.compose import make_column_transformer
        from sklearn.ensemble import HistGradientBoostingRegressor, IsolationForest, StackingClassifier, VotingRegressor
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.model_selection import GridSearchCV
        from sklearn.multiclass import OneVsRestClassifier
        from sklearn.multioutput import MultiOutputRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler
        from sklearn.svm import LinearSVC

        def first() -> Any:
            numbers = make_pipeline(SimpleImputer(), StandardScaler())
            return make_column_transformer(
                (numbers, ["size", "pieces"]), (OneHotEncoder(handle_unknown="ignore"), ["member", "colour"]), (TfidfVectorizer(), "note"), sparse_threshold=0
            )

        def ordinal() -> Any:
            # A lambda of the script, and columns that are dropped.
            return make_pipeline(
                FunctionTransformer(lambda X: X[["size", "member"]].fillna({"size": 5.0})), make_column_transformer((OrdinalEncoder(), ["member"]), ("passthrough", ["size"]))
            )

        def order(model: Any) -> Callable[[Any], Any]:
            return lambda X: model.predict_proba(X)[:, [list(model.classes_).index(name) for name in CLASSES]]

        def positive(model: Any) -> Callable[[Any], Any]:
            return lambda X: model.predict_proba(X)[:, list(model.classes_).index("bloom")]

        words = GridSearchCV(make_pipeline(TfidfVectorizer(tokenizer=lambda text: text.split(), token_pattern=None), LogisticRegression()), {"logisticregression__C": [1]}, cv=2)
        cases: list[tuple[str, Any, Any, Any]] = [
            ("probability", make_pipeline(first(), LogisticRegression()), self.bloom, positive),
            ("probability", make_pipeline(ordinal(), LogisticRegression()), self.bloom, positive),
            ("classes", make_pipeline(first(), OneVsRestClassifier(LogisticRegression())), self.size, order),
            ("classes", make_pipeline(first(), CalibratedClassifierCV(LinearSVC(), cv=2)), self.size, order),
            ("classes", StackingClassifier([("one", make_pipeline(first(), LogisticRegression()))], cv=2), self.size, order),
            ("number", make_pipeline(first(), VotingRegressor([("a", Ridge()), ("b", HistGradientBoostingRegressor(max_iter=5))])), self.price, None),
            ("number", make_pipeline(first(), IsolationForest(random_state=1)), None, lambda model: model.decision_function),
            ("numbers", make_pipeline(first(), MultiOutputRegressor(Ridge())), [[each, -each] for each in self.price], None),
        ]
        for label, model, y, own in cases:
            with self.subTest(label, steps=str(model)[:200]):
                model.fit(self.rows, y)
                self.compare(label, self.pickled(model), model.predict if own is None else own(model))
        words.fit(self.rows["note"], self.bloom)
        self.compare("probability", self.pickled(words), lambda X: positive(words)(X["note"]), ["note"])

    def test_boosters_and_models_of_statsmodels_get_the_columns_and_categories_of_their_training(self) -> None:
        import lightgbm
        import statsmodels.api as statsmodels
        import xgboost

        numbers = self.rows[["size", "pieces"]]
        mixed = self.rows[["size", "pieces", "member", "colour"]].astype({"member": "category", "colour": "category"})
        types = {name: mixed[name].dtype for name in ("member", "colour")}
        without = ["member", "colour", "pieces", "size"]
        plain = ["pieces", "size"]
        quiet = {"verbose": -1, "seed": 1}
        bloom = self.bloom == "bloom"
        trees = lightgbm.LGBMClassifier(n_estimators=9, verbose=-1).fit(mixed, self.bloom)
        booster = lightgbm.train({**quiet, "objective": "binary"}, lightgbm.Dataset(mixed, bloom), 9)
        line = lightgbm.train({**quiet, "objective": "regression"}, lightgbm.Dataset(numbers, self.price), 9)
        forest = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(numbers, bloom), 9)
        fitted = statsmodels.GLM(bloom.astype(float), numbers.fillna(5.0), family=statsmodels.families.Binomial()).fit()
        self.rows["size"] = self.known
        self.compare("probability", self.pickled(trees), lambda X: trees.predict_proba(X[list(mixed)].astype(types))[:, 0], without)
        self.compare("probability", self.pickled(booster), lambda X: booster.predict(X[list(mixed)].astype(types)), without)
        self.compare("number", self.pickled(line), lambda X: line.predict(X[["size", "pieces"]]), plain)
        self.compare("probability", self.pickled(forest), lambda X: forest.predict(xgboost.DMatrix(X[["size", "pieces"]])), plain)
        self.compare("probability", self.pickled(fitted), lambda X: fitted.predict(X[["size", "pieces"]]), plain)

    def test_encoders_get_the_values_they_know_however_many_trees_follow_and_in_any_order_of_the_model_file(self) -> None:
        from sklearn.compose import make_column_transformer
        from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        rows = self.rows[["member", "rooms"]]
        encode = (OneHotEncoder(handle_unknown="ignore"), ["member", "rooms"])
        typed = {name: rows[name].astype("category") for name in rows}
        by_name = [
            (make_pipeline(make_column_transformer(encode), RandomForestClassifier(500, n_jobs=1, max_depth=3, random_state=1)), rows),
            (HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype"), rows.assign(**typed)),
        ]
        for model, given in by_name:
            with self.subTest(model=str(model)[:60]):
                model.fit(given, self.bloom)
                dtypes = given.dtypes.to_dict()
                self.compare("probability", self.pickled(model), lambda X: model.predict_proba(X[["member", "rooms"]].astype(dtypes))[:, 0], ["rooms", "member"])
        array = make_pipeline(OneHotEncoder(handle_unknown="ignore"), RandomForestClassifier(5, random_state=1)).fit(rows.to_numpy(dtype=object), self.bloom)
        self.compare("probability", self.pickled(array), lambda X: array.predict_proba(X[["member", "rooms"]].to_numpy(dtype=object))[:, 0], ["member", "rooms"])

    def test_values_that_a_model_may_know_otherwise_are_refused(self) -> None:
        from sklearn.compose import make_column_transformer
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        behind = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore"))
        with tempfile.TemporaryDirectory() as made:
            model = make_pipeline(make_column_transformer((behind, ["rooms"])), LogisticRegression()).fit(self.rows, self.bloom)
            self.pickled(model)(Path(made) / "behind")
            with self.assertRaisesRegex(ValueError, 'does not know the texts of rooms, and knows other values, such as 3 for "3": bring a serve.py'):
                self.ask(Path(made) / "behind", "probability", ["member", "rooms"], [0, 1])
        # The same encoder of a number, beside a text.
        model = make_pipeline(make_column_transformer((behind, ["pieces"]), (OneHotEncoder(), ["colour"])), LogisticRegression()).fit(self.rows, self.bloom)
        self.compare("probability", self.pickled(model), lambda X: model.predict_proba(X)[:, 0], ["colour", "pieces"])

    def test_parts_of_other_libraries_and_code_answer_the_texts_they_know_alone(self) -> None:
        import lightgbm
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        def categories() -> Any:
            return FunctionTransformer(lambda X: X.assign(**{name: X[name].astype("category") for name in X if name != "pieces"}))

        def trees() -> Any:
            return make_pipeline(categories(), lightgbm.LGBMClassifier(n_estimators=9, min_child_samples=1, verbose=-1))

        def function(code: Callable[[Any], Any]) -> Callable[[], Any]:
            return lambda: make_pipeline(FunctionTransformer(lambda X: X.assign(**{name: code(X[name]) for name in X if name != "pieces"})), LogisticRegression())

        # One text is how often another one is met, so it is a number of the table too.
        often = str((self.rows["colour"] == "red").sum())
        self.rows["colour"] = self.rows["colour"].fillna("true").replace("white", often)
        other, unclear = "does not know the texts of {}, and knows other values", "does not tell whether it knows the texts of {} or other values"
        number = {"red": 1, "blue": 2, "true": 3, often: 4}
        for name, make, why in (
            ("counts", lambda: make_pipeline(_Counts(), LogisticRegression()), {"member": other, "rooms": other}),
            ("hashes", lambda: make_pipeline(_Hashes(), LogisticRegression()), {"member": unclear, "rooms": unclear, "colour": unclear}),
            ("trees", trees, {"member": other, "rooms": other}),
            ("looks up", function(lambda column: [{3: 0, True: 7, **number}.get(value, 1) for value in column]), {"member": unclear, "rooms": other, "colour": unclear}),
            ("compares", function(lambda column: (column == 3) | (column == "red") | (column == True)), {"member": other, "rooms": other, "colour": other}),  # noqa: E712
            ("doubles", function(lambda column: [float(number.get(each * 2, each * 2)) for each in column]), {"rooms": unclear, "member": "does not answer rows", "colour": "is not fitted"}),
            ("texts of its own", function(lambda column: column.astype(str).isin(["True", "3", "red"])), {"member": other, "colour": other}),
            ("texts of doubles", function(lambda column: [str(each if isinstance(each, str) else float(each)) in ("1.0", "3.0", "red") for each in column]), {"member": other, "rooms": other, "colour": other}),
            ("converts", function(lambda column: [float(number.get(each, each)) for each in column]), {"member": "does not answer rows", "colour": unclear}),
        ):
            for column in ("member", "rooms", "colour"):
                with self.subTest(name, column=column), tempfile.TemporaryDirectory() as made:
                    rows = self.rows[["pieces", column]]
                    try:
                        model = make().fit(rows, self.bloom)
                    except (TypeError, ValueError):
                        self.assertEqual(why[column], "is not fitted")
                        continue
                    if column in why:
                        self.pickled(model)(Path(made) / "model")
                        with self.assertRaisesRegex(ValueError, f"{why[column].format(column)}.*: .*bring a serve.py"):
                            self.ask(Path(made) / "model", "probability", ["pieces", column], list(range(20)))
                        if why[column] != "does not answer rows":
                            # A request is answered, whatever it holds.
                            self.ask(Path(made) / "model", "probability", ["pieces", column], list(range(20)), checks=False)
                    else:
                        self.compare("probability", self.pickled(model), lambda X: model.predict_proba(X[["pieces", column]])[:, 0], ["pieces", column])

    def test_words_that_look_like_other_values_are_answered(self) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        self.rows.loc[::5, "note"] = "true"
        model = make_pipeline(FunctionTransformer(lambda X: X["note"]), TfidfVectorizer(), LogisticRegression()).fit(self.rows[["note"]], self.bloom)
        self.compare("probability", self.pickled(model), lambda X: model.predict_proba(X[["note"]])[:, 0], ["note"])

    def test_own_code_gets_texts_that_may_be_booleans_with_a_vocabulary_alone(self) -> None:
        import numpy

        def own(X: Any) -> Any:
            return numpy.array([{"true": 0.9, "false": 0.2, True: 0.1, False: 0.3}[value] for value in X["member"]])

        with tempfile.TemporaryDirectory() as made:
            self.pickled(own)(Path(made) / "model")
            with self.assertRaisesRegex(ValueError, "does not tell whether it knows the texts of member or other values.*: list the vocabulary"):
                self.ask(Path(made) / "model", "probability", ["member"], [0, 1])
        with mock.patch.dict(VOCABULARIES, {"member": ["false", "true"]}):
            self.compare("probability", self.pickled(own), lambda X: numpy.where(X["member"], 0.9, 0.2), ["member"])

    def test_own_code_to_which_a_boolean_is_missing_is_answered(self) -> None:
        self.rows["colour"] = self.rows["colour"].fillna("true")

        def own(X: Any) -> Any:
            return X["colour"].str.len().fillna(0) / 10

        self.compare("probability", self.pickled(own), own, ["colour"])

    def test_a_check_asks_the_first_rows_and_an_eighth_of_the_others_with_each_text_once(self) -> None:
        asked: list[Any] = []

        def answer(X: Any) -> Any:
            asked.append(X)
            return X[["pieces"]].to_numpy(dtype="float64")

        rows = self.rows[["pieces", "rooms"]].assign(rooms="1")
        rows.loc[299, "rooms"] = "2"
        for first, count in ((1_000, 300), (50, 50), (0, 37)):
            asked.clear()
            refuse_other_values(answer, rows, {"rooms": False}, first)
            self.assertEqual({len(each) for each in asked}, {count})
            self.assertEqual(set(asked[0]["rooms"]), {"1", "2"})

    def test_each_value_that_a_text_may_be_is_asked(self) -> None:
        self.rows["colour"] = self.rows["colour"].replace("white", "03")
        known: list[tuple[str, Any]] = [("member", True), ("member", "True"), ("rooms", 3), ("rooms", 3.0), ("rooms", "3.0"), ("colour", "3")]
        for column, value in known:

            def own(X: Any, column: str = column, value: Any = value) -> Any:
                return [0.9 if type(each) is type(value) and each == value else 0.2 for each in X[column]]

            with self.subTest(value=value), tempfile.TemporaryDirectory() as made:
                self.pickled(own)(Path(made) / "model")
                with self.assertRaisesRegex(ValueError, f"does not know the texts of {column}, and knows other values"):
                    self.ask(Path(made) / "model", "probability", [column], list(range(20)))

    def test_code_that_serves_is_refused_for_values_that_it_knows_in_place_of_texts_alone(self) -> None:
        def serve(predict: str) -> Callable[[Path], Any]:
            def save(folder: Path) -> None:
                folder.mkdir()
                (folder / "serve.py").write_text(f"def load(folder):\n    pass\n\n\ndef predict(X):\n    return {predict}\n")

            return save

        self.compare("probability", serve("[(len(str(each)) % 7) / 7 for each in X['rooms']]"), lambda X: [1 / 7 for each in X["rooms"]], ["rooms"])
        self.compare("probability", serve("X['rooms'].astype(float) / 10"), lambda X: X["rooms"] / 10, ["rooms"])
        with tempfile.TemporaryDirectory() as made, self.assertRaisesRegex(ValueError, "does not know the texts of rooms, and knows other values"):
            serve("(X['rooms'] == 3) / 2")(Path(made) / "model")
            self.ask(Path(made) / "model", "probability", ["rooms"], list(range(20)))

    def test_a_vocabulary_changes_no_value_that_a_model_knows(self) -> None:
        import lightgbm
        from sklearn.compose import make_column_transformer
        from sklearn.ensemble import HistGradientBoostingClassifier
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        texts = {"rooms": ["1", "2", "3", "4", "5"], "member": ["false", "true"]}
        for column, vocabulary in texts.items():
            plain, typed = self.rows[["pieces", column]], self.rows[["pieces", column]].astype({column: "category"})
            for model, rows in (
                (lightgbm.LGBMClassifier(n_estimators=9, min_child_samples=1, verbose=-1), typed),
                (HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype"), typed),
                (make_pipeline(make_column_transformer((OneHotEncoder(handle_unknown="ignore"), [column]), remainder="passthrough"), LogisticRegression()), plain),
            ):
                with self.subTest(type(model).__name__, column=column), mock.patch.dict(VOCABULARIES, {column: vocabulary}):
                    model.fit(rows, self.bloom)
                    self.compare("probability", self.pickled(model), lambda X: model.predict_proba(X[list(rows)].astype(rows.dtypes.to_dict()))[:, 0], [column, "pieces"])

    def test_numbers_of_boosters_are_not_taken_for_the_codes_of_a_vocabulary(self) -> None:
        import xgboost
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import FunctionTransformer

        rows, bloom, listed = self.rows[["rooms", "pieces"]], self.bloom == "bloom", {"rooms": ["1", "2", "3", "4", "5"]}
        trees = xgboost.XGBClassifier(n_estimators=5).fit(rows, bloom)
        for model in (trees, trees.get_booster(), make_pipeline(FunctionTransformer(), xgboost.XGBClassifier(n_estimators=5)).fit(rows, bloom)):
            for vocabulary in ({}, listed):
                with self.subTest(type(model).__name__, vocabulary=vocabulary), tempfile.TemporaryDirectory() as made:
                    self.pickled(model)(Path(made) / "model")
                    with mock.patch.dict(VOCABULARIES, vocabulary), self.assertRaisesRegex(ValueError, r"takes no texts: .* of rooms .*, declare numbers as number\(\)"):
                        self.ask(Path(made) / "model", "probability", ["rooms", "pieces"], list(range(20)))
        typed = rows.assign(rooms=rows["rooms"].astype(str).astype("category"))
        with mock.patch.dict(VOCABULARIES, listed):
            model = xgboost.XGBClassifier(n_estimators=5, enable_categorical=True).fit(typed, bloom)
            self.compare("probability", self.pickled(model), lambda X: model.predict_proba(typed.loc[X.index])[:, 1], ["rooms", "pieces"])

    def test_parts_that_read_numbers_of_texts_and_know_none_are_refused(self) -> None:
        def own(X: Any) -> Any:
            # As an index of doubles that is asked for texts: those of words raise.
            return [{3: 0.9}.get(each, 0.2) if isinstance(each, int) else 0.0 * float(each) + (0.5 if each == each else 0.1) for each in X["rooms"]]

        with tempfile.TemporaryDirectory() as made:
            self.pickled(own)(Path(made) / "model")
            with mock.patch.dict(VOCABULARIES, {"rooms": ["1", "2", "3", "4", "5"]}), self.assertRaisesRegex(ValueError, "does not know the texts of rooms"):
                self.ask(Path(made) / "model", "probability", ["rooms"], list(range(20)))

    def test_a_table_that_is_no_answer_is_refused_with_what_to_do(self) -> None:
        import pandas

        def own(X: Any) -> Any:
            return pandas.DataFrame({"at": pandas.Timestamp("2026-01-01"), "price": X["pieces"]})

        with tempfile.TemporaryDirectory() as made:
            self.pickled(own)(Path(made) / "model")
            with self.assertRaisesRegex(ValueError, "answers with a table of at, price, expected numbers alone: bring a serve.py"):
                self.ask(Path(made) / "model", "number", ["pieces"], [0, 1])

    @unittest.skipUnless(has("catboost"), "no catboost")
    def test_booleans_of_catboost_are_refused_whatever_a_vocabulary_says(self) -> None:
        import catboost

        quiet = {"verbose": False, "allow_writing_files": False, "iterations": 5}
        rows = self.rows.assign(colour=self.rows["colour"].fillna(""))
        with tempfile.TemporaryDirectory() as made:
            model = catboost.CatBoostClassifier(**quiet, cat_features=["member", "rooms"]).fit(rows[["member", "rooms"]], self.bloom)
            self.pickled(model)(Path(made) / "model")
            for listed in ({}, {"member": ["false", "true"]}):
                with mock.patch.dict(VOCABULARIES, listed), self.assertRaisesRegex(ValueError, "does not know the texts of member, and knows other values"):
                    self.ask(Path(made) / "model", "probability", ["rooms", "member"], [0, 1])
        whole = catboost.CatBoostClassifier(**quiet, cat_features=["rooms"]).fit(rows[["rooms", "pieces"]], self.bloom)
        self.compare("probability", self.pickled(whole), lambda X: whole.predict_proba(X[["rooms", "pieces"]])[:, 0], ["pieces", "rooms"])

    def test_classes_are_placed_by_their_names_first(self) -> None:
        import numpy
        from sklearn.linear_model import LogisticRegression

        numbers = self.known.to_frame("size")
        for names, task in (
            (["2", "1", "0"], {"numbers": False, "names": ["2", "1", "0"]}),
            (["no", "yes"], {"numbers": False, "names": [], "positive": "no"}),
            ([False, True], {"numbers": False, "names": [], "positive": "false"}),
        ):
            for kind in ("int64", "float32") if len(names) == 3 else (None,):
                with self.subTest(names, kind=kind):
                    codes = numpy.digitize(self.price, [40, 80] if len(names) == 3 else [60])
                    y = codes.astype(kind) if kind else numpy.array(names)[codes]
                    model = LogisticRegression().fit(numbers, y)
                    self.rows["size"] = self.known
                    with mock.patch.dict(LABELS, {"asked": task}):
                        self.compare("asked", self.pickled(model), lambda X: model.predict_proba(X[["size"]])[:, [2, 1, 0] if task["names"] else [0]], ["size"])

    def test_a_folder_of_mlflow_that_a_script_saves_answers_as_a_registered_one(self) -> None:
        import lightgbm
        import mlflow
        import numpy
        import xgboost
        import io
        from test_tenure import PlainJob, given_job

        class Kept(PlainJob):
            def _save_object(self, model: Any, answer: Any, **given: Any) -> None:
                self.kept = answer

        rows = self.rows[["size", "pieces"]]
        bloom = self.bloom == "bloom"
        forest = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(rows, bloom), 5)
        trees = lightgbm.train({"objective": "binary", "verbose": -1}, lightgbm.Dataset(rows, bloom), 5)
        for flavour, model, own in ((mlflow.xgboost, forest, lambda X: forest.predict(xgboost.DMatrix(X))), (mlflow.lightgbm, trees, trees.predict)):
            with self.subTest(flavour.__name__), tempfile.TemporaryDirectory() as made:
                flavour.save_model(model, made + "/model", pip_requirements=["none"])
                for given in (model, made + "/model"):
                    job = Kept(given_job(Path(made)), io.StringIO())
                    job.save(given)
                    found = job.kept(rows[["pieces", "size"]].astype("float64"))
                    numpy.testing.assert_allclose(found, own(rows), rtol=1e-5)

    def test_values_that_a_signature_does_not_hold_are_not_changed(self) -> None:
        import numpy
        import pandas
        from mlflow.models import infer_signature
        from mlflow.types import ColSpec, Schema
        from tenure._folders import _predict_signed

        given: list[Any] = []
        model = mock.Mock(predict=given.append)

        def formed(schema: Any, **columns: Any) -> Any:
            _predict_signed(model, schema, pandas.DataFrame(columns))
            return given.pop()

        whole = infer_signature(numpy.ones((2, 2), dtype="int64")).inputs
        self.assertEqual(formed(whole, a=[1.0, 2.0], b=[3.0, 4.0]).dtype, "int64")
        for other in (4.7, float("nan"), 1e19):
            self.assertEqual(formed(whole, a=[1.0, other], b=[3.0, 4.0]).dtype, "float64")
        self.assertEqual(formed(infer_signature(numpy.ones((2, 2), dtype="int8")).inputs, a=[1.0, 300.0], b=[3.0, 4.0]).dtype, "float64")
        times = Schema([ColSpec("datetime", "at")])
        self.assertEqual(formed(times, at=[5.0])["at"].dtype, "float64")
        mixed = formed(times, at=pandas.Series(["2026-01-02", "2026-01-02T03:04:05Z", None], dtype=object))["at"]
        self.assertEqual([str(each) for each in mixed], ["2026-01-02 00:00:00", "2026-01-02 03:04:05", "NaT"])
        unnamed = formed(Schema([ColSpec("long"), ColSpec("boolean")]), a=[1.0, 2.0], b=pandas.Series(["true", "false"], dtype=object))
        self.assertEqual([str(each) for each in unnamed.dtypes], ["int64", "bool"])

    def test_folders_of_mlflow_answer_in_the_types_of_their_signatures(self) -> None:
        import mlflow
        import numpy
        import pandas
        import xgboost
        from mlflow.models import infer_signature

        class Typed(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
                assert list(map(str, model_input.dtypes)) == ["int64", "bool", "float64"], model_input.dtypes
                given = pandas.DataFrame({"b": model_input["pieces"] * params["scale"], "a": model_input["size"] + model_input["member"]})
                return given.iloc[::-1]

        class Tensor(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
            def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
                assert model_input.dtype == "float32"
                return model_input @ numpy.array([1, 10], dtype="float32")

        self.rows["size"] = self.known
        typed = infer_signature(self.rows[["pieces", "member", "size"]], None, params={"scale": 3.0})
        matrix = infer_signature(self.rows[["pieces", "size"]].to_numpy(dtype="float32"))
        none = {"pip_requirements": ["none"]}
        with tempfile.TemporaryDirectory() as beside:
            code = Path(beside) / "seven.py"
            code.write_text(
                "import mlflow\nclass Seven(mlflow.pyfunc.PythonModel):\n    def predict(self, context, model_input, params=None):\n"
                "        return model_input['pieces'] * 7.0\nmlflow.models.set_model(Seven())\n"
            )
            self.compare("number", lambda folder: mlflow.pyfunc.save_model(folder, python_model=str(code), **none), lambda X: X["pieces"] * 7.0)
        forest = xgboost.train({"objective": "reg:squarederror"}, xgboost.DMatrix(self.rows[["size", "pieces"]], self.price), 5)
        self.compare(
            "numbers",
            lambda folder: mlflow.pyfunc.save_model(folder, python_model=Typed(), signature=typed, **none),
            lambda X: numpy.column_stack([X["size"] + X["member"], X["pieces"] * 3.0]),
        )
        self.compare(
            "number",
            lambda folder: mlflow.pyfunc.save_model(folder, python_model=Tensor(), signature=matrix, **none),
            lambda X: X["pieces"] + X["size"] * 10,
            ["pieces", "size"],
        )
        self.compare("number", lambda folder: mlflow.xgboost.save_model(forest, folder, **none), lambda X: forest.predict(xgboost.DMatrix(X[["size", "pieces"]])))


if __name__ == "__main__":
    unittest.main()
