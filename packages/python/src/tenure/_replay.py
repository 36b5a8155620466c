"""Chooses rows for which the library's predictions are recorded, so that Tenure can check that its own predictions are equal."""

from __future__ import annotations

import bisect
import math
from typing import Any, Mapping, Sequence

#: The number of training rows to replay; the contract requires 200.
SPREAD = 240
_VALUES = 30
#: Texts as callers send them, whatever the training rows hold.
_TEXTS = ["", " ", "1", "İstanbul’da №5: ﬁn ☃", "不知道", "word " * 200]
#: The maximum number of values in all odd rows. Tenure refuses a replay.json above 64 MiB.
_MOST_CELLS = 1_000_000

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
    """
    Returns copies of a row with one value changed (missing, extreme, each category), and one with every optional value missing. With
    hundreds of columns, a copy has values of several columns changed.
    """
    if not rows:
        return []
    base = rows[0]
    changes: list[list[Any]] = []
    for place, column in enumerate(columns):
        values: list[Any] = [None] if column.nullable else []
        known = [row[place] for row in rows if row[place] is not None]
        if column.kind == "category":
            values += list(categories.get(column.name, []))[:_VALUES]
        elif column.kind == "text":
            values += _TEXTS
        elif column.kind == "number" and known:
            low, high = min(known), max(known)
            values += [low, high, low - 1.0, high + 1.0, 0.0, -0.0, (low + high) / 2]
            values += [math.inf, -math.inf] if infinite else []
        changes.append(values)
    per_row = math.ceil(sum(map(len, changes)) * len(columns) / _MOST_CELLS)
    made: list[Row] = []
    for nth in range(max(map(len, changes), default=0)):
        changed = [(place, values[nth]) for place, values in enumerate(changes) if nth < len(values)]
        for start in range(0, len(changed), per_row):
            row = list(base)
            for place, value in changed[start : start + per_row]:
                row[place] = value
            made.append(row)
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
