"""Gives the columns of rows the types that they had in the training frame of a model, and asks a model of which nothing tells them."""

from __future__ import annotations

import itertools
import re
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from ._objects import Task, put_in_order, text_of_value
from ._tables import refuse_twice

#: The asks of a model whose types nothing tells, and the rows of all of them together, so that a slow model takes seconds at most.
_MOST_ASKS, _MOST_ROWS, _LEAST_ROWS = 64, 1_500, 24
#: Beyond it, a double does not hold each whole number.
_MOST_WHOLE = 2**53
_TIME = re.compile(r"datetime64\[(s|ms|us|ns)(?:, (.+))?\]")
#: Columns of these types hold what requests hold.
_UNCHANGED = ("object", "str", "float64")


class Typed:
    """
    Answers rows with their columns in the types of a training frame. Rows with a value that its type does not hold, such as a missing value among
    whole numbers, keep this column as it is, and are answered apart, so that no row changes another one.
    """

    def __init__(self, answer: Callable[[Any], Any], types: Mapping[str, Any], task: Task, placed: Sequence[str] = ()) -> None:
        self.answer = answer
        #: The types by the names of the columns. ``category`` is a list of its values.
        self.types = types
        #: The types in the order of the columns, of a model that does not name them.
        self.placed = placed
        self.task = task

    def told(self, columns: Sequence[str]) -> dict[str, Any]:
        """The types of these columns that something tells."""
        return {**dict(zip(columns, self.placed)), **{name: self.types[name] for name in columns if name in self.types}}

    def __call__(self, X: Any) -> Any:
        if not hasattr(X, "columns"):
            return self.answer(X)
        import numpy

        made = {}
        for name, wanted in self.told(list(X.columns)).items():
            column = _converted(X[name], wanted)
            if column is not None:
                made[name] = column
        if not made:
            return self.answer(X)
        fits = numpy.column_stack([fit for _, fit in made.values()])
        if fits.all():
            return self.answer(X.assign(**{name: values for name, (values, _) in made.items()}))
        patterns, group = numpy.unique(fits, axis=0, return_inverse=True)
        places, parts = [], []
        for number, pattern in enumerate(patterns):
            chosen = numpy.flatnonzero(group.ravel() == number)
            rows = X.iloc[chosen].reset_index(drop=True)
            typed = {
                name: _converted(rows[name], wanted)[0]  # type: ignore[index]
                for (name, wanted), fit in zip(((name, self.told(list(X.columns))[name]) for name in made), pattern)
                if fit
            }
            places.append(chosen)
            parts.append(numpy.asarray(put_in_order(self.answer(rows.assign(**typed)), len(rows), self.task)))
        return numpy.concatenate(parts)[numpy.argsort(numpy.concatenate(places), kind="stable")]


def _converted(column: Any, wanted: Any) -> Optional[tuple[Any, Any]]:
    """Returns a column in a type, and which of its values the type holds; None where the type changes nothing."""
    import numpy
    import pandas

    if wanted in _UNCHANGED or (column.dtype != "float64" and column.dtype != object and not hasattr(column.dtype, "categories")):
        return None
    texts = column.dtype != "float64"
    if not isinstance(wanted, str):
        known = {text_of_value(value): value for value in wanted}
        codes = pandas.Index(list(known)).get_indexer([None if pandas.isna(value) else text_of_value(value) for value in column])
        return pandas.Series(pandas.Categorical.from_codes(codes, pandas.Index(wanted)), index=column.index), numpy.ones(len(column), dtype=bool)
    if wanted in ("category", "string"):
        return None if wanted == "category" or not texts else (column.astype("string"), numpy.ones(len(column), dtype=bool))
    time = _TIME.fullmatch(wanted)
    missing = column.isna().to_numpy()
    if time is not None:
        read = pandas.to_datetime(column.astype(object), utc=True, format="ISO8601", errors="coerce") if texts else pandas.to_datetime(column, utc=True, errors="coerce")
        made = read.dt.tz_localize(None) if time[2] is None else read.dt.tz_convert(time[2])
        return made.astype(wanted), missing | read.notna().to_numpy()
    dtype = pandas.api.types.pandas_dtype(wanted)
    numbers = numpy.array([_number(value) for value in column], dtype="float64") if texts else column.to_numpy()
    is_nullable = pandas.api.types.is_extension_array_dtype(dtype)
    with numpy.errstate(all="ignore"):
        if dtype.kind == "b":
            fits = (numbers == 0) | (numbers == 1)
        elif dtype.kind in "iu":
            bounds = numpy.iinfo(getattr(dtype, "numpy_dtype", dtype))
            # The next number after the largest one of 64 bits is the double of it.
            fits = (numbers == numpy.floor(numbers)) & (numbers >= float(bounds.min)) & (numbers < float(bounds.max) + 1) & (abs(numbers) <= _MOST_WHOLE)
        else:
            fits = ~numpy.isnan(numbers) | missing
        if is_nullable:
            fits = fits | missing
            made = pandas.array(numpy.where(fits & ~missing, numbers, 0), dtype="Float64").astype(wanted)
            made[missing] = pandas.NA
        else:
            made = numpy.where(fits, numbers, 0).astype(dtype)
    return pandas.Series(made, index=column.index), fits


def _number(value: Any) -> float:
    if isinstance(value, str):
        value = {"true": 1.0, "false": 0.0}.get(value, value)
        try:
            return float(value)
        except ValueError:
            return float("nan")
    return float("nan") if value is None else float(value)


