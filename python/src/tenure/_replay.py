"""Chooses rows on which the answers of the library are recorded, so that Tenure can check that it answers alike."""

from __future__ import annotations

import bisect
import math
from typing import Any, Mapping, Sequence

#: Training rows to replay; the contract asks for 200.
SPREAD = 240
_VALUES = 30

Row = list[Any]


def spread(count: int, most: int = SPREAD) -> list[int]:
    """The places of rows evenly spread over all, again from the first when there are too few."""
    if count >= most:
        return [place * count // most for place in range(most)]
    return [place % count for place in range(most)]


def odd_rows(
    rows: Sequence[Row],
    columns: Sequence[Any],
    categories: Mapping[str, Sequence[str]],
    infinite: bool,
) -> list[Row]:
    """Rows with one value changed: missing, extreme, each category, and every optional value missing at once."""
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
    """
    The rows with each number halfway to the next larger one of the training, as a decimal: there a tree has its thresholds.

    ``known`` are the numbers of each column that the training has, in order.
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
    """A value as JSON has it: null for a missing one, a text for an infinite one."""
    if value is None:
        return None
    if isinstance(value, float):
        if math.isnan(value):
            return None
        if math.isinf(value):
            return "inf" if value > 0 else "-inf"
    return value
