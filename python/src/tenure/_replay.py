"""Chooses rows for which the library's predictions are recorded, so that Tenure can check that its own predictions are equal."""

from __future__ import annotations

import bisect
import math
from typing import Any, Mapping, Sequence

#: The number of training rows to replay; the contract requires 200.
SPREAD = 240
_VALUES = 30

Row = list[Any]


def spread(count: int, most: int = SPREAD) -> list[int]:
    """Returns indices spread evenly over all rows. Repeats rows if there are too few."""
    if count >= most:
        return [place * count // most for place in range(most)]
    return [place % count for place in range(most)]


def odd_rows(
    rows: Sequence[Row],
    columns: Sequence[Any],
    categories: Mapping[str, Sequence[str]],
    infinite: bool,
) -> list[Row]:
    """Returns copies of a row with one value changed (missing, extreme, each category), and one with every optional value missing."""
    if not rows:
        return []
    base = rows[0]
    made: list[Row] = []

    def change(place: int, value: Any) -> None:
        row = list(base)
        row[place] = value
        made.append(row)

    for place, column in enumerate(columns):
        if column.nullable:
            change(place, None)
        if column.kind == "category":
            for text in list(categories.get(column.name, []))[:_VALUES]:
                change(place, text)
            continue
        known = [row[place] for row in rows if row[place] is not None]
        if not known:
            continue
        low, high = min(known), max(known)
        for value in (low, high, low - 1.0, high + 1.0, 0.0, -0.0, (low + high) / 2):
            change(place, value)
        if infinite:
            change(place, math.inf)
            change(place, -math.inf)
    missing = [None if column.nullable else value for column, value in zip(columns, base)]
    made.append(missing)
    return made


def midway_rows(rows: Sequence[Row], columns: Sequence[Any], known: Mapping[str, Sequence[float]]) -> list[Row]:
    """Returns the rows with each number moved halfway to the next larger training value, as a decimal, where trees place their thresholds.

    ``known`` holds the sorted training values of each column.
    """
    made = [list(row) for row in rows]
    for place, column in enumerate(columns):
        values = known.get(column.name, ())
        for row in made:
            if isinstance(row[place], str) or row[place] is None:
                continue
            after = bisect.bisect_right(values, row[place])
            if after < len(values):
                row[place] = float(f"{(row[place] + values[after]) / 2:.12g}")
    return made


def cell_of(value: Any) -> Any:
    """Converts a value to JSON: null for a missing one, a text for an infinite one."""
    if value is None:
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
    return value
