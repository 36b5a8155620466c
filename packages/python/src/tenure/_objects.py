"""Tells what an object of any library answers: with which function, from which columns, and in which order."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional, Sequence

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


def answer_name(model: Any, numbers: bool) -> str:
    """The method of an object that gives numbers or probabilities from a data frame."""
    if hasattr(model, "inplace_predict") and not hasattr(model, "predict_proba"):
        # A booster of XGBoost takes a matrix of its own otherwise.
        return "inplace_predict"
    return "predict_proba" if not numbers else "decision_function" if scores_outliers(model) else "predict"


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
    known = [_text_of(each) for each in given]
    listed = ", ".join(known[:_MOST_LISTED])
    if not task.names:
        # The positive class is the second one of two.
        if tuple(each.lower() for each in known) in _TWO:
            return None
        if task.positive not in known or len(known) != 2:
            raise ValueError(
                f"the model knows the classes {listed}, and the positive one of the model file is {task.positive}: "
                f"train it with {task.positive} and one other name, or with no and yes, false and true or 0 and 1"
            )
        positive = known.index(task.positive)
        return None if positive == 1 else [1 - positive, positive]
    if known == [str(code) for code in range(len(task.names))]:
        return None
    if sorted(known) != sorted(task.names):
        raise ValueError(f"the model knows the classes {listed}; those of the model file are {', '.join(task.names[:_MOST_LISTED])}")
    places = [known.index(each) for each in task.names]
    return None if places == list(range(len(places))) else places


def _text_of(label: Any) -> str:
    """The name of a class. A library may keep whole numbers as doubles."""
    whole = isinstance(label, float) and label.is_integer()
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

    def __init__(self, answer: Callable[[Any], Any], model: Any) -> None:
        # Looked up once, because a request should not wait for it.
        self.answer = answer
        self.kind = type(model).__name__
        self.names = columns_of(model)
        self.vectorizer = _vectorizer_of(model)
        self.is_booster = _package_of(model) in ("lightgbm", "xgboost")
        self.encoded: Any = _pandas_lists(model) if self.is_booster else encoded_values(model)

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
            cause = (
                f"it was fitted with {_listed(absent)} too, which the model file does not have as features: compute such a column by SQL in prepare "
                "of the model file, or bring a serve.py whose predict(frame) computes it"
                if absent
                else "if it takes others, or another order, list them in columns.json (--columns), or bring a serve.py whose predict(frame) makes them"
            )
            raise ValueError(f"{self.kind} does not answer rows with the columns {_listed(list(taken.columns))}: {_short(error)}; {cause}") from error

    def _form(self, X: Any) -> Any:
        if self.vectorizer is not None:
            if len(X.columns) != 1:
                raise ValueError(f"{self.vectorizer} takes one column of texts, and there are {_listed(list(X.columns))}: name it alone in columns.json (--columns)")
            return X[X.columns[0]]
        texts = [name for name in X.columns if X[name].dtype == object]
        if self.is_booster and texts:
            return _categoricals(X, texts, self.encoded)
        changed = [name for name in texts if name in self.encoded]
        return X.assign(**{name: X[name].map(lambda text, known=self.encoded[name]: known.get(text, text)) for name in changed}) if changed else X


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:_MOST_LISTED]) + (", …" if len(names) > _MOST_LISTED else "")


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


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
        raise ValueError(f"its categories are categoricals of pandas: list the vocabulary of {_listed(texts)} in columns.json, or bring the file of its library")
    made = X.copy()
    for name, values in zip(texts, lists):
        codes = pandas.Index([text_of_value(each) for each in values], dtype=object).get_indexer(X[name])
        made[name] = pandas.Categorical.from_codes(codes, pandas.Index(values))
    return made


def text_of_value(value: Any) -> str:
    """The text of a value in a request, as JSON has it: true for a boolean, 3 for a whole number."""
    return str(value).lower() if type(value).__name__ in ("bool", "bool_") else _text_of(value)


def encoded_values(model: Any) -> dict[str, dict[str, Any]]:
    """Returns the values by their texts that encoders of scikit-learn inside of a model know of their columns, where these are no texts."""
    found: dict[str, dict[str, Any]] = {}
    seen: set[int] = set()
    rest = [model]
    while rest and len(seen) < _MOST_STEPS:
        each = rest.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, (list, tuple)):
            rest.extend(each)
        elif _package_of(each) in ("sklearn", "imblearn") and hasattr(each, "__dict__"):
            names, values = getattr(each, "feature_names_in_", None), vars(each).get("categories_")
            if names is not None and values is not None and len(names) == len(values):
                for name, known in zip(names, values):
                    if not any(isinstance(value, str) for value in known):
                        found[str(name)] = {text_of_value(value): value for value in known}
            rest.extend(vars(each).values())
    return found


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
    other = next((each for each in values.ravel() if isinstance(each, (str, bytes)) or values.dtype.kind not in "fiubO"), None)
    if other is not None:
        raise ValueError(f"the model answers {str(other)[:100]}, expected numbers: the probabilities, and no labels")
    if len(values) != rows:
        raise ValueError(f"the model gives {len(values)} answers for {rows} rows, expected one answer a row")
    values = values.astype("float64").reshape(rows, -1)
    if outputs == 1 and values.shape[1] == 2:
        if (abs(values.sum(axis=1) - 1) > 1e-3).any():
            raise ValueError(f"the model answers a row with {values[0].tolist()}, which do not sum to 1: expected one number, or two probabilities")
        values = values[:, 1:]
    if values.shape[1] != outputs:
        raise ValueError(f"the model answers {values.shape[1]} numbers for a row, expected {outputs}")
    return values
