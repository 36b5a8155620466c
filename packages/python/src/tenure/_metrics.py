"""Computes the metrics of a model file for the gate."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, Optional

#: ``def profit(labels, scores, rows) -> float``
Metric = Callable[[Any, Any, Mapping[str, Any]], Any]

_MOST_LENGTH = 300
_TELL_S = 5.0


class _Rows(Mapping[str, Any]):
    """The columns of the test rows by name; drawn rows where a resample repeats them. A column is taken when it is used."""

    def __init__(self, columns: Mapping[str, Any], drawn: Optional[Any] = None) -> None:
        self._columns = columns
        self._drawn = drawn

    def __getitem__(self, name: str) -> Any:
        column = self._columns[name]
        return column if self._drawn is None else column[self._drawn]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def compute(given: Mapping[str, Any], metrics: Mapping[str, Metric]) -> None:
    """Writes ``metrics.json`` into the output of the job: the value of each model or its fault, and the finite gains on the resamples."""
    import numpy

    folder = Path(given["input"])

    def numbers(at: Any) -> Any:
        values = numpy.fromfile(folder / at["file"], dtype="<f8")
        return values.reshape(-1, at["width"]) if at["isMatrix"] else values

    def column(at: Any) -> Any:
        if at["kind"] == "number":
            return numpy.fromfile(folder / at["file"], dtype="<f8")
        texts = numpy.array([*at["texts"], None], dtype=object)
        return texts[numpy.fromfile(folder / at["file"], dtype="<u4")]

    labels = numbers(given["labels"])
    answers = {who: None if at is None else numbers(at) for who, at in given["answers"].items()}
    released = [numbers(at) for at in given["anchors"]]
    columns = {name: column(at) for name, at in given["columns"].items()}
    found: dict[str, Any] = {}
    told_at = time.monotonic()
    for each in given["metrics"]:
        # The last line is told where the program is stopped.
        print(f"computing the metric {each['name']}", flush=True)
        of, sign = metrics[each["name"]], 1 if each["better"] == "higher" else -1
        values = {who: None if scores is None else _measured(of, labels, scores, _Rows(columns)) for who, scores in answers.items()}
        found[each["name"]] = {**values, "anchor": None, "gains": {}}
        if "value" not in (values["challenger"] or {}):
            continue
        others = {who: answers[who] for who in each["over"] if who != "anchor" and "value" in (values[who] or {})}
        if "anchor" in each["over"]:
            told = [_measured(of, labels, scores, _Rows(columns)) for scores in released]
            known = [at for at, one in enumerate(told) if "value" in one]
            if told and not known:
                found[each["name"]]["anchor"] = {"at": 0, **told[0]}
            if known:
                best = max(known, key=lambda at: sign * told[at]["value"])
                found[each["name"]]["anchor"] = {"at": best, "value": told[best]["value"]}
                others["anchor"] = released[best]
        if not others:
            continue
        gains: dict[str, list[float]] = {who: [] for who in others}
        draws = numpy.memmap(folder / given["draws"], dtype="u1", mode="r").reshape(-1, len(labels))
        for at, weights in enumerate(draws):
            # A metric that takes long is not a process without a sign of life.
            if time.monotonic() > told_at + _TELL_S:
                told_at = time.monotonic()
                print(f"{each['name']}: {at} of {len(draws)} resamples", flush=True)
            drawn = numpy.repeat(numpy.arange(len(labels)), weights)
            rows = _Rows(columns, drawn)
            one = _drawn_value(of, labels[drawn], answers["challenger"][drawn], rows)
            for who, scores in others.items():
                gain = sign * (one - _drawn_value(of, labels[drawn], scores[drawn], rows))
                if math.isfinite(gain):
                    gains[who].append(gain)
        found[each["name"]]["gains"] = gains
    (Path(given["output"]) / "metrics.json").write_text(json.dumps(found), encoding="utf-8")


def _drawn_value(of: Metric, labels: Any, scores: Any, rows: Mapping[str, Any]) -> float:
    try:
        return float(of(labels, scores, rows))
    except Exception:
        return math.nan


def _measured(of: Metric, labels: Any, scores: Any, rows: Mapping[str, Any]) -> dict[str, Any]:
    try:
        value = of(labels, scores, rows)
    except Exception as error:
        return {"fault": f"threw: {type(error).__name__}: {error}"[:_MOST_LENGTH]}
    try:
        number = float(value)
    except (TypeError, ValueError):
        return {"fault": f"is {str(value)[:100]}, not a finite number"}
    if math.isfinite(number):
        return {"value": number}
    shown = "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    return {"fault": f"is {shown}, not a finite number"}
