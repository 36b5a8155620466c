"""Asks a model whether it knows the categories of a table as other values than the texts that requests hold, such as 3 for "3"."""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping, Optional

#: The first rows of a model are asked again, and then one of so many, so that a slow model takes at most twice its time.
FIRST_ROWS, _ONE_OF = 250, 8
_TIMES = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?)?")
_BOOLEANS = {"true": True, "false": False}


def _boolean(text: str) -> Any:
    return _BOOLEANS.get(text, text)


def _whole(text: str) -> Any:
    return int(text) if re.fullmatch(r"-?\d{1,15}", text) else text


def _double(text: str) -> Any:
    return float(text) if re.fullmatch(r"-?\d{1,15}(\.\d+)?", text) else text


def _time(text: str) -> Any:
    if not _TIMES.fullmatch(text):
        return text
    import pandas

    try:
        return pandas.Timestamp(text)
    except ValueError:
        return text


#: The values that a library may read from a text, and those that a person makes of them, by an example of each.
_READINGS: dict[str, Callable[[str], Any]] = {
    'True for "true"': _boolean,
    '3 for "3"': _whole,
    '3.0 for "3"': _double,
    'a time of pandas for "2026-11-30"': _time,
    '"True" for "true"': lambda text: str(_boolean(text)),
    '"3" for "03"': lambda text: str(_whole(text)),
    '"3.0" for "3"': lambda text: str(_double(text)),
}
#: Makes texts that no model knows of a text: words, and numbers, which a part may read. One that computes with letters answers no two alike.
_UNSEEN = (("{} unseen", "no {}"), ("{}91739", "{}62715"))


def refuse_other_values(answer: Callable[[Any], Any], X: Any, texts: Mapping[str, bool], first: int = FIRST_ROWS) -> None:
    """
    Answers rows with the values that the texts of their columns may stand for, too. ``answer`` returns a matrix of doubles; ``texts`` says of each
    column of categories whether a text without a known meaning is one all the same, as with a vocabulary. Asks ``first`` rows, or an eighth if that
    is more.

    Raises ``ValueError`` where the model knows such values and not their texts, and where it does not tell which of them it knows.
    """
    import numpy

    X = X.iloc[_chosen(X, texts, max(first, len(X) // _ONE_OF))].reset_index(drop=True)
    if len(X) == 0:
        return

    def asked(**columns: Any) -> Any:
        try:
            return answer(X.assign(**columns))
        except Exception:
            return None

    def same(one: Any, other: Any) -> Any:
        return False if one is None or other is None else numpy.isclose(one, other, rtol=1e-6, atol=1e-9, equal_nan=True).all(axis=1)

    given = None
    for example, reading in _READINGS.items():
        read = {name: made for name in texts if (made := _made(X[name], reading)) is not None}
        if not read:
            continue
        given = asked() if given is None else given
        if numpy.all(same(given, asked(**read))):
            continue
        for name, made in read.items():
            with_values = asked(**{name: made})
            if with_values is None or numpy.all(same(given, with_values)):
                continue
            changed = _is_changed(X[name], reading)
            missing = asked(**{name: X[name].where(X[name].isna())})
            unseen = [[asked(**{name: _made(X[name], form.format)}) for form in forms] for forms in _UNSEEN]

            def is_unknown(answers: Any) -> bool:
                alike = same(answers, missing)
                for one, other in unseen:
                    alike = alike | (same(answers, one) & same(answers, other))
                return bool(numpy.all(alike[changed] if numpy.ndim(alike) else alike))

            # One that answers the same rows in two ways is refused for that.
            if is_unknown(with_values) or not numpy.all(same(given, asked())):
                continue
            if is_unknown(given):
                raise ValueError(
                    f"the model does not know the texts of {name}, and knows other values, such as {example}: bring a serve.py whose predict(frame) makes "
                    "the values of its training, or declare numbers as number() in the model file"
                )
            if not texts[name]:
                raise ValueError(
                    f"the model does not tell whether it knows the texts of {name} or other values, such as {example}: list the vocabulary of the texts in "
                    "columns.json (--columns), or bring a serve.py whose predict(frame) makes the values of its training"
                )


def _chosen(X: Any, names: Mapping[str, bool], most: int) -> list[int]:
    """The places of the rows that are asked: those with the first of each text, then others."""
    first = {place for name in names for place in (~X[name].duplicated()).to_numpy().nonzero()[0].tolist()}
    step = max(1, len(X) // max(1, most))
    return sorted([*sorted(first), *(place for place in range(0, len(X), step) if place not in first)][:most])


def _is_changed(column: Any, reading: Callable[[str], Any]) -> Any:
    import numpy

    return numpy.array([isinstance(text, str) and _differs(text, reading(text)) for text in column])


def _differs(text: str, value: Any) -> bool:
    return type(value) is not str or value != text


def _made(column: Any, reading: Callable[[str], Any]) -> Optional[Any]:
    """Returns a column with other values in the types that pandas reads them in; None where none differs, and for categories that would be one."""
    import pandas

    if hasattr(column.dtype, "categories"):
        categories = [reading(text) for text in column.dtype.categories]
        if len(set(categories)) < len(categories) or not any(map(_differs, column.dtype.categories, categories)):
            return None
        return column.cat.rename_categories(categories)
    values = [reading(text) if isinstance(text, str) else text for text in column]
    if not any(isinstance(text, str) and _differs(text, value) for text, value in zip(column, values)):
        return None
    return pandas.Series(values, dtype=object if any(isinstance(value, str) for value in values) else None)
