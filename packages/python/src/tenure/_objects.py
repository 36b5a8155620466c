"""Tells what an object of any library answers: with which function, from which columns, and in which order."""

from __future__ import annotations

import functools
from numbers import Real
from typing import Any, Callable, Iterator, NamedTuple, Optional, Sequence

from ._onnx import scores_outliers

#: The labels of two classes whose second one is the positive class, as libraries sort them.
_TWO = (("0", "1"), ("-1", "1"), ("false", "true"), ("no", "yes"))
#: The names of a class or column that a message lists at most.
_MOST_LISTED = 20
#: The steps of a pipeline that are looked through at most.
_MOST_STEPS = 1_000


class Task(NamedTuple):
    """What the label of a model file asks for."""

    #: Whether answers are numbers, and no probabilities.
    numbers: bool = False
    #: Several classes in the order of the model file; the names of several numbers. Empty for a single output.
    names: Sequence[str] = ()
    #: The name of the positive one of two classes.
    positive: Optional[str] = None


def labels_refused(answer: Callable[[Any], Any], X: Any) -> Any:
    """Answers rows with a method that gives probabilities. Raises ``ValueError`` for one that gives labels, such as the numbers of clusters."""
    given = answer(X)
    if getattr(getattr(given, "dtype", None), "kind", "") in ("i", "u", "b"):
        raise ValueError("its predict gives labels in place of probabilities: bring a serve.py whose predict(frame) returns probabilities")
    return given


def class_places(model: Any, task: Task) -> Optional[list[int]]:
    """
    Returns which of the probabilities of an object are the answer, by the names in its ``classes_``; None where their order is that of the
    model file, and for an object that does not name them.

    Raises ``ValueError`` for other classes than those of the model file.
    """
    given = getattr(model, "classes_", None)
    if given is None or len(given) == 0:
        return None
    if any(hasattr(each, "__len__") and not isinstance(each, str) for each in given):
        raise ValueError(f"{type(model).__name__} predicts {len(given)} labels at once, and the model file has one: bring a model of this label alone")
    known = [text_of_value(each) for each in given]
    listed = ", ".join(known[:_MOST_LISTED])
    if not task.names:
        lower, positive_name = tuple(each.lower() for each in known), task.positive
        if positive_name not in known and lower in _TWO:
            # Otherwise the positive class is the second one of two.
            positive_name = known[lower.index((task.positive or "").lower()) if (task.positive or "").lower() in lower else 1]
        if positive_name not in known or len(known) != 2:
            raise ValueError(
                f"the model knows the classes {listed}, and the positive one of the model file is {task.positive}: "
                f"train it with {task.positive} and one other name, or with no and yes, false and true or 0 and 1"
            )
        positive = known.index(positive_name)
        return None if positive == 1 else [1 - positive, positive]
    if sorted(known) != sorted(task.names):
        if known == [str(code) for code in range(len(task.names))]:
            return None
        raise ValueError(f"the model knows the classes {listed}; those of the model file are {', '.join(task.names[:_MOST_LISTED])}")
    places = [known.index(each) for each in task.names]
    return None if places == list(range(len(places))) else places


def _text_of(label: Any) -> str:
    """The name of a class. A library may keep whole numbers as doubles."""
    whole = isinstance(label, Real) and not isinstance(label, bool) and float(label).is_integer()
    return str(int(label)) if whole else str(label)


def picked(answer: Callable[[Any], Any], places: Sequence[int], X: Any) -> Any:
    """Answers rows with these columns of the answers. A function of its own, so that it is stored with a model."""
    import numpy

    return numpy.asarray(answer(X))[:, list(places)]


#: Where the estimators and boosters of other libraries than scikit-learn keep the names of their columns.
_NAMES = {
    "catboost": ("feature_names_",),
    "lightgbm": ("feature_name_", "feature_name"),
    "xgboost": ("feature_names",),
}