def types_of_frame(frame: Any, columns: Sequence[tuple[str, bool]]) -> dict[str, Any]:
    """
    Returns the types of these columns in a training frame, by their names. ``columns`` says of each whether requests hold texts for it.

    Raises ``ValueError`` for columns of one name, and for a type whose values requests do not hold.
    """
    import pandas

    refuse_twice([str(name) for name in frame.columns], "the training frame")
    found: dict[str, Any] = {}
    for name, is_text in columns:
        if name not in frame.columns:
            continue
        values = frame[name]
        if hasattr(values.dtype, "categories"):
            listed = values.dtype.categories
            texts = pandas.api.types.infer_dtype(listed) in ("string", "empty")
            found[name] = "category" if texts else [value.item() if hasattr(value, "item") else value for value in listed]
            continue
        inner = {"integer": "int64", "boolean": "bool", "floating": "float64"}.get(pandas.api.types.infer_dtype(values, skipna=True), "object")
        wanted = inner if values.dtype == object else str(values.dtype)
        if not is_text and wanted in ("object", "str", "string"):
            raise ValueError(f'the training frame holds texts in "{name}", which is a number in the model file: declare it there as category(), so that requests hold these texts')
        found[name] = wanted
    return found


def refuse_other_types(answer: Callable[[Any], Any], X: Any, names: Sequence[str]) -> None:
    """
    Answers the first rows with numbers that are whole as whole numbers, and those of 0 and 1 as booleans too. ``answer`` returns a matrix of doubles.

    Raises ``ValueError`` where the answers differ: nothing tells which types the training frame of the model had.
    """
    import numpy

    options = {name: kinds for name in names if len(kinds := _options(X[name])) > 1}
    if not options:
        return
    asks = list(_asks(options))
    # pandas reads whole numbers with a missing one as doubles.
    whole = X[list(options)].notna().all(axis=1)
    X = X[whole] if whole.any() else X
    X = X.iloc[_distinct(X, list(options), max(_LEAST_ROWS, _MOST_ROWS // len(asks)))].reset_index(drop=True)

    def asked(kinds: Mapping[str, str]) -> Any:
        try:
            return answer(X.assign(**_cast(X, kinds)))
        except Exception:
            return None

    def differs(one: Any, other: Any) -> Any:
        return ~numpy.isclose(one, other, rtol=1e-6, atol=1e-9, equal_nan=True).all(axis=1)

    given = asked({})
    for kinds in asks if given is not None else ():
        other = asked(kinds)
        # One that answers the same rows in two ways is refused for that.
        if other is None or not differs(other, given).any() or differs(asked({}), given).any():
            continue
        for name in list(kinds)[:_MOST_ASKS]:
            fewer = {each: kind for each, kind in kinds.items() if each != name}
            same = asked(fewer)
            if same is not None and not differs(same, other).any():
                kinds = fewer
        row = int(numpy.flatnonzero(differs(other, given))[0])
        listed = " and ".join(f'"{name}" of the type {kind}' for name, kind in list(kinds.items())[:5])
        example = ", ".join(f'{{"name": "{name}", "dtype": "{kind}"}}' for name, kind in list(kinds.items())[:5])
        values = ", ".join(f"{name} = {X[name].iloc[row]:.12g}" for name in list(kinds)[:5])
        raise ValueError(
            f"the model answers {_rounded(other[row])} with {listed}, and {_rounded(given[row])} with float64 (a row with {values}), and nothing tells the types of its "
            f"training frame: list them in columns.json (--columns), such as {example}, or with float64; of a training, give save the frame: job.save(model, frame=X)"
        )


def _rounded(answer: Any) -> str:
    return ", ".join(f"{each:.6g}" for each in answer[:5])


def _options(column: Any) -> list[str]:
    import numpy

    values = column.to_numpy()
    if values.dtype.kind != "f":
        return []
    values = values[~numpy.isnan(values)]
    if len(values) == 0 or not (abs(values) <= _MOST_WHOLE).all() or (values != numpy.floor(values)).any():
        return []
    return ["float64", "int64", "bool"] if ((values == 0) | (values == 1)).all() else ["float64", "int64"]


def _asks(options: Mapping[str, Sequence[str]]) -> Iterator[dict[str, str]]:
    """
    Gives the types to ask with: every combination of a few columns; of many, all at once, and so that each two columns have each pair of types.
    """
    count = 1
    for kinds in options.values():
        count = min(count * len(kinds), _MOST_ASKS + 1)
    if count <= _MOST_ASKS:
        # The most changes first, because a training frame seldom has doubles for whole numbers.
        chosen: Iterator[dict[str, str]] = (dict(zip(options, kinds)) for kinds in itertools.product(*(kinds[::-1] for kinds in options.values())))
        yield from ({name: kind for name, kind in each.items() if kind != "float64"} for each in chosen if set(each.values()) != {"float64"})
        return
    names = list(options)
    sets = [names, *([name for place, name in enumerate(names) if place >> bit & 1 == side] for bit in range(len(names).bit_length()) for side in (0, 1))]
    for part in sets:
        if part:
            yield {name: options[name][-1] for name in part}
            if any("bool" in options[name] for name in part):
                yield {name: "int64" for name in part}
                yield {name: "bool" for name in part if "bool" in options[name]}


def _cast(X: Any, kinds: Mapping[str, str]) -> dict[str, Any]:
    """The columns in these types; in the nullable one where a value is missing."""
    nullable = {"int64": "Int64", "bool": "boolean"}
    return {name: X[name].astype(nullable[kind] if X[name].isna().any() else kind) for name, kind in kinds.items()}


def _distinct(X: Any, names: Sequence[str], most: int) -> list[int]:
    """The places of the rows that are asked: those with the first of each value, then others."""
    first = sorted({place for name in names for place in (~X[name].duplicated()).to_numpy().nonzero()[0].tolist()})
    known = set(first)
    return sorted([*first, *(place for place in range(len(X)) if place not in known)][:most])

