"""Turns rows, data frames and NumPy values into values of JSON, and answers into data frames. Imports pandas only where a data frame is given."""

from __future__ import annotations

import datetime
import decimal
import json
import math
from typing import Any, Iterable, Iterator, Mapping, Optional, Protocol, Sequence


#: JSON of other languages has doubles alone.
_MOST_WHOLE = 2**53


class Table(Protocol):
    """A pandas data frame."""

    @property
    def columns(self) -> Any: ...

    @property
    def index(self) -> Any: ...

    @property
    def iloc(self) -> Any: ...


class Labelled(Protocol):
    """A pandas series: one row, whose index has the names of the features."""

    @property
    def index(self) -> Any: ...

    def to_dict(self) -> Any: ...


def is_table(value: object) -> bool:
    return hasattr(value, "columns") and hasattr(value, "iloc")


def refuse_twice(names: Sequence[str], of: str) -> None:
    """Raises ``ValueError`` with the name that two columns have."""
    if len(set(names)) == len(names):
        return
    twice = next(name for place, name in enumerate(names) if name in names[:place])
    raise ValueError(f'{of} has two columns of the name "{twice}": rename or drop one of them')


def plain(value: Any) -> Any:
    """
    The value as JSON has it: None for NaN, NaT and NA, ISO 8601 for times. Raises ValueError for an infinite number and a whole one beyond 2**53,
    TypeError for others.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if type(value) is int:
        if abs(value) > _MOST_WHOLE:
            raise ValueError(f"{value} is a whole number beyond 2**53, which a double does not hold: send it as a text, or as a float")
        return value
    # NaT is a datetime, and a comparison with NA has no truth value.
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    if type(value) is float:
        if math.isinf(value):
            raise ValueError(f"{value} is not a finite number")
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        refuse_twice([str(name) for name in value], "a mapping")
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, (datetime.datetime, datetime.date)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return plain(float(value))
    if type(value).__name__ == "datetime64":
        return None if str(value) == "NaT" else str(value)
    # A scalar or an array of NumPy.
    if hasattr(value, "dtype") and hasattr(value, "tolist"):
        return plain(value.tolist())
    # Subclasses, such as those of an enumeration.
    for kind in (int, float):
        if isinstance(value, kind):
            return plain(kind(value))
    raise TypeError(f"{value!r} ({type(value).__name__}) is not a value of JSON")


def _cell(value: Any, row: int, name: str) -> Any:
    try:
        return plain(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f'row {row}, "{name}": {error}') from None


def records(rows: Any) -> list[dict[str, Any]]:
    """The rows of a data frame, of a list of mappings or series, or of one of them."""
    if is_table(rows):
        names = [str(name) for name in rows.columns]
        refuse_twice(names, "the data frame")
        columns = [rows.iloc[:, place].tolist() for place in range(len(names))]
        return [
            {name: _cell(value, row, name) for name, value in zip(names, values)}
            for row, values in enumerate(zip(*columns))
        ]
    if isinstance(rows, Mapping) or hasattr(rows, "to_dict"):
        rows = [rows]
    elif hasattr(rows, "dtype"):
        raise TypeError("an array has no names of columns: give a data frame, or a list of rows by name")
    found = []
    for row, given in enumerate(rows):
        if hasattr(given, "to_dict") and hasattr(given, "index"):
            refuse_twice([str(name) for name in given.index], f"row {row}")
        fields = given.to_dict() if hasattr(given, "to_dict") else given
        if not isinstance(fields, Mapping):
            raise TypeError(f"row {row} is {type(given).__name__}, not a row by the names of its columns")
        refuse_twice([str(name) for name in fields], f"row {row}")
        found.append({str(name): _cell(value, row, str(name)) for name, value in fields.items()})
    return found


def chunks(rows: Sequence[Any], most: int, most_bytes: int) -> Iterator[Sequence[Any]]:
    """Parts of at most so many rows and, as JSON, bytes; a larger row is a part of its own. One empty part without rows."""
    start, size = 0, 0
    for at, row in enumerate(rows):
        length = len(json.dumps(row)) + 2
        if at > start and (at - start == most or size + length > most_bytes):
            yield rows[start:at]
            start, size = at, 0
        size += length
    yield rows[start:]


_SINGULAR = {"probabilities": "probability", "quantiles": "quantile", "values": "value"}


def frame(rows: Iterable[Mapping[str, Any]], index: Optional[Any]) -> Any:
    """A data frame with the rows; ``{"probabilities": {"a": 0.1}}`` becomes the column ``probability_a``."""
    import pandas

    flat = [
        {
            label: each
            for name, value in row.items()
            for label, each in (
                [(f"{_SINGULAR.get(name, name)}_{part}", each) for part, each in value.items()]
                if isinstance(value, Mapping)
                else [(name, value)]
            )
        }
        for row in rows
    ]
    return pandas.DataFrame(flat, index=index)