def columns_of(model: Any) -> Optional[list[str]]:
    """
    Returns the columns that an object was fitted with, in its order, as scikit-learn, LightGBM, XGBoost, CatBoost and statsmodels keep them; None
    for one that does not name them.
    """
    for name in ("feature_names_in_", *_NAMES.get(_package_of(model), ())):
        try:
            given = getattr(model, name, None)
        except Exception:
            # One that is not fitted.
            continue
        given = given() if callable(given) else given
        if given is not None:
            return [str(each) for each in given]
    fitted = getattr(model, "model", None)
    # A formula takes its columns by their names.
    return None if _package_of(model) != "statsmodels" or hasattr(fitted, "formula") else getattr(fitted, "exog_names", None)


def _package_of(model: Any) -> str:
    return type(model).__module__.partition(".")[0]


class Asked:
    """
    Answers rows with a method of an object: gives it the columns that it was fitted with in its order, and in the types of its categories.

    Raises ``ValueError`` with the columns where it does not answer them.
    """

    def __init__(self, answer: Callable[[Any], Any], model: Any, kind: Optional[str] = None) -> None:
        # Looked up once, because a request should not wait for it.
        self.answer = answer
        self.model = model
        self.kind = kind or type(model).__name__
        self.names = columns_of(model)
        self.vectorizer = _vectorizer_of(model)
        self.is_booster = _package_of(model) in ("lightgbm", "xgboost")
        #: What the parts of the model know of the columns of a request, by these.
        self.known: dict[tuple[str, ...], tuple[dict[str, dict[str, Any]], set[str]]] = {}

    def __call__(self, X: Any) -> Any:
        if not hasattr(X, "columns"):
            return self.answer(X)
        known = [str(each) for each in X.columns]
        names = self.names if self.names is not None and not set(self.names).isdisjoint(known) else None
        # A ColumnTransformer takes fewer columns than it was fitted with, if it drops the others.
        taken = X if names is None else X[[name for name in names if name in known]]
        formed = self._form(taken)
        try:
            return self.answer(formed)
        except Exception as error:
            absent = [name for name in names or [] if name not in known]
            remedy = (
                f"it was fitted with {_listed(absent)} too, which the model file does not have as features: compute such a column by SQL in prepare "
                "of the model file, or bring a serve.py whose predict(frame) computes it"
                if absent
                else "if it takes other columns, or another order, list them in columns.json (--columns); if it takes other types or values, bring a "
                "serve.py whose predict(frame) makes them"
            )
            raise ValueError(f"{self.kind} does not answer rows with the columns {_listed(list(taken.columns))}: {remedy}. It says: {_short(error)}") from error

    def _form(self, X: Any) -> Any:
        if self.vectorizer is not None:
            if len(X.columns) != 1:
                raise ValueError(f"{self.vectorizer} takes one column of texts, and there are {_listed(list(X.columns))}: name it alone in columns.json (--columns)")
            return X[X.columns[0]]
        # Each row passes here: the accessor of a column takes microseconds where it has none.
        kinds = list(zip(X.columns, X.dtypes))
        listed = [name for name, kind in kinds if hasattr(kind, "categories")]
        texts = [name for name, kind in kinds if kind == object or name in listed]
        if not texts:
            return X
        columns = tuple(str(each) for each in X.columns)
        if columns not in self.known:
            self.known[columns] = encoded_values(self.model, columns), numeric_columns(self.model)
        values, numeric = self.known[columns]
        _refuse_texts([name for name in texts if name in numeric])
        if self.is_booster:
            lists = _pandas_lists(self.model)
            # The library itself compares categoricals with what it knows, or refuses them.
            return X if not lists and texts == listed else _categoricals(X, texts, lists)
        changed = [name for name in texts if name in values]
        return X.assign(**{name: _known(X[name], values[name]) for name in changed}) if changed else X


def _known(texts: Any, values: dict[str, Any]) -> Any:
    """Returns the values of texts, and other texts unchanged; as objects for an encoder that was fitted with objects."""
    made = texts.astype(object).map(lambda text: values.get(text, text))
    return made if all(hasattr(value, "dtype") for text, value in values.items() if text_of_value(value) == text) else made.astype(object)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


def _vectorizer_of(model: Any) -> Optional[str]:
    """The name of the vectorizer of texts that is the first step of a model, and takes a column in place of a data frame; None without one."""
    first = model
    for _ in range(_MOST_STEPS):
        steps = getattr(first, "steps", None)
        inner = steps[0][1] if isinstance(steps, list) and steps else getattr(first, "best_estimator_", None)
        if inner is None:
            break
        first = inner
    return type(first).__name__ if hasattr(first, "build_analyzer") else None


