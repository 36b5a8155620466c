"""Reads the training rows of a snapshot with pyarrow or DuckDB, whichever is installed."""

from __future__ import annotations

import importlib.util
from typing import Any, Callable, Mapping, Optional, Sequence


def has(module: str) -> bool:
    """Returns whether a package is installed."""
    return importlib.util.find_spec(module) is not None


def read_columns(path: str, kinds: Mapping[str, str], part: tuple[str, str]) -> dict[str, Any]:
    """Returns columns as NumPy arrays, for the rows whose part column has the value.

    A column of the kind ``number`` becomes doubles with NaN for a missing value; other columns become objects with None for a missing
    value.
    """
    column, value = part
    if has("pyarrow"):
        import pyarrow
        import pyarrow.parquet as parquet

        table = parquet.read_table(path, columns=list(kinds), filters=[(column, "==", value)])
        return {
            name: (table.column(name).cast(pyarrow.float64()) if kind == "number" else table.column(name)).to_numpy()
            for name, kind in kinds.items()
        }
    if has("duckdb"):
        import duckdb
        import numpy

        listed = ", ".join(
            f"cast({_quoted(name)} as double) as {_quoted(name)}" if kind == "number" else _quoted(name)
            for name, kind in kinds.items()
        )
        query = f"select {listed} from read_parquet(?) where {_quoted(column)} = ?"
        found = duckdb.execute(query, [path, value]).fetchnumpy()
        return {
            name: numpy.ma.filled(found[name], numpy.nan)
            if kind == "number"
            else numpy.ma.filled(numpy.ma.asarray(found[name], dtype=object), None)
            for name, kind in kinds.items()
        }
    raise ModuleNotFoundError("the rows need pyarrow or duckdb: add one of them to the requirements")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def codes_of(values: Sequence[Any], vocabulary: Sequence[str]) -> list[float]:
    """Returns the index of each text in the vocabulary; NaN for a missing value and for an unknown text."""
    index = {text: float(code) for code, text in enumerate(vocabulary)}
    return [index.get(value, float("nan")) for value in values]


def table_of(cells: Sequence[tuple[str, Any, Optional[Sequence[str]]]], frames: bool) -> Any:
    """Returns rows as a data frame with categoricals, or as a matrix with category codes.

    Each column has its name, its values and, for a category, its texts in the order of their codes. A text outside of these is missing. A
    column of other texts has objects, and None for a missing one.
    """
    if frames:
        import pandas

        def categorical(values: Any, texts: Sequence[str]) -> Any:
            # Built from codes, because pandas 4 refuses a text outside the categories.
            return pandas.Categorical.from_codes(pandas.Index(texts).get_indexer(values), texts)

        # As objects, because pandas 3 would make texts a type of its own, which holds NaN for a missing one.
        plain = {name: pandas.Series(values, dtype=values.dtype) if texts is None else categorical(values, texts) for name, values, texts in cells}
        return pandas.DataFrame(plain)
    import numpy

    return numpy.column_stack([values if texts is None else numpy.array(codes_of(values, texts)) for _, values, texts in cells])


def decoded(kind: str, values: Any) -> Any:
    """Returns vectors as arrays of doubles and images as bytes, from their JSON and base64; other values as they are. None stays."""
    if kind not in ("vector", "image"):
        return values
    import base64
    import json

    import numpy

    cells = numpy.empty(len(values), dtype=object)
    for place, value in enumerate(values):
        if value is not None:
            cells[place] = numpy.array(json.loads(value), dtype="float64") if kind == "vector" else base64.b64decode(value)
    return cells


def stacked(vectors: Sequence[Any]) -> Any:
    """Returns vectors as a matrix, with NaN for a missing one."""
    import numpy

    length = next((len(each) for each in vectors if each is not None), 1)
    return numpy.array([numpy.full(length, numpy.nan) if each is None else each for each in vectors])


def pixels(images: Sequence[Any], shape: Sequence[int]) -> Any:
    """Returns PNG files as the numbers from 0 to 255 that a graph with an input of ``[any, *shape]`` takes, with NaN for a missing one."""
    import io

    try:
        from PIL import Image
    except ImportError:
        raise ValueError("the answers to images are computed with Pillow: add pillow to the requirements of the training") from None
    import numpy

    is_first = shape[0] in (1, 3, 4)
    mode = {1: "L", 3: "RGB", 4: "RGBA"}[shape[0] if is_first else shape[2]]

    def read(data: Any) -> Any:
        if data is None:
            return numpy.full(shape, numpy.nan)
        decoded = numpy.asarray(Image.open(io.BytesIO(data)).convert(mode))
        decoded = decoded.reshape(*decoded.shape[:2], -1)
        return decoded.transpose(2, 0, 1) if is_first else decoded

    return numpy.array([numpy.ravel(read(data)) for data in images])


def vocabulary_of(values: Sequence[Any]) -> list[str]:
    """Returns the distinct texts, sorted."""
    return sorted({value for value in values if value is not None})


def taken_columns(frame: Any, names: Sequence[str], texts: Sequence[str] = (), codes: bool = False) -> Any:
    """Returns columns of a data frame in this order. ``texts``: those as texts, with "" for a missing one. ``codes``: other categories as codes."""
    taken = frame[list(names)].copy()
    for name in names:
        if name in texts:
            taken[name] = taken[name].astype(object).where(taken[name].notna(), "")
        elif codes and hasattr(taken[name], "cat"):
            numbers = taken[name].cat.codes.astype("float64")
            taken[name] = numbers.where(numbers >= 0)
    return taken


def answer_frame(predict: Callable[[Any], Any], names: Sequence[str], texts: Sequence[str], frame: Any) -> Any:
    """Predicts rows with these columns. A function of its own, so that it is stored with a model."""
    return predict(taken_columns(frame, names, texts, codes=True))