def _pandas_lists(model: Any) -> list[list[Any]]:
    """The categories of a LightGBM model in the order of its categorical columns; none of another one."""
    return getattr(getattr(model, "booster_", model), "pandas_categorical", None) or []


def _categoricals(X: Any, texts: Sequence[str], lists: Sequence[Sequence[Any]]) -> Any:
    import pandas

    if len(lists) != len(texts):
        _refuse_texts(texts)
    made = X.copy()
    for name, values in zip(texts, lists):
        codes = pandas.Index([text_of_value(each) for each in values], dtype=object).get_indexer(X[name])
        made[name] = pandas.Categorical.from_codes(codes, pandas.Index(values))
    return made


def _refuse_texts(names: Sequence[str]) -> None:
    if names:
        raise ValueError(
            f"it takes no texts: list the vocabulary of {_listed(names)} in columns.json if it was fitted with categoricals of pandas, declare numbers as "
            "number() in the model file, or bring the file of its library"
        )


def text_of_value(value: Any) -> str:
    """The text of a value in a request, as JSON has it: true for a boolean, 3 for a whole number."""
    return str(value).lower() if type(value).__name__ in ("bool", "bool_") else _text_of(value)


def encoded_values(model: Any, columns: Sequence[str]) -> dict[str, dict[str, Any]]:
    """
    Returns the values by their texts of each of these columns that an encoder inside of a model knows by its name, and whose categories are no
    texts. Other columns get texts; a registration asks whether the model knows these.
    """
    found: dict[str, dict[str, Any]] = {}
    for part, names in _parts(model, columns):
        if vars(part).get("categories_") is not None:
            _bind(found, part.categories_, names, columns)
    return found


def numeric_columns(model: Any) -> set[str]:
    """Returns the columns that XGBoost inside of a model was fitted with as numbers: it takes the codes of a categorical for them."""
    found: set[str] = set()
    for part, _ in _parts(model, ()):
        try:
            booster = part.get_booster() if hasattr(part, "get_booster") else part
            found.update(name for name, kind in zip(booster.feature_names or (), booster.feature_types or ()) if kind != "c")
        except Exception:
            # Another part, or one that is not fitted.
            continue
    return found


def _parts(model: Any, columns: Sequence[str]) -> Iterator[tuple[Any, Sequence[str]]]:
    """Gives the parts of a model that are of known libraries, each with the names of the columns that reach it unchanged, as far as they are known."""
    seen: set[int] = set()
    rest: list[tuple[Any, Sequence[str]]] = [(model, columns)]
    while rest:
        each, reach = rest.pop()
        package = _package_of(each)
        if id(each) in seen:
            continue
        if isinstance(each, (list, tuple)):
            rest.extend((one, reach) for one in each)
        elif package in ("sklearn", "imblearn", "xgboost") and hasattr(each, "__dict__"):
            fields = vars(each)
            given = fields.get("feature_names_in_")
            names = reach if given is None else [str(name) for name in given]
            yield each, names
            if fields.get("transformers_") is not None:
                places = fields.get("_transformer_to_input_indices", {})
                all_named = len(names) == getattr(each, "n_features_in_", None)
                rest.extend((inner, [names[place] for place in places[name]] if all_named and name in places else ()) for name, inner, _ in each.transformers_)
            elif isinstance(fields.get("steps"), list):
                rest.extend((inner, () if place else reach) for place, (_, inner) in enumerate(each.steps))
            elif package != "xgboost":
                rest.extend((inner, reach) for inner in fields.values())
        else:
            continue
        seen.add(id(each))


def _bind(found: dict[str, dict[str, Any]], categories: Sequence[Any], names: Sequence[str], columns: Sequence[str]) -> None:
    for name, known in zip(names, categories) if len(names) == len(categories) else ():
        if name in columns and not any(isinstance(value, str) for value in known):
            # An encoder of booleans may keep 0 and 1.
            codes = {text: value for text, value in (("false", 0), ("true", 1)) if value in list(known)}
            found[name] = {**codes, **{text_of_value(value): value for value in known}}


def answer_of_object(model: Any, task: Task, kind: Optional[str] = None) -> Callable[[Any], Any]:
    """
    Returns the function that answers rows with an object: probabilities in the order of the model file, or numbers. ``kind`` names the object
    in errors; default: its type.

    Raises ``ValueError`` for an object that cannot give these answers.
    """
    name = type(model).__name__
    if not task.numbers and (hasattr(model, "predict_proba") or hasattr(model, "classes_")):
        answer = getattr(model, "predict_proba", None)
        if answer is None:
            raise ValueError(f"{name} has no predict_proba, and its predict gives labels in place of probabilities")
        places = class_places(model, task)
        return Asked(answer if places is None else functools.partial(picked, answer, places), model, kind)
    detects = scores_outliers(model)
    # A booster of XGBoost takes a matrix of its own otherwise.
    method = "inplace_predict" if hasattr(model, "inplace_predict") else "decision_function" if detects and task.numbers else "predict"
    answer = getattr(model, method, model)
    if not callable(answer):
        raise ValueError(f"{name} has no predict: bring a serve.py with load(folder) and predict(frame), or give save(model, answer=…) a function that returns the answers for rows")
    asked = Asked(answer, model, kind)
    return asked if task.numbers else functools.partial(labels_refused, asked)


def put_in_order(given: Any, rows: int, task: Task) -> Any:
    """
    Returns the answers in the order of the rows and of the outputs: those of pandas have an index, and may have the names of the outputs as
    columns. Makes a sparse matrix dense, and returns others unchanged.
    """
    if hasattr(given, "toarray"):
        return given.toarray()
    if hasattr(given, "columns") and hasattr(given, "iloc"):
        columns = {str(each): each for each in given.columns}
        if not task.names and task.positive in columns:
            given = given[columns[task.positive]]
        elif len(columns) == len(given.columns) and sorted(columns) == sorted(task.names):
            given = given[[columns[name] for name in task.names]]
    index = getattr(given, "index", None)
    if hasattr(given, "iloc") and list(index) != list(range(rows)) and sorted(index, key=str) == sorted(range(rows), key=str):
        return given.loc[range(rows)]
    return given


def numbers_of(given: Any, rows: int, outputs: int) -> Any:
    """
    Returns the answers as a matrix of doubles with one row each, and of two probabilities the second one, that of the positive class.

    Raises ``ValueError`` for another number of rows or outputs, for two numbers that do not sum to 1, and for what is no number.
    """
    import numpy

    if isinstance(given, numpy.ma.MaskedArray):
        given = given.astype("float64").filled(numpy.nan)
    values = numpy.asarray(given)
    if values.ndim == 0:
        raise ValueError(f"the model answers {rows} rows with a value of the type {type(given).__name__}, expected a list or an array with one answer a row")
    # Numbers are not looked through one by one.
    unclear = values.ravel() if values.dtype.kind not in "fiub" else ()
    other = next((each for each in unclear if isinstance(each, (str, bytes)) or values.dtype.kind != "O"), None)
    if other is not None:
        raise ValueError(f"the model answers {str(other)[:100]}, expected numbers: the probabilities, and no labels")
    if len(values) != rows:
        raise ValueError(f"the model gives {len(values)} answers for {rows} rows, expected one answer a row")
    try:
        values = values.astype("float64").reshape(rows, -1)
    except (TypeError, ValueError):
        columns = getattr(given, "columns", None)
        what = f"a table of {_listed([str(each) for each in columns])}" if columns is not None else f"values of the type {type(values.flat[0]).__name__}"
        raise ValueError(f"the model answers with {what}, expected numbers alone: bring a serve.py whose predict(frame) returns them") from None
    if outputs == 1 and values.shape[1] == 2:
        if (abs(values.sum(axis=1) - 1) > 1e-3).any():
            raise ValueError(f"the model answers a row with {values[0].tolist()}, which do not sum to 1: expected one number, or two probabilities")
        values = values[:, 1:]
    if values.shape[1] != outputs:
        raise ValueError(f"the model answers {values.shape[1]} numbers for a row, expected {outputs}: bring a serve.py whose predict(frame) returns them alone")
    return values
